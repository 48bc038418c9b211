//! The agents of a run, as the coordinator leads them.

use std::{
    fs::File,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use anyhow::{Context as _, bail, ensure};
use futures_util::future::{join_all, try_join_all};
use link::{MeshDialer, mesh::QuicDialer, tls::MeshIdentity};
use tokio::{task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;

use super::{
    frame, keys,
    message::{Answer, Ending, Means, Order, Plan},
    offset::Offset,
    parts,
    seat::Seat,
    tokens,
};
use crate::{
    clock::{RunClock, wall_clock_ns},
    cluster::Minter,
    generator::Part,
    ledger::{Ledger, Rules, RunInfo},
    measure::Portion,
    population::{Payloads, Population},
    report::summary::{self, Kind},
    scenario::{Payload, Scenario},
};

/// The agents of a run. Dropping it ends the run on all of them.
pub struct Crew {
    pub(super) seats: Vec<Arc<Seat>>,
    /// The clock that offsets are measured against; that of the run begins later.
    clock: RunClock,
    lost: CancellationToken,
    cast: OnceLock<Cast>,
    /// When each span began; the first is the setup.
    pub(super) spans: Mutex<Vec<u64>>,
    pub(super) tasks: Mutex<JoinSet<()>>,
}

/// Who plays what.
struct Cast {
    parts: Vec<Part>,
    /// What the clocks of the agents showed when that of the crew showed 0.
    offsets: Vec<Offset>,
}

/// What a crew is to do.
pub struct Job {
    /// What is to be done.
    pub scenario: Arc<Scenario>,
    /// Who there is.
    pub population: Arc<Population>,
    /// What is said.
    pub payloads: Payloads,
    /// The number of the run.
    pub run: u64,
    /// What is due to whom.
    pub rules: Rules,
    /// How the cluster is spoken to.
    pub means: Means,
    /// Signs tokens, where the cluster wants some. It stays here.
    pub minter: Option<Arc<Minter>>,
    /// The clock of the run.
    pub clock: RunClock,
}

impl Crew {
    /// Connects to every agent. To be called within a Tokio runtime.
    ///
    /// # Errors
    /// When one of them cannot be had; the message says which, and what to do.
    ///
    /// # Cancel safety
    /// A dropped call leaves the agents waiting for another coordinator.
    pub async fn call(addresses: &[String], identity: MeshIdentity) -> anyhow::Result<Self> {
        for (place, address) in addresses.iter().enumerate() {
            ensure!(!addresses[..place].contains(address), "--agents names {address} twice");
        }
        let dialer = MeshDialer::Quic(QuicDialer::bind(identity, keys::AGENT)?);
        let (clock, lost) = (RunClock::start(), CancellationToken::new());
        let take = |address: &String| Seat::take(&dialer, address.clone(), clock, lost.clone());
        let seats = try_join_all(addresses.iter().map(take)).await?;
        Ok(Self {
            seats: seats.into_iter().map(Arc::new).collect(),
            clock,
            lost,
            cast: OnceLock::new(),
            spans: Mutex::new(vec![0]),
            tasks: Mutex::default(),
        })
    }

    /// Tells every agent its part, and makes their clocks agree with that of the run.
    ///
    /// # Errors
    /// When an agent cannot do its part.
    ///
    /// # Cancel safety
    /// A dropped call leaves the crew of no more use.
    pub async fn prepare(&self, job: &Job) -> anyhow::Result<()> {
        let Job { scenario, population, payloads, .. } = job;
        let parts = parts::split(population, scenario, payloads, self.seats.len());
        if parts.len() < self.seats.len() {
            bail!("there are {} agents and only {} users", self.seats.len(), parts.len());
        }
        let digest = population.digest();
        let preparing = (1..).zip(self.seats.iter().zip(&parts)).map(|(number, (seat, part))| {
            self.prepare_one(seat, part, job, name_of(number), digest)
        });
        let offsets = try_join_all(preparing).await?;
        let keeps_tokens = job.minter.clone().map(|minter| {
            let (seats, parts) = (self.seats.clone(), parts.clone());
            renew(seats, parts, minter, Arc::clone(population), job.run)
        });
        if let Some(renewing) = keeps_tokens {
            self.tasks().spawn(renewing);
        }
        let cast = self.cast.set(Cast { parts, offsets });
        ensure!(cast.is_ok(), "the crew has a part already");
        Ok(())
    }

    async fn prepare_one(
        &self,
        seat: &Seat,
        part: &Part,
        job: &Job,
        name: String,
        population: u64,
    ) -> anyhow::Result<Offset> {
        let offset = seat.measure().await?;
        if let Payload::File(path) = &job.scenario.traffic.payload {
            let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
            for piece in text.chunks(frame::PIECE_BYTES) {
                seat.ask(Order::Payloads, piece).await?;
            }
        }
        if let Some(minter) = &job.minter {
            let devices = part.devices.clone();
            tokens::give(seat, minter, &job.population, devices, job.run).await?;
        }
        // The clock of the run began after ours, at what ours showed then.
        let run_ns = job.clock.now_ns();
        let ahead_ns = i64::try_from(self.clock.now_ns().saturating_sub(run_ns))?;
        let plan = Plan {
            name,
            text: job.scenario.text.clone(),
            origin: job.scenario.origin.clone(),
            seed: job.scenario.seed,
            run: job.run,
            population,
            part: part.clone(),
            rules: job.rules,
            means: job.means.clone(),
            zero_ns: offset.zero_ns.saturating_add(ahead_ns),
        };
        seat.ask(Order::Prepare(Box::new(plan)), &[]).await?;
        // What it uses before anybody is connected.
        seat.ask(Order::Stand, &[]).await?;
        Ok(offset)
    }

    /// Waits until an agent is lost.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn lost(&self) {
        self.lost.cancelled().await;
    }

    /// Who is lost, and why, a sentence each.
    #[must_use]
    pub fn losses(&self) -> Vec<String> {
        let told = (1..).zip(&self.seats).filter_map(|(number, seat)| {
            let why = seat.told().lost.clone()?;
            Some(format!("{} at {} was lost: {why}", name_of(number), seat.address))
        });
        told.collect()
    }

    /// Brings the ledgers of all agents together in the folder of the run. An agent that is lost
    /// has an empty one, which shows in the verdict that something is missing.
    ///
    /// # Errors
    /// When a file cannot be written.
    ///
    /// # Cancel safety
    /// A dropped call leaves some of them incomplete.
    pub async fn gather(&self, folder: &Path, info: &RunInfo, drained: bool) -> anyhow::Result<()> {
        let end = if drained && self.all_there() { Ending::Drained } else { Ending::Interrupted };
        let copying = (1..).zip(&self.seats).map(|(number, seat)| async move {
            let name = name_of(number);
            // Its head is written at once, and so is told what is to follow.
            drop(Ledger::create(folder, &name, info)?);
            if !seat.is_there() {
                return Ok(());
            }
            let path = Ledger::path(folder, &name);
            let file = File::create(&path).with_context(|| format!("write {}", path.display()))?;
            seat.copy_ledger(file);
            let copied = match seat.ask(Order::SendLedger { end }, &[]).await {
                Ok(Answer::LedgerSent { bytes, digest }) => seat.check_ledger(bytes, digest),
                Ok(_) => Err(anyhow::anyhow!("the agent {} sent no ledger", seat.address)),
                Err(problem) => Err(problem),
            };
            match copied {
                // Lost while it sent: what came may be torn, which the verdict shows.
                Err(_) if !seat.is_there() => restore_head(folder, &name, info),
                copied => copied,
            }
        });
        try_join_all(copying).await?;
        Ok(())
    }

    /// The agents as the summary shows them. Measures their clocks once more.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn describe(&self) -> Vec<summary::Agent> {
        let measuring = self.seats.iter().map(|seat| async { seat.measure().await.ok() });
        let offsets = join_all(measuring).await;
        let now_ns = i64::try_from(wall_clock_ns()).unwrap_or(i64::MAX);
        let zero_ns = now_ns.saturating_sub_unsigned(self.clock.now_ns());
        let Some(cast) = self.cast.get() else { return Vec::new() };
        let all = (1..).zip(&self.seats).zip(cast.parts.iter().zip(&cast.offsets)).zip(offsets);
        all.map(|(((number, seat), (part, begin)), end)| {
            let told = seat.told();
            let mut all = Portion::default();
            told.spans.values().for_each(|account| all.add(&account.portion));
            let drift_ns = end.map(|end| end.zero_ns.saturating_sub(begin.zero_ns));
            summary::Agent {
                name: name_of(number),
                address: seat.address.clone(),
                devices: u64::from(part.devices.end.0 - part.devices.start.0),
                clock_offset_us: begin.zero_ns.saturating_sub(zero_ns) as f64 / 1e3,
                clock_uncertainty_us: begin.uncertainty_ns as f64 / 1e3,
                clock_drift_us: drift_ns.map(|drift_ns| drift_ns as f64 / 1e3),
                schedule_delay_p99_us: all.latencies.quantile_us(Kind::ScheduleDelay, 0.99),
                lost: told.lost.clone(),
                machine: seat.machine.clone(),
            }
        })
        .collect()
    }

    /// Tells every agent that the run is over.
    ///
    /// # Cancel safety
    /// A dropped call has told some.
    pub async fn dismiss(&self) {
        self.tasks().abort_all();
        let leaving = self.seats.iter().map(|seat| async {
            if seat.is_there() {
                // Who does not hear it hears the end of the connection.
                let _ = seat.ask(Order::Bye, &[]).await;
            }
            seat.end();
        });
        join_all(leaving).await;
    }

    /// Whether no agent is lost.
    #[must_use]
    pub fn all_there(&self) -> bool {
        !self.lost.is_cancelled()
    }

    /// How many devices are played.
    pub(super) fn device_count(&self) -> usize {
        let parts = self.cast.get().map(|cast| cast.parts.as_slice()).unwrap_or_default();
        parts.iter().map(|part| (part.devices.end.0 - part.devices.start.0) as usize).sum()
    }

    pub(super) fn tasks(&self) -> MutexGuard<'_, JoinSet<()>> {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while tasks.try_join_next().is_some() {}
        tasks
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.seats.iter().for_each(|seat| seat.end());
    }
}

/// What an agent is called, by its place in `--agents`.
fn name_of(number: usize) -> String {
    format!("agent-{number}")
}

/// An empty ledger in the place of one that did not arrive whole.
fn restore_head(folder: &Path, name: &str, info: &RunInfo) -> anyhow::Result<()> {
    std::fs::remove_file(Ledger::path(folder, name))?;
    drop(Ledger::create(folder, name, info)?);
    Ok(())
}

/// Gives everybody new tokens before the old ones end.
async fn renew(
    seats: Vec<Arc<Seat>>,
    parts: Vec<Part>,
    minter: Arc<Minter>,
    population: Arc<Population>,
    run: u64,
) {
    loop {
        sleep(tokens::AGAIN_AFTER).await;
        for (seat, part) in seats.iter().zip(&parts) {
            let devices = part.devices.clone();
            // An agent that is gone needs none.
            if let Err(problem) = tokens::give(seat, &minter, &population, devices, run).await {
                tracing::warn!(%problem, "an agent has no new tokens");
            }
        }
    }
}
