//! Signals and presence as an application has them, in memory and in virtual time.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::time::Duration;

use client::{Client, Hint, Roots, Servers, SignalError, UserId, Via, store::MemoryStore};
use cluster::{Cluster, user};
use link::{config::ServerConfig, quic::ServerEndpoint, secret::MasterSecret, tls::Certificate};
use tokio::{
    task::JoinSet,
    time::{interval, timeout},
};
use wire::EdgeId;

fn signal(from: &Client, text: &'static str) -> Hint {
    Hint::Signal { from: from.user().unwrap(), device: from.device(), body: text.into() }
}

async fn next(client: &Client) -> Hint {
    client.hints().next().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_signal_reaches_those_it_names() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    let bob = cluster.client("bob", MemoryStore::new()).await;
    let carol = cluster.client("carol", MemoryStore::new()).await;
    alice.signal(&[user("bob")], "typing").unwrap();
    alice.signal(&[user("bob"), user("carol")], "to both").unwrap();
    assert_eq!(next(&bob).await, signal(&alice, "typing"));
    assert_eq!(next(&bob).await, signal(&alice, "to both"));
    assert_eq!(next(&carol).await, signal(&alice, "to both"));
    assert_eq!(alice.signal(&[user("bob")], vec![7; 1025]), Err(SignalError::Size));
}

#[tokio::test]
async fn a_signal_arrives_over_quic() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let issued = rcgen::generate_simple_self_signed(["edge.example".to_owned()]).unwrap();
    let der = issued.cert.der().to_vec();
    let key = issued.signing_key.serialize_der();
    let endpoint = ServerEndpoint::bind(
        "127.0.0.1:0".parse().unwrap(),
        ServerConfig {
            certificate: Certificate::from_der(vec![der.clone()], key).unwrap(),
            edge: EdgeId::new(1),
            secret: MasterSecret::random(),
            previous_secret: None,
        },
    )
    .unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    cluster.listen(endpoint, &mut tasks);
    let mut config = cluster.config("alice", &[], MemoryStore::new());
    config.servers = Servers::Quic {
        addresses: vec![address],
        server_name: "edge.example".into(),
        via: Via::Own(Roots::from_der(vec![der]).unwrap()),
    };
    let alice = Client::connect(config).await.unwrap();
    let bob = cluster.client("bob", MemoryStore::new()).await;
    let largest = "x".repeat(1024);
    bob.signal(&[user("alice")], largest.clone()).unwrap();
    let Hint::Signal { body, from, .. } = next(&alice).await else { panic!("a signal") };
    assert_eq!((body, from), (largest.into(), user("bob")));
}

#[tokio::test(start_paused = true)]
async fn presence_is_asked_for_again_and_ends_when_nobody_tells() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    cluster.state.lock().unwrap().online = vec![user("bob")];
    let alice = cluster.client("alice", MemoryStore::new()).await;
    alice.watch(&[user("bob"), user("carol")]).unwrap();
    assert_eq!(next(&alice).await, Hint::Online(user("bob")));
    assert!(alice.is_online(user("bob")) && !alice.is_online(user("carol")));
    let mut hints = alice.hints();
    let lasting = timeout(Duration::from_secs(600), hints.next()).await;
    assert!(lasting.is_err(), "still online: {lasting:?}");
    assert!(cluster.state.lock().unwrap().asked >= 600 / 44);
    cluster.state.lock().unwrap().online.clear();
    let ended = timeout(Duration::from_secs(91), hints.next()).await;
    assert_eq!(ended, Ok(Some(Hint::Offline(user("bob")))));
}

#[tokio::test(start_paused = true)]
async fn lists_are_told_again_on_the_next_connection_and_nothing_flickers() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    cluster.state.lock().unwrap().online = vec![user("bob")];
    let alice = cluster.client("alice", MemoryStore::new()).await;
    alice.watch(&[user("bob")]).unwrap();
    alice.show(&[user("carol")]).unwrap();
    assert_eq!(next(&alice).await, Hint::Online(user("bob")));
    let until_shown = async || {
        let mut ticks = interval(Duration::from_millis(10));
        while cluster.state.lock().unwrap().shown != [user("carol")] {
            ticks.tick().await;
        }
    };
    until_shown().await;
    cluster.state.lock().unwrap().shown.clear();
    cluster.cut();
    until_shown().await;
    let mut hints = alice.hints();
    assert!(timeout(Duration::from_secs(300), hints.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn without_a_connection_everybody_is_offline_in_the_end() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    cluster.state.lock().unwrap().online = vec![user("bob")];
    let alice = cluster.client("alice", MemoryStore::new()).await;
    alice.watch(&[user("bob")]).unwrap();
    assert_eq!(next(&alice).await, Hint::Online(user("bob")));
    tasks.shutdown().await;
    let mut hints = alice.hints();
    let ended = timeout(Duration::from_secs(91), hints.next()).await;
    assert_eq!(ended, Ok(Some(Hint::Offline(user("bob")))));
    assert_eq!(alice.signal(&[user("bob")], "typing"), Err(SignalError::NotNow));
}

#[tokio::test(start_paused = true)]
async fn an_application_that_does_not_look_loses_the_oldest_hints_and_no_message() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    let bob = cluster.client("bob", MemoryStore::new()).await;
    let to: [UserId; 1] = [user("bob")];
    // Slower than what an edge takes.
    let mut ticks = interval(Duration::from_millis(100));
    for number in 0..400 {
        alice.signal(&to, format!("{number}")).unwrap();
        ticks.tick().await;
    }
    alice.send(client::Address::User(user("bob")), "hello").await.unwrap();
    while !matches!(bob.inbox().next().await, Some(client::Event::Item(_))) {}
    let mut hints = bob.hints();
    let waiting: Vec<Hint> = std::iter::from_fn(|| hints.try_next()).collect();
    assert_eq!(waiting.len(), 256);
    let Hint::Signal { body, .. } = &waiting[255] else { panic!("a signal") };
    assert_eq!(body, "399");
}
