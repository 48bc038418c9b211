//! The log on Kafka, opened.

use std::sync::{
    Arc, Mutex, OnceLock,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
};

use bytes::Bytes;
use ports::{
    BoxFuture, Log,
    log::{AppendError, DeadLetter, ReadError, Reader, Refused},
};
use rdkafka::{consumer::Consumer, error::KafkaError};
use tokio::{sync::Notify, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
#[cfg(test)]
use wire::record::EpochMap;
use wire::{Epoch, Offset, Partition, Seq, Topic};

use crate::{
    OpenError,
    config::KafkaConfig,
    consumer::{ControlReaders, Counters, Member},
    dead_letter, epoch_map,
    greeting::greet,
    identity,
    layout::{Layout, control_name},
    producer::{Origin, Publisher},
    settings::{self, Asking, Reach},
    stats::Stats,
    watch::{self, Found},
};

/// What a clean end waits for the brokers to take what was taken from callers.
const FLUSH_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

/// What to do when topics or the epoch map are not there.
const APPLY: &str = "run `posthorn admin topics apply`";

/// The log on Kafka. Dropped without [`KafkaLog::close`] it ends as a crash does, except that it
/// waits for its threads.
pub struct KafkaLog {
    engine: Arc<Engine>,
    watch: JoinSet<()>,
    stop: CancellationToken,
}

/// What roles use and the watch looks after.
pub(crate) struct Engine {
    pub(crate) config: KafkaConfig,
    pub(crate) layout: Arc<Layout>,
    pub(crate) reach: Reach,
    pub(crate) found: Found,
    publisher: Publisher,
    mail: OnceLock<Member>,
    group: OnceLock<Member>,
    /// Held while a member joins.
    joining: Mutex<()>,
    control: ControlReaders,
    counters: Counters,
    is_refused: AtomicBool,
}

impl KafkaLog {
    /// Connects, reads the epoch map, and looks whether the topics are those it names and safe.
    ///
    /// # Errors
    /// [`OpenError`]. Cancel safe.
    pub async fn open(config: KafkaConfig) -> Result<Self, OpenError> {
        let reach = Reach::default();
        let client = settings::asking(&config, &reach).map_err(|error| wrong(&error))?;
        let client = Arc::new(client);
        let layout = {
            let (config, reach, client) = (config.clone(), reach.clone(), Arc::clone(&client));
            let found = tokio::task::spawn_blocking(move || find(&config, &client, &reach));
            found.await.map_err(|error| OpenError::Unreachable(error.to_string()))??
        };
        let found = identity::unsafe_settings(&config, &layout, &reach).await;
        if let Some(first) = found.map_err(OpenError::Unreachable)?.into_iter().next() {
            let what = format!("{} is {}", first.about, first.found);
            return Err(OpenError::Refused { what, remedy: first.remedy });
        }
        Self::start(config, layout, reach, Some(client))
    }

    /// A log on topics that are taken as they are, without an epoch map to compare them with: for
    /// brokers that give topics no identities.
    ///
    /// # Errors
    /// As [`KafkaLog::open`].
    #[cfg(test)]
    pub(crate) fn open_unchecked(config: KafkaConfig, map: EpochMap) -> Result<Self, OpenError> {
        let layout = Layout::new(&config.prefix, map);
        Self::start(config, layout, Reach::default(), None)
    }

    fn start(
        config: KafkaConfig,
        layout: Layout,
        reach: Reach,
        client: Option<Arc<Asking>>,
    ) -> Result<Self, OpenError> {
        let layout = Arc::new(layout);
        let nudge = Arc::new(Notify::new());
        let counters = Counters {
            reach: reach.clone(),
            nudge: Arc::clone(&nudge),
            fetched: Arc::new(AtomicU64::new(0)),
            paused: Arc::new(AtomicU64::new(0)),
        };
        let publisher =
            Publisher::start(&config, &layout, &reach).map_err(|error| wrong(&error))?;
        let control = ControlReaders::new(&config, &layout, &reach, &counters.fetched);
        let engine = Arc::new(Engine {
            config,
            layout,
            reach,
            found: Found::default(),
            publisher,
            mail: OnceLock::new(),
            group: OnceLock::new(),
            joining: Mutex::new(()),
            control,
            counters,
            is_refused: AtomicBool::new(false),
        });
        let stop = CancellationToken::new();
        let mut watch = JoinSet::new();
        if let Some(client) = client {
            watch.spawn(watch::run(Arc::clone(&engine), client, nudge, stop.clone()));
        }
        Ok(Self { engine, watch, stop })
    }

    /// The log, for roles.
    #[must_use]
    pub fn log(&self) -> Arc<dyn Log> {
        Arc::clone(&self.engine) as Arc<dyn Log>
    }

    /// Why it cannot work now; none: it can.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let engine = &self.engine;
        let refused = || engine.members().find_map(Member::trouble);
        let lost = || engine.reach.is_lost().then(|| "no Kafka broker is reachable".to_owned());
        engine.found.trouble().or_else(refused).or_else(lost).or_else(|| engine.publisher.trouble())
    }

    /// What it counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let engine = &self.engine;
        let mut stats = Stats {
            fetched: engine.counters.fetched.load(Relaxed),
            paused: engine.counters.paused.load(Relaxed),
            ..Stats::default()
        };
        engine.publisher.count(&mut stats);
        engine.members().for_each(|member| member.count(&mut stats));
        stats
    }

    /// Refuses appends from now on, waits for those that were taken, commits, and ends. What the
    /// brokers do not take within 10 s fails. Not cancel safe: a dropped call may have ended it.
    pub async fn close(mut self) {
        let engine = Arc::clone(&self.engine);
        engine.publisher.refuse();
        if timeout(FLUSH_WITHIN, engine.publisher.flush()).await.is_err() {
            tracing::warn!("Kafka did not take in time what was appended last");
        }
        self.stop.cancel();
        while self.watch.join_next().await.is_some() {}
        let _ = tokio::task::spawn_blocking(move || engine.stop()).await;
    }
}

impl Drop for KafkaLog {
    fn drop(&mut self) {
        self.stop.cancel();
        self.engine.stop();
    }
}

/// Reads the epoch map and compares the topics with it. Blocks.
fn find(config: &KafkaConfig, client: &Asking, reach: &Reach) -> Result<Layout, OpenError> {
    let unreachable = |error: KafkaError| OpenError::Unreachable(error.to_string());
    let not_ready = |what: String| OpenError::not_ready(what, APPLY);
    let control = control_name(&config.prefix);
    // Asked first, since it says best why nobody answers.
    greet(client, reach, Some(&control), identity::ANSWER_WITHIN)?;
    let is_there = identity::topic_id(client.client(), &control).map_err(OpenError::Unreachable)?;
    if is_there.is_none() {
        return Err(not_ready(format!("there is no topic {control}")));
    }
    let maps = epoch_map::read(config, &control, reach).map_err(unreachable)?;
    let Some((_, map)) = maps.into_iter().next_back() else {
        return Err(not_ready(format!("there is no epoch map in {control}")));
    };
    let layout = Layout::new(&config.prefix, map);
    identity::demand(client.client(), &layout)?;
    Ok(layout)
}

fn wrong(error: &KafkaError) -> OpenError {
    OpenError::Refused {
        what: format!("the Kafka client takes no such settings: {error}"),
        remedy: "correct the configuration".to_owned(),
    }
}

impl Engine {
    /// The members of the groups this process has joined.
    pub(crate) fn members(&self) -> impl Iterator<Item = &Member> {
        [&self.mail, &self.group].into_iter().filter_map(OnceLock::get)
    }

    /// Nothing of this topic is read any more, and nothing at all is appended.
    pub(crate) fn refuse(&self, topic: Topic, reason: &str) {
        self.is_refused.store(true, SeqCst);
        let member = match topic {
            Topic::Mail => self.mail.get(),
            Topic::Group => self.group.get(),
            Topic::Control => None,
        };
        if let Some(member) = member {
            member.refuse(reason);
        }
    }

    /// The member of a topic's group, which joins when somebody reads.
    fn member(&self, topic: Topic) -> Result<&Member, ReadError> {
        let place = if topic == Topic::Mail { &self.mail } else { &self.group };
        if let Some(member) = place.get() {
            return Ok(member);
        }
        let _joining = self.joining.lock().expect("no holder of this lock panics");
        if let Some(member) = place.get() {
            return Ok(member);
        }
        if let Some(reason) = self.found.trouble().filter(|_| self.is_refused.load(SeqCst)) {
            return Err(ReadError::Stop(reason));
        }
        let member = Member::join(&self.config, &self.layout, topic, &self.counters);
        let member = member.map_err(|error| ReadError::Retry(error.to_string()))?;
        Ok(place.get_or_init(|| member))
    }

    /// Ends all threads. Blocks for as long as that takes.
    fn stop(&self) {
        self.publisher.stop();
        let members: Vec<&Member> = self.members().collect();
        std::thread::scope(|scope| {
            members.iter().for_each(|member| {
                scope.spawn(|| member.stop());
            });
            self.control.stop();
        });
    }

    fn append(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
        origin: Origin,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused> {
        if self.is_refused.load(Relaxed) {
            return Err(Refused::Closing);
        }
        let lane = |(partition, record)| (self.layout.lane(topic, partition), record);
        self.publisher.append(records.into_iter().map(lane).collect(), origin)
    }
}

impl Log for Engine {
    fn partition_count(&self, topic: Topic) -> u16 {
        self.layout.count(topic)
    }

    fn epoch(&self) -> Epoch {
        self.layout.epoch()
    }

    fn try_append(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused> {
        self.append(topic, records, Origin::Client)
    }

    fn try_append_owed(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused> {
        self.append(topic, records, Origin::Owed)
    }

    fn open(
        &self,
        topic: Topic,
        partition: Partition,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        Box::pin(async move {
            match topic {
                Topic::Control => self.control.open(0),
                Topic::Mail | Topic::Group => self.member(topic)?.open(partition, None).await,
            }
        })
    }

    fn open_at(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        Box::pin(async move {
            match topic {
                Topic::Control => self.control.open(from.get()),
                Topic::Mail | Topic::Group => self.member(topic)?.open(partition, Some(from)).await,
            }
        })
    }

    fn append_dead_letter(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), AppendError>> {
        let record = dead_letter::encode(&letter);
        let taken = self.publisher.append(vec![(self.layout.dead_letters(), record)], Origin::Owed);
        Box::pin(async move {
            match taken {
                Ok(answer) => answer.await.map(|_| ()),
                Err(refused) => Err(AppendError(refused.to_string())),
            }
        })
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.publisher.flush())
    }
}

#[cfg(test)]
#[path = "kafka_log/tests.rs"]
mod tests;
