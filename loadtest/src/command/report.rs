//! `loadtest report`: renders the report of a run again.

use std::path::PathBuf;

use super::output;
use crate::{
    exit::Exit,
    report::{self, summary::Summary},
};

/// Renders `report.html` again, from the `summary.json` of a run.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The folder of the run.
    pub(crate) dir: PathBuf,

    /// Where to write the report; in the folder of the run when absent.
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
}

/// Runs the command.
///
/// # Errors
/// When the folder holds no summary of this version, or the report cannot be written.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let summary = Summary::load(&args.dir)?;
    let beside = if args.dir.is_dir() { args.dir.as_path() } else { parent(&args.dir) };
    let path = args.to.clone().unwrap_or_else(|| beside.join(report::html::FILE));
    report::write_html(&summary, &path)?;
    output::print(&path.display().to_string())?;
    Ok(Exit::Pass)
}

fn parent(file: &std::path::Path) -> &std::path::Path {
    file.parent().expect("a file is in a folder")
}
