//! Servers of one test, started by it on free ports and ended with it.

use std::{
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::Duration,
};

use redis::{Value, aio::MultiplexedConnection};
use tempfile::TempDir;

/// Longer than any machine needs.
const SOON: Duration = Duration::from_secs(60);

/// A server, which may be killed and started again with nothing in it.
pub(crate) struct Server {
    program: &'static str,
    arguments: Vec<String>,
    pub(crate) port: u16,
    child: Option<Child>,
    directory: TempDir,
}

impl Server {
    /// Starts `redis-server` with these options and waits until it answers.
    pub(crate) async fn start(options: &[&str]) -> Self {
        let server = Self::prepare(options);
        server.run().await
    }

    /// One that is not started.
    pub(crate) fn prepare(options: &[&str]) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let folder = directory.path().display().to_string();
        let port_text = port.to_string();
        let mut arguments: Vec<String> =
            ["--bind", "127.0.0.1", "--port", &port_text, "--dir", &folder, "--save", ""]
                .map(str::to_owned)
                .into();
        arguments.extend(["--repl-diskless-sync-delay", "0"].map(str::to_owned));
        arguments.extend(options.iter().map(|&option| option.to_owned()));
        Self { program: "redis-server", arguments, port, child: None, directory }
    }

    /// Starts a sentinel with this configuration.
    pub(crate) async fn sentinel(configuration: &str) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let file = directory.path().join("sentinel.conf");
        let folder = directory.path().display();
        let text = format!("port {port}\nbind 127.0.0.1\ndir {folder}\n{configuration}");
        std::fs::write(&file, text).unwrap();
        let arguments = vec![file.display().to_string()];
        let server = Self { program: "redis-sentinel", arguments, port, child: None, directory };
        server.run().await
    }

    async fn run(mut self) -> Self {
        self.start_again().await;
        self
    }

    /// Starts it, and waits until it answers.
    pub(crate) async fn start_again(&mut self) {
        assert!(self.directory.path().exists());
        let mut command = Command::new(self.program);
        command.args(&self.arguments).stdout(Stdio::null()).stderr(Stdio::null());
        self.child = Some(command.spawn().expect("redis-server is installed"));
        until("the server answers", async || TcpStream::connect(("127.0.0.1", self.port)).is_ok())
            .await;
    }

    /// Ends it at once, as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Has it do something.
    pub(crate) async fn tell(&self, command: &str) -> Value {
        let mut words = command.split_whitespace();
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        let mut connection = self.connection().await;
        command.query_async(&mut connection).await.unwrap()
    }

    /// What it says of itself.
    pub(crate) async fn text(&self, command: &str) -> String {
        redis::from_redis_value(self.tell(command).await).unwrap()
    }

    async fn connection(&self) -> MultiplexedConnection {
        let client = redis::Client::open(format!("redis://{}", self.address())).unwrap();
        let config = redis::AsyncConnectionConfig::new()
            .set_response_timeout(Some(SOON))
            .set_connection_timeout(Some(SOON));
        client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a cluster of three servers in charge and so many replicas of each, 0 or 1.
pub(crate) async fn cluster(replicas: usize) -> Vec<Server> {
    let mut servers = Vec::new();
    for _ in 0..3 * (1 + replicas) {
        let bus = free_port().to_string();
        let options = ["--cluster-enabled", "yes", "--cluster-port", &bus];
        let more = ["--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"];
        servers.push((Server::start(&[options, more].concat()).await, bus));
    }
    for (at, (server, _)) in servers.iter().enumerate() {
        let first = at * 16_384 / 3;
        if at < 3 {
            let last = (at + 1) * 16_384 / 3 - 1;
            server.tell(&format!("CLUSTER ADDSLOTSRANGE {first} {last}")).await;
            server.tell(&format!("CLUSTER SET-CONFIG-EPOCH {}", at + 1)).await;
        }
        let (other, bus) = &servers[0];
        server.tell(&format!("CLUSTER MEET 127.0.0.1 {} {bus}", other.port)).await;
    }
    let servers: Vec<Server> = servers.into_iter().map(|(server, _)| server).collect();
    for server in &servers {
        until("all know all", async || {
            let info = server.text("CLUSTER INFO").await;
            let known = format!("cluster_known_nodes:{}\r", servers.len());
            info.contains("cluster_state:ok") && info.contains(&known)
        })
        .await;
    }
    for (at, replica) in servers.iter().enumerate().skip(3) {
        let id = servers[at - 3].text("CLUSTER MYID").await;
        replica.tell(&format!("CLUSTER REPLICATE {id}")).await;
    }
    for replica in servers.iter().skip(3) {
        has_synced(replica).await;
    }
    servers
}

/// Waits until a replica has everything. One that never had does not take over.
pub(crate) async fn has_synced(replica: &Server) {
    until("a replica has everything", async || {
        replica.text("INFO replication").await.contains("master_link_status:up")
    })
    .await;
}

/// Waits until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    let waiting = async {
        while !is_so().await {
            looks.tick().await;
        }
    };
    assert!(tokio::time::timeout(SOON, waiting).await.is_ok(), "never: {what}");
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}
