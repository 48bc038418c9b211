//! How an edge ends.

use std::time::Duration;

use edge::EdgeConfig;
use session::close::CloseCode;
use wire::{ClientFrame, DeliveryFrame, ServerFrame, server_frame::BusyReason};

use crate::{
    client::{Cluster, Key, user},
    world::item,
};

#[tokio::test]
async fn a_drain_finishes_what_is_in_flight_and_leaves_nothing_behind() {
    let mut cluster = Cluster::start().await;
    let (bob, key) = (user("bob"), Key::new());
    let row = cluster.world.put_row(bob, item(bob, "hello"));
    let mut client = cluster.connect("bob", &key).await;
    while !matches!(client.delivered().await, DeliveryFrame::CaughtUp { .. }) {}
    client.say(ClientFrame::Ack(row)).await;

    cluster.world.hold_appends(true);
    let first = client.message(bob, "in flight");
    client.say(ClientFrame::Send(first.clone())).await;
    // Both are on one stream: the answer to the question shows that the send was taken.
    client.say(ClientFrame::Query(1, wire::entity::Query::Devices)).await;
    assert!(matches!(client.answer().await, ServerFrame::Answer(1, _)));
    cluster.stop.cancel();
    assert!(matches!(client.answer().await, ServerFrame::Drain { .. }));
    let late = client.message(bob, "late");
    client.say(ClientFrame::Send(late.clone())).await;
    let ServerFrame::Busy { id, reason, .. } = client.answer().await else { panic!("busy") };
    assert_eq!((id, reason), (late.id, BusyReason::Draining));

    cluster.world.hold_appends(false);
    assert_eq!(client.answer().await, ServerFrame::Accepted(first.id));
    assert_eq!(client.closed().await, CloseCode::GoingAway);
    assert_eq!(cluster.ended().await, Ok(()));
    assert_eq!(cluster.world.cursor(bob, key.device()).unwrap().seq, row);
    assert!(cluster.world.routes().is_empty());
    assert_eq!(cluster.world.leases(), 0);
}

#[tokio::test]
async fn a_drain_ends_in_time_whatever_the_log_does() {
    let config = EdgeConfig { drain_within_ms: 100, drain_jitter_ms: 0, ..EdgeConfig::default() };
    let mut cluster = Cluster::start_with(config).await;
    let mut client = cluster.connect("bob", &Key::new()).await;
    cluster.world.hold_appends(true);
    let send = client.message(user("bob"), "never answered");
    client.say(ClientFrame::Send(send)).await;
    cluster.handle.drain();
    assert_eq!(client.closed().await, CloseCode::GoingAway);
    assert_eq!(cluster.ended().await, Ok(()));
}

#[tokio::test]
async fn an_abort_ends_at_once_also_during_a_drain() {
    let config = EdgeConfig {
        drain_within_ms: 3_600_000,
        drain_jitter_ms: 3_600_000,
        ..EdgeConfig::default()
    };
    let mut cluster = Cluster::start_with(config).await;
    let mut client = cluster.connect("bob", &Key::new()).await;
    cluster.stop.cancel();
    assert!(matches!(client.answer().await, ServerFrame::Drain { .. }));
    cluster.abort.cancel();
    assert_eq!(cluster.ended().await, Ok(()));
    assert_eq!(client.closed().await, CloseCode::GoingAway);
}

#[tokio::test]
async fn a_draining_edge_takes_nobody_in_and_stays_ready() {
    let config = EdgeConfig {
        drain_within_ms: 3_600_000,
        drain_jitter_ms: 3_600_000,
        ..EdgeConfig::default()
    };
    let cluster = Cluster::start_with(config).await;
    let mut client = cluster.connect("bob", &Key::new()).await;
    cluster.stop.cancel();
    assert!(matches!(client.answer().await, ServerFrame::Drain { .. }));
    assert!(cluster.dial().await.is_err());
    assert!(cluster.handle.is_ready().ready);
}

#[tokio::test]
async fn a_client_that_never_says_hello_does_not_hold_up_a_drain() {
    let mut cluster = Cluster::start().await;
    let silent = cluster.dial().await.unwrap();
    let (_sender, _receiver) = silent.open_bi().await.unwrap();
    cluster.until(|| cluster.handle.connections() == 1).await;
    cluster.stop.cancel();
    assert!(silent.closed().await.by_peer);
    assert_eq!(cluster.ended().await, Ok(()));
}

#[tokio::test]
async fn silence_of_the_control_log_is_not_ready() {
    let config = EdgeConfig { control_silence_ms: 2_000, ..EdgeConfig::default() };
    let cluster = Cluster::start_with(config).await;
    let mut client = cluster.connect("bob", &Key::new()).await;
    cluster.until(|| !cluster.handle.is_ready().ready).await;
    let send = client.message(user("bob"), "hello");
    client.say(ClientFrame::Send(send)).await;
    let ServerFrame::Busy { reason, after_ms, .. } = client.answer().await else {
        panic!("busy");
    };
    assert_eq!(reason, BusyReason::NotReady);
    assert!(Duration::from_millis(after_ms.into()) >= Duration::from_secs(1));
}
