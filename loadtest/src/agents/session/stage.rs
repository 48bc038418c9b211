//! What an agent plays: a generator, its driver and its ledger.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use link::tls::Roots;
use tokio::{task::spawn_blocking, time::sleep};
use tokio_util::sync::CancellationToken;
use xxhash_rust::xxh3::Xxh3;

use super::Reports;
use crate::{
    agents::{
        frame,
        message::{Answer, Ending, Means, Order, Plan, Report},
        offset::Timepiece,
        play::is_about_devices,
        portion,
    },
    clock::RunClock,
    cluster::{Given, Minter, Usage},
    driver::{
        Driver,
        mqtt::{self, Mqtt},
        nats::{self, Nats},
        posthorn::{self, Posthorn},
    },
    generator::{Generator, Play as _, Setup},
    ledger::{Ledger, RunInfo},
    measure::Span,
    population::{Payloads, Population},
    scenario::{Payload, Scenario},
};

/// The file of messages, as it came from the coordinator.
pub(super) const PAYLOADS_FILE: &str = "messages";
/// Who signs a broker's certificate, as it came from the coordinator.
const AUTHORITY_FILE: &str = "ca.pem";

/// What an agent plays.
pub(super) struct Stage {
    pub(super) generator: Arc<Generator>,
    scenario: Arc<Scenario>,
    ledger: Ledger,
    ledger_path: PathBuf,
    clock: RunClock,
    /// When each began; the first is the setup.
    spans: Mutex<Vec<(Span, u64)>>,
}

impl Stage {
    /// Draws the same population as the coordinator, and makes what plays a part of it.
    ///
    /// # Errors
    /// When it cannot be played here.
    ///
    /// # Cancel safety
    /// A dropped call leaves files in the folder.
    pub(super) async fn build(
        plan: Plan,
        folder: &Path,
        timepiece: Timepiece,
        tokens: Arc<Given>,
    ) -> anyhow::Result<Self> {
        let folder = folder.to_owned();
        let building = spawn_blocking(move || Self::make(plan, &folder, timepiece, tokens));
        building.await.context("it panicked")?
    }

    fn make(
        plan: Plan,
        folder: &Path,
        timepiece: Timepiece,
        tokens: Arc<Given>,
    ) -> anyhow::Result<Self> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        ensure!(plan.name.chars().all(is_plain), "its name is none for a file");
        let mut scenario = Scenario::parse(&plan.text, &plan.origin, folder)?;
        scenario.seed = plan.seed;
        if let Payload::File(path) = &mut scenario.traffic.payload {
            // Never where the scenario says: it is of another machine.
            *path = folder.join(PAYLOADS_FILE);
        }
        let scenario = Arc::new(scenario);
        let population =
            Arc::new(Population::draw(&scenario.population, &scenario.traffic, plan.seed));
        ensure!(
            population.digest() == plan.population,
            "it draws another population than the coordinator: use the same `loadtest` on all \
             machines"
        );
        let payloads = Payloads::load(&scenario.traffic, plan.seed)?;
        let driver = driver(&plan, &population, folder, tokens)?;
        let info = RunInfo {
            run: plan.run,
            seed: plan.seed,
            population: plan.population,
            rules: plan.rules,
        };
        let ledger = Ledger::create(folder, &plan.name, &info)?;
        let clock = timepiece.run_clock(plan.zero_ns);
        let generator = Generator::new(Setup {
            scenario: Arc::clone(&scenario),
            population,
            payloads,
            driver,
            ledger: ledger.clone(),
            clock,
            run: plan.run,
            rules: plan.rules,
            part: plan.part,
        });
        Ok(Self {
            generator: Arc::new(generator),
            scenario,
            ledger,
            ledger_path: Ledger::path(folder, &plan.name),
            clock,
            spans: Mutex::new(vec![(Span(0), 0)]),
        })
    }

    pub(super) fn spans(&self) -> MutexGuard<'_, Vec<(Span, u64)>> {
        self.spans.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stands(&self, usage: Option<Usage>) -> Answer {
        let standing = self.generator.standing();
        let quiet_ns = self.clock.now_ns().saturating_sub(self.generator.latest_ns());
        Answer::Stands { standing, quiet_ns, usage }
    }

    /// Does what takes its time, or until it is to end.
    ///
    /// # Errors
    /// When it cannot be done.
    pub(super) async fn perform(
        &self,
        order: Order,
        reports: &Reports,
        until: &CancellationToken,
    ) -> anyhow::Result<Answer> {
        let generator = &self.generator;
        match order {
            Order::Connect => {
                let tell = |done, of| reports.mention(&Report::Connecting { done, of });
                tokio::select! {
                    biased;
                    () = until.cancelled() => bail!("it was ended"),
                    connected = generator.connect(tell) => connected?,
                }
            }
            Order::MakeGroups => generator.make_groups().await?,
            Order::Assemble => generator.assemble().await?,
            Order::Load { rate, phase, part, began_ns } => {
                generator.load(&rate, (phase, part), began_ns, until).await?;
            }
            Order::Act { phase, began_ns } => self.act(phase, began_ns, until).await,
            Order::SlowDown { phase } => generator.slow_down(phase).await,
            Order::Spans { from } => self.tell_spans(from, reports).await?,
            Order::BringBack { grace_ms } => {
                generator.bring_back(Duration::from_millis(grace_ms)).await;
            }
            Order::Close => {
                return Ok(Answer::Closed { unanswered: generator.close().await });
            }
            Order::SendLedger { end } => return self.send_ledger(end, reports).await,
            Order::Hello { .. }
            | Order::Payloads
            | Order::Tokens(_)
            | Order::Prepare(_)
            | Order::Span { .. }
            | Order::Churn { .. }
            | Order::Cease { .. }
            | Order::Fault
            | Order::Stand
            | Order::Bye => bail!("this is done at once"),
        }
        Ok(Answer::Done)
    }

    /// Begins at its time what a phase does to devices.
    async fn act(&self, phase: u32, began_ns: u64, until: &CancellationToken) {
        let Some(actions) = self.scenario.phases.get(phase as usize).map(|it| &it.actions) else {
            return;
        };
        for (number, action) in (0..).zip(actions) {
            if !is_about_devices(&action.what) {
                continue;
            }
            let at_ns = u64::try_from(action.at.as_nanos()).unwrap_or(u64::MAX);
            let left_ns = began_ns.saturating_add(at_ns).saturating_sub(self.clock.now_ns());
            tokio::select! {
                biased;
                () = until.cancelled() => return,
                () = sleep(Duration::from_nanos(left_ns)) => {}
            }
            self.generator.begin_action((phase, number), &action.what);
        }
    }

    async fn tell_spans(&self, from: usize, reports: &Reports) -> anyhow::Result<()> {
        let spans = self.spans().clone();
        for (span, began_ns) in spans.into_iter().skip(from) {
            let portion = self.generator.span(span);
            let (back, caught_up) = self.generator.returned(began_ns);
            let mut bytes = portion::encode(&portion);
            portion::encode_returns(&back, &mut bytes);
            portion::encode_returns(&caught_up, &mut bytes);
            let missing = (back.missing, caught_up.missing);
            let report = Report::Span { span: span.0, tally: portion.tally, missing };
            reports.say(&report, &bytes).await?;
        }
        Ok(())
    }

    /// Ends the ledger and sends it, piece by piece.
    async fn send_ledger(&self, end: Ending, reports: &Reports) -> anyhow::Result<Answer> {
        let (ledger, now_ns) = (self.ledger.clone(), self.clock.now_ns());
        spawn_blocking(move || ledger.finish(end.into(), now_ns)).await??;
        let mut file = File::open(&self.ledger_path)?;
        let mut digest = Xxh3::new();
        let mut bytes = 0;
        let mut piece = vec![0; frame::PIECE_BYTES];
        loop {
            let len = file.read(&mut piece)?;
            if len == 0 {
                return Ok(Answer::LedgerSent { bytes, digest: digest.digest() });
            }
            let Some(read) = piece.get(..len) else { bail!("the ledger cannot be read") };
            digest.update(read);
            bytes += len as u64;
            reports.say(&Report::Ledger, read).await?;
        }
    }

    /// Disconnects everybody.
    pub(super) async fn end(&self) {
        self.generator.close().await;
    }
}

fn driver(
    plan: &Plan,
    population: &Arc<Population>,
    folder: &Path,
    tokens: Arc<Given>,
) -> anyhow::Result<Arc<dyn Driver>> {
    let people = Arc::clone(population);
    let authority = |ca: &Option<String>| -> anyhow::Result<Option<PathBuf>> {
        let Some(ca) = ca else { return Ok(None) };
        let path = folder.join(AUTHORITY_FILE);
        fs::write(&path, ca).with_context(|| format!("write {}", path.display()))?;
        Ok(Some(path))
    };
    Ok(match &plan.means {
        Means::Posthorn { servers, server_name, ca, issuer, devices_per_socket } => {
            let roots = Roots::from_pem(ca.as_bytes())?;
            let minter = Minter::given(issuer.clone(), tokens);
            let (servers, name) = (servers.clone(), server_name.clone());
            let mut settings = posthorn::Settings::new(servers, name, roots, minter, plan.run);
            settings.devices_per_socket = *devices_per_socket;
            Arc::new(Posthorn::new(settings, people))
        }
        Means::Mqtt { target, ca, devices_per_socket } => {
            let mut settings = mqtt::Settings::new(target.clone(), authority(ca)?, plan.run);
            settings.devices_per_socket = *devices_per_socket;
            Arc::new(Mqtt::new(settings, people)?)
        }
        Means::Nats { target, ca } => {
            let settings = nats::Settings::new(target.clone(), authority(ca)?, plan.run);
            Arc::new(Nats::new(settings, people)?)
        }
    })
}
