//! The producer, its thread, and the one that comes after it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use bytes::Bytes;
use ports::{
    BoxFuture,
    log::{AppendError, Refused},
};
use rdkafka::{
    ClientConfig,
    error::{KafkaError, KafkaResult},
    producer::{BaseProducer, BaseRecord, Producer, PurgeConfig},
};
use tokio::time::Instant;
use wire::{Seq, record::ControlRecord};

use super::{
    admission::{Admission, Origin},
    append::{Append, Outcome, Ticket},
    delivery::{Delivery, Settle},
    fail_stop::FailStop,
};
use crate::{
    config::KafkaConfig,
    layout::Layout,
    settings::{self, Reach},
    stats::Stats,
};

/// How long reports are taken, as they come, before the thread looks whether it shall end. The
/// client library spins for the last part of a millisecond of each such time: at 20 ms that was
/// one part in twenty of a core, in every process, idle or not.
const POLL: Duration = Duration::from_millis(200);
/// How long a producer that ends has to report everything.
const COLLECT_WITHIN: Duration = Duration::from_secs(10);
/// Waiting before the next producer, doubled from the first to the last.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));
/// Something waits and nothing is delivered for this long: there is trouble.
const STALLED_AFTER: Duration = Duration::from_secs(5);
/// Waiting records given to a new producer at a time.
const HAND_OVER: usize = 512;

type Client = BaseProducer<Delivery>;

/// Takes appends and ends its thread when closed or dropped.
pub(crate) struct Publisher {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    layout: Arc<Layout>,
    config: KafkaConfig,
    settle: Arc<Settle>,
    /// Read by whoever appends, written when producers change; none: records wait.
    producer: RwLock<Option<Client>>,
    /// What came while there was no producer, in order; bounded by the admission.
    waiting: Mutex<VecDeque<(Box<Ticket>, Bytes)>>,
    number: AtomicU64,
    rebuilds: AtomicU64,
    stop: Mutex<bool>,
    stopped: Condvar,
    stalled: Mutex<Option<String>>,
}

impl Publisher {
    /// Starts the thread.
    ///
    /// # Errors
    /// The settings are wrong.
    pub(crate) fn start(
        config: &KafkaConfig,
        layout: &Arc<Layout>,
        reach: &Reach,
    ) -> KafkaResult<Self> {
        let lanes = layout.lanes();
        let settle = Settle {
            admission: Admission::new(config.queue_records_max, config.queue_bytes_max, lanes),
            fail_stop: FailStop::new(lanes),
            epoch: layout.epoch(),
            reach: reach.clone(),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        };
        let shared = Arc::new(Shared {
            layout: Arc::clone(layout),
            config: config.clone(),
            settle: Arc::new(settle),
            producer: RwLock::new(None),
            waiting: Mutex::default(),
            number: AtomicU64::new(0),
            rebuilds: AtomicU64::new(0),
            stop: Mutex::new(false),
            stopped: Condvar::new(),
            stalled: Mutex::new(None),
        });
        let first = shared.connect()?;
        let thread = std::thread::Builder::new().name("kafka-produce".into());
        let run = Arc::clone(&shared);
        let thread = thread
            .spawn(move || run.run(first))
            .map_err(|error| KafkaError::ClientCreation(error.to_string()))?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Takes records, given by lane, or none of them. Never waits.
    pub(crate) fn append(
        &self,
        records: Vec<(usize, Bytes)>,
        origin: Origin,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused> {
        let shared = &*self.shared;
        let faults = &shared.config.faults;
        if faults.refuses() {
            return Err(Refused::Overload);
        }
        if records.is_empty() {
            return Ok(Box::pin(std::future::ready(Ok(Vec::new()))));
        }
        let sizes = records.iter().map(|(lane, record)| (*lane, record.len()));
        let round = shared.settle.admission.take(origin, sizes)?;
        let (append, outcome) = Append::new(records.len(), faults.takes_append());
        let Some(generations) = shared.enter(&records) else {
            let fail_stop = &shared.settle.fail_stop;
            let untold = fail_stop.untold(records.iter().map(|(lane, _)| *lane).collect());
            append.failed("it follows one that failed".into(), untold);
            for (lane, record) in &records {
                shared.settle.admission.release(origin, *lane, record.len(), round);
            }
            return Ok(told(outcome));
        };
        if append.fails {
            // As if it had failed before the next one came: it is appended, and told as failed.
            records.iter().for_each(|(lane, _)| drop(shared.settle.fail_stop.fail(*lane)));
        }
        let first = shared.number.fetch_add(records.len() as u64, Relaxed);
        let producer = shared.producer.read().expect("no holder of this lock panics");
        for (index, (generation, (lane, record))) in generations.iter().zip(records).enumerate() {
            let ticket = Box::new(Ticket {
                append: Arc::clone(&append),
                index: u32::try_from(index).expect("appends have limits"),
                lane: u32::try_from(lane).expect("at most 8194 lanes"),
                generation: *generation,
                bytes: u32::try_from(record.len()).expect("records have limits"),
                origin,
                round,
                number: first + index as u64,
            });
            let kept = match producer.as_ref() {
                Some(producer) => shared.send(producer, ticket, record).err(),
                None => Some((ticket, record)),
            };
            if let Some(kept) = kept {
                shared.waiting.lock().expect("no holder of this lock panics").push_back(kept);
            }
        }
        drop(producer);
        Ok(told(outcome))
    }

    /// Waits until everything taken so far is settled.
    pub(crate) async fn flush(&self) {
        self.shared.settle.admission.flush().await;
    }

    /// Refuses everything from now on.
    pub(crate) fn refuse(&self) {
        self.shared.settle.admission.close();
    }

    /// Ends the thread; what is not settled fails. Blocks for as long as that takes.
    pub(crate) fn stop(&self) {
        self.refuse();
        *self.shared.stop.lock().expect("no holder of this lock panics") = true;
        self.shared.stopped.notify_all();
        let thread = self.thread.lock().expect("no holder of this lock panics").take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            tracing::error!("the thread of the Kafka producer panicked");
        }
    }

    /// Why appends do not go through; none: they do.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.shared.stalled.lock().expect("no holder of this lock panics").clone()
    }

    /// Adds what it counts.
    pub(crate) fn count(&self, stats: &mut Stats) {
        let settle = &self.shared.settle;
        (stats.clients, stats.owed, stats.refused) = settle.admission.queued();
        stats.delivered = settle.delivered.load(Relaxed);
        stats.failed = settle.failed.load(Relaxed);
        stats.producer_rebuilds = self.shared.rebuilds.load(Relaxed);
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn connect(&self) -> KafkaResult<Client> {
        let config = &self.config;
        // Twice the two shares: the client library never refuses what was admitted.
        let messages = config.queue_records_max.saturating_mul(4).clamp(10_000, 10_000_000);
        let kilobytes = (config.queue_bytes_max / 1024).saturating_mul(4);
        let mut settings: ClientConfig = settings::base(config);
        settings
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("enable.gapless.guarantee", "true")
            .set("message.timeout.ms", "0")
            .set("request.timeout.ms", "10000")
            .set("retry.backoff.max.ms", "500")
            .set("compression.type", "none")
            .set("linger.ms", config.linger.as_millis().to_string())
            .set("batch.size", "524288")
            .set("batch.num.messages", "20000")
            .set("message.max.bytes", "2097152")
            .set("queue.buffering.max.messages", messages.to_string())
            .set("queue.buffering.max.kbytes", kilobytes.clamp(65_536, 2_147_483_647).to_string());
        settings.create_with_context(Delivery::new(Arc::clone(&self.settle)))
    }

    /// Lets records into their lanes, all or none.
    fn enter(&self, records: &[(usize, Bytes)]) -> Option<Vec<u64>> {
        let fail_stop = &self.settle.fail_stop;
        let mut generations = Vec::with_capacity(records.len());
        for (lane, _) in records {
            if let Some(generation) = fail_stop.enter(*lane) {
                generations.push(generation);
                continue;
            }
            for ((lane, _), generation) in records.iter().zip(generations) {
                fail_stop.leave(*lane, generation);
            }
            return None;
        }
        Some(generations)
    }

    /// Gives a record to the producer, or back when the producer is about to be replaced: what was
    /// sent to it before in this lane fails, and this with it; where nothing was, it goes to the
    /// next producer.
    fn send(
        &self,
        producer: &Client,
        ticket: Box<Ticket>,
        record: Bytes,
    ) -> Result<(), (Box<Ticket>, Bytes)> {
        let lane = ticket.lane as usize;
        let (topic, partition) = self.layout.place(lane);
        let key = self.layout.is_control(lane).then(|| control_key(&record));
        let mut message =
            BaseRecord::with_opaque_to(topic, ticket).partition(partition).payload(record.as_ref());
        if let Some(key) = &key {
            message = message.key(key.as_ref());
        }
        let Err((error, message)) = producer.send(message) else { return Ok(()) };
        let ticket = message.delivery_opaque;
        if producer.client().fatal_error().is_some() {
            producer.context().set_broken();
            return Err((ticket, record));
        }
        self.settle.lost(&ticket, error.to_string());
        Ok(())
    }

    /// The thread: one producer after the other.
    fn run(&self, first: Client) {
        let mut next = Ok(first);
        let mut backoff = BACKOFF.0;
        loop {
            match next {
                Ok(producer) => {
                    let before = self.settle.delivered.load(Relaxed);
                    self.use_up(producer);
                    if self.settle.delivered.load(Relaxed) > before {
                        backoff = BACKOFF.0;
                    }
                }
                Err(error) => tracing::warn!(%error, "no producer for Kafka"),
            }
            if self.stopped_within(backoff) {
                break;
            }
            backoff = (backoff * 2).min(BACKOFF.1);
            self.rebuilds.fetch_add(1, Relaxed);
            next = self.connect();
        }
        let waiting =
            std::mem::take(&mut *self.waiting.lock().expect("no holder of this lock panics"));
        waiting.iter().for_each(|(ticket, _)| self.settle.lost(ticket, "the log has ended".into()));
    }

    fn stopped_within(&self, wait: Duration) -> bool {
        let stop = self.stop.lock().expect("no holder of this lock panics");
        let wait = self.stopped.wait_timeout_while(stop, wait, |stop| !*stop);
        *wait.expect("no holder of this lock panics").0
    }

    fn is_stopped(&self) -> bool {
        *self.stop.lock().expect("no holder of this lock panics")
    }

    /// Works with one producer until something fails or the log ends, and settles all it has.
    fn use_up(&self, producer: Client) {
        self.hand_over(&producer);
        let mut current = self.producer.write().expect("no holder of this lock panics");
        // What came meanwhile; nobody adds to it now.
        self.hand_over(&producer);
        *current = Some(producer);
        drop(current);
        self.serve();
        let producer = self.producer.write().expect("no holder of this lock panics").take();
        self.retire(&producer.expect("only this thread takes it"));
    }

    /// Takes reports until something fails or the log ends.
    fn serve(&self) {
        let current = self.producer.read().expect("no holder of this lock panics");
        let producer = current.as_ref().expect("only this thread takes it");
        let mut progress = (Instant::now(), self.settle.delivered.load(Relaxed));
        while !producer.context().is_broken() && !self.is_stopped() {
            producer.poll(POLL);
            self.watch(&mut progress);
        }
    }

    /// Gives what waits to a new producer, in order; what it does not take waits on.
    fn hand_over(&self, producer: &Client) {
        while !producer.context().is_broken() {
            let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
            let count = waiting.len().min(HAND_OVER);
            let mut some: VecDeque<_> = waiting.drain(..count).collect();
            drop(waiting);
            if some.is_empty() {
                return;
            }
            while let Some((ticket, record)) = some.pop_front() {
                if !self.settle.fail_stop.is_sound(ticket.lane as usize, ticket.generation) {
                    self.settle.lost(&ticket, "it follows one that failed".into());
                } else if let Err(kept) = self.send(producer, ticket, record) {
                    some.push_front(kept);
                    break;
                }
            }
            let mut waiting = self.waiting.lock().expect("no holder of this lock panics");
            some.into_iter().rev().for_each(|kept| waiting.push_front(kept));
        }
    }

    /// Takes everything back from a producer that ends, waits for all its reports, and tells them.
    fn retire(&self, producer: &Client) {
        if let Some((code, reason)) = producer.client().fatal_error() {
            tracing::warn!(%code, reason, "the Kafka producer has failed and is replaced");
        }
        producer.purge(PurgeConfig::default().queue().inflight());
        let until = Instant::now() + COLLECT_WITHIN;
        while producer.in_flight_count() > 0 && Instant::now() < until {
            producer.poll(Duration::from_millis(1));
        }
        producer.context().tell();
    }

    /// Looks whether records that wait are delivered.
    fn watch(&self, progress: &mut (Instant, u64)) {
        let delivered = self.settle.delivered.load(Relaxed);
        let is_idle = self.settle.admission.is_empty();
        if is_idle || delivered != progress.1 {
            *progress = (Instant::now(), delivered);
        }
        let stalled = progress.0.elapsed() > STALLED_AFTER;
        let reason = stalled.then(|| {
            let seconds = progress.0.elapsed().as_secs();
            format!("Kafka has taken nothing for {seconds} s, and records wait")
        });
        *self.stalled.lock().expect("no holder of this lock panics") = reason;
    }
}

/// What a record of the control log is compacted by; one no version can read, by all of it.
fn control_key(record: &Bytes) -> Bytes {
    ControlRecord::decode(record.clone()).map_or_else(|_| record.clone(), |record| record.key())
}

/// The answer, which frees the lanes of a failure as it is given.
fn told(
    outcome: tokio::sync::oneshot::Receiver<Outcome>,
) -> BoxFuture<'static, Result<Vec<Seq>, AppendError>> {
    Box::pin(async move {
        match outcome.await {
            Ok(Ok(positions)) => Ok(positions),
            Ok(Err((error, _untold))) => Err(error),
            Err(_) => Err(AppendError("the log ended before it was known".into())),
        }
    })
}
