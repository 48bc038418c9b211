//! Benchmarks that need real engines, with one of each around them.

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use anyhow::{Context as _, ensure};

use crate::{
    ci,
    engines::{self, Guard, Wanted},
};

/// A benchmark, its crate, and what of it is measured.
struct Bench {
    package: &'static str,
    name: &'static str,
    only: Option<&'static str>,
}

const BENCHES: [Bench; 3] = [
    Bench { package: "log-kafka", name: "produce", only: None },
    Bench { package: "mailbox-scylla", name: "append_speed", only: None },
    Bench { package: "node", name: "bench", only: Some("cluster") },
];

impl Bench {
    /// What a person calls it.
    fn title(&self) -> &'static str {
        self.only.unwrap_or(self.name)
    }

    /// Always with every crate that has one: another choice of crates is another choice of features
    /// of what they depend on, and nearly everything would be built again.
    fn cargo(&self) -> Command {
        let mut command = ci::cargo(&["bench", "--bench", self.name]);
        for Bench { package, .. } in &BENCHES {
            command.args(["--package", package, "--features", &format!("{package}/engines")]);
        }
        command
    }

    /// Runs it; the lines that compare something with what is aimed at.
    fn run(&self, variables: &[(&str, String)]) -> anyhow::Result<(bool, Vec<String>)> {
        let mut command = self.cargo();
        command.arg("--").args(self.only);
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let mut child = command.stdout(Stdio::piped()).spawn().context("cargo did not start")?;
        let mut verdicts = Vec::new();
        for line in BufReader::new(child.stdout.take().context("its output is a pipe")?).lines() {
            let line = line?;
            println!("{line}");
            if line.ends_with(": reached") || line.ends_with(": missed") {
                verdicts.push(line.trim_start().to_owned());
            }
        }
        Ok((child.wait()?.success(), verdicts))
    }
}

/// Builds the benchmarks, or those that are named, and runs them one after the other.
///
/// # Errors
/// When one that is named does not exist, or engines do not come up.
pub(crate) fn run(names: &[String]) -> anyhow::Result<bool> {
    let titles = BENCHES.each_ref().map(Bench::title);
    for name in names {
        let known = titles.join(", ");
        ensure!(
            titles.contains(&name.as_str()),
            "no benchmark is called {name}; there are: {known}"
        );
    }
    let is_chosen = |bench: &&Bench| names.is_empty() || names.iter().any(|n| n == bench.title());
    let chosen: Vec<&Bench> = BENCHES.iter().filter(is_chosen).collect();
    for bench in &chosen {
        println!("==> build {}", bench.title());
        if !bench.cargo().arg("--no-run").status().context("cargo did not start")?.success() {
            return Ok(false);
        }
    }
    let guard = Guard::new(&format!("bench-{}", std::process::id()))?;
    let wanted = Wanted { nodes: 1, redis_all: false, secured: false };
    let mut variables = engines::up(guard.dir(), wanted)?;
    variables.extend(engines::kafka_tools()?);
    let (mut have_passed, mut all) = (true, Vec::new());
    for bench in chosen {
        println!("==> {}", bench.title());
        let (has_passed, verdicts) = bench.run(&variables)?;
        have_passed &= has_passed;
        all.extend(verdicts);
        if !has_passed {
            all.push(format!("{} did not end well", bench.title()));
        }
    }
    guard.end(have_passed)?;
    println!("==> against what is aimed at");
    all.iter().for_each(|line| println!("{line}"));
    Ok(have_passed)
}
