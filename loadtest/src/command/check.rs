//! `loadtest check`: whether a run keeps bounds.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};
use serde::Serialize;

use super::output::{self, Format, OutputArgs};
use crate::{
    exit::Exit,
    report::{
        slo,
        summary::{Outcome, Reason, SloResult, Summary, Verdict},
    },
    scenario::Slo,
};

/// Checks a run against bounds, those of its own scenario or those of a file; ends as the run
/// would have.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the run.
    pub(crate) dir: PathBuf,

    /// A file of bounds, with the keys of a phase's `slo`; each measured phase must keep them
    #[arg(long, value_name = "FILE")]
    pub(crate) slo: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What is found.
#[derive(Debug, Serialize)]
struct Found {
    verdict: Verdict,
    phases: Vec<PhaseFound>,
}

#[derive(Debug, Serialize)]
struct PhaseFound {
    phase: String,
    slo: Vec<SloResult>,
}

/// Runs the command.
///
/// # Errors
/// When the folder holds no summary of this version, or the file of bounds is wrong or empty.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let summary = Summary::load(&args.dir)?;
    let found = match &args.slo {
        Some(path) => judged_anew(&summary, &bounds(path)?),
        None => as_it_was(&summary),
    };
    match args.output.output {
        Format::Text => output::print(&found.text())?,
        Format::Json => output::print_json(&serde_json::to_value(&found)?)?,
    }
    Ok(found.verdict.outcome.exit())
}

fn bounds(path: &PathBuf) -> anyhow::Result<Slo> {
    let origin = path.display().to_string();
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {origin}"))?;
    let slo = Slo::parse(&text, &origin)?;
    ensure!(!slo.bounds.is_empty(), "{origin} sets no bound, so nothing would be checked");
    Ok(slo)
}

/// By the bounds of the scenario, as the run itself was judged.
fn as_it_was(summary: &Summary) -> Found {
    let phases = summary.phases.iter().filter(|phase| !phase.slo.is_empty());
    let phases =
        phases.map(|phase| PhaseFound { phase: phase.name.clone(), slo: phase.slo.clone() });
    Found { verdict: summary.verdict.clone(), phases: phases.collect() }
}

/// By other bounds; everything else that was found of the run stands.
fn judged_anew(summary: &Summary, slo: &Slo) -> Found {
    let phases: Vec<_> = summary
        .measured()
        .map(|(_, phase)| PhaseFound { phase: phase.name.clone(), slo: slo::judge(slo, phase) })
        .collect();
    let standing = summary.verdict.reasons.iter().filter(|one| one.outcome != Outcome::Fail);
    let missed = phases.iter().flat_map(|found| {
        found.slo.iter().filter(|result| !result.kept).map(|result| Reason {
            outcome: Outcome::Fail,
            phase: Some(found.phase.clone()),
            text: slo::missed(result),
        })
    });
    let reasons = standing.cloned().chain(missed).collect();
    Found { verdict: Verdict::of(reasons, summary.verdict.notes.clone()), phases }
}

impl Found {
    fn text(&self) -> String {
        let mut out = String::new();
        for found in &self.phases {
            for result in &found.slo {
                let word = if result.kept { "kept  " } else { "MISSED" };
                out += &format!("{word}  {}: {}\n", found.phase, slo::says(result));
            }
        }
        if self.phases.iter().all(|found| found.slo.is_empty()) {
            out += "The scenario sets no bound. `--slo FILE` checks others.\n";
        }
        out += &format!("\n{}\n", self.verdict.outcome.name());
        for reason in &self.verdict.reasons {
            match &reason.phase {
                Some(phase) => out += &format!("  {phase}: {}\n", reason.text),
                None => out += &format!("  {}\n", reason.text),
            }
        }
        out
    }
}
