//! Processes of one cluster, joined by the mesh over QUIC; they share the embedded engines here.
#![allow(clippy::unwrap_used)]

use std::{future::ready, net::Ipv4Addr, path::Path, time::Duration};

use client::{Address, Client, Event, Hint, Servers, TokenError, Via, store::MemoryStore};
use embedded::Engine;
use link::tls::Roots;
use node::{
    assemble::{self, Cluster, Opened, Shown},
    catalogue::Code,
    clock::wall_clock_ms,
    command::dev::use_development,
    config::{
        Config, Role,
        cluster::{self, Engines},
    },
    development::{self, Development},
    mesh_authority::{Issued, Lifetime, MeshAuthority},
};
use tokio::time::timeout;

const WITHIN: Duration = Duration::from_secs(30);
const EDGE: &[Role] = &[Role::Edge];
const WORKERS: &[Role] = &[Role::MailWorker, Role::GroupWorker];
const ALL: &[Role] = &[Role::Edge, Role::MailWorker, Role::GroupWorker];

/// A cluster whose engines are embedded and whose mesh is real.
struct House {
    folder: tempfile::TempDir,
    development: Development,
    authority: MeshAuthority,
    engine: Engine,
}

impl House {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let here = Ipv4Addr::LOCALHOST.into();
        let development = Development::prepare(folder.path(), here).unwrap();
        let authority = authority(folder.path(), "mesh");
        let mut config = Config::default();
        folder.path().clone_into(&mut config.node.data);
        let engine = Engine::open(config.engine_config(), wall_clock_ms).unwrap();
        Self { folder, development, authority, engine }
    }

    /// A process with these roles and a certificate for these names.
    fn config(&self, name: &str, roles: &[Role], names: &[&str]) -> Config {
        let mut config = Config::default();
        use_development(&mut config, &self.development);
        config.listen.address = (Ipv4Addr::LOCALHOST, 0).into();
        config.node.engines = Engines::Cluster;
        config.node.name = Some(name.to_owned());
        config.node.roles = roles.to_vec();
        // Longer than a test lasts: what arrives was pushed.
        config.edge.head_check = Duration::from_secs(300);
        config.edge.drain_jitter = Duration::ZERO;
        // Nobody dials these: the engines are lent.
        config.kafka.brokers = vec!["engine.invalid:9092".to_owned()];
        config.cql.nodes = vec!["engine.invalid:9042".to_owned()];
        config.redis.nodes = vec!["engine.invalid:6379".to_owned()];
        config.mesh.listen = (Ipv4Addr::LOCALHOST, 0).into();
        config.mesh.ca_file = Some(self.authority.ca_file());
        let issued = issue(&self.authority, name, names);
        config.mesh.certificate_file = Some(issued.certificate_file);
        config.mesh.key_file = Some(issued.key_file);
        config
    }

    async fn start(&self, config: &Config) -> Cluster {
        let opened = Opened::lent(self.engine.engines());
        Cluster::start_on(config, opened, Shown::default()).await.unwrap()
    }

    async fn client(&self, edge: &Cluster, person: &'static str) -> Client {
        let development = self.development.clone();
        let token = move || {
            let token = development.mint(person, wall_clock_ms());
            ready(token.map_err(|failure| TokenError(failure.to_string())))
        };
        let servers = Servers::Quic {
            addresses: vec![edge.address().unwrap().to_string()],
            server_name: development::SERVER_NAME.to_owned(),
            via: Via::Own(
                Roots::from_pem(&std::fs::read(self.development.ca_file()).unwrap()).unwrap(),
            ),
        };
        Client::connect(client::Config::new(servers, token, MemoryStore::new())).await.unwrap()
    }

    fn close(self) {
        self.engine.close().unwrap();
        drop(self.folder);
    }
}

fn authority(folder: &Path, name: &str) -> MeshAuthority {
    MeshAuthority::make(&folder.join(name), wall_clock_ms()).unwrap()
}

fn issue(authority: &MeshAuthority, name: &str, names: &[&str]) -> Issued {
    let lifetime = Lifetime { now_ms: wall_clock_ms(), days: 1 };
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    authority.issue(name, names, lifetime).unwrap()
}

fn names() -> (String, String) {
    let mesh = cluster::Mesh::default();
    (mesh.edge_name, mesh.worker_name)
}

/// A message between two who are connected to `edge` arrives, and a worker has pushed it.
async fn a_message_is_pushed(house: &House, edge: &Cluster) {
    let (alice, bob) = tokio::join!(house.client(edge, "alice"), house.client(edge, "bob"));
    let (_, to) = (alice.connected().await.unwrap(), bob.connected().await.unwrap());
    let mut inbox = bob.inbox();
    for text in ["one", "two"] {
        alice.send(Address::User(to), text).await.unwrap();
        loop {
            let event = timeout(WITHIN, inbox.next()).await.expect("it arrives").unwrap();
            let Event::Item(item) = event else { continue };
            item.ack();
            if item.payload().is_some_and(|payload| payload == text) {
                break;
            }
        }
    }
    assert!(counted(edge, "posthorn_edge_pushes_total") > 0.0);
    tokio::join!(alice.close(), bob.close());
}

fn counted(cluster: &Cluster, name: &str) -> f64 {
    let families = cluster.registry().gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum()
}

fn shown(cluster: &Cluster, name: &str) -> f64 {
    let families = cluster.registry().gather();
    let family = families.iter().find(|family| family.name() == name).unwrap();
    family.get_metric().iter().map(|metric| metric.get_gauge().get_value()).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_push_to_the_edge_of_another_process() {
    let house = House::new();
    let (edge_name, worker_name) = names();
    let edge = house.start(&house.config("edge-1", EDGE, &[&edge_name])).await;
    let workers = house.start(&house.config("worker-1", WORKERS, &[&worker_name])).await;
    assert!(workers.address().is_none());
    a_message_is_pushed(&house, &edge).await;
    edge.drain().await.unwrap();
    workers.drain().await.unwrap();
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_reaches_a_client_of_another_edge() {
    let house = House::new();
    let (edge_name, worker_name) = names();
    let here = house.start(&house.config("edge-1", EDGE, &[&edge_name])).await;
    let there = house.start(&house.config("edge-2", EDGE, &[&edge_name])).await;
    let workers = house.start(&house.config("worker-1", WORKERS, &[&worker_name])).await;
    let (alice, bob) = tokio::join!(house.client(&here, "alice"), house.client(&there, "bob"));
    let (from, to) = (alice.connected().await.unwrap(), bob.connected().await.unwrap());
    let mut hints = bob.hints();
    let heard = async {
        // One that is sent before presence knows of Bob is dropped, as any may be.
        let mut again = tokio::time::interval(Duration::from_millis(200));
        loop {
            tokio::select! {
                _ = again.tick() => alice.signal(&[to], "typing").unwrap(),
                hint = hints.next() => break hint.unwrap(),
            }
        }
    };
    let heard = timeout(WITHIN, heard).await.expect("it is heard");
    let Hint::Signal { from: who, body, .. } = heard else { panic!("{heard:?}") };
    assert_eq!((who, &body[..]), (from, b"typing".as_slice()));
    assert!(shown(&here, "posthorn_edge_edge_links") > 0.0, "it went over the mesh");
    tokio::join!(alice.close(), bob.close());
    for process in [here, there, workers] {
        process.drain().await.unwrap();
    }
    house.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_with_all_roles_pushes_to_itself() {
    let house = House::new();
    let (edge_name, worker_name) = names();
    let all = house.start(&house.config("all", ALL, &[&edge_name, &worker_name])).await;
    a_message_is_pushed(&house, &all).await;
    all.drain().await.unwrap();
    house.close();
}

#[test]
fn a_certificate_that_the_others_would_refuse_keeps_a_process_from_starting() {
    let house = House::new();
    let (edge_name, worker_name) = names();
    for (roles, names, problem) in [
        (EDGE, [worker_name.as_str()].as_slice(), Some("edge.posthorn.internal")),
        (WORKERS, &[&edge_name], Some("worker.posthorn.internal")),
        (ALL, &[&edge_name], Some("worker.posthorn.internal")),
        (ALL, &[&worker_name], Some("edge.posthorn.internal")),
        (EDGE, &[&edge_name], None),
        (WORKERS, &[&worker_name], None),
        (ALL, &[&edge_name, &worker_name], None),
    ] {
        refused(&house.config("node", roles, names), problem);
    }
    let mut config = house.config("node", EDGE, &[&edge_name]);
    config.mesh.ca_file = Some(authority(house.folder.path(), "stranger").ca_file());
    refused(&config, Some("mesh.certificate_file"));
    config.mesh.ca_file = Some(house.folder.path().join("nowhere"));
    refused(&config, Some("mesh.ca_file"));
    config.mesh.ca_file = config.mesh.key_file.clone();
    refused(&config, Some("mesh.ca_file"));
}

fn refused(config: &Config, problem: Option<&str>) {
    match (assemble::check(config), problem) {
        (Ok(()), None) => {}
        (Err(failure), Some(problem)) => {
            assert_eq!(failure.code(), Code::CertificateUnusable, "{failure}");
            assert!(failure.to_string().contains(problem), "{problem}: {failure}");
        }
        (found, _) => panic!("{problem:?}: {found:?}"),
    }
}
