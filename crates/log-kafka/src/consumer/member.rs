//! This process as a member of the consumer group of one log.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst},
    },
    thread::JoinHandle,
    time::Duration,
};

use ports::log::{ReadError, Reader};
use rdkafka::{
    ClientContext, Message, Offset as Place, Statistics, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode},
    message::BorrowedMessage,
    types::RDKafkaRespErr,
};
use tokio::{sync::Notify, time::Instant};
use wire::{Offset, Partition, Topic};

use super::{
    lane::{Holes, Lane, Limits, Phase, Todo},
    reader::{Commits, LaneReader, OneOf},
    start::Start,
};
use crate::{
    config::KafkaConfig,
    layout::Layout,
    settings::{Reach, base, log_line},
    stats::{LaneStats, Stats},
};

/// How long records are waited for at a time, and how often lanes are looked after.
const TICK: Duration = Duration::from_millis(25);
/// Records taken together at most.
const BURST: usize = 512;
/// How often what is finished is committed.
const COMMIT_EVERY: Duration = Duration::from_secs(1);
/// How long the last commits of a member that ends may take.
const LAST_COMMIT_WITHIN: Duration = Duration::from_secs(3);
/// How long a seek may take; it waits for no broker.
const SEEK_WITHIN: Duration = Duration::from_secs(1);

/// A member and its thread.
pub(crate) struct Member {
    shared: Arc<Shared>,
    start: Arc<Start>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread, the readers and the watch share.
pub(crate) struct Shared {
    topic: Topic,
    layout: Arc<Layout>,
    lanes: Arc<[Lane]>,
    reach: Reach,
    stop: AtomicBool,
    /// Why nothing of this log can be read any more.
    refused: Mutex<Option<String>>,
    /// What the brokers said that may mean loss, until it was looked into.
    suspicion: Mutex<Option<String>>,
    /// Told when something is suspicious.
    nudge: Arc<Notify>,
    /// Commits the brokers have not answered.
    commits: AtomicUsize,
    fetched: Arc<AtomicU64>,
    paused: Arc<AtomicU64>,
}

/// What members count together, and whom they tell.
#[derive(Clone)]
pub(crate) struct Counters {
    pub(crate) reach: Reach,
    pub(crate) nudge: Arc<Notify>,
    pub(crate) fetched: Arc<AtomicU64>,
    pub(crate) paused: Arc<AtomicU64>,
}

type Client = BaseConsumer<Rebalance>;

impl Member {
    /// Joins the group.
    ///
    /// # Errors
    /// The settings are wrong.
    pub(crate) fn join(
        config: &KafkaConfig,
        layout: &Arc<Layout>,
        topic: Topic,
        counters: &Counters,
    ) -> KafkaResult<Self> {
        let limits = Limits { records: config.lane_records_max, bytes: config.lane_bytes_max };
        let shared = Arc::new(Shared {
            topic,
            layout: Arc::clone(layout),
            lanes: (0..layout.count(topic)).map(|_| Lane::new(limits)).collect(),
            reach: counters.reach.clone(),
            stop: AtomicBool::new(false),
            refused: Mutex::default(),
            suspicion: Mutex::default(),
            nudge: Arc::clone(&counters.nudge),
            commits: AtomicUsize::new(0),
            fetched: Arc::clone(&counters.fetched),
            paused: Arc::clone(&counters.paused),
        });
        let start = Start::new(config, layout.name(topic), &counters.reach)?;
        let client = connect(config, &shared)?;
        let thread = std::thread::Builder::new().name("kafka-consume".into());
        let run = Arc::clone(&shared);
        let thread = thread
            .spawn(move || run.run(client))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { shared, start, thread: Mutex::new(Some(thread)) })
    }

    /// Opens a partition when this process has it. Cancel safe: takes over at its end, at once.
    pub(crate) async fn open(
        &self,
        partition: Partition,
        from: Option<Offset>,
    ) -> Result<Box<dyn Reader>, ReadError> {
        let index = usize::from(partition.get());
        let lane = &self.shared.lanes[index];
        let from = from.map(Offset::get);
        let mut changed = lane.subscribe();
        loop {
            changed.borrow_and_update();
            if let Some(reason) = self.shared.refused() {
                return Err(ReadError::Stop(reason));
            }
            if self.shared.stop.load(SeqCst) {
                return Err(ReadError::Retry("the log is closing".into()));
            }
            let (is_granted, grant) = {
                let state = lane.lock();
                (state.is_granted, state.grant)
            };
            if !is_granted {
                let _ = changed.changed().await;
                continue;
            }
            let start = Arc::clone(&self.start);
            let number = i32::from(partition.get().cast_signed());
            let begin = tokio::task::spawn_blocking(move || start.find(number, from)).await;
            let begin = begin.map_err(|error| ReadError::Retry(error.to_string()))??;
            // What is deleted below was finished.
            let from = from.map(|from| from.max(begin.low));
            if let Some((reader, finished)) = lane.take_over(grant, begin.committed, from) {
                lane.lock().end = Some(begin.high);
                let lane = OneOf(Arc::clone(&self.shared.lanes), index);
                return Ok(Box::new(LaneReader::new(lane, reader, finished, Commits::Kept)));
            }
        }
    }

    /// Looks whether what is read is still there, all of it. Blocks.
    pub(crate) fn look(&self) {
        let suspicion = self.shared.suspicion.lock().expect("no holder of this lock panics").take();
        let mut found = false;
        for (partition, lane) in self.shared.lanes.iter().enumerate() {
            // Before the ends are asked for: reading goes on meanwhile.
            let phase = lane.lock().phase;
            let (Phase::Fetching(next) | Phase::Wanted(next)) = phase else { continue };
            let partition = i32::try_from(partition).expect("at most 4096 partitions");
            let Ok((low, high)) = self.start.ends(partition) else { continue };
            lane.looked(next, high);
            let name = self.shared.layout.name(self.shared.topic);
            if next < low {
                lane.stop(format!(
                    "records {next} to {low} of partition {partition} of {name} were deleted \
                     before they were read: raise retention.ms"
                ));
                found = true;
            } else if next > high {
                lane.stop(format!(
                    "partition {partition} of {name} ends at {high} and was read to {next}: its \
                     end was lost, or it is another log. Begin a new epoch"
                ));
                found = true;
            }
        }
        if let Some(reason) = suspicion
            && !found
        {
            let lanes = self.shared.lanes.iter();
            lanes.for_each(|lane| lane.stop(format!("the brokers refuse to go on: {reason}")));
        }
    }

    /// Nothing of this log is read any more.
    pub(crate) fn refuse(&self, reason: &str) {
        self.shared.refuse(reason);
    }

    /// Why nothing of this log can be read; none: it can.
    pub(crate) fn refused(&self) -> Option<String> {
        self.shared.refused()
    }

    /// Adds the lanes this process has.
    pub(crate) fn count(&self, stats: &mut Stats) {
        for (number, lane) in (0..).zip(self.shared.lanes.iter()) {
            let state = lane.lock();
            if state.is_granted {
                let lag = state.end.zip(state.finished).map(|(end, done)| end.saturating_sub(done));
                let (topic, partition) = (self.shared.topic, Partition::new(number));
                stats.lanes.push(LaneStats { topic, partition, lag });
            }
        }
    }

    /// Commits and ends the thread. Blocks for as long as that takes.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, SeqCst);
        let thread = self.thread.lock().expect("no holder of this lock panics").take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread of a Kafka consumer panicked");
        }
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.stop();
    }
}

fn connect(config: &KafkaConfig, shared: &Arc<Shared>) -> KafkaResult<Client> {
    let name = shared.layout.name(shared.topic);
    let session_ms = config.session_timeout.as_millis().max(1);
    let mut settings = base(config);
    settings
        .set("group.id", name)
        .set("group.instance.id", &config.name)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", session_ms.to_string())
        // By the answer to one a member learns that it has to share its partitions with another:
        // twice, since the first time it only gives some up.
        .set("heartbeat.interval.ms", (session_ms / 10).clamp(100, 1000).to_string())
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "error")
        .set("isolation.level", "read_committed")
        .set("fetch.queue.backoff.ms", "50")
        .set("fetch.wait.max.ms", "200")
        .set("queued.min.messages", "2000")
        .set("queued.max.messages.kbytes", "32768");
    let client: Client = settings.create_with_context(Rebalance(Arc::clone(shared)))?;
    client.subscribe(&[name])?;
    Ok(client)
}

impl Shared {
    fn refused(&self) -> Option<String> {
        self.refused.lock().expect("no holder of this lock panics").clone()
    }

    fn refuse(&self, reason: &str) {
        let mut refused = self.refused.lock().expect("no holder of this lock panics");
        let reason = refused.get_or_insert_with(|| reason.to_owned()).clone();
        drop(refused);
        for lane in self.lanes.iter() {
            lane.stop(reason.clone());
            lane.wake();
        }
    }

    /// The thread.
    fn run(&self, client: Client) {
        let mut touched = Vec::new();
        let mut next_tick = Instant::now();
        let mut next_commit = Instant::now() + COMMIT_EVERY;
        while !self.stop.load(SeqCst) {
            self.fetch(&client, &mut touched);
            let now = Instant::now();
            if now >= next_tick {
                self.look_after(&client, now);
                next_tick = now + TICK;
            }
            if now >= next_commit {
                self.commit(&client);
                next_commit = now + COMMIT_EVERY;
            }
        }
        self.commit(&client);
        let until = Instant::now() + LAST_COMMIT_WITHIN;
        while self.commits.load(SeqCst) > 0 && Instant::now() < until {
            client.poll(TICK);
        }
        // Closes the consumer, which takes the partitions away from the lanes.
        drop(client);
        for lane in self.lanes.iter() {
            lane.take_away();
        }
    }

    /// Waits for records and takes those that came together, into lanes that it then shows.
    fn fetch(&self, client: &Client, touched: &mut Vec<usize>) {
        let mut wait = TICK;
        for _ in 0..BURST {
            match client.poll(wait) {
                Some(Ok(message)) => self.take(&message, touched),
                Some(Err(error)) => self.failed(&error),
                None => break,
            }
            wait = Duration::ZERO;
        }
        touched.drain(..).for_each(|lane| self.lanes[lane].show());
    }

    fn take(&self, message: &BorrowedMessage<'_>, touched: &mut Vec<usize>) {
        self.reach.set_lost(false);
        self.fetched.fetch_add(1, Relaxed);
        let number = usize::try_from(message.partition()).unwrap_or(usize::MAX);
        if let Some(lane) = self.lanes.get(number) {
            let offset = message.offset().max(0).unsigned_abs();
            let time_ms = message.timestamp().to_millis().unwrap_or(0).max(0).unsigned_abs();
            let record = message.payload().unwrap_or_default();
            lane.push(offset, time_ms, record, self.layout.epoch(), Holes::Loss);
            // Records of one partition come after each other.
            if touched.last() != Some(&number) {
                touched.push(number);
            }
        }
    }

    fn failed(&self, error: &KafkaError) {
        if let KafkaError::MessageConsumptionFatal(code) = error {
            let fenced = "another process runs under the same name: node.name must be unique";
            self.refuse(&if *code == RDKafkaErrorCode::FencedInstanceId {
                fenced.to_owned()
            } else {
                format!("the Kafka consumer has failed for good: {code}")
            });
            return;
        }
        let may_be_loss = matches!(
            error.rdkafka_error_code(),
            Some(
                RDKafkaErrorCode::AutoOffsetReset
                    | RDKafkaErrorCode::OffsetOutOfRange
                    | RDKafkaErrorCode::LogTruncation
            )
        );
        if may_be_loss {
            let mut suspicion = self.suspicion.lock().expect("no holder of this lock panics");
            *suspicion = Some(error.to_string());
        }
        tracing::debug!(%error, "reading from Kafka");
        self.nudge.notify_one();
    }

    /// Starts, pauses and resumes lanes.
    fn look_after(&self, client: &Client, now: Instant) {
        for (number, lane) in self.lanes.iter().enumerate() {
            let Some(todo) = lane.todo(now) else { continue };
            let partition = i32::try_from(number).expect("at most 4096 partitions");
            if let Err(error) = self.obey(client, lane, partition, todo) {
                // Such as a partition that was given a moment ago: it is tried again.
                tracing::debug!(%error, partition, ?todo, "looking after a lane");
            }
        }
    }

    fn obey(&self, client: &Client, lane: &Lane, partition: i32, todo: Todo) -> KafkaResult<()> {
        let name = self.layout.name(self.topic);
        let mut list = TopicPartitionList::new();
        list.add_partition(name, partition);
        match todo {
            Todo::Seek(offset) => {
                let place = i64::try_from(offset).expect("an offset has 44 bits");
                let is_stuck = std::mem::take(&mut lane.lock().is_stuck);
                let place = Place::Offset(place);
                let sought = || client.seek(name, partition, place, SEEK_WITHIN).is_ok();
                if !is_stuck && sought() {
                    client.resume(&list)?;
                } else {
                    // The client has given it up after an error, or forgot it: it is begun anew.
                    client.incremental_unassign(&list)?;
                    list.set_partition_offset(name, partition, place)?;
                    client.incremental_assign(&list)?;
                    tracing::info!(name, partition, offset, "a partition is begun anew");
                }
                let mut state = lane.lock();
                // Unless a reader that came meanwhile wants another place.
                if state.phase == Phase::Wanted(offset) {
                    state.phase = Phase::Fetching(offset);
                }
                state.is_paused = false;
            }
            Todo::Pause => {
                client.pause(&list)?;
                lane.lock().is_paused = true;
                self.paused.fetch_add(1, Relaxed);
            }
            Todo::Resume => {
                client.resume(&list)?;
                lane.lock().is_paused = false;
            }
        }
        Ok(())
    }

    /// Commits what is finished and not committed.
    fn commit(&self, client: &Client) {
        let dirty = self.lanes.iter().enumerate();
        let dirty = dirty.filter_map(|(number, lane)| Some((number, lane.take_dirty()?)));
        self.send_commit(client, dirty.collect());
    }

    fn send_commit(&self, client: &Client, finished: Vec<(usize, u64)>) {
        if finished.is_empty() {
            return;
        }
        let name = self.layout.name(self.topic);
        let mut list = TopicPartitionList::new();
        for (number, offset) in &finished {
            let partition = i32::try_from(*number).expect("at most 4096 partitions");
            let place = i64::try_from(*offset).expect("an offset has 44 bits");
            let added = list.add_partition_offset(name, partition, Place::Offset(place));
            added.expect("an offset that is not negative can be committed");
        }
        self.commits.fetch_add(1, SeqCst);
        if let Err(error) = client.commit(&list, CommitMode::Async) {
            self.commits.fetch_sub(1, SeqCst);
            self.not_committed(&list, &error);
        }
    }

    fn not_committed(&self, list: &TopicPartitionList, error: &KafkaError) {
        tracing::debug!(%error, "a commit is made again");
        for element in list.elements() {
            let lane = usize::try_from(element.partition()).ok();
            if let Some(lane) = lane.and_then(|lane| self.lanes.get(lane)) {
                let mut state = lane.lock();
                state.is_dirty = state.finished.is_some();
            }
        }
    }
}

/// What the group's coordinator decides. Called by the thread, within its polls.
struct Rebalance(Arc<Shared>);

impl Rebalance {
    /// Partitions are this process's: nothing of them is fetched before somebody reads.
    fn given(&self, client: &BaseConsumer<Self>, list: &mut TopicPartitionList) -> KafkaResult<()> {
        // A place that is always there; each lane has its own when it is started. An offset that
        // is not there any more would end the partition's fetching if it was asked for before the
        // pause.
        list.set_all_offsets(Place::End)?;
        client.incremental_assign(list)?;
        client.pause(list)?;
        for element in list.elements() {
            let lane = usize::try_from(element.partition()).ok();
            if let Some(lane) = lane.and_then(|lane| self.0.lanes.get(lane)) {
                lane.give();
            }
        }
        Ok(())
    }

    /// Partitions are another's. What is finished is committed first, unless that other may have
    /// them already.
    fn taken(&self, client: &BaseConsumer<Self>, list: &TopicPartitionList) -> KafkaResult<()> {
        let mut finished = Vec::new();
        for element in list.elements() {
            let number = usize::try_from(element.partition()).unwrap_or(usize::MAX);
            if let Some(lane) = self.0.lanes.get(number) {
                finished.extend(lane.take_away().map(|offset| (number, offset)));
            }
        }
        if !client.assignment_lost() {
            self.0.send_commit(client, finished);
        }
        // A group that is left altogether is left at once.
        client.incremental_unassign(list).or_else(|_| client.unassign())
    }
}

impl ClientContext for Rebalance {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.0.reach.heard(&error, reason);
    }
}

impl ConsumerContext for Rebalance {
    fn rebalance(
        &self,
        client: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        list: &mut TopicPartitionList,
    ) {
        let topic = self.0.topic;
        let is_given = what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        tracing::info!(?topic, partitions = list.count(), is_given, "partitions move");
        let done = if is_given { self.given(client, list) } else { self.taken(client, list) };
        if let Err(error) = done {
            tracing::warn!(?topic, %error, "partitions did not move");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, list: &TopicPartitionList) {
        self.0.commits.fetch_sub(1, SeqCst);
        if let Err(error) = result {
            self.0.not_committed(list, &error);
        }
    }
}
