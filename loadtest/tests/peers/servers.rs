//! The servers of others, each started with the configuration that ships, on ports of its own.

use std::{
    net::{TcpListener, TcpStream, UdpSocket},
    num::NonZeroU32,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use loadtest::{
    clock::RunClock,
    driver::{
        Driver,
        mqtt::{self, Mqtt},
        nats::{self, Nats},
    },
    population::Population,
};
use tempfile::TempDir;

const RMQTT: &str = include_str!("../../peers/rmqtt/rmqtt.toml");
const NATS: &str = include_str!("../../peers/nats/nats.conf");
/// A server listens within this, on any machine.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// Which one, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    MqttTcp,
    MqttQuic,
    Nats,
}

/// A running server; killed when dropped.
pub(crate) struct Server {
    peer: Peer,
    folder: TempDir,
    /// Of TCP, and of QUIC for a broker.
    ports: [u16; 2],
    child: Child,
}

impl Server {
    pub(crate) async fn start(peer: Peer) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [tcp, udp, other] = free_ports();
        let config = match peer {
            Peer::Nats => {
                NATS.replace(":4222", &format!(":{tcp}")).replace(":8222", &format!(":{other}"))
            }
            Peer::MqttTcp | Peer::MqttQuic => RMQTT
                .replace(":1883", &format!(":{tcp}"))
                .replace(":14567", &format!(":{udp}"))
                .replace(":5363", &format!(":{other}")),
        };
        std::fs::write(folder.path().join(peer.config()), config).unwrap();
        certify(&folder);
        let child = spawn(peer, &folder, tcp).await;
        Self { peer, folder, ports: [tcp, udp], child }
    }

    pub(crate) fn driver(&self, population: Arc<Population>) -> Box<dyn Driver> {
        let [tcp, udp] = self.ports;
        let ca = self.folder.path().join("ca.pem");
        let mqtt = |target: String, ca| {
            let mut settings = mqtt::Settings::new(target, ca, 7);
            settings.devices_per_socket = NonZeroU32::MIN;
            Box::new(Mqtt::new(settings, Arc::clone(&population)).unwrap())
        };
        match self.peer {
            Peer::MqttTcp => mqtt(format!("mqtt://127.0.0.1:{tcp}"), None),
            Peer::MqttQuic => mqtt(format!("mqtt+quic://127.0.0.1:{udp}"), Some(ca)),
            Peer::Nats => {
                let settings = nats::Settings::new(format!("nats://127.0.0.1:{tcp}"), None, 7);
                Box::new(Nats::new(settings, population).unwrap())
            }
        }
    }

    /// Kills it and starts it again in the same folder.
    pub(crate) async fn restart(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.child = spawn(self.peer, &self.folder, self.ports[0]).await;
    }

    pub(crate) fn end(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Peer {
    fn config(self) -> &'static str {
        match self {
            Self::MqttTcp | Self::MqttQuic => "rmqtt.toml",
            Self::Nats => "nats.conf",
        }
    }

    fn program(self) -> String {
        let (variable, flag) = match self {
            Self::MqttTcp | Self::MqttQuic => ("LOADTEST_RMQTTD", "rmqttd"),
            Self::Nats => ("LOADTEST_NATS_SERVER", "nats-server"),
        };
        let said = format!("{variable} names the program {flag}: see loadtest/peers/README.md");
        std::env::var(variable).expect(&said)
    }
}

async fn spawn(peer: Peer, folder: &TempDir, port: u16) -> Child {
    let flag = if peer == Peer::Nats { "-c" } else { "-f" };
    let mut child = Command::new(peer.program())
        .args([flag, peer.config()])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let clock = RunClock::start();
    // Nothing tells when somebody else's program listens.
    let mut looks = tokio::time::interval(Duration::from_millis(20));
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert_eq!(child.try_wait().unwrap(), None, "{peer:?} ended");
        assert!(Duration::from_nanos(clock.now_ns()) < STARTS_WITHIN, "{peer:?} does not listen");
        looks.tick().await;
    }
    child
}

/// Writes `ca.pem`, and `server.pem` and `server.key` that it signed.
fn certify(folder: &TempDir) {
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca = params.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(params, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let server = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
    write("ca.pem", ca.pem());
    write("server.pem", server.pem());
    write("server.key", key.serialize_pem());
}

/// Ports that nobody listens on, in either protocol.
fn free_ports() -> [u16; 3] {
    let held: Vec<_> = (0..3)
        .map(|_| {
            let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
            let udp = UdpSocket::bind(tcp.local_addr().unwrap()).unwrap();
            (tcp, udp)
        })
        .collect();
    [0, 1, 2].map(|place: usize| held[place].0.local_addr().unwrap().port())
}
