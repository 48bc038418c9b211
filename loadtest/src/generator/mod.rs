//! What does to the cluster what the scenario says, at its intended times.
//!
//! A [`Generator`] plays a range of the population's devices: it connects them, says what they have
//! to say, takes them away and brings them back, and hears what arrives. It never waits for the
//! cluster before it says the next thing. The [`conductor`] leads it through the scenario.

pub mod conductor;
mod crowd;
mod devices;
mod drain;
mod ear;
mod flood;
pub mod journal;
mod knee;
mod mouth;
mod pacer;
pub mod play;
mod returns;
pub mod run;
pub mod sampling;
mod tickets;
mod turns;

use std::{
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    arrivals::Arrivals,
    clock::RunClock,
    driver::Driver,
    ledger::{Ledger, Rules},
    measure::{Portion, Recorder, Span},
    population::{DeviceIndex, Payloads, Population, Sends},
    scenario::{PhaseRate, Process, Scenario, What, seed::Purpose},
};

pub(crate) use self::drain::{QUIET_NS, SETTLED_NS};
use self::{
    crowd::{Crowd, Progress, action_random},
    devices::Devices,
    ear::Ear,
    mouth::{Changes, Mouth},
    pacer::Pace,
    turns::Turns,
};
pub use self::{drain::Drained, play::Play, returns::Stretch};

/// How far something is, and whether it is over, is looked at so often.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Which part of the population a generator plays, and how much of the load is its.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Its devices, all of each of its users.
    pub devices: Range<DeviceIndex>,
    /// Its share of the rates of the scenario, 0 to 1.
    pub share: f64,
    /// What its own draws come from; different for every part.
    pub seed: u64,
}

impl Part {
    /// The one part that is everything.
    #[must_use]
    pub fn whole(population: &Population, scenario: &Scenario) -> Self {
        let devices = DeviceIndex(0)..DeviceIndex(population.device_count());
        Self { devices, share: 1.0, seed: scenario.seed }
    }
}

/// What a generator is made of.
pub struct Setup {
    /// What is to be done.
    pub scenario: Arc<Scenario>,
    /// Who there is.
    pub population: Arc<Population>,
    /// What is said.
    pub payloads: Payloads,
    /// How the cluster is spoken to.
    pub driver: Arc<dyn Driver>,
    /// Where everything is written down.
    pub ledger: Ledger,
    /// The clock of the run.
    pub clock: RunClock,
    /// The number of the run.
    pub run: u64,
    /// What is due to whom.
    pub rules: Rules,
    /// Which part is played.
    pub part: Part,
}

/// Plays a part of the population.
pub struct Generator {
    scenario: Arc<Scenario>,
    population: Arc<Population>,
    crowd: Arc<Crowd>,
    /// None while the pacer has it.
    mouth: Mutex<Option<Box<Mouth>>>,
    part: Part,
    /// What goes on beside the load, such as devices that come back.
    aside: Mutex<JoinSet<()>>,
}

/// How a generator stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Devices connected.
    pub connections: usize,
    /// Devices wanted connected.
    pub wanted: usize,
    /// Of them, those that may have something waiting.
    pub catching_up: usize,
    /// Sends that wait for their outcome.
    pub waiting: usize,
    /// Deliveries that the accepted messages are due.
    pub due: u64,
    /// Deliveries heard.
    pub delivered: u64,
}

impl Generator {
    /// A generator with nobody connected.
    #[must_use]
    pub fn new(setup: Setup) -> Self {
        let Setup { scenario, population, payloads, driver, ledger, clock, run, rules, part } =
            setup;
        let devices = Arc::new(Devices::new(part.devices.clone()));
        let recorder = Arc::new(Recorder::new());
        let ear = Arc::new(Ear::new(clock, run, Arc::clone(&devices), recorder, ledger));
        let changes = Arc::new(Changes::default());
        let sends = Sends::new(Arc::clone(&population), &scenario.traffic, &payloads, part.seed);
        let mouth = Mouth::new(
            &population,
            sends,
            payloads,
            rules.own_copies,
            Arc::clone(&ear),
            Arc::clone(&changes),
        );
        let stop = CancellationToken::new();
        let crowd = Arc::new(Crowd { driver, devices, ear, changes, stop });
        let mouth = Mutex::new(Some(Box::new(mouth)));
        Self { scenario, population, crowd, mouth, part, aside: Mutex::default() }
    }

    /// Connects every device once. `tell` hears how many are connected.
    ///
    /// # Errors
    /// When a device cannot be connected.
    ///
    /// # Cancel safety
    /// A dropped call leaves some connected.
    pub async fn connect(&self, tell: impl Fn(usize, usize)) -> anyhow::Result<()> {
        let (progress, of) = (Progress::default(), self.crowd.devices.len());
        let connecting = self.crowd.connect_all(&progress);
        let mut connecting = std::pin::pin!(connecting);
        loop {
            tell(progress.done(), of);
            if let Ok(connected) = timeout(LOOK_EVERY, &mut connecting).await {
                connected?;
                break;
            }
        }
        tell(of, of);
        Ok(())
    }

    /// A new span begins: what is intended from then on is judged as part of it.
    pub fn begin_span(&self, began_ns: u64) -> Span {
        self.crowd.ear.back.begin(began_ns);
        self.crowd.ear.caught_up.begin(began_ns);
        self.crowd.ear.recorder.begin_span(began_ns)
    }

    /// Sends at a rate from `began_ns` on, until its duration is over or `stop` is cancelled.
    /// `phase` and `part` are the places of the phase, and of the try within it.
    ///
    /// # Errors
    /// When the times cannot be kept at all.
    ///
    /// # Cancel safety
    /// Not cancel safe: cancel `stop` instead.
    pub async fn load(
        &self,
        rate: &PhaseRate,
        (phase, part): (u32, u32),
        began_ns: u64,
        stop: &CancellationToken,
    ) -> anyhow::Result<()> {
        let mouth = lock(&self.mouth).take().context("another load is under way")?;
        let rate = &scaled(rate, self.part.share);
        let clock = self.crowd.ear.clock;
        let pace = match rate.closed_senders() {
            None => Pace::Open(Box::new(Arrivals::new(rate, self.part.seed, phase, part))),
            Some(senders) => Pace::Closed(Turns::new(senders, rate, began_ns)),
        };
        let mouth = pacer::pace(mouth, pace, clock, began_ns, stop).await?;
        *lock(&self.mouth) = Some(mouth);
        let lasts_ns = u64::try_from(rate.duration.as_nanos()).unwrap_or(u64::MAX);
        let left_ns = (began_ns.saturating_add(lasts_ns)).saturating_sub(clock.now_ns());
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = sleep(Duration::from_nanos(left_ns)) => {}
        }
        Ok(())
    }

    /// Devices come and go until `until`, at this generator's share of the phase's churn.
    pub fn churn(&self, phase: u32, until: CancellationToken) {
        let Some(mut churn) = self.scenario.phases[phase as usize].churn else { return };
        churn.per_s *= self.part.share;
        let random = Purpose::Churn { phase }.random(self.part.seed);
        let crowd = Arc::clone(&self.crowd);
        self.aside().spawn(async move { crowd.churn(churn, random, &until).await });
    }

    /// Makes the phase's share of devices read slowly, or none when it has none.
    ///
    /// # Cancel safety
    /// A dropped call has told some of them.
    pub async fn slow_down(&self, phase: u32) {
        let slow = self.scenario.phases[phase as usize].slow_readers;
        let mut random = Purpose::SlowReaders { phase }.random(self.part.seed);
        let all: Vec<_> = self.crowd.devices.all().collect();
        let slowed = slow.map(|slow| (Crowd::draw(all, slow.share, &mut random), slow.pause));
        self.crowd.slow_down(slowed).await;
    }

    /// Begins what an action does to devices; false when it is about something else.
    pub fn begin_action(&self, (phase, number): (u32, u32), what: &What) -> bool {
        let mut random = action_random(self.part.seed, phase, number);
        let crowd = Arc::clone(&self.crowd);
        match what {
            What::Disconnect { share, over } => {
                let (devices, over) = (Crowd::draw(crowd.wanted(true), *share, &mut random), *over);
                self.aside().spawn(async move { crowd.disconnect(devices, over).await });
            }
            What::Reconnect { share, over } => {
                let (devices, over) =
                    (Crowd::draw(crowd.wanted(false), *share, &mut random), *over);
                crowd.expect_back(&devices);
                self.aside().spawn(async move { crowd.reconnect(devices, over, None).await });
            }
            What::Rebind { share, over } => {
                let (devices, over) = (Crowd::draw(crowd.wanted(true), *share, &mut random), *over);
                self.aside().spawn(async move { crowd.rebind_all(devices, over).await });
            }
            What::DrainProcess(_)
            | What::Kill(_)
            | What::Stop(_)
            | What::Cont(_)
            | What::Start(_)
            | What::Terminate(_)
            | What::Command(_)
            | What::Flood(_) => return false,
        }
        true
    }

    fn aside(&self) -> MutexGuard<'_, JoinSet<()>> {
        let mut aside = lock(&self.aside);
        while aside.try_join_next().is_some() {}
        aside
    }

    /// A fault is about to be made: connections that break now break because of it.
    pub fn fault(&self) {
        self.crowd.ear.fault();
    }

    /// What is known of a span so far.
    #[must_use]
    pub fn span(&self, span: Span) -> Portion {
        self.crowd.ear.recorder.span(span)
    }

    /// How long devices took to come back, and to have what had waited for them, of those that were
    /// sent away in the stretch that began at `began_ns`.
    fn returned(&self, began_ns: u64) -> (Stretch, Stretch) {
        (self.crowd.ear.back.of(began_ns), self.crowd.ear.caught_up.of(began_ns))
    }
}

impl std::ops::AddAssign for Standing {
    fn add_assign(&mut self, other: Self) {
        self.connections += other.connections;
        self.wanted += other.wanted;
        self.catching_up += other.catching_up;
        self.waiting += other.waiting;
        self.due += other.due;
        self.delivered += other.delivered;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The same rate for a part of the population.
fn scaled(rate: &PhaseRate, share: f64) -> PhaseRate {
    let process = match &rate.process {
        Process::Steps(rates) => Process::Steps(rates.iter().map(|rate| rate * share).collect()),
        Process::Constant | Process::Poisson | Process::Sine { .. } => rate.process.clone(),
        // Agents have no closed loops, so this is the whole of it.
        Process::Closed { .. } => rate.process.clone(),
    };
    PhaseRate { rate: rate.rate * share, process, duration: rate.duration }
}

#[cfg(test)]
mod tests;
