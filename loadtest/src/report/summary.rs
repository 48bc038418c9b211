//! What a run found: the contents of `summary.json`, version 1.
//!
//! Everything else that a person sees of a finished run is made from this file alone, so that it
//! can be made again. Fields are only ever added; a change of meaning is a new version.
//! Units are in the names: `_us` microseconds, `_s` seconds, `_ms` milliseconds, `_bytes` bytes.
//! Times called `at_s` count from the moment that the run's clock began.

mod interval;
mod latency;
mod phase;
mod run;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use interval::{Interval, Load};
pub use latency::{Curve, CurvePoint, Kind, Kinds, Percentiles, Spread};
pub use phase::{ClosedLoop, Counts, ErrorCount, Figure, Phase, Rates, SloResult, Unit};
pub use run::{
    Agent, Event, EventKind, Generator, Machine, Metric, PopulationFigures, Process, Run,
};

use crate::{exit::Exit, ledger};

/// The version that this program writes, and the only one it reads.
pub const VERSION: u32 = 1;

/// The file's name within the folder of a run.
pub const FILE: &str = "summary.json";

/// Everything that is known about a finished run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The version of this format.
    pub version: u32,
    /// What was run, where, when and by what.
    pub run: Run,
    /// What is to be thought of it.
    pub verdict: Verdict,
    /// Counts of the whole run, warm-up included.
    pub totals: Counts,
    /// What the ledger says of every message; absent when nothing was verified.
    #[serde(default)]
    pub ledger: Option<ledger::Verdict>,
    /// The phases in their order.
    pub phases: Vec<Phase>,
    /// Short stretches of time in their order, usually a second each.
    pub intervals: Vec<Interval>,
    /// The whole distribution of latencies, for each measured phase and kind that was seen.
    #[serde(default)]
    pub curves: Vec<Curve>,
    /// What was done to the cluster, or happened to it, in the order of time.
    #[serde(default)]
    pub events: Vec<Event>,
    /// The processes of the cluster that could be watched.
    #[serde(default)]
    pub processes: Vec<Process>,
    /// What the cluster's own metrics said at the beginning and at the end.
    #[serde(default)]
    pub metrics: Vec<Metric>,
    /// What the generator itself needed.
    pub generator: Generator,
    /// The agents that took part; empty when the load came from one process.
    #[serde(default)]
    pub agents: Vec<Agent>,
}

impl Summary {
    /// Reads the summary of a run: from its folder, or the file itself.
    ///
    /// # Errors
    /// When there is none, it is not one, or it is of a version this program does not read; the
    /// text says which file and what to do.
    pub fn load(place: &Path) -> anyhow::Result<Self> {
        let path = file_of(place);
        let text = fs::read_to_string(&path).with_context(|| {
            format!("cannot read {}: is it the folder of a finished run?", path.display())
        })?;
        Self::parse(&text).with_context(|| format!("cannot use {}", path.display()))
    }

    /// Reads a summary from its text.
    ///
    /// # Errors
    /// As [`Self::load`].
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let head: Head =
            serde_json::from_str(text).context("it is not a summary of a load test")?;
        match head.version {
            Some(version) if version == u64::from(VERSION) => {}
            Some(version) => bail!(
                "it is of version {version}, and this program reads version {VERSION}: use the \
                 `loadtest` that wrote it"
            ),
            None => bail!("it has no `version`, so it is not a summary of a load test"),
        }
        let summary: Self =
            serde_json::from_str(text).context("a part of it is not as it must be")?;
        summary.check()?;
        Ok(summary)
    }

    /// Writes `summary.json` into a folder, whole or not at all.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&self, folder: &Path) -> anyhow::Result<PathBuf> {
        let path = folder.join(FILE);
        let unfinished = folder.join(".summary.json.unfinished");
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        fs::write(&unfinished, text)
            .and_then(|()| fs::rename(&unfinished, &path))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// What the parts say about each other must hold, or plots and tables would lie.
    fn check(&self) -> anyhow::Result<()> {
        for interval in &self.intervals {
            if let Some(phase) = interval.phase {
                ensure!(
                    phase < self.phases.len(),
                    "the interval at {} s is of phase {phase}, and there are {}",
                    interval.at_s,
                    self.phases.len(),
                );
            }
        }
        for curve in &self.curves {
            ensure!(
                curve.phase < self.phases.len(),
                "a curve is of phase {}, and there are {}",
                curve.phase,
                self.phases.len(),
            );
        }
        Ok(())
    }

    /// The measured phases, each with its place in the list of all.
    pub fn measured(&self) -> impl Iterator<Item = (usize, &Phase)> {
        self.phases.iter().enumerate().filter(|(_, phase)| phase.measured)
    }
}

/// The part that says whether the rest can be read.
#[derive(Deserialize)]
struct Head {
    version: Option<u64>,
}

fn file_of(place: &Path) -> PathBuf {
    if place.is_dir() { place.join(FILE) } else { place.to_path_buf() }
}

/// What is to be thought of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunVerdict")]
pub struct Verdict {
    /// The gravest of what was found.
    pub outcome: Outcome,
    /// Everything that was found, the gravest first; empty when it passed.
    pub reasons: Vec<Reason>,
    /// What a reader should know and does not change the outcome, in sentences.
    #[serde(default)]
    pub notes: Vec<String>,
}

impl Verdict {
    /// The verdict that follows from what was found.
    #[must_use]
    pub fn of(mut reasons: Vec<Reason>, notes: Vec<String>) -> Self {
        reasons.sort_by_key(|reason| std::cmp::Reverse(reason.outcome));
        let outcome = reasons.first().map_or(Outcome::Pass, |reason| reason.outcome);
        Self { outcome, reasons, notes }
    }
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Reason {
    /// What it alone makes of the run.
    pub outcome: Outcome,
    /// The phase it was found in, if in one.
    #[serde(default)]
    pub phase: Option<String>,
    /// A plain sentence with the figures.
    pub text: String,
}

/// What a run is worth, from the best to the gravest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every bound was kept, and the ledger is clean.
    Pass,
    /// A bound was missed.
    Fail,
    /// The generator did not keep its own times, so nothing is said about the cluster.
    GeneratorBound,
    /// A person ended it early.
    Interrupted,
    /// A part of it was lost, such as an agent.
    Incomplete,
    /// A message was lost, repeated, reordered, changed or brought to the wrong device.
    Violation,
}

impl Outcome {
    /// Every outcome, from the best to the gravest.
    pub const ALL: &[Self] = &[
        Self::Pass,
        Self::Fail,
        Self::GeneratorBound,
        Self::Interrupted,
        Self::Incomplete,
        Self::Violation,
    ];

    /// How the program ends after such a run.
    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            Self::Pass => Exit::Pass,
            Self::Fail => Exit::Worse,
            Self::GeneratorBound => Exit::GeneratorBound,
            Self::Interrupted | Self::Incomplete => Exit::Incomplete,
            Self::Violation => Exit::Violation,
        }
    }

    /// The word for it, as in `summary.json`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::GeneratorBound => "generator-bound",
            Self::Interrupted => "interrupted",
            Self::Incomplete => "incomplete",
            Self::Violation => "violation",
        }
    }
}
