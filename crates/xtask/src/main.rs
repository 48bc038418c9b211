//! The one door: `cargo xtask ci` is everything that is checked, here and everywhere.
//!
//! It names no crate of the workspace and few of the world, so that it is built in seconds and also
//! runs when nothing else compiles.

mod binaries;
mod ci;
mod engine_benches;
mod engine_tests;
mod engines;
mod tidy;
mod wrap;

use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

/// Checks, tests and measures Posthorn.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Runs everything a change must pass, in this order: tidy, format, lints, documentation,
    /// tests, demo, tests with engines. Stops at the first that fails.
    Ci,
    /// Checks what no compiler checks: the arrows between crates, the shape of files, words that
    /// break a rule. Prints `path:line: what: what to do` for each.
    Tidy,
    /// Runs the tests of every crate that need no engine. Arguments after `--` go to `cargo test`.
    ///
    /// `cargo xtask test engines` starts Kafka, Cassandra and Redis, runs the tests that need them,
    /// and ends them again, also after Ctrl-C. Arguments after `--` go to the tests.
    Test {
        /// Which tests.
        #[arg(value_enum)]
        kind: Option<Kind>,
        /// Only these: a crate, a file of tests, or both as `crate/file`. Of tests with engines.
        #[arg(long = "test", value_name = "NAME", requires = "kind")]
        tests: Vec<String>,
        /// What `cargo test` is given besides the workspace.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Formats every file, and wraps comments that are too long.
    Fmt,
    /// Measures, with release optimisation: codec, session, log and the whole path, or those named.
    ///
    /// `cargo xtask bench log --seconds 2`; `cargo xtask bench --help` says what there is.
    ///
    /// `cargo xtask bench engines` starts Kafka, Cassandra and Redis, measures what goes through
    /// them beside their own tools, and ends them again, also after Ctrl-C. Named after it, one of
    /// `produce`, `append_speed` and `cluster` is measured alone.
    #[command(disable_help_flag = true)]
    Bench {
        /// What to measure and how, for the benchmark itself.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Starts real engines for tests and for trying things out, and ends them: Kafka, Cassandra in
    /// the place of ScyllaDB, and Redis.
    #[command(subcommand)]
    Engines(engines::Command),
    /// Builds the reference documentation of every crate; a broken link is an error.
    Docs,
}

/// Tests that are not run by default.
#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    /// Those that need Kafka, Cassandra and Redis.
    Engines,
}

fn main() -> anyhow::Result<ExitCode> {
    let passed = match Arguments::parse().task {
        Task::Ci => ci::ci()?,
        Task::Tidy => ci::tidy()?,
        Task::Test { kind: None, arguments, .. } => ci::test(&arguments)?,
        Task::Test { kind: Some(Kind::Engines), tests, arguments } => {
            engine_tests::run(&tests, &arguments)?
        }
        Task::Fmt => ci::fmt()?,
        Task::Bench { arguments } => match arguments.split_first() {
            Some((first, names)) if first == "engines" => engine_benches::run(names)?,
            Some(_) | None => ci::bench(&arguments)?,
        },
        Task::Engines(command) => engines::run(command)?,
        Task::Docs => ci::docs()?,
    };
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
