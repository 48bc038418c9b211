//! `loadtest verify`: judges the ledger of a run again.

use std::{
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::output::{self, Format, OutputArgs};
use crate::{
    exit::Exit,
    ledger::{self, Progress, Verdict},
    population::Population,
    report::number::count,
    scenario,
};

/// The scenario as it was run, in the folder of a run.
const SCENARIO: &str = "scenario.toml";

/// Judges the ledger of a run again, also when its generator was killed.
///
/// What was sent and has no answer counts as unknown: it may have arrived once, or not at all.
/// What had not arrived when the run ended early is not judged.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder of the run.
    pub dir: PathBuf,

    /// The scenario that was run, if it is not in the folder.
    #[arg(long, value_name = "FILE")]
    pub scenario: Option<PathBuf>,

    /// How many violations to print with their history; the JSON has up to 100.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    pub show: usize,

    /// How to print the verdict.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// When the folder holds no ledger that can be read, or not the scenario it belongs to.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let run = ledger::run_of(&args.dir)?;
    let path = args.scenario.clone().unwrap_or_else(|| args.dir.join(SCENARIO));
    let population = population(&path, run.seed)?;
    let bar = bar();
    let mut show = |progress: Progress| {
        bar.set_length(progress.of);
        bar.set_position(progress.bytes);
        bar.set_message(progress.pass.name());
    };
    let verdict = ledger::verify(&args.dir, &population, &mut show)?;
    bar.finish_and_clear();
    print(&verdict, args).context("cannot print the verdict")?;
    Ok(exit(&verdict))
}

fn population(path: &Path, seed: u64) -> anyhow::Result<Population> {
    let name = path.to_str().context("the path of the scenario is not UTF-8")?;
    let scenario = scenario::find(name).with_context(|| {
        format!("cannot read the scenario {name}, which says who was due what; give --scenario")
    })?;
    Ok(Population::draw(&scenario.population, &scenario.traffic, seed))
}

fn bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{msg} [{wide_bar}] {bytes}/{total_bytes} {eta}")
        .expect("the template is sound");
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style);
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn print(verdict: &Verdict, args: &Args) -> anyhow::Result<()> {
    match args.output.output {
        Format::Json => output::print_json(&serde_json::to_value(verdict)?)?,
        Format::Text => output::print(&text(verdict, args.show))?,
    }
    Ok(())
}

fn text(verdict: &Verdict, show: usize) -> String {
    let mut text = format!("{}\n\n{}", verdict.says(), verdict.figures());
    for violation in verdict.violations.iter().take(show) {
        text += &format!("\n{violation}\n");
    }
    let left_out = verdict.violation_count().saturating_sub(show as u64);
    if left_out > 0 {
        text += &format!("\n{} more violations: see --show and -o json\n", count(left_out));
    }
    text
}

fn exit(verdict: &Verdict) -> Exit {
    if !verdict.is_clean() {
        Exit::Violation
    } else if !verdict.is_complete() {
        Exit::Incomplete
    } else {
        Exit::Pass
    }
}
