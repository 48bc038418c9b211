//! Tests that need real engines, with the engines they need around them.

use anyhow::ensure;

use crate::{
    binaries::{self, Binary, Built},
    engines::{self, Guard, Wanted, Watch},
};

/// Files of tests that begin so take nodes away: they get three of each.
const FAULTS: &str = "faults";

/// Builds and runs them.
///
/// # Errors
/// When a test that is named does not exist, or engines do not come up.
pub(crate) fn run(names: &[String], arguments: &[String]) -> anyhow::Result<bool> {
    println!("==> build the tests");
    match binaries::build(&[])? {
        Some(built) => run_built(&built, names, arguments),
        None => Ok(false),
    }
}

/// Runs those tests of a build that need engines, or those of them that are named.
///
/// # Errors
/// As [`run`].
pub(crate) fn run_built(
    built: &Built,
    names: &[String],
    arguments: &[String],
) -> anyhow::Result<bool> {
    let all: Vec<_> = built.tests.iter().filter(|binary| binary.needs_engines).collect();
    for name in names {
        let known: Vec<_> = all.iter().map(|binary| binary.name()).collect();
        let is_known = all.iter().any(|binary| is_named(binary, name));
        ensure!(is_known, "no test of engines is called {name}; there are: {}", known.join(", "));
    }
    let is_chosen =
        |binary: &&&Binary| names.is_empty() || names.iter().any(|name| is_named(binary, name));
    let chosen: Vec<&Binary> = all.iter().filter(is_chosen).copied().collect();
    let (faults, calm): (Vec<&Binary>, Vec<&Binary>) =
        chosen.into_iter().partition(|binary| binary.target.starts_with(FAULTS));
    let mut report = Report::default();
    let one = Wanted { nodes: 1, redis_all: true, secured: true };
    let three = Wanted { nodes: 3, redis_all: true, secured: false };
    for (wanted, binaries) in [(one, calm), (three, faults)] {
        if !binaries.is_empty() {
            run_with(wanted, &binaries, arguments, &mut report)?;
        }
    }
    report.print();
    Ok(report.has_passed)
}

/// A crate, a file of tests, or both as `crate/file`.
fn is_named(binary: &Binary, name: &str) -> bool {
    let Binary { package, target, .. } = binary;
    name == package || name == target || name == format!("{package}/{target}")
}

fn run_with(
    wanted: Wanted,
    binaries: &[&Binary],
    arguments: &[String],
    report: &mut Report,
) -> anyhow::Result<()> {
    let set = if wanted.nodes == 1 { "one of each engine" } else { "three of each engine" };
    println!("==> {set}: up");
    let guard = Guard::new(&format!("test-{}-{}", std::process::id(), wanted.nodes))?;
    let watch = Watch::start();
    let variables = engines::up(guard.dir(), wanted)?;
    report.add(format!("{set}: up"), &watch, Outcome::Passed);
    let mut have_passed = true;
    for binary in binaries {
        println!("==> {}", binary.name());
        let watch = Watch::start();
        let has_passed = binary.run(&variables, arguments)?;
        have_passed &= has_passed;
        let outcome = if has_passed { Outcome::Passed } else { Outcome::Failed };
        report.add(binary.name(), &watch, outcome);
    }
    if !have_passed {
        println!("==> logs of the engines: {}", guard.dir().join("logs").display());
    }
    println!("==> {set}: down");
    let watch = Watch::start();
    guard.end(have_passed)?;
    report.add(format!("{set}: down"), &watch, Outcome::Passed);
    Ok(())
}

/// How one step ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failed,
}

/// What took how long.
struct Report {
    lines: Vec<String>,
    has_passed: bool,
}

impl Default for Report {
    fn default() -> Self {
        Self { lines: Vec::new(), has_passed: true }
    }
}

impl Report {
    fn add(&mut self, what: String, watch: &Watch, outcome: Outcome) {
        let said = if outcome == Outcome::Passed { "passed" } else { "FAILED" };
        self.has_passed &= outcome == Outcome::Passed;
        self.lines.push(format!("{said} {:>9}  {what}", watch.seconds()));
    }

    fn print(&self) {
        if self.lines.is_empty() {
            println!("==> no test of engines");
        }
        self.lines.iter().for_each(|line| println!("==> {line}"));
    }
}
