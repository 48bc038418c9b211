//! Engines that take their time, and fail while much is under way.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use ports::{
    BoxFuture, Engines, Mailbox, StoreError,
    mailbox::{Batch, Cursor, Range, Rows},
};
use tokio::{sync::watch, time::timeout};
use wire::{Address, DeviceId, Partition, Seq, Topic, UserId, item::GroupChange, record::Source};
use worker::WorkerConfig;

use crate::{
    gate::Gate,
    house::{House, clock, config, group, user},
};

const LATENCY: Duration = Duration::from_millis(5);
const CALLS: usize = 4;

/// A mailbox behind a network. It checks what workers promise to every store.
struct Far {
    mailbox: Arc<dyn Mailbox>,
    /// Mailboxes that are being written.
    busy: Mutex<BTreeSet<UserId>>,
    newest: Mutex<BTreeMap<UserId, Seq>>,
    calls: AtomicUsize,
    calls_most: watch::Sender<usize>,
    /// Every so manieth call is done and answers that it is not known.
    fail_every: usize,
    made: AtomicUsize,
    latency: Duration,
}

impl Far {
    fn new(house: &House, fail_every: usize) -> Arc<Self> {
        Self::with_latency(house, fail_every, LATENCY)
    }

    fn with_latency(house: &House, fail_every: usize, latency: Duration) -> Arc<Self> {
        Arc::new(Self {
            mailbox: Arc::clone(&house.engines.mailbox),
            busy: Mutex::default(),
            newest: Mutex::default(),
            calls: AtomicUsize::new(0),
            calls_most: watch::Sender::new(0),
            fail_every,
            made: AtomicUsize::new(0),
            latency,
        })
    }

    fn engines(self: &Arc<Self>, house: &House) -> Engines {
        Engines { mailbox: Arc::clone(self) as Arc<dyn Mailbox>, ..house.engines.clone() }
    }

    async fn until_at_once(&self, calls: usize) {
        self.calls_most.subscribe().wait_for(|most| *most >= calls).await.unwrap();
    }

    async fn append_slowly(&self, batch: Batch) -> Result<(), StoreError> {
        let users: BTreeSet<UserId> = batch.rows.iter().map(|row| row.user).collect();
        for user in &users {
            assert!(self.busy.lock().unwrap().insert(*user), "a mailbox has one writer");
        }
        for row in &batch.rows {
            let before = self.newest.lock().unwrap().insert(row.user, row.seq);
            assert!(before.is_none_or(|before| before < row.seq), "a mailbox is written in order");
        }
        let calls = self.calls.fetch_add(1, SeqCst) + 1;
        self.calls_most.send_modify(|most| *most = (*most).max(calls));
        timeout(self.latency, std::future::pending::<()>()).await.ok();
        let made = self.made.fetch_add(1, SeqCst) + 1;
        let fails = self.fail_every > 0 && made.is_multiple_of(self.fail_every);
        if fails {
            // The same rows come again.
            batch.rows.iter().rev().for_each(|row| {
                self.newest.lock().unwrap().insert(row.user, Seq::from_u64(row.seq.get() - 1));
            });
        }
        let stored = self.mailbox.append(batch).await;
        self.calls.fetch_sub(1, SeqCst);
        self.busy.lock().unwrap().retain(|user| !users.contains(user));
        if fails { Err(StoreError::Retry("as asked for".into())) } else { stored }
    }
}

impl Mailbox for Far {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.append_slowly(batch))
    }

    fn marks(&self, partition: Partition) -> BoxFuture<'_, Result<Vec<Source>, StoreError>> {
        self.mailbox.marks(partition)
    }

    fn heads(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Seq>, StoreError>> {
        self.mailbox.heads(users)
    }

    fn read(&self, range: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
        self.mailbox.read(range)
    }

    fn read_back(&self, range: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
        self.mailbox.read_back(range)
    }

    fn cursor(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        self.mailbox.cursor(user, device)
    }

    fn store_cursors(
        &self,
        cursors: Vec<(UserId, DeviceId, Cursor)>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.mailbox.store_cursors(cursors)
    }

    fn erase(&self, user: UserId, up_to: Seq) -> BoxFuture<'_, Result<(), StoreError>> {
        self.mailbox.erase(user, up_to)
    }
}

fn to(number: u16) -> Address {
    Address::User(user(number))
}

/// Batches of a few records, of which several are under way.
fn small() -> WorkerConfig {
    WorkerConfig { batch_records_max: 4, batches_under_way: CALLS, ..config() }
}

#[tokio::test]
async fn a_lane_keeps_a_slow_store_busy_and_each_mailbox_in_order() {
    let house = House::new(1);
    for step in 0..200_u16 {
        house.say(user(40), to(step % 20), &format!("{step}")).await;
    }
    let far = Far::new(&house, 0);
    let running = house.start_on(far.engines(&house), small(), clock);
    far.until_at_once(CALLS).await;
    house.settle().await;
    running.stop().await;
    assert_eq!(*far.calls_most.borrow(), CALLS);
    for number in 0..20 {
        let expected: Vec<_> = (0..10).map(|step| format!("{}", step * 20 + number)).collect();
        assert_eq!(house.texts(user(number)).await, expected);
    }
}

#[tokio::test]
async fn a_busy_mailbox_takes_many_rows_in_one_call() {
    let house = House::new(1);
    for step in 0..200_u16 {
        house.say(user(40), to(1), &format!("{step}")).await;
    }
    let far = Far::new(&house, 0);
    let config = WorkerConfig { batches_under_way: 20, ..small() };
    let running = house.start_on(far.engines(&house), config, clock);
    house.settle().await;
    running.stop().await;
    // Fifty batches: one at a time, each call takes all that came meanwhile.
    assert!(far.made.load(SeqCst) < 25, "{}", far.made.load(SeqCst));
    assert_eq!(house.rows(user(1)).await.len(), 200);
}

#[tokio::test]
async fn what_fails_while_much_is_under_way_loses_and_reorders_nothing() {
    for fail_every in [2, 3, 5] {
        let house = House::new(1);
        house.change(user(0), group(1), GroupChange::Create((1..9).map(user).collect())).await;
        for step in 0..60_u16 {
            house.say(user(step % 9), Address::Group(group(1)), &format!("{step}")).await;
            house.say(user(40), to(20 + step % 7), &format!("{step}")).await;
            if step % 20 == 0 {
                house.register(user(step % 9), 1).await;
                house.register(user(step % 9), 2).await;
            }
        }
        let far = Far::new(&house, fail_every);
        let running = house.start_on(far.engines(&house), small(), clock);
        house.log.fail_appends.store(3, SeqCst);
        house.settle().await;
        running.stop().await;
        for number in 0..7_u16 {
            let expected: Vec<_> = (0..60_u16)
                .filter(|step| step % 7 == number)
                .map(|step| step.to_string())
                .collect();
            assert_eq!(house.texts(user(20 + number)).await, expected);
        }
        let texts = house.texts(user(8)).await;
        let expected = (0..60_u16).filter(|step| step % 9 != 8).map(|step| step.to_string());
        assert_eq!(texts[1..], expected.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn while_a_store_does_not_answer_a_lane_takes_a_bounded_number_of_records() {
    let house = House::new(1);
    for step in 0..100_u16 {
        house.say(user(40), to(step % 20), &format!("{step}")).await;
    }
    let far = Far::with_latency(&house, 0, Duration::from_secs(3600));
    let config = WorkerConfig { drain_within: Duration::ZERO, ..small() };
    let running = house.start_on(far.engines(&house), config.clone(), clock);
    far.until_at_once(CALLS).await;
    // All that it may have under way, it has.
    running.until_gauge("lanes", "running", 2).await;
    assert_eq!(house.log.read_records.load(SeqCst), CALLS * config.batch_records_max);
    running.stop().await;
}

#[tokio::test]
async fn a_lane_learns_that_its_partition_is_lost_also_while_a_store_does_not_answer() {
    let house = House::new(1);
    house.say(user(1), to(2), "a").await;
    house.work().await;
    for step in 0..40 {
        house.say(user(1), to(2), &format!("{step}")).await;
    }
    let far = Far::with_latency(&house, 0, Duration::from_secs(3600));
    let gate = Gate::new(&house.engines, usize::MAX);
    let engines = Engines { log: gate.engines().log, ..far.engines(&house) };
    let config = WorkerConfig { drain_within: Duration::ZERO, ..small() };
    let running = house.start_on(engines, config, clock);
    far.until_at_once(1).await;
    gate.resume();
    let _taken = house.engines.log.open(Topic::Mail, Partition::new(0)).await.unwrap();
    running.until_running(1).await;
    assert_eq!(running.handle.lanes().waiting, 1);
    running.stop().await;
}

#[tokio::test]
async fn derived_records_are_appended_in_several_calls_at_a_time() {
    let house = House::new(1);
    house.change(user(0), group(1), GroupChange::Create(vec![user(1)])).await;
    for step in 0..100 {
        house.say(user(0), Address::Group(group(1)), &format!("{step}")).await;
    }
    house.faults.hold_syncs(true);
    let running = house.start(small());
    house.log.until_owed(CALLS).await;
    house.faults.hold_syncs(false);
    house.settle().await;
    running.stop().await;
    let expected: Vec<_> = (0..100).map(|step| format!("{step}")).collect();
    assert_eq!(house.texts(user(1)).await[1..], expected);
}

#[tokio::test]
async fn a_lane_that_is_stopped_finishes_what_is_under_way_and_commits_it() {
    let house = House::new(1);
    for step in 0..100_u16 {
        house.say(user(40), to(step % 20), &format!("{step}")).await;
    }
    let far = Far::new(&house, 0);
    let running = house.start_on(far.engines(&house), small(), clock);
    far.until_at_once(CALLS).await;
    running.stop().await;
    assert!(far.busy.lock().unwrap().is_empty());
    let finished = house.finished((Topic::Mail, Partition::new(0))).unwrap();
    let heads = house.engines.mailbox.heads((0..20).map(user).collect()).await.unwrap();
    assert_eq!(heads.into_iter().max(), Some(finished));
}
