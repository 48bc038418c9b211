//! The commands, one file each.

pub mod admin;
pub mod chat;
pub mod check;
pub mod config;
pub mod demo;
pub mod dev;
pub mod device;
pub mod explain;
pub mod group;
pub mod history;
pub mod node;
pub mod recv;
pub mod send;

use std::future::Future;

use crate::{
    cli::{Cli, Command},
    config::tree::Telemetry,
    failure::Outcome,
    open_files, telemetry,
};

/// Does what the command line asks for.
///
/// # Errors
/// Why it could not.
pub fn run(cli: Cli) -> Outcome {
    match cli.command {
        Command::Config(command) => config::run(command),
        Command::Admin(command) => admin::run(command),
        Command::Check(args) => on_one_core(check::run(args)),
        Command::Explain(args) => explain::run(&args),
        Command::Dev(args) => on_all_cores(dev::run(args)),
        Command::Node(args) => on_all_cores(node::run(args)),
        Command::Demo(args) => on_all_cores(demo::run(args)),
        Command::Send(args) => on_one_core(send::run(args)),
        Command::Recv(args) => on_one_core(recv::run(args)),
        Command::Chat(args) => on_one_core(chat::run(args)),
        Command::Group(command) => on_one_core(group::run(command)),
        Command::Device(command) => on_one_core(device::run(command)),
        Command::History(args) => on_one_core(history::run(args)),
    }
}

/// Runs a command that serves.
fn on_all_cores(command: impl Future<Output = Outcome>) -> Outcome {
    open_files::raise_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(anyhow::Error::from)?.block_on(command)
}

/// Runs a command that talks to a cluster and ends.
fn on_one_core(command: impl Future<Output = Outcome>) -> Outcome {
    // What goes wrong with an engine the command itself says.
    let level = "error,scylla=off,librdkafka=off,rdkafka=off".to_owned();
    let telemetry = Telemetry { level, ..Telemetry::default() };
    telemetry::start(&telemetry)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(anyhow::Error::from)?;
    let outcome = runtime.block_on(command);
    // A thread may still wait for a line of the terminal.
    runtime.shutdown_background();
    outcome
}
