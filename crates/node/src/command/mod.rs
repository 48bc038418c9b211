//! The commands, one file each.

pub mod config;
pub mod explain;

use crate::{
    cli::{Cli, Command},
    failure::Outcome,
};

/// Does what the command line asks for.
///
/// # Errors
/// Why it could not.
pub fn run(cli: Cli) -> Outcome {
    match cli.command {
        Command::Config(command) => config::run(command),
        Command::Explain(args) => explain::run(&args),
        _ => unimplemented!(),
    }
}
