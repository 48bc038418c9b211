//! Whole runs against a target in this process that does what a test wants.

#![allow(clippy::unwrap_used)]

use std::{
    mem,
    ops::Range,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::{sync::Notify, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use super::run::{About, Run};
use crate::{
    driver::{
        Abilities, BoxFuture, ConnectError, Device, Driver, Hear, SendError, Sink, Told, null::Null,
    },
    ledger::{Message, Rules, content},
    population::{ConversationIndex, DeviceIndex, Payloads, Population},
    report::summary::{ClosedLoop, Kind, Outcome, Summary},
    scenario::Scenario,
    view::Mode,
};

/// What a target does besides answering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trick {
    /// Nothing.
    None,
    /// The tenth delivery never comes.
    Lose,
    /// The tenth delivery comes twice.
    Repeat,
    /// The tenth delivery to a device comes after the one behind it.
    Swap,
    /// A bit of the tenth delivery is another.
    Change,
    /// The tenth delivery goes to somebody else.
    Misdirect,
    /// After the tenth delivery a send is taken back.
    TakeBack,
    /// Every send keeps the caller for so long.
    Block(Duration),
}

/// A target that answers at once, with a trick.
struct Target {
    inner: Null,
    ways: Arc<Ways>,
}

/// What stands between the target and the generator.
struct Ways {
    trick: Trick,
    devices: u32,
    deliveries: AtomicU64,
    /// A delivery that waits to be overtaken, and by whom.
    behind: Mutex<Option<(DeviceIndex, Bytes)>>,
    /// What is held while the target stands still.
    held: Mutex<Option<Vec<(Sink, DeviceIndex, Told)>>>,
    /// Something was told.
    told: Notify,
    /// Everything that was sent.
    sent: Mutex<Vec<Message>>,
}

struct Tricky {
    sink: Sink,
    ways: Arc<Ways>,
}

struct Handle {
    inner: Box<dyn Device>,
    ways: Arc<Ways>,
}

impl Ways {
    fn stand_still(&self) {
        *self.held.lock().unwrap() = Some(Vec::new());
    }

    /// Waits until something is so of what was told.
    async fn until(&self, is: impl Fn(&Self) -> bool) {
        while !is(self) {
            self.told.notified().await;
        }
    }

    fn deliveries(&self) -> u64 {
        self.deliveries.load(Ordering::Relaxed)
    }

    fn outcomes_held(&self) -> usize {
        let held = self.held.lock().unwrap();
        let outcomes = held.iter().flatten().filter(|(_, _, told)| is_outcome(told));
        outcomes.count()
    }

    fn go_on(&self) {
        let held = self.held.lock().unwrap().take();
        for (sink, device, told) in held.into_iter().flatten() {
            sink.hear(device, told);
        }
    }
}

fn is_outcome(told: &Told) -> bool {
    matches!(told, Told::Outcome { .. })
}

impl Hear for Tricky {
    fn hear(&self, device: DeviceIndex, told: Told) {
        self.pass(device, told);
        self.ways.told.notify_one();
    }
}

impl Tricky {
    fn pass(&self, device: DeviceIndex, told: Told) {
        let mut held = self.ways.held.lock().unwrap();
        if let Some(held) = &mut *held {
            held.push((Arc::clone(&self.sink), device, told));
            return;
        }
        drop(held);
        let Told::Delivery(payload) = told else { return self.sink.hear(device, told) };
        let tenth = self.ways.deliveries.fetch_add(1, Ordering::Relaxed) == 9;
        let deliver = |device, payload| self.sink.hear(device, Told::Delivery(payload));
        match self.ways.trick {
            Trick::Lose if tenth => {}
            Trick::Repeat if tenth => {
                deliver(device, payload.clone());
                deliver(device, payload);
            }
            Trick::Change if tenth => {
                let mut changed = payload.to_vec();
                *changed.last_mut().unwrap() ^= 1;
                deliver(device, changed.into());
            }
            Trick::Misdirect if tenth => {
                deliver(
                    DeviceIndex((device.0 + self.ways.devices / 2) % self.ways.devices),
                    payload,
                );
            }
            Trick::TakeBack if tenth => {
                deliver(device, payload);
                self.sink.hear(device, Told::TakenBack("no member".to_owned()));
            }
            Trick::Swap => {
                let mut behind = self.ways.behind.lock().unwrap();
                if tenth {
                    *behind = Some((device, payload));
                    return;
                }
                deliver(device, payload);
                if behind.as_ref().is_some_and(|(waits, _)| *waits == device) {
                    let (device, payload) = behind.take().unwrap();
                    deliver(device, payload);
                }
            }
            Trick::None
            | Trick::Lose
            | Trick::Repeat
            | Trick::Change
            | Trick::Misdirect
            | Trick::TakeBack
            | Trick::Block(_) => deliver(device, payload),
        }
    }
}

impl Driver for Target {
    fn name(&self) -> &'static str {
        "tricky"
    }

    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    fn prepare(&self, devices: Range<DeviceIndex>) -> BoxFuture<'_, anyhow::Result<()>> {
        self.inner.prepare(devices)
    }

    fn connect(
        &self,
        device: DeviceIndex,
        sink: Sink,
    ) -> BoxFuture<'static, Result<Box<dyn Device>, ConnectError>> {
        let ways = Arc::clone(&self.ways);
        let tricky = Arc::new(Tricky { sink, ways: Arc::clone(&ways) });
        let connecting = self.inner.connect(device, tricky);
        Box::pin(async move {
            Ok(Box::new(Handle { inner: connecting.await?, ways }) as Box<dyn Device>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.inner.close()
    }
}

impl Device for Handle {
    fn send(&self, ticket: u64, to: ConversationIndex, payload: Bytes) -> Result<(), SendError> {
        if let Trick::Block(block) = self.ways.trick {
            std::thread::park_timeout(block);
        }
        let header = content::read(&payload).unwrap();
        let content::Header { from, conversation, counter, .. } = header;
        self.ways.sent.lock().unwrap().push(Message { from, conversation, counter });
        self.inner.send(ticket, to, payload)
    }

    fn rebind(&self) -> anyhow::Result<()> {
        self.inner.rebind()
    }

    fn read_slowly(&self, pause: Duration) {
        self.inner.read_slowly(pause);
    }

    fn disconnect(self: Box<Self>) -> BoxFuture<'static, ()> {
        self.inner.disconnect()
    }
}

/// A run of two users' worth of conversations and what a test needs of it.
struct Fixture {
    run: Run,
    ways: Arc<Ways>,
    folder: TempDir,
}

const HEAD: &str = "
name = 'test'
about = 'A test.'
seed = 7
[population]
users = 20
devices_per_user = { weights = [0.5, 0.5] }
contacts = { per_user = { min = 2, max = 5 } }
groups = { count = 3, members = { min = 3, max = 6 } }
online = 0.9
[traffic]
to_groups = 0.3
payload = { fixed = 100 }
[honest]
schedule_delay_p99_max = '1s'
grace = '2s'
";

impl Fixture {
    fn new(phases: &str, trick: Trick) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let scenario = Scenario::parse(&format!("{HEAD}{phases}"), "test", Path::new("")).unwrap();
        let population =
            Arc::new(Population::draw(&scenario.population, &scenario.traffic, scenario.seed));
        let ways = Arc::new(Ways {
            trick,
            devices: population.device_count(),
            deliveries: AtomicU64::new(0),
            behind: Mutex::default(),
            held: Mutex::default(),
            told: Notify::new(),
            sent: Mutex::default(),
        });
        let inner = Null::new(Arc::clone(&population));
        let run = Run {
            id: 99,
            payloads: Payloads::load(&scenario.traffic, scenario.seed).unwrap(),
            scenario: Arc::new(scenario),
            population,
            driver: Arc::new(Target { inner, ways: Arc::clone(&ways) }),
            rules: Rules::POSTHORN,
            cluster: None,
            target: None,
            metrics: Vec::new(),
            watch: Vec::new(),
            folder: folder.path().to_owned(),
            mode: Mode::Quiet,
            about: About::default(),
            company: None,
            interrupt: CancellationToken::new(),
        };
        Self { run, ways, folder }
    }

    async fn perform(self) -> Summary {
        let summary = self.run.perform().await.unwrap();
        let read = Summary::load(self.folder.path()).unwrap();
        assert_eq!(read.verdict, summary.verdict, "what was written is what was found");
        assert!(self.folder.path().join("report.html").is_file());
        assert!(self.folder.path().join("end_to_end.hlog").is_file());
        assert!(self.folder.path().join("scenario.toml").is_file());
        summary
    }
}

fn phase(duration: &str, rate: u32) -> String {
    format!(
        "[[phase]]\nname = 'load'\nduration = '{duration}'\nrate = {rate}\narrivals = 'constant'\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_keeps_its_contract_passes_and_everything_adds_up() {
    let summary = Fixture::new(&phase("1s", 300), Trick::None).perform().await;
    assert_eq!(summary.verdict.outcome, Outcome::Pass, "{:?}", summary.verdict);
    let ledger = summary.ledger.unwrap();
    assert_eq!(ledger.sent, summary.phases[0].counts.sent);
    assert_eq!(ledger.accepted, 299, "one a distance, the last before the end");
    assert_eq!(ledger.due, summary.phases[0].counts.due);
    assert_eq!(ledger.delivered, ledger.due);
    assert!(summary.phases[0].latency.get(Kind::CatchUp).is_some(), "some were away");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_taken_back_after_it_was_accepted_is_an_error() {
    let summary = Fixture::new(&phase("1s", 300), Trick::TakeBack).perform().await;
    let [error] = summary.phases[0].errors.as_slice() else { panic!("{:?}", summary.phases[0]) };
    assert_eq!((error.kind.as_str(), error.count), ("taken back", 1));
    assert_eq!(error.example.as_deref(), Some("no member"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_times_are_kept_while_the_target_stands_still() {
    let fixture = Fixture::new(&phase("4s", 100), Trick::None);
    let ways = Arc::clone(&fixture.ways);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        ways.until(|ways| ways.deliveries() > 0).await;
        ways.stand_still();
        // At 100/s these are 2 s.
        ways.until(|ways| ways.outcomes_held() >= 200).await;
        ways.go_on();
    });
    let summary = fixture.perform().await;
    let phase = &summary.phases[0];
    assert_eq!(phase.counts.sent, 399, "nothing is skipped");
    let of = |kind| phase.latency.get(kind).unwrap();
    assert!(of(Kind::ScheduleDelay).p50_us < 500_000, "{:?}", of(Kind::ScheduleDelay));
    for kind in [Kind::Accept, Kind::EndToEnd] {
        // Half of the messages were intended while it stood still, evenly over those 2 s.
        assert!(of(kind).max_us > 1_800_000, "{kind:?} {:?}", of(kind));
        assert!(of(kind).p90_us > 1_000_000, "{kind:?} {:?}", of(kind));
    }
}

fn closed_phase(duration: &str, rate: u32, senders: u32) -> String {
    phase(duration, rate)
        .replace("'constant'", &format!("{{ closed = {{ senders = {senders} }} }}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_loop_waits_while_the_target_stands_still_and_says_what_that_hides() {
    let fixture = Fixture::new(&closed_phase("3s", 100, 3), Trick::None);
    let ways = Arc::clone(&fixture.ways);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        ways.until(|ways| ways.deliveries() > 0).await;
        ways.stand_still();
        ways.until(|ways| ways.outcomes_held() == 3).await;
        let fourth = ways.until(|ways| ways.outcomes_held() > 3);
        let stands = timeout(Duration::from_secs(1), fourth).await.is_err();
        ways.go_on();
        stands
    });
    let summary = fixture.perform().await;
    assert!(tasks.join_next().await.unwrap().unwrap(), "each waits for its answer");
    let phase = &summary.phases[0];
    assert_eq!(phase.closed_loop, Some(ClosedLoop { senders: 3 }));
    assert_eq!(phase.counts.intended, 299, "what was wanted");
    assert!((100..250).contains(&phase.counts.sent), "{:?}", phase.counts);
    assert_eq!(phase.counts.accepted, phase.counts.sent);
    let accept = phase.latency.get(Kind::Accept).unwrap();
    assert_eq!(accept.count, phase.counts.sent);
    assert!(accept.max_us > 1_000_000, "who waited has its latency: {accept:?}");
    assert!(accept.p90_us < 500_000, "and nobody else, from when it was sent: {accept:?}");
    let note = &summary.verdict.notes[0];
    assert!(note.starts_with("load was a closed loop: each of 3 senders waited"), "{note}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_loop_of_quick_answers_keeps_its_rate_and_says_the_same_from_the_same_seed() {
    let mut runs = Vec::new();
    for _ in 0..2 {
        let fixture = Fixture::new(&closed_phase("1s", 200, 20), Trick::None);
        let ways = Arc::clone(&fixture.ways);
        let summary = fixture.perform().await;
        assert_eq!(summary.verdict.outcome, Outcome::Pass, "{:?}", summary.verdict);
        let counts = summary.phases[0].counts;
        assert!(counts.intended == 199 && counts.sent > 100, "{counts:?}");
        runs.push(mem::take(&mut *ways.sent.lock().unwrap()));
    }
    assert_eq!(runs[0][..100], runs[1][..100]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_the_same_run() {
    let load = "[[phase]]\nname = 'load'\nduration = '1s'\nrate = 500\n";
    let one = Fixture::new(load, Trick::None).perform().await;
    let two = Fixture::new(load, Trick::None).perform().await;
    assert_eq!(one.run.population, two.run.population);
    assert_eq!(one.phases[0].counts, two.phases[0].counts);
    assert!(one.phases[0].counts.sent > 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_run_is_drained_verified_and_reported() {
    let fixture = Fixture::new(&phase("10m", 200), Trick::None);
    let (ways, interrupt) = (Arc::clone(&fixture.ways), fixture.run.interrupt.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        ways.until(|ways| ways.deliveries() >= 50).await;
        interrupt.cancel();
    });
    let summary = fixture.perform().await;
    assert_eq!(summary.verdict.outcome, Outcome::Interrupted);
    let ledger = summary.ledger.unwrap();
    assert!(ledger.is_clean() && ledger.is_complete(), "{}", ledger.says());
    assert!(ledger.delivered >= 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_generator_that_is_late_gives_no_result() {
    let late = HEAD.replace("'1s'", "'5ms'");
    assert_ne!(late, HEAD);
    let mut fixture = Fixture::new(&phase("1s", 200), Trick::Block(Duration::from_millis(20)));
    let text = format!("{late}{}", phase("1s", 200));
    fixture.run.scenario = Arc::new(Scenario::parse(&text, "test", Path::new("")).unwrap());
    let summary = fixture.perform().await;
    assert_eq!(summary.verdict.outcome, Outcome::GeneratorBound, "{:?}", summary.verdict);
    assert_eq!(summary.phases[0].counts.sent, 199, "late, but nothing is skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_breach_of_the_contract_is_a_violation() {
    let tricks = [Trick::Lose, Trick::Repeat, Trick::Swap, Trick::Change, Trick::Misdirect];
    let mut runs = JoinSet::new();
    for trick in tricks {
        runs.spawn(async move {
            // A miss of the bound is less grave than what was planted.
            let load = phase("1s", 400) + "slo = { end_to_end_p50 = '1us' }\n";
            (trick, Fixture::new(&load, trick).perform().await)
        });
    }
    while let Some(ended) = runs.join_next().await {
        let (trick, summary) = ended.unwrap();
        assert_eq!(summary.verdict.outcome, Outcome::Violation, "{trick:?}");
        let mut ledger = summary.ledger.unwrap();
        assert!(!mem::take(&mut ledger.violations).is_empty(), "{trick:?}");
    }
}
