//! A cluster on this machine, as processes of its own.

use std::{
    ffi::OsString,
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use anyhow::{Context as _, bail, ensure};
use futures_util::future::{join_all, try_join_all};
use serde::Deserialize;

use super::{guard::Guard, ports, process::Process, token::Identity};
use crate::{
    clock::wall_clock_ms,
    scenario::{self, ClusterKind, What},
};

/// What the one process of a one-machine cluster is called.
const SERVER: &str = "server";
/// The name in the certificates of a development cluster.
const SERVER_NAME: &str = "localhost";

/// What is to be started.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The program: [`super::posthorn`].
    pub posthorn: PathBuf,
    /// Where data, certificates and logs go. It is made when it is not there.
    pub folder: PathBuf,
    /// Which processes, and their settings.
    pub cluster: scenario::Cluster,
    /// The configuration that names the engines, as `cargo xtask engines up` leaves it; for a
    /// cluster that runs on them.
    pub engines: Option<PathBuf>,
}

/// What is done to a process during a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Stop,
    /// SIGCONT.
    Cont,
    /// SIGTERM, and wait for the end.
    Terminate,
    /// `POST /drain`, wait for the end, start again, and wait until it is ready.
    Drain,
    /// Start again, and wait until it is ready.
    Start,
}

impl Act {
    /// What an action of a scenario does to a process; none when it is about something else.
    #[must_use]
    pub fn of(what: &What) -> Option<Self> {
        match what {
            What::DrainProcess(_) => Some(Self::Drain),
            What::Kill(_) => Some(Self::Kill),
            What::Stop(_) => Some(Self::Stop),
            What::Cont(_) => Some(Self::Cont),
            What::Start(_) => Some(Self::Start),
            What::Terminate(_) => Some(Self::Terminate),
            What::Disconnect { .. }
            | What::Reconnect { .. }
            | What::Rebind { .. }
            | What::Command(_)
            | What::Flood(_) => None,
        }
    }
}

/// Where a cluster is and how it is entered.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where clients connect, `host:port` each.
    pub servers: Vec<String>,
    /// The name in the servers' certificates.
    pub server_name: String,
    /// PEM file with the authority that signs those certificates.
    pub ca_file: PathBuf,
    /// File with the key that tokens are signed with.
    pub token_key_file: PathBuf,
    /// What those tokens say.
    pub identity: Identity,
}

/// A cluster on this machine. Dropping it kills its processes; they also end when this process is
/// killed.
#[derive(Debug)]
pub struct LocalCluster {
    processes: Vec<Arc<Process>>,
    target: Target,
}

/// A process as `posthorn admin sandbox` describes it.
#[derive(Deserialize)]
struct Plan {
    name: String,
    config: PathBuf,
    clients: Option<SocketAddr>,
    admin: SocketAddr,
}

impl LocalCluster {
    /// Starts a cluster and waits until every process is ready.
    ///
    /// # Errors
    /// When a process does not start or is not ready within a minute; with what it said last.
    ///
    /// # Cancel safety
    /// A dropped call leaves no process.
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let folder = &settings.folder;
        fs::create_dir_all(folder).with_context(|| format!("make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let guard = Arc::new(Guard::start()?);
        let cluster = match settings.cluster.kind {
            ClusterKind::OneMachine => one_machine(settings, &folder, &guard)?,
            ClusterKind::Engines { edges, workers } => {
                on_engines(settings, &folder, (edges, workers), &guard).await?
            }
        };
        for process in &cluster.processes {
            process.start()?;
        }
        try_join_all(cluster.processes.iter().map(|process| process.ready())).await?;
        Ok(cluster)
    }

    /// Where it is and how it is entered.
    #[must_use]
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// Its processes, edges before workers.
    #[must_use]
    pub fn processes(&self) -> &[Arc<Process>] {
        &self.processes
    }

    /// The process of this name.
    ///
    /// # Errors
    /// When there is none; the message says which there are.
    pub fn process(&self, name: &str) -> anyhow::Result<&Arc<Process>> {
        let found = self.processes.iter().find(|process| process.name() == name);
        found.with_context(|| {
            let names: Vec<&str> = self.processes.iter().map(|process| process.name()).collect();
            format!("no process of this cluster is called {name}; it has {}", names.join(", "))
        })
    }

    /// Does something to a process and waits until it is done.
    ///
    /// # Errors
    /// When there is no such process, or it cannot be done.
    ///
    /// # Cancel safety
    /// A dropped call may have done it.
    pub async fn act(&self, name: &str, act: Act) -> anyhow::Result<()> {
        let process = self.process(name)?;
        match act {
            Act::Kill => process.kill().await,
            Act::Stop => process.stop().await,
            Act::Cont => process.cont(),
            Act::Terminate => process.terminate().await,
            Act::Drain => {
                process.drain().await?;
                process.start()?;
                process.ready().await
            }
            Act::Start => {
                process.start()?;
                process.ready().await
            }
        }
    }

    /// Ends every process in order, all at once.
    ///
    /// # Errors
    /// When one had to be killed.
    ///
    /// # Cancel safety
    /// A dropped call kills what is left.
    pub async fn end(self) -> anyhow::Result<()> {
        let running: Vec<_> =
            self.processes.iter().filter(|process| process.pid().is_some()).collect();
        for process in &running {
            process.cont().ok();
        }
        let ended = join_all(running.iter().map(|process| process.terminate())).await;
        ended.into_iter().collect()
    }
}

fn one_machine(
    settings: &Settings,
    folder: &Path,
    guard: &Arc<Guard>,
) -> anyhow::Result<LocalCluster> {
    let data = folder.join("data");
    let first = ports::free(2)?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, first));
    let admin = SocketAddr::from((Ipv4Addr::LOCALHOST, first + 1));
    let mut arguments: Vec<OsString> = vec!["dev".into(), "--data".into(), data.clone().into()];
    for (flag, value) in [("--listen", address), ("--admin", admin)] {
        arguments.extend([flag.into(), value.to_string().into()]);
    }
    for set in &settings.cluster.set {
        arguments.extend(["--set".into(), set.into()]);
    }
    let command = (settings.posthorn.clone(), arguments);
    let process = Process::new(SERVER.into(), admin, folder, command, Arc::clone(guard));
    let target = development(&data, vec![address.to_string()]);
    Ok(LocalCluster { processes: vec![Arc::new(process)], target })
}

async fn on_engines(
    settings: &Settings,
    folder: &Path,
    (edges, workers): (u32, u32),
    guard: &Arc<Guard>,
) -> anyhow::Result<LocalCluster> {
    let base = settings.engines.as_ref().context(
        "this scenario runs on engines: start them by `cargo xtask engines up`, and name the file \
         posthorn.toml it leaves",
    )?;
    ensure!(base.is_file(), "{}: there is no such file", base.display());
    let sandbox = folder.join("sandbox");
    let plans = sandbox.join("sandbox.json");
    // An edge takes three ports, a worker one.
    let ports = u16::try_from(3 * edges + workers).context("too many processes")?;
    let first_port = u32::from(ports::free(ports)?);
    let own = format!("lt{}_{}", std::process::id(), wall_clock_ms());
    let mut arguments: Vec<OsString> = ["admin", "sandbox"].map(OsString::from).into();
    arguments.push(sandbox.clone().into());
    arguments.extend(["--base".into(), base.into()]);
    let numbers = [("--first-port", first_port), ("--edges", edges), ("--workers", workers)];
    for (flag, number) in numbers {
        arguments.extend([flag.into(), number.to_string().into()]);
    }
    let names = ["kafka.prefix", "cql.keyspace", "redis.prefix"];
    let sets = names.map(|name| format!("{name}={own}"));
    for set in sets.iter().chain(&settings.cluster.set) {
        arguments.extend(["--set".into(), set.into()]);
    }
    run(&settings.posthorn, arguments).await?;
    let plans = fs::read(&plans).with_context(|| format!("read {}", plans.display()))?;
    let plans: Vec<Plan> = serde_json::from_slice(&plans).context("read sandbox.json")?;
    let first = plans.first().context("the sandbox has no process")?.config.clone();
    for what in ["topics", "schema"] {
        let mut arguments: Vec<OsString> =
            ["admin", what, "apply", "--yes", "--config"].map(OsString::from).into();
        arguments.push(first.clone().into());
        run(&settings.posthorn, arguments).await?;
    }
    let servers = plans.iter().filter_map(|plan| plan.clients).map(|address| address.to_string());
    let target = development(&sandbox, servers.collect());
    let process = |plan: Plan| {
        let arguments = vec!["node".into(), "--config".into(), plan.config.into()];
        let command = (settings.posthorn.clone(), arguments);
        Arc::new(Process::new(plan.name, plan.admin, folder, command, Arc::clone(guard)))
    };
    Ok(LocalCluster { processes: plans.into_iter().map(process).collect(), target })
}

/// How a development cluster whose data is here is entered.
fn development(data: &Path, servers: Vec<String>) -> Target {
    let dev = data.join("dev");
    Target {
        servers,
        server_name: SERVER_NAME.into(),
        ca_file: dev.join("ca.pem"),
        token_key_file: dev.join("token.key"),
        identity: Identity::default(),
    }
}

/// Runs a command of the server's program, which must succeed.
async fn run(program: &Path, arguments: Vec<OsString>) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    tokio::task::spawn_blocking(move || {
        let output = command.output().with_context(|| format!("run {command:?}"))?;
        if !output.status.success() {
            bail!("{command:?} failed:\n{}", String::from_utf8_lossy(&output.stderr).trim());
        }
        Ok(())
    })
    .await?
}
