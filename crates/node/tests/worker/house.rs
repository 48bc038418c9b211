//! Embedded engines, a log that is watched, and workers on them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use embedded::{Engine, EngineConfig, faults::Faults};
use link::{MeshDialer, memory::Hub};
use ports::{
    BoxFuture, Engines, Log,
    log::{AppendError, DeadLetter, Entry, ReadError, Reader, Refused},
    mailbox::Range,
};
use prometheus::Registry;
use tempfile::TempDir;
use tokio::{sync::watch, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use wire::{
    Address, Counter, DeviceId, Epoch, GroupId, Item, MessageId, Offset, Partition, RunId, SendId,
    Seq, Topic, UserId, auth,
    item::{Body, DeviceChange, GroupChange},
    record::{Delivery, GroupRecord, MailRecord},
    shard::partition_of,
};
use worker::{Parts, Worker, WorkerConfig, WorkerHandle, WorkerMetrics};

/// Everything awaited happens within this, or the test fails.
const WITHIN: Duration = Duration::from_secs(20);
/// Bytes of the disk that are kept for finishing what was accepted.
const RESERVE: u64 = 1 << 20;
/// The clock of everything.
pub(crate) const NOW_MS: u64 = 1_800_000_000_000;

/// Positions of what was appended and of what is finished, by partition.
type Ends = BTreeMap<(Topic, Partition), Seq>;

/// A log that notes what happens, reads again from where it is told, and fails on request.
pub(crate) struct Watched {
    log: Arc<dyn Log>,
    appended: Arc<Mutex<Ends>>,
    finished: watch::Sender<Ends>,
    /// Readers of the log start here instead of after what is finished.
    pub(crate) again_from: Mutex<Option<(Topic, Offset)>>,
    /// So many appends to the mail log become durable and answer that it is not known.
    pub(crate) fail_appends: AtomicUsize,
    /// Appends to the mail log of more records than this are refused; 0 refuses none.
    pub(crate) refuse_above: AtomicUsize,
    /// No append to the mail log is taken.
    pub(crate) refuse_all: AtomicBool,
    /// Calls that append derived records, taken and not answered, at most so far.
    owed_most: watch::Sender<usize>,
    owed: Arc<AtomicUsize>,
    /// Records read to be processed.
    pub(crate) read_records: Arc<AtomicUsize>,
    /// Nothing is read again.
    pub(crate) refuse_again: AtomicBool,
    pub(crate) dead_letters: Mutex<Vec<DeadLetter>>,
    /// So many dead letters are kept and answer that it is not known.
    pub(crate) fail_letters: AtomicUsize,
}

struct WatchedReader {
    reader: Box<dyn Reader>,
    first_unfinished: Offset,
    lane: (Topic, Partition),
    read_records: Arc<AtomicUsize>,
    finished: watch::Sender<Ends>,
}

pub(crate) struct House {
    pub(crate) faults: Faults,
    pub(crate) log: Arc<Watched>,
    pub(crate) engines: Engines,
    pub(crate) hub: Hub,
    counter: AtomicU64,
    free: Arc<AtomicU64>,
    engine: Engine,
    _directory: TempDir,
}

pub(crate) struct Running {
    pub(crate) handle: WorkerHandle,
    pub(crate) registry: Registry,
    stop: CancellationToken,
    task: JoinSet<Result<(), worker::RunError>>,
}

pub(crate) fn config() -> WorkerConfig {
    WorkerConfig {
        retry_min: Duration::from_millis(1),
        retry_max: Duration::from_millis(4),
        ..WorkerConfig::default()
    }
}

pub(crate) fn clock() -> u64 {
    NOW_MS
}

pub(crate) fn user(number: u16) -> UserId {
    let mut bytes = [0; 16];
    bytes[..2].copy_from_slice(&number.to_be_bytes());
    UserId::from_bytes(bytes)
}

pub(crate) const fn group(number: u8) -> GroupId {
    GroupId::from_bytes([number; 16])
}

pub(crate) fn key(user: UserId, number: u8) -> [u8; 32] {
    let mut key = [number; 32];
    key[..16].copy_from_slice(user.as_bytes());
    key
}

pub(crate) fn device(user: UserId, number: u8) -> DeviceId {
    auth::device_id(&key(user, number))
}

impl House {
    pub(crate) fn new(partitions: u16) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let faults = Faults::new();
        let free = Arc::new(AtomicU64::new(1 << 40));
        let config = EngineConfig {
            mail_partitions: partitions,
            group_partitions: partitions,
            faults: faults.clone(),
            disk_reserve_bytes: RESERVE,
            maintain_every: None,
            free_space: {
                let free = Arc::clone(&free);
                Arc::new(move |_| Ok(free.load(SeqCst)))
            },
            ..EngineConfig::new(directory.path())
        };
        let engine = Engine::open(config, clock).unwrap();
        let engines = engine.engines();
        let log = Arc::new(Watched {
            log: Arc::clone(&engines.log),
            appended: Arc::default(),
            finished: watch::Sender::default(),
            again_from: Mutex::default(),
            fail_appends: AtomicUsize::new(0),
            refuse_above: AtomicUsize::new(0),
            refuse_all: AtomicBool::new(false),
            owed_most: watch::Sender::new(0),
            owed: Arc::default(),
            read_records: Arc::default(),
            refuse_again: AtomicBool::new(false),
            dead_letters: Mutex::default(),
            fail_letters: AtomicUsize::new(0),
        });
        let engines = Engines { log: Arc::clone(&log) as Arc<dyn Log>, ..engines };
        let (hub, counter) = (Hub::new(1), AtomicU64::new(1));
        Self { faults, log, engines, hub, counter, free, engine, _directory: directory }
    }

    /// From now on only the reserve is free: clients are refused.
    pub(crate) fn fill_disk(&self) {
        self.free.store(RESERVE, SeqCst);
        self.engine.maintain(NOW_MS).unwrap();
    }

    pub(crate) fn start(&self, config: WorkerConfig) -> Running {
        self.start_at(config, clock)
    }

    pub(crate) fn start_at(&self, config: WorkerConfig, wall_clock: fn() -> u64) -> Running {
        self.start_on(self.engines.clone(), config, wall_clock)
    }

    /// Starts a worker on other engines than those of the house.
    pub(crate) fn start_on(
        &self,
        engines: Engines,
        config: WorkerConfig,
        wall_clock: fn() -> u64,
    ) -> Running {
        let registry = Registry::new();
        let parts = Parts {
            engines,
            dialer: MeshDialer::Memory(self.hub.clone()),
            wall_clock,
            metrics: WorkerMetrics::new(&registry).unwrap(),
        };
        let worker = Worker::new(config, parts);
        let (handle, stop, mut task) = (worker.handle(), CancellationToken::new(), JoinSet::new());
        task.spawn(worker.run(stop.clone()));
        Running { handle, registry, stop, task }
    }

    /// Runs a worker until everything is finished.
    pub(crate) async fn work(&self) {
        self.work_with(config()).await;
    }

    pub(crate) async fn work_with(&self, config: WorkerConfig) {
        let running = self.start(config);
        self.settle().await;
        running.stop().await;
    }

    /// Processes the log again from an offset.
    pub(crate) async fn work_again(&self, topic: Topic, from: u64) {
        *self.log.again_from.lock().unwrap() = Some((topic, Offset::new(from)));
        self.log.finished.send_modify(|finished| finished.retain(|lane, _| lane.0 != topic));
        self.work().await;
        *self.log.again_from.lock().unwrap() = None;
    }

    /// Waits until every record is finished; those derived from others too.
    pub(crate) async fn settle(&self) {
        for topic in [Topic::Group, Topic::Mail] {
            let appended = self.log.appended.lock().unwrap().clone();
            for (lane, end) in appended.into_iter().filter(|(lane, _)| lane.0 == topic) {
                self.until_finished(lane, end).await;
            }
        }
    }

    pub(crate) async fn until_finished(&self, lane: (Topic, Partition), position: Seq) {
        let mut finished = self.log.finished.subscribe();
        let reached = finished.wait_for(|ends| ends.get(&lane) >= Some(&position));
        timeout(WITHIN, reached).await.expect("the lane goes on").unwrap();
    }

    pub(crate) fn finished(&self, lane: (Topic, Partition)) -> Option<Seq> {
        self.log.finished.borrow().get(&lane).copied()
    }

    /// The partition of an address.
    pub(crate) fn home(&self, topic: Topic, address: Address) -> Partition {
        partition_of(address, self.engines.log.partition_count(topic))
    }

    pub(crate) async fn append(&self, topic: Topic, records: Vec<(Partition, Bytes)>) -> Vec<Seq> {
        self.engines.log.try_append(topic, records).unwrap().await.unwrap()
    }

    pub(crate) fn item(&self, sender: UserId, to: Address, body: Body) -> Item {
        let counter = Counter::new(self.counter.fetch_add(1, SeqCst));
        let send = SendId { run: RunId::new(1), counter };
        let id = MessageId { user: sender, device: device(sender, 1), send };
        Item { id, to, sent_ms: NOW_MS, ttl_s: 3600, body }
    }

    /// Sends as an edge does.
    pub(crate) async fn send(&self, item: &Item) -> Seq {
        let records = match (item.to, &item.body) {
            (Address::Group(_), _) => {
                let record = GroupRecord(item.encode()).encode();
                let home = self.home(Topic::Group, item.to);
                return self.append(Topic::Group, vec![(home, record)]).await[0];
            }
            (Address::User(_), Body::DeviceChange(_)) => {
                let device_change = Some(item.encode());
                let record = MailRecord { device_change, ..MailRecord::default() };
                vec![(self.home(Topic::Mail, item.to), record.encode())]
            }
            (Address::User(to), _) => self.direct(item, to),
        };
        self.append(Topic::Mail, records).await[0]
    }

    fn direct(&self, item: &Item, to: UserId) -> Vec<(Partition, Bytes)> {
        let (sender, bytes) = (item.id.user, item.encode());
        let record = |recipients: Vec<UserId>, sender_copy| {
            let delivery = Delivery { recipients, sender_copy, item: bytes.clone() };
            MailRecord { deliveries: vec![delivery], ..MailRecord::default() }.encode()
        };
        let home = self.home(Topic::Mail, item.to);
        let sender_home = self.home(Topic::Mail, Address::User(sender));
        if to == sender {
            vec![(home, record(vec![to], None))]
        } else if home == sender_home {
            vec![(home, record(vec![to], Some(sender)))]
        } else {
            vec![(home, record(vec![to], None)), (sender_home, record(vec![], Some(sender)))]
        }
    }

    pub(crate) async fn say(&self, sender: UserId, to: Address, text: &str) -> Item {
        let item = self.item(sender, to, Body::Message(Bytes::copy_from_slice(text.as_bytes())));
        self.send(&item).await;
        item
    }

    pub(crate) async fn register(&self, user: UserId, number: u8) -> Item {
        let (device_key, agent) = (key(user, number), "test".to_owned());
        let change = DeviceChange::Register { device_key, agent };
        let item = self.item(user, Address::User(user), Body::DeviceChange(change));
        self.send(&item).await;
        item
    }

    pub(crate) async fn revoke(&self, user: UserId, number: u8) -> Item {
        let change = DeviceChange::Revoke(device(user, number));
        let item = self.item(user, Address::User(user), Body::DeviceChange(change));
        self.send(&item).await;
        item
    }

    pub(crate) async fn change(&self, sender: UserId, to: GroupId, change: GroupChange) -> Item {
        let item = self.item(sender, Address::Group(to), Body::GroupChange(change));
        self.send(&item).await;
        item
    }

    /// The mailbox of a user.
    pub(crate) async fn rows(&self, user: UserId) -> Vec<(Seq, Item)> {
        let mailbox = &self.engines.mailbox;
        let up_to = mailbox.heads(vec![user]).await.unwrap()[0];
        let mut range =
            Range { user, after: Seq::ZERO, up_to, rows_max: 1000, bytes_max: usize::MAX };
        let mut rows = Vec::new();
        loop {
            let page = mailbox.read(range).await.unwrap();
            let items =
                page.rows.iter().map(|row| (row.seq, Item::decode(row.item.clone()).unwrap()));
            rows.extend(items);
            match rows.last() {
                Some((last, _)) if page.more => range.after = *last,
                _ => return rows,
            }
        }
    }

    /// The mailbox of a user in words.
    pub(crate) async fn texts(&self, user: UserId) -> Vec<String> {
        self.rows(user).await.into_iter().map(|(_, item)| text(&item)).collect()
    }

    /// The mailboxes of users 0 to 50.
    pub(crate) async fn everything(&self) -> Vec<Vec<(Seq, Item)>> {
        let mut everything = Vec::new();
        for number in 0..50 {
            everything.push(self.rows(user(number)).await);
        }
        everything
    }

    /// Everything on the control log so far.
    pub(crate) async fn control(&self) -> Vec<Entry> {
        let log = &self.engines.log;
        let mark = wire::record::ControlRecord::Revoked(user(9999), device(user(9999), 9));
        let end = self.append(Topic::Control, vec![(Partition::new(0), mark.encode())]).await[0];
        let mut reader = log.open(Topic::Control, Partition::new(0)).await.unwrap();
        let mut entries: Vec<Entry> = Vec::new();
        while entries.last().is_none_or(|entry| entry.seq < end) {
            entries.extend(reader.next_batch(1000, usize::MAX).await.unwrap());
        }
        entries.pop();
        entries
    }
}

fn text(item: &Item) -> String {
    match &item.body {
        Body::Message(text) => String::from_utf8(text.to_vec()).unwrap(),
        Body::GroupChange(change) => {
            let name = format!("{change:?}");
            name.split('(').next().unwrap().to_lowercase()
        }
        Body::DeviceChange(DeviceChange::Register { .. }) => "register".to_owned(),
        Body::DeviceChange(DeviceChange::Revoke(_)) => "revoke".to_owned(),
        Body::Verdict(verdict) => format!("{verdict:?}"),
    }
}

impl Running {
    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        let ended = timeout(WITHIN, self.task.join_next()).await.expect("a worker drains");
        ended.expect("it runs").unwrap().unwrap();
    }

    /// The sum of a metric over its labels that contain `label`.
    pub(crate) fn count(&self, name: &str, label: &str) -> u64 {
        let name = format!("posthorn_worker_{name}");
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let metrics = family.get_metric().iter().filter(|metric| {
            label.is_empty() || metric.get_label().iter().any(|pair| pair.value() == label)
        });
        metrics.map(|metric| metric.get_counter().get_value() as u64).sum()
    }

    /// Waits until a metric is above zero.
    pub(crate) async fn until_counted(&self, name: &str) {
        let counted = async {
            while self.count(name, "") == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(WITHIN, counted).await.expect("it is counted");
    }

    /// Waits until the sum of a gauge over its labels that contain `label` is this.
    pub(crate) async fn until_gauge(&self, name: &str, label: &str, value: i64) {
        let name = format!("posthorn_worker_{name}");
        let sum = || {
            let families = self.registry.gather();
            let family = families.iter().find(|family| family.name() == name);
            let metrics = family.map(|family| family.get_metric()).unwrap_or_default().iter();
            let labelled = metrics
                .filter(|metric| metric.get_label().iter().any(|pair| pair.value() == label));
            labelled.map(|metric| metric.get_gauge().get_value() as i64).sum::<i64>()
        };
        let reached = async {
            while sum() != value {
                tokio::task::yield_now().await;
            }
        };
        timeout(WITHIN, reached).await.expect("the gauge gets there");
    }

    /// Waits until so many lanes work.
    pub(crate) async fn until_running(&self, lanes: usize) {
        let running = async {
            while self.handle.lanes().running != lanes {
                tokio::task::yield_now().await;
            }
        };
        timeout(WITHIN, running).await.expect("so many lanes work");
    }

    pub(crate) async fn until_not_ready(&self) {
        let alarmed = async {
            while self.count("alarms_total", "") == 0 || self.handle.is_ready().ready {
                tokio::task::yield_now().await;
            }
        };
        timeout(WITHIN, alarmed).await.expect("a lane stands");
    }
}

fn take(count: &AtomicUsize) -> bool {
    count.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}

/// What an append of a log comes to.
type Taken = Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused>;

impl Watched {
    /// Waits until so many calls that append derived records were under way at once.
    pub(crate) async fn until_owed(&self, calls: usize) {
        let mut most = self.owed_most.subscribe();
        let reached = most.wait_for(|most| *most >= calls);
        timeout(WITHIN, reached).await.expect("so many are under way").unwrap();
    }

    fn watch(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
        append: impl FnOnce(Topic, Vec<(Partition, Bytes)>) -> Taken,
    ) -> Taken {
        if topic == Topic::Mail && self.refuse_all.load(SeqCst) {
            return Err(Refused::Overload);
        }
        let above = self.refuse_above.load(SeqCst);
        if topic == Topic::Mail && above > 0 && records.len() > above {
            return Err(Refused::Overload);
        }
        let partitions: Vec<Partition> = records.iter().map(|(partition, _)| *partition).collect();
        let appended = append(topic, records)?;
        let fails = topic == Topic::Mail && take(&self.fail_appends);
        let ends = Arc::clone(&self.appended);
        Ok(Box::pin(async move {
            let positions = appended.await?;
            for (partition, position) in partitions.into_iter().zip(&positions) {
                let mut ends = ends.lock().unwrap();
                let end = ends.entry((topic, partition)).or_default();
                *end = (*end).max(*position);
            }
            if fails { Err(AppendError("as asked for".into())) } else { Ok(positions) }
        }))
    }
}

impl Log for Watched {
    fn partition_count(&self, topic: Topic) -> u16 {
        self.log.partition_count(topic)
    }

    fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    fn try_append(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused> {
        self.watch(topic, records, |topic, records| self.log.try_append(topic, records))
    }

    fn try_append_owed(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused> {
        let taken =
            self.watch(topic, records, |topic, records| self.log.try_append_owed(topic, records));
        if topic != Topic::Mail {
            return taken;
        }
        let owed = Arc::clone(&self.owed);
        taken.map(|append| {
            let calls = owed.fetch_add(1, SeqCst) + 1;
            self.owed_most.send_modify(|most| *most = (*most).max(calls));
            Box::pin(async move {
                let outcome = append.await;
                owed.fetch_sub(1, SeqCst);
                outcome
            }) as BoxFuture<'static, _>
        })
    }

    fn open(
        &self,
        topic: Topic,
        partition: Partition,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        let from = (*self.again_from.lock().unwrap()).filter(|(again, _)| *again == topic);
        Box::pin(async move {
            let reader = match from {
                Some((_, from)) => self.log.open_at(topic, partition, from).await?,
                None => self.log.open(topic, partition).await?,
            };
            let (lane, finished) = ((topic, partition), self.finished.clone());
            let first_unfinished = from.map_or(reader.first_unfinished(), |(_, from)| from);
            let read_records = Arc::clone(&self.read_records);
            let reader = WatchedReader { reader, first_unfinished, lane, read_records, finished };
            Ok(Box::new(reader) as Box<dyn Reader>)
        })
    }

    fn open_at(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        if self.refuse_again.load(SeqCst) {
            return Box::pin(std::future::ready(Err(ReadError::Stop("as asked for".into()))));
        }
        self.log.open_at(topic, partition, from)
    }

    fn append_dead_letter(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), AppendError>> {
        self.dead_letters.lock().unwrap().push(letter.clone());
        if take(&self.fail_letters) {
            return Box::pin(std::future::ready(Err(AppendError("as asked for".into()))));
        }
        self.log.append_dead_letter(letter)
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        self.log.flush()
    }
}

impl Reader for WatchedReader {
    fn next_batch(
        &mut self,
        records_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, ReadError>> {
        Box::pin(async move {
            let batch = self.reader.next_batch(records_max, bytes_max).await?;
            self.read_records.fetch_add(batch.len(), SeqCst);
            Ok(batch)
        })
    }

    fn first_unfinished(&self) -> Offset {
        self.first_unfinished
    }

    fn commit(&mut self, position: Seq) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async move {
            self.reader.commit(position).await?;
            self.finished.send_modify(|ends| {
                ends.insert(self.lane, position);
            });
            Ok(())
        })
    }
}
