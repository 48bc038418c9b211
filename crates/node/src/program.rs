//! From the command line to the exit code.

use std::process::ExitCode;

use clap::Parser as _;

use crate::{cli::Cli, command, exit::Exit};

/// The program: reads the command line, does what it says, tells what went wrong.
#[must_use]
pub fn main() -> ExitCode {
    match command::run(Cli::parse()) {
        Ok(()) => Exit::Success.into(),
        Err(failure) => {
            eprintln!("{failure}");
            failure.exit().into()
        }
    }
}
