//! `posthorn admin sandbox`: the files of a cluster of several processes on this machine.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    path::{Path, PathBuf},
};

use clap::Args;
use serde::Serialize;

use crate::{
    catalogue::Code,
    clock::wall_clock_ms,
    command::dev::use_development,
    config::{self, Config, Role, reference, value::Secret},
    development::{Cluster, Development},
    failure::{Failure, Outcome},
    mesh_authority::{Lifetime, MeshAuthority},
    output,
};

/// Shown below the help.
pub const EXAMPLES: &str = "Examples:
  posthorn admin sandbox ./sandbox --base target/engines/posthorn.toml
  posthorn node --config ./sandbox/edge-1.toml
  posthorn chat --data ./sandbox --as alice --with bob";

/// A certificate of a sandbox is good for this, days.
const CERTIFICATE_DAYS: u32 = 30;
/// Edges or workers of one sandbox, each.
const PROCESSES_MAX: u16 = 16;

/// Arguments of `admin sandbox`.
#[derive(Debug, Args)]
pub struct SandboxArgs {
    /// Folder for everything; made when it is not there
    pub dir: PathBuf,
    /// Configuration file that names the engines
    #[arg(long, value_name = "FILE")]
    pub base: PathBuf,
    /// Processes that clients connect to
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = process_count())]
    pub edges: u16,
    /// Processes that write mailboxes and decide about groups
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = process_count())]
    pub workers: u16,
    /// The first port of this machine to use; three for each edge, one for each worker
    #[arg(long, value_name = "PORT", default_value_t = 4433)]
    pub first_port: u16,
    /// Take any free ports instead
    #[arg(long, conflicts_with = "first_port")]
    pub any_port: bool,
    /// Change any setting, for every process
    #[arg(long, value_name = "SECTION.KEY=VALUE")]
    pub set: Vec<String>,
}

/// How many processes there may be of a kind.
fn process_count() -> impl clap::builder::TypedValueParser<Value = u16> {
    clap::value_parser!(u16).range(1..=i64::from(PROCESSES_MAX))
}

/// One process, as `sandbox.json` lists it for programs.
#[derive(Debug, Serialize)]
struct Process {
    name: String,
    config: PathBuf,
    /// Where clients connect; none for a worker.
    clients: Option<SocketAddr>,
    admin: SocketAddr,
}

/// Writes a configuration for every process, with certificates, an identity provider and a mesh of
/// their own.
///
/// # Errors
/// When the base or a setting is wrong, or a file cannot be written.
pub fn run(args: &SandboxArgs) -> Outcome {
    let base = config::load(Some(&args.base), &args.set)?.config;
    Development::prepare(&args.dir, Ipv4Addr::LOCALHOST.into())?;
    // Processes may be started from any other folder.
    let dir = args.dir.canonicalize().map_err(|error| unusable(&args.dir, &error))?;
    let development = Development::find(&dir)?;
    let mesh = dir.join("mesh");
    let authority = match mesh.join("ca.pem").exists() {
        true => MeshAuthority::open(&mesh)?,
        false => MeshAuthority::make(&mesh, wall_clock_ms())?,
    };
    let mut ports = Ports::new(args);
    let mut processes = Vec::new();
    let edges = (1..=args.edges).map(|number| (format!("edge-{number}"), true));
    let workers = (1..=args.workers).map(|number| (format!("worker-{number}"), false));
    for (name, is_edge) in edges.chain(workers) {
        let mut config = base.clone();
        use_development(&mut config, &development);
        config.listen.secret = Secret::new(development.secret()?);
        config.node.engines = config::cluster::Engines::Cluster;
        config.node.name = Some(name.clone());
        config.node.roles =
            if is_edge { vec![Role::Edge] } else { vec![Role::MailWorker, Role::GroupWorker] };
        let mesh_name =
            if is_edge { &config.mesh.edge_name } else { &config.mesh.worker_name }.clone();
        if is_edge {
            config.listen.address = ports.udp()?;
        }
        config.admin.address = ports.tcp()?;
        if is_edge {
            config.mesh.listen = ports.udp()?;
        }
        let lifetime = Lifetime { now_ms: wall_clock_ms(), days: CERTIFICATE_DAYS };
        let issued = authority.issue(&name, vec![mesh_name], lifetime)?;
        config.mesh.ca_file = Some(authority.ca_file());
        config.mesh.certificate_file = Some(issued.certificate_file);
        config.mesh.key_file = Some(issued.key_file);
        processes.push(write_config(&dir, name, &config, is_edge)?);
    }
    let mut edges = processes.iter().filter_map(|process| process.clients);
    let address = edges.next().expect("there is an edge");
    development.announce(&Cluster { address, more: edges.collect(), admin: None })?;
    let list = serde_json::to_vec_pretty(&processes).expect("a list of processes is JSON");
    write(&dir.join("sandbox.json"), &list)?;
    output::print(&welcome(args, &processes))
}

fn write_config(dir: &Path, name: String, config: &Config, is_edge: bool) -> Outcome<Process> {
    let path = dir.join(format!("{name}.toml"));
    let file = reference::changed_file(config, &dir.join("dev").join("secret"));
    write(&path, file.as_bytes())?;
    Ok(Process {
        name,
        config: path,
        clients: is_edge.then_some(config.listen.address),
        admin: config.admin.address,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Outcome {
    fs::write(path, bytes).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::DataUnusable, error.to_string())
        .at(path.display().to_string())
        .remedy("choose another folder")
}

fn welcome(args: &SandboxArgs, processes: &[Process]) -> String {
    let first = processes[0].config.display();
    let mut text = format!(
        "{} holds a cluster of {} processes. Once:\n\
         \x20 posthorn admin topics apply --yes --config {first}\n\
         \x20 posthorn admin schema apply --yes --config {first}\n\
         Each in a terminal of its own:\n",
        args.dir.display(),
        processes.len()
    );
    for process in processes {
        text.push_str(&format!("  posthorn node --config {}\n", process.config.display()));
    }
    text.push_str(&format!(
        "Then, as often as you like:\n\
         \x20 posthorn chat --data {dir} --as alice --with bob\n\
         \x20 posthorn chat --data {dir} --as bob --with alice --server {last}\n",
        dir = args.dir.display(),
        last = processes
            .iter()
            .filter_map(|process| process.clients)
            .next_back()
            .map_or_else(String::new, |address| address.to_string()),
    ));
    text
}

/// Ports for the processes.
struct Ports {
    next: Option<u16>,
    /// Those the system chose stay taken until all are.
    taken: Vec<Taken>,
}

#[expect(dead_code, reason = "a socket is held for its port")]
enum Taken {
    Tcp(TcpListener),
    Udp(UdpSocket),
}

impl Ports {
    fn new(args: &SandboxArgs) -> Self {
        Self { next: (!args.any_port).then_some(args.first_port), taken: Vec::new() }
    }

    fn tcp(&mut self) -> Outcome<SocketAddr> {
        self.take(|any| {
            let socket = TcpListener::bind(any)?;
            Ok((socket.local_addr()?, Taken::Tcp(socket)))
        })
    }

    fn udp(&mut self) -> Outcome<SocketAddr> {
        self.take(|any| {
            let socket = UdpSocket::bind(any)?;
            Ok((socket.local_addr()?, Taken::Udp(socket)))
        })
    }

    fn take(
        &mut self,
        bind: impl FnOnce(SocketAddr) -> io::Result<(SocketAddr, Taken)>,
    ) -> Outcome<SocketAddr> {
        if let Some(port) = self.next {
            self.next = Some(port.checked_add(1).ok_or_else(|| {
                Failure::new(Code::BadValue, "there are no ports above 65535")
                    .at("--first-port")
                    .remedy("choose a lower one")
            })?);
            return Ok((Ipv4Addr::LOCALHOST, port).into());
        }
        let (address, taken) = bind((Ipv4Addr::LOCALHOST, 0).into()).map_err(|error| {
            Failure::new(Code::CannotListen, format!("no port is free: {error}"))
                .at("127.0.0.1")
                .remedy("end something that listens")
        })?;
        self.taken.push(taken);
        Ok(address)
    }
}
