//! The program `posthorn`: configuration, assembly, run, drain, command line.

pub mod admin;
pub mod assemble;
pub mod catalogue;
pub mod cli;
pub mod clock;
pub mod command;
pub mod config;
pub mod content;
pub mod demo;
pub mod development;
pub mod exit;
pub mod failure;
pub mod input;
pub mod locate;
pub mod metrics;
pub mod name;
pub mod output;
pub mod peer;
pub mod run;
pub mod show;
pub mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

/// The program: reads the command line, does what it says, tells what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    match command::run(cli::Cli::parse()) {
        Ok(()) => exit::Exit::Success.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit().into()
        }
    }
}
