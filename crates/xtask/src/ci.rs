//! The steps of a check: each is one command, printed with the time it took.

use std::{path::Path, process::Command, time::Instant};

use anyhow::Context as _;

use crate::{
    binaries::{self, Built},
    engine_tests,
    tidy::{self, Bench},
    wrap,
};

/// Everything a change must pass. Cheap steps come first, so that a slip shows at once; every step
/// builds with the same features, so that little is built twice.
pub(crate) fn ci() -> anyhow::Result<bool> {
    let started = now();
    let features = binaries::features(&tidy::workspace(root())?);
    let mut clippy = cargo(&["clippy", "--workspace", "--all-targets", "--locked"]);
    clippy.args(&features).args(["--", "-D", "warnings"]);
    let mut examples = cargo(&["test", "--workspace", "--doc", "--locked"]);
    examples.args(&features);
    if !timed("tidy", tidy)? {
        return Ok(false);
    }
    for step in [cargo(&["fmt", "--all", "--check"]), clippy, documentation()] {
        if !run(step)? {
            return Ok(false);
        }
    }
    let mut built = None;
    let have_built = timed("build the tests", || {
        built = binaries::build(&["--locked"])?;
        Ok(built.is_some())
    })?;
    let built = built.filter(|_| have_built).unwrap_or_default();
    let has_passed = have_built
        && timed("tests without engines", || test_without_engines(&built))?
        && run(examples)?
        && timed("posthorn demo", || demo(&built))?
        && timed("tests with engines", || engine_tests::run_built(&built, &[], &[]))?;
    if has_passed {
        println!("==> all passed in {}", seconds_since(started));
    }
    Ok(has_passed)
}

/// Runs them all, also after one that fails.
fn test_without_engines(built: &Built) -> anyhow::Result<bool> {
    let mut failed = Vec::new();
    for binary in built.tests.iter().filter(|binary| !binary.needs_engines) {
        println!("==> {}", binary.name());
        if !binary.run(&[], &[])? {
            failed.push(binary.name());
        }
    }
    failed.iter().for_each(|name| println!("==> FAILED: {name}"));
    Ok(failed.is_empty())
}

/// The main job of users. `cargo run` would build much again, for the features of one crate.
fn demo(built: &Built) -> anyhow::Result<bool> {
    let status = Command::new(built.program("posthorn")?).arg("demo").status();
    Ok(status.context("posthorn demo did not start")?.success())
}

/// Whether the repository keeps its rules; prints what does not.
pub(crate) fn tidy() -> anyhow::Result<bool> {
    let report = tidy::check(root())?;
    report.hints.iter().for_each(|hint| println!("hint: {hint}"));
    report.findings.iter().for_each(|finding| println!("{finding}"));
    println!("{} files, {} findings", report.file_count, report.findings.len());
    Ok(report.findings.is_empty())
}

/// All tests.
pub(crate) fn test(arguments: &[String]) -> anyhow::Result<bool> {
    let mut command = cargo(&["test", "--workspace"]);
    command.args(arguments);
    run(command)
}

/// Formats in place.
pub(crate) fn fmt() -> anyhow::Result<bool> {
    wrap::wrap_all()?;
    run(cargo(&["fmt", "--all"]))
}

/// Reference documentation.
pub(crate) fn docs() -> anyhow::Result<bool> {
    run(documentation())
}

/// The benchmarks of the workspace that need no engine, each with these arguments.
pub(crate) fn bench(arguments: &[String]) -> anyhow::Result<bool> {
    let all = tidy::benches(root())?;
    for Bench { package, name, .. } in all.iter().filter(|bench| !bench.needs_engines) {
        let mut command = cargo(&["bench", "--package", package, "--bench", name, "--"]);
        command.args(arguments);
        if !run(command)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn documentation() -> Command {
    let mut command = cargo(&["doc", "--workspace", "--no-deps", "--locked"]);
    command.env("RUSTDOCFLAGS", "-D rustdoc::broken_intra_doc_links");
    command
}

/// The root of the workspace.
pub(crate) fn root() -> &'static Path {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    crates.and_then(Path::parent).expect("this crate is two folders below the root")
}

/// The cargo that runs this program, so that both are of one toolchain.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

fn run(mut command: Command) -> anyhow::Result<bool> {
    let arguments: Vec<_> = command.get_args().map(|word| word.to_string_lossy()).collect();
    let name = format!("cargo {}", arguments.join(" "));
    timed(&name, || {
        let status = command.status().with_context(|| format!("{name} did not start"))?;
        Ok(status.success())
    })
}

fn timed(name: &str, step: impl FnOnce() -> anyhow::Result<bool>) -> anyhow::Result<bool> {
    println!("==> {name}");
    let started = now();
    let passed = step()?;
    let result = if passed { "passed" } else { "FAILED" };
    println!("==> {result} in {}: {name}", seconds_since(started));
    Ok(passed)
}

#[expect(clippy::disallowed_methods, reason = "a person reads how long a step really took")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

fn seconds_since(started: Instant) -> String {
    format!("{:.1} s", now().duration_since(started).as_secs_f64())
}
