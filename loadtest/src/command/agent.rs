//! `loadtest agent` and `loadtest agent-keys`: machines that share a load.

use std::{net::SocketAddr, path::PathBuf};

use clap::Subcommand;
use tokio::{runtime, signal, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    agents::{
        Agent, Settings,
        keys::{self, Role},
    },
    exit::Exit,
};

/// Arguments of `loadtest agent`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Where the coordinator comes: an address of this machine and a UDP port
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:7777")]
    listen: SocketAddr,
    /// Folder with agent.pem, agent.key and authority.pem; `loadtest agent-keys new` makes them
    #[arg(long, value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Folder for ledgers until the coordinator has them
    #[arg(long, value_name = "DIR", default_value_os_t = std::env::temp_dir())]
    data: PathBuf,
    /// How wrong the clock is made, to try out that it is corrected
    #[arg(
        long,
        value_name = "MS",
        hide = true,
        default_value_t = 0,
        allow_negative_numbers = true
    )]
    clock_skew_ms: i64,
}

/// Arguments of `loadtest agent-keys`.
#[derive(Debug, clap::Args)]
pub(crate) struct KeysArgs {
    #[command(subcommand)]
    command: KeysCommand,
}

#[derive(Debug, Subcommand)]
enum KeysCommand {
    /// Makes the certificates by which agents and their coordinator know each other
    New {
        /// Folder for them; made when it is not there
        dir: PathBuf,
    },
}

/// Makes keys.
///
/// # Errors
/// When there are some already, or a file cannot be written.
pub(crate) fn run_keys(args: &KeysArgs) -> anyhow::Result<Exit> {
    let KeysCommand::New { dir } = &args.command;
    keys::create(dir)?;
    let dir = dir.canonicalize()?;
    let [of_agents, of_coordinator] =
        [Role::Agent, Role::Coordinator].map(|role| keys::needed(role).join(", "));
    println!(
        "Agents need {of_agents}; the coordinator needs {of_coordinator}.\n\
         Whoever has the coordinator's key commands every agent: keep it to yourself.\n\
         On each machine\n  \
         loadtest agent --listen 0.0.0.0:7777 --keys DIR\n\
         and then here\n  \
         loadtest run SCENARIO --agents HOST:7777,HOST:7777 --keys {} --target HOST:PORT ...",
        dir.display(),
    );
    Ok(Exit::Pass)
}

/// Serves coordinators until it is told to end.
///
/// # Errors
/// When it has no keys, or cannot listen.
pub(crate) fn run(args: &Args) -> anyhow::Result<Exit> {
    let Some(dir) = &args.keys else {
        anyhow::bail!(
            "an agent without keys would be a load generator for anybody to command, so it does \
             not start: make keys by `loadtest agent-keys new DIR` and name them by --keys DIR"
        );
    };
    let settings = Settings {
        listen: args.listen,
        identity: keys::identity(dir, Role::Agent)?,
        folder: args.data.join(format!("loadtest-agent-{}", std::process::id())),
        clock_skew_ns: args.clock_skew_ms.saturating_mul(1_000_000),
    };
    let folder = settings.folder.clone();
    let runtime = runtime::Builder::new_multi_thread().enable_all().build()?;
    let served = runtime.block_on(async move {
        let agent = Agent::bind(settings)?;
        println!("agent      listens on {}, UDP; waits for a coordinator", agent.local_addr()?);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(end_by_signal(stop.clone()));
        agent.serve(stop, |said| println!("agent      {said}")).await
    });
    runtime.shutdown_background();
    // It is there only when a run was served.
    let _ = std::fs::remove_dir_all(folder);
    served?;
    Ok(Exit::Pass)
}

async fn end_by_signal(stop: CancellationToken) {
    let terminate = signal::unix::signal(signal::unix::SignalKind::terminate());
    let Ok(mut terminate) = terminate else { return };
    tokio::select! {
        biased;
        _ = terminate.recv() => {}
        pressed = signal::ctrl_c() => if pressed.is_err() { return },
    }
    stop.cancel();
}
