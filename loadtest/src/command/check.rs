//! `loadtest check`: whether a run keeps bounds.

use std::{fs, path::PathBuf};

use anyhow::{Context, ensure};

use super::output::{self, Format, OutputArgs};
use crate::{
    exit::Exit,
    report::{check::Checked, summary::Summary},
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

/// Runs the command.
///
/// # Errors
/// When the folder holds no summary of this version, or the file of bounds is wrong or empty.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let summary = Summary::load(&args.dir)?;
    let found = match &args.slo {
        Some(path) => Checked::anew(&summary, &bounds(path)?),
        None => Checked::as_it_was(&summary),
    };
    match args.output.output {
        Format::Text => output::print(&found.to_string())?,
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
