//! The whole path over processes of their own and real engines, everything on this machine, and
//! what a message costs in each.
//!
//! `cargo xtask bench engines` starts the engines and names them.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use node::{clock::wall_clock_ms, development::Development};
use serde::Deserialize;

use crate::{
    load,
    measure::{self, Shape},
};

const POSTHORN: &str = env!("CARGO_BIN_EXE_posthorn");
const PAIRS: usize = 200;
/// CPU microseconds of edge and worker together for one message, at most.
const AIM_CPU_US: f64 = 40.0;
/// Half of the partitions move to a new worker within this.
const AIM_MOVE: Duration = Duration::from_secs(5);
const PARTITIONS: usize = 4;
const LOOK_EVERY: Duration = Duration::from_millis(10);
const WITHIN: Duration = Duration::from_secs(120);

/// A process of the sandbox.
#[derive(Deserialize)]
struct Plan {
    name: String,
    config: PathBuf,
    clients: Option<SocketAddr>,
    admin: SocketAddr,
}

/// A running process; killed when dropped.
struct Process {
    plan: Plan,
    child: Child,
}

/// A process of an engine.
#[derive(Deserialize)]
struct Engine {
    name: String,
    /// None while it is stopped.
    pid: Option<u32>,
}

#[derive(Deserialize)]
struct Engines {
    members: Vec<Engine>,
}

/// Prints the rate and what a message costs in edge, worker and engines, and how fast a second
/// worker takes its share.
pub fn run(seconds: f64, payload: usize, windows: &[u64]) {
    let Some(engines) = env::var_os("POSTHORN_ENGINES_DIR").map(PathBuf::from) else {
        println!("cluster: not measured; `cargo xtask bench engines` starts what it needs");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let plans = sandbox(folder.path(), &engines.join("posthorn.toml"));
    let mut plans = plans.into_iter();
    let edge = Process::start(plans.next().unwrap());
    let worker = Process::start(plans.next().unwrap());
    edge.ready();
    worker.ready();
    let development = Development::find(folder.path()).unwrap();
    let address = edge.plan.clients.unwrap().to_string();
    for window in windows.iter().copied() {
        let shape = Shape { senders: PAIRS, fan_out: 1, window };
        let (run, before, after) =
            load::run_between(&development, &address, shape, seconds, payload, || {
                costs(&edge, &worker, &engines)
            });
        measure::report(&format!("cluster, direct, window {window} (clients' CPU)"), &run);
        let us = |cpu: Duration| cpu.as_secs_f64() * 1e6 / run.messages as f64;
        let mut ours = 0.0;
        for ((name, before), (_, after)) in before.into_iter().zip(after) {
            let cost = us(after - before);
            println!("  {name:<42} {cost:>32.2} CPU us/msg");
            if name == edge.plan.name || name == worker.plan.name {
                ours += cost;
            }
        }
        let verdict = if ours <= AIM_CPU_US { "reached" } else { "missed" };
        println!(
            "edge and worker, window {window}: {ours:.2} CPU us/msg, aim {AIM_CPU_US:.0}: {verdict}"
        );
    }
    second_worker(&worker, plans.next().unwrap());
}

/// Starts another worker and waits until it has half of the partitions.
fn second_worker(first: &Process, plan: Plan) {
    let half = PARTITIONS as f64;
    assert_eq!(first.lanes(), 2.0 * half, "partitions of either log");
    let second = Process::start(plan);
    let asked = Instant::now();
    until("half of the partitions moved", || first.lanes() == half && second.lanes() == half);
    let took = asked.elapsed();
    let verdict = if took <= AIM_MOVE { "reached" } else { "missed" };
    println!(
        "a second worker had half of the partitions after {:.1} s, its start included, aim {} s: \
         {verdict}",
        took.as_secs_f64(),
        AIM_MOVE.as_secs()
    );
}

/// Writes the files of the processes and makes topics and tables.
fn sandbox(folder: &Path, base: &Path) -> Vec<Plan> {
    let own = format!("b{}_{}", std::process::id(), wall_clock_ms());
    let mut command = Command::new(POSTHORN);
    command.args(["admin", "sandbox", "--any-port", "--edges", "1", "--workers", "2", "--base"]);
    command.arg(base);
    for setting in [
        format!("kafka.prefix={own}"),
        format!("cql.keyspace={own}"),
        format!("redis.prefix={own}"),
        "edge.connections_per_ip_max=100000".to_owned(),
        "edge.send_rate=1 GiB".to_owned(),
        "edge.send_burst=1 GiB".to_owned(),
        "telemetry.level=warn".to_owned(),
    ] {
        command.args(["--set", &setting]);
    }
    succeed(command.arg(folder));
    let plans = fs::read(folder.join("sandbox.json")).unwrap();
    let plans: Vec<Plan> = serde_json::from_slice(&plans).unwrap();
    let partitions = PARTITIONS.to_string();
    let mut topics = Command::new(POSTHORN);
    topics.args(["admin", "topics", "apply", "--yes", "--mail-partitions", &partitions]);
    topics.args(["--group-partitions", &partitions, "--config"]);
    succeed(topics.arg(&plans[0].config));
    let mut schema = Command::new(POSTHORN);
    schema.args(["admin", "schema", "apply", "--yes", "--config"]);
    succeed(schema.arg(&plans[0].config));
    plans
}

fn succeed(command: &mut Command) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
}

/// CPU time so far: edge, worker, then the engines, the processes of one kind together.
fn costs(edge: &Process, worker: &Process, engines: &Path) -> Vec<(String, Duration)> {
    let mut costs: Vec<_> = [edge, worker]
        .map(|process| (process.plan.name.clone(), measure::cpu_of(process.child.id())))
        .into();
    let file = fs::read(engines.join("engines.json")).unwrap();
    let engines: Engines = serde_json::from_slice(&file).unwrap();
    for kind in ["kafka", "cassandra", "redis"] {
        let of_kind = engines.members.iter().filter(|engine| engine.name.starts_with(kind));
        costs.push((
            kind.to_owned(),
            of_kind.filter_map(|engine| engine.pid).map(measure::cpu_of).sum(),
        ));
    }
    costs
}

impl Process {
    fn start(plan: Plan) -> Self {
        let mut command = Command::new(POSTHORN);
        command.args(["node", "--config"]).arg(&plan.config).stdin(Stdio::null());
        Self { child: command.stdout(Stdio::null()).spawn().unwrap(), plan }
    }

    fn ready(&self) {
        until(&self.plan.name, || self.ask("/readyz").is_some_and(|page| page.contains(" 200 ")));
    }

    /// Partitions it works on.
    fn lanes(&self) -> f64 {
        let page = self.ask("/metrics").unwrap_or_default();
        let running = |line: &&str| {
            line.starts_with("posthorn_worker_lanes") && line.contains("state=\"running\"")
        };
        page.lines().filter(running).map(number).sum()
    }

    fn ask(&self, path: &str) -> Option<String> {
        let mut stream = TcpStream::connect(self.plan.admin).ok()?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn number(line: &str) -> f64 {
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).unwrap_or(0.0)
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let asked = Instant::now();
    while !is_so() {
        assert!(asked.elapsed() < WITHIN, "{what}: not within {WITHIN:?}");
        thread::sleep(LOOK_EVERY);
    }
}
