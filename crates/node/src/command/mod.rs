//! The commands, one file each.

pub mod config;
pub mod dev;
pub mod explain;
pub mod node;

use std::future::Future;

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
        Command::Dev(args) => on_all_cores(dev::run(args)),
        Command::Node(args) => on_all_cores(node::run(args)),
        _ => unimplemented!(),
    }
}

/// Runs a command that serves.
fn on_all_cores(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(anyhow::Error::from)?.block_on(command)
}
