//! `loadtest compare`: two runs side by side.

use std::path::{Path, PathBuf};

use super::output::{self, Format, OutputArgs};
use crate::{
    compare::{Limits, Strictness, compare},
    exit::Exit,
    report::{self, summary::Summary},
};

/// Sets two runs side by side; ends with 1 when the second is worse, with 2 when they cannot be
/// compared.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the first run, which the second is held against.
    pub(crate) a: PathBuf,

    /// The folder of the second run.
    pub(crate) b: PathBuf,

    /// How much worse each figure may be: `p50=10%,p99=10%,rate=5%` when absent
    ///
    /// Figures: p50, p99, max (end to end); accept_p50, accept_p99, accept_max; rate, delivered,
    /// cpu, memory; knee, back_within, caught_up_within, catch_up_rate, memory_per_connection,
    /// memory_growth_per_hour. A figure without a limit is only shown.
    #[arg(long, value_name = "LIMITS")]
    pub(crate) max_regress: Option<Limits>,

    /// Compare although scenario, driver, machine or verdict forbid it
    #[arg(long)]
    pub(crate) anyway: bool,

    /// Leaves a page here with the latencies of both runs in the same plots, and every figure
    ///
    /// Runs that cannot be compared are drawn too, with the reasons; the program still ends with 2.
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// When a folder holds no summary of this version.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let (a, b) = (Summary::load(&args.a)?, Summary::load(&args.b)?);
    let strictness = if args.anyway { Strictness::Anyway } else { Strictness::Refuse };
    let limits = args.max_regress.clone().unwrap_or_default();
    let comparison = compare((&name(&args.a), &a), (&name(&args.b), &b), &limits, strictness);
    if let Some(path) = &args.html {
        report::write_comparison(&comparison, (&a, &b), path)?;
    }
    match args.output.output {
        Format::Text => {
            let page = args.html.as_ref().map(|path| format!("\n\npage  {}", path.display()));
            output::print(&format!("{comparison}{}", page.unwrap_or_default()))?;
        }
        Format::Json => output::print_json(&serde_json::to_value(&comparison)?)?,
    }
    Ok(comparison.conclusion.exit())
}

fn name(path: &Path) -> String {
    path.display().to_string()
}
