//! Edges and workers in processes of their own, on topics and a keyspace of their own.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use node::development::Development;
use serde::Deserialize;
use tempfile::TempDir;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::engines::Engines;

const POSTHORN: &str = env!("CARGO_BIN_EXE_posthorn");
/// What is to happen is given so long, on any machine.
const WITHIN: Duration = Duration::from_secs(120);
/// Between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Partitions of either log, enough for several workers.
const PARTITIONS: &str = "8";

/// The engines belong to all tests: one after another.
static TURN: Mutex<()> = Mutex::new(());

/// Edges and workers on real engines.
pub(crate) struct Stage {
    pub(crate) engines: Engines,
    pub(crate) development: Development,
    pub(crate) edges: Vec<Node>,
    pub(crate) workers: Vec<Node>,
    /// What the names of its topics begin with.
    own: String,
    _folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

/// One process of the cluster, running or not.
pub(crate) struct Node {
    plan: Plan,
    folder: PathBuf,
    child: Option<Child>,
}

/// A process as `posthorn admin sandbox` describes it.
#[derive(Deserialize)]
struct Plan {
    name: String,
    config: PathBuf,
    clients: Option<SocketAddr>,
    admin: SocketAddr,
}

impl Stage {
    /// Makes topics and tables and starts so many edges and workers.
    pub(crate) async fn open(edges: usize, workers: usize) -> Self {
        Self::open_with(edges, workers, &[]).await
    }

    /// As [`Self::open`], with settings for every process.
    pub(crate) async fn open_with(edges: usize, workers: usize, settings: &[&str]) -> Self {
        let stage = Self::prepare(edges, workers, settings);
        stage.admin("admin topics apply --yes");
        stage.admin("admin schema apply --yes");
        stage.start_all().await
    }

    /// Nothing is made and nothing runs yet.
    pub(crate) fn prepare(edges: usize, workers: usize, settings: &[&str]) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let engines = Engines::find();
        let folder = tempfile::tempdir().unwrap();
        let own = format!("t{}_{}", std::process::id(), node::clock::wall_clock_ms());
        let mut command = Command::new(POSTHORN);
        command.args(["admin", "sandbox", "--any-port", "--base"]).arg(engines.config());
        command.args(["--edges", &edges.to_string(), "--workers", &workers.to_string()]);
        let engines_own = [
            format!("kafka.prefix={own}"),
            format!("cql.keyspace={own}"),
            format!("redis.prefix={own}"),
            "telemetry.level=info".to_owned(),
        ];
        for setting in engines_own.iter().map(String::as_str).chain(settings.iter().copied()) {
            command.args(["--set", setting]);
        }
        succeed(command.arg(folder.path()));
        let plans = fs::read(folder.path().join("sandbox.json")).unwrap();
        let plans: Vec<Plan> = serde_json::from_slice(&plans).unwrap();
        let node = |plan| Node { plan, folder: folder.path().to_owned(), child: None };
        let (edges, workers) = plans.into_iter().map(node).partition(|node: &Node| node.is_edge());
        let development = Development::find(folder.path()).unwrap();
        Self { engines, development, edges, workers, own, _folder: folder, _turn: turn }
    }

    /// Starts every process and waits until all are ready.
    pub(crate) async fn start_all(mut self) -> Self {
        for node in self.edges.iter_mut().chain(&mut self.workers) {
            node.start();
        }
        for node in self.edges.iter().chain(&self.workers) {
            node.ready().await;
        }
        self
    }

    /// Runs a command of an operator with the settings of the first process; it must succeed.
    pub(crate) fn admin(&self, arguments: &str) -> String {
        let mut command = Command::new(POSTHORN);
        command.args(arguments.split_whitespace());
        if arguments.starts_with("admin topics") {
            command.args(["--mail-partitions", PARTITIONS, "--group-partitions", PARTITIONS]);
        }
        command.arg("--config").arg(&self.edges[0].plan.config);
        String::from_utf8(succeed(&mut command).stdout).unwrap()
    }

    /// Where clients connect, all edges.
    pub(crate) fn addresses(&self) -> Vec<String> {
        self.edges.iter().map(|edge| edge.plan.clients.unwrap().to_string()).collect()
    }

    /// The name of a topic of epoch 1.
    pub(crate) fn topic(&self, log: &str) -> String {
        format!("{}.{log}.e1", self.own)
    }
}

impl Drop for Stage {
    /// A test that failed shows what its processes said last.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for node in self.edges.iter().chain(&self.workers) {
            let said = fs::read_to_string(node.log()).unwrap_or_default();
            let lines: Vec<&str> = said.lines().collect();
            let last = lines[lines.len().saturating_sub(40)..].join("\n");
            println!("--- {} said last:\n{last}", node.plan.name);
        }
    }
}

impl Node {
    /// What it is called.
    pub(crate) fn name(&self) -> &str {
        &self.plan.name
    }

    fn is_edge(&self) -> bool {
        self.plan.clients.is_some()
    }

    fn log(&self) -> PathBuf {
        self.folder.join(format!("{}.log", self.plan.name))
    }

    /// Everything it has said.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_default()
    }

    /// Starts it, or starts it again.
    pub(crate) fn start(&mut self) {
        let log = File::options().create(true).append(true).open(self.log()).unwrap();
        let mut command = Command::new(POSTHORN);
        command.args(["node", "--config"]).arg(&self.plan.config);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.child = Some(command.spawn().unwrap());
    }

    /// Waits until it says that it is ready.
    pub(crate) async fn ready(&self) {
        self.until("ready", |node| node.ask("GET", "/readyz").is_some_and(|(code, _)| code == 200))
            .await;
    }

    /// Waits until it says that it is not ready, and why.
    pub(crate) async fn not_ready(&self) -> String {
        let mut reasons = String::new();
        self.until("not ready", |node| match node.ask("GET", "/readyz") {
            Some((503, body)) => {
                reasons = body;
                true
            }
            Some(_) | None => false,
        })
        .await;
        reasons
    }

    /// Waits until `is_so`.
    pub(crate) async fn until(&self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let wait = async {
            let mut looks = interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            while !is_so(self) {
                looks.tick().await;
            }
        };
        if timeout(WITHIN, wait).await.is_err() {
            panic!(
                "{} is not {what} within {WITHIN:?}: {:?}",
                self.name(),
                self.ask("GET", "/readyz")
            );
        }
    }

    /// The value of a metric, over all its labels that hold `label`; none when nobody answers.
    pub(crate) fn metric(&self, name: &str, label: &str) -> Option<f64> {
        let (_, page) = self.ask("GET", "/metrics")?;
        let values = page.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with([' ', '{']) && rest.contains(label))
        });
        Some(values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum())
    }

    /// Asks its admin listener: status and body, or none when nobody answers.
    fn ask(&self, method: &str, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(self.plan.admin).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let request =
            format!("{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        let code = answer.split_whitespace().nth(1)?.parse().ok()?;
        let (_, body) = answer.split_once("\r\n\r\n")?;
        Some((code, body.to_owned()))
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.signal("-KILL");
        self.child.take().unwrap().wait().unwrap();
    }

    /// SIGSTOP: it is there and does nothing.
    pub(crate) fn pause(&self) {
        self.signal("-STOP");
    }

    /// SIGCONT.
    pub(crate) fn resume(&self) {
        self.signal("-CONT");
    }

    /// SIGTERM; waits for the end, which must be in order.
    pub(crate) fn terminate(&mut self) -> Duration {
        self.signal("-TERM");
        let asked = Instant::now();
        let status = self.child.take().unwrap().wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}: {}", self.name(), self.said());
        asked.elapsed()
    }

    /// Its memory now, bytes.
    pub(crate) fn memory(&self) -> u64 {
        let pid = self.child.as_ref().unwrap().id();
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

/// Runs a command that must succeed.
pub(crate) fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}
