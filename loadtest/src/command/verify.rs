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
pub(crate) struct Args {
    /// The folder of the run.
    pub(crate) dir: PathBuf,

    /// The scenario that was run, if it is not in the folder.
    #[arg(long, value_name = "FILE")]
    pub(crate) scenario: Option<PathBuf>,

    /// How many violations to print with their history; the JSON has up to 100.
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    pub(crate) show: usize,

    /// How to print the verdict.
    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// Runs the command.
///
/// # Errors
/// When the folder holds no ledger that can be read, or not the scenario it belongs to.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;
    use crate::{
        ledger::{End, Ledger, Message, Outcome, Rules, RunInfo, content::Header},
        population::ConversationIndex,
    };

    /// One message of a scenario that comes with the program, heard everywhere but so often.
    fn run_with(missing: usize, end: Option<End>) -> (tempfile::TempDir, anyhow::Result<Exit>) {
        const SEED: u64 = 9;
        let scenario = scenario::find("smoke").unwrap();
        let population = Population::draw(&scenario.population, &scenario.traffic, SEED);
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(SCENARIO), &scenario.text).unwrap();
        let population_digest = population.digest();
        let rules = Rules::POSTHORN;
        let info = RunInfo { run: 1, seed: SEED, population: population_digest, rules };
        let ledger = Ledger::create(folder.path(), "local", &info).unwrap();
        let conversation = ConversationIndex(0);
        let user = population.members(conversation)[0];
        let from = population.devices_of(user).next().unwrap();
        let header = Header { run: 1, from, conversation, counter: 0, intended_ns: 1 };
        ledger.sent(&header, 1);
        ledger.outcome(Message { from, conversation, counter: 0 }, Outcome::Accepted, 2);
        for device in population.recipients(conversation, from).skip(missing) {
            ledger.delivered(device, &header, 3);
        }
        end.map(|end| ledger.finish(end, 4).unwrap());
        drop(ledger);
        let dir = folder.path().to_owned();
        let output = OutputArgs { output: Format::Json };
        let ended = run(&Args { dir, scenario: None, show: 10, output });
        (folder, ended)
    }

    #[test]
    fn the_exit_code_says_what_the_ledger_says() {
        for (missing, end, exit) in [
            (0, Some(End::Drained), Exit::Pass),
            (1, Some(End::Drained), Exit::Violation),
            (1, Some(End::Interrupted), Exit::Incomplete),
            (0, None, Exit::Incomplete),
        ] {
            assert_eq!(run_with(missing, end).1.unwrap(), exit);
        }
    }

    #[test]
    fn another_scenario_is_refused() {
        let (folder, _) = run_with(0, Some(End::Drained));
        let other = scenario::find("steady").unwrap().text;
        fs::write(folder.path().join(SCENARIO), other).unwrap();
        let dir = folder.path().to_owned();
        let output = OutputArgs { output: Format::Text };
        let error = run(&Args { dir, scenario: None, show: 10, output }).unwrap_err();
        assert!(error.to_string().contains("is of the population"), "{error}");
    }
}
