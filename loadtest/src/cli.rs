//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::{
    command::{agent, check, compare, report, run, scenarios, token_key, validate, verify},
    exit::Exit,
};

/// Load tests that can be believed.
///
/// Messages have intended times, and every latency counts from them. Every accepted message is
/// written down, and every delivery is checked against that. A generator that cannot keep its own
/// times says so instead of giving a result.
#[derive(Debug, Parser)]
#[command(name = "loadtest", version, propagate_version = true, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Does what a scenario says, and leaves a report
    #[command(after_help = AFTER_RUN)]
    Run(Box<run::Args>),
    /// Lists and explains the scenarios that come with the program
    Scenarios(scenarios::Args),
    /// Says what a scenario would do, or everything that is wrong with it
    Validate(validate::Args),
    /// Sets two runs side by side, and says whether the second is worse
    Compare(compare::Args),
    /// Judges a finished run by its own bounds, or by those of a file
    Check(check::Args),
    /// Makes the page of a finished run again
    Report(report::Args),
    /// Judges the ledger of a run again
    Verify(verify::Args),
    /// Makes a key that stands in for an identity provider
    TokenKey(token_key::TokenKeyArgs),
    /// Waits for a coordinator, and plays a part of the population for it
    Agent(agent::Args),
    /// Makes the certificates by which agents and their coordinator know each other
    AgentKeys(agent::KeysArgs),
}

const AFTER_HELP: &str = "\
Examples:
  loadtest scenarios                     what there is to run
  loadtest run smoke                     ten seconds against a server started for it
  loadtest run my.toml --out results/1   a scenario of your own
  loadtest validate my.toml              what it would do, or what is wrong with it
  loadtest compare results/1 results/2   which run is better, and whether that is chance

How it ends:
  0  everything asked for was done, and every bound was kept
  1  a bound was missed, or the second run is worse
  2  the input is wrong, runs cannot be compared, or it could not begin
  3  a message was lost, repeated, reordered, changed or misdelivered
  4  the generator did not keep its own times: no result
  5  the run was interrupted, or a part of it was lost";

const AFTER_RUN: &str = "\
Examples:
  loadtest run steady
      starts a server on this machine, drives it, and leaves a folder under loadtest-results
  loadtest run steady --set population.users=50 --set phase.steady.rate=200
      the same scenario with other values; phases are named by their names
  loadtest run knee --target edge.example:4433 --ca ca.pem --jwt-key key/token.key
      a cluster elsewhere; users and their tokens are made up from the key
  loadtest run chaos-cluster --engines engines/posthorn.toml
      edges and workers of this machine, on Kafka, a database and Redis
  loadtest run knee --agents a:7777,b:7777 --keys keys --target edge.example:4433 ...
      the load comes from two machines on which `loadtest agent` runs
  loadtest run steady --driver mqtt --target mqtt://localhost:1883
      the same load, clock and ledger against an MQTT 5 broker
  loadtest run steady --driver null
      what the generator itself can do

Ctrl-C ends the load; what is due is still delivered and verified, and the report says that the run
was interrupted. Once more ends everything at once.";

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("LOADTEST_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error")),
        )
        .with_writer(std::io::stderr)
        .init();
    let ended = match Cli::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Scenarios(args) => scenarios::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Compare(args) => compare::run(&args),
        Command::Check(args) => check::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Verify(args) => verify::run(&args),
        Command::TokenKey(args) => token_key::run(&args),
        Command::Agent(args) => agent::run(&args),
        Command::AgentKeys(args) => agent::run_keys(&args),
    };
    let exit = ended.unwrap_or_else(|problem| {
        eprintln!("error: {problem:#}");
        Exit::Unusable
    });
    exit.into()
}
