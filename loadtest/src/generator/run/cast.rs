//! Who plays the population of a run: this process, or agents.

use std::{path::Path, sync::Arc};

use tokio::{task::JoinSet, task::spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::{
    agents::{Crew, Job, Means},
    clock::RunClock,
    cluster::Minter,
    generator::{Generator, Part, Play, Setup, journal::Journal},
    ledger::{End, Ledger, RunInfo},
    report::summary::{self, EventKind},
};

use super::Run;

/// The name of the one ledger of a run without agents.
const LEDGER: &str = "run";

/// Agents, and what they need to know of the cluster.
pub struct Company {
    /// They.
    pub crew: Arc<Crew>,
    /// How they reach the cluster.
    pub means: Means,
    /// Signs tokens for their users, where the cluster wants some.
    pub minter: Option<Arc<Minter>>,
}

/// Who plays the population of a run.
pub(super) enum Cast {
    /// This process, which writes the one ledger.
    Own(Ledger),
    /// Agents, each with a ledger of its own.
    Agents(Arc<Crew>),
}

impl Run {
    /// Gives out the parts.
    ///
    /// # Errors
    /// When there is no ledger, or an agent cannot do its part.
    ///
    /// # Cancel safety
    /// A dropped call leaves agents of no more use.
    pub(super) async fn cast(
        &self,
        clock: RunClock,
        info: &RunInfo,
    ) -> anyhow::Result<(Arc<dyn Play>, Cast)> {
        let Some(Company { crew, means, minter }) = &self.company else {
            let ledger = Ledger::create(&self.folder, LEDGER, info)?;
            let generator = Arc::new(self.generator(clock, ledger.clone()));
            return Ok((generator, Cast::Own(ledger)));
        };
        let job = Job {
            scenario: Arc::clone(&self.scenario),
            population: Arc::clone(&self.population),
            payloads: self.payloads.clone(),
            run: self.id,
            rules: self.rules,
            means: means.clone(),
            minter: minter.clone(),
            clock,
        };
        crew.prepare(&job).await?;
        let player: Arc<dyn Play> = Arc::clone(crew) as Arc<dyn Play>;
        Ok((player, Cast::Agents(Arc::clone(crew))))
    }

    fn generator(&self, clock: RunClock, ledger: Ledger) -> Generator {
        Generator::new(Setup {
            scenario: Arc::clone(&self.scenario),
            population: Arc::clone(&self.population),
            payloads: self.payloads.clone(),
            driver: Arc::clone(&self.driver),
            ledger,
            clock,
            run: self.id,
            rules: self.rules,
            part: Part::whole(&self.population, &self.scenario),
        })
    }
}

impl Cast {
    /// Ends the load when somebody who plays is lost. Dropping it ends the watch.
    pub(super) fn watch(&self, journal: Journal, ends: CancellationToken) -> JoinSet<()> {
        let mut watch = JoinSet::new();
        if let Self::Agents(crew) = self {
            let crew = Arc::clone(crew);
            watch.spawn(async move {
                crew.lost().await;
                for loss in crew.losses() {
                    journal.event(EventKind::Trouble, loss);
                }
                ends.cancel();
            });
        }
        watch
    }

    /// Why the run is not whole, in sentences.
    pub(super) fn losses(&self) -> Vec<String> {
        match self {
            Self::Own(_) => Vec::new(),
            Self::Agents(crew) => crew.losses(),
        }
    }

    /// Ends the ledgers, and brings them together in the folder of the run.
    ///
    /// # Errors
    /// When one cannot be written.
    ///
    /// # Cancel safety
    /// A dropped call leaves them incomplete.
    pub(super) async fn finish(
        &self,
        folder: &Path,
        info: &RunInfo,
        end: End,
        clock: RunClock,
        journal: &Journal,
    ) -> anyhow::Result<()> {
        let ledger = match self {
            Self::Own(ledger) => ledger.clone(),
            Self::Agents(crew) => {
                return crew.gather(folder, info, end == End::Drained).await;
            }
        };
        let written = spawn_blocking(move || ledger.finish(end, clock.now_ns())).await??;
        if written.waits > 0 {
            journal.note(format!(
                "The ledger waited {} times for the disk, {:.1} ms in all.",
                written.waits,
                written.waited_ns as f64 / 1e6,
            ));
        }
        Ok(())
    }

    /// The agents as the summary shows them; then they are free.
    ///
    /// # Cancel safety
    /// A dropped call leaves them to notice by themselves.
    pub(super) async fn describe_and_dismiss(&self) -> Vec<summary::Agent> {
        match self {
            Self::Own(_) => Vec::new(),
            Self::Agents(crew) => {
                let agents = crew.describe().await;
                crew.dismiss().await;
                agents
            }
        }
    }
}
