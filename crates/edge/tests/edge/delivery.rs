//! The mailbox on its way to a device: pushed, read, acknowledged.

use bytes::BytesMut;
use edge::EdgeConfig;
use ports::mailbox::Cursor;
use wire::{
    ClientFrame, DeliveryFrame, Seq, UserId,
    delivery_frame::Deliver,
    mesh::{MeshFrame, Push},
};

use crate::{
    NOW_MS,
    client::{Client, Cluster, Key, MESH, user},
    world::item,
};

/// A link of a worker that pushes rows to all routes there are.
struct Worker(link::Connection, link::Sender);

impl Worker {
    async fn link(cluster: &Cluster) -> Self {
        let connection = cluster.hub.dial(MESH).await.unwrap();
        let stream = connection.open_uni().await.unwrap();
        Self(connection, stream)
    }

    async fn push(&mut self, cluster: &Cluster, user: UserId, seq: Seq, prev: Option<Seq>) {
        let routes = cluster.world.routes().iter().map(|r| (r.device, r.generation)).collect();
        let deliver = Deliver { seq, prev, log_time_ms: NOW_MS, item: item(user, "pushed") };
        let pushes = vec![Push { user, routes, deliver }];
        self.write(MeshFrame { pushes, ..MeshFrame::default() }).await;
    }

    async fn write(&mut self, frame: MeshFrame) {
        let mut out = BytesMut::new();
        frame.encode(&mut out);
        while !out.is_empty() {
            self.1.write(&mut out).await.unwrap();
        }
    }
}

async fn delivered(client: &mut Client) -> Deliver {
    let frame = client.delivered().await;
    let DeliveryFrame::Deliver(deliver) = frame else { panic!("not an item: {frame:?}") };
    deliver
}

async fn delivered_seq(client: &mut Client) -> Seq {
    delivered(client).await.seq
}

#[tokio::test]
async fn rows_come_in_order_each_naming_the_one_before() {
    let cluster = Cluster::start().await;
    let bob = user("bob");
    let rows: Vec<Seq> =
        (0..500).map(|n| cluster.world.put_row(bob, item(bob, &n.to_string()))).collect();
    let mut client = cluster.connect("bob", &Key::new()).await;
    let mut prev = Seq::ZERO;
    for row in rows {
        let deliver = delivered(&mut client).await;
        assert_eq!((deliver.seq, deliver.prev), (row, Some(prev)));
        prev = row;
    }
    assert_eq!(client.delivered().await, DeliveryFrame::CaughtUp { head: prev, prev });
}

#[tokio::test]
async fn a_push_reaches_the_device_and_a_gap_is_read() {
    let cluster = Cluster::start().await;
    let bob = user("bob");
    let mut client = cluster.connect("bob", &Key::new()).await;
    assert!(matches!(client.delivered().await, DeliveryFrame::CaughtUp { .. }));
    let mut worker = Worker::link(&cluster).await;
    let first = cluster.world.put_row(bob, item(bob, "first"));
    worker.push(&cluster, bob, first, Some(Seq::ZERO)).await;
    assert_eq!(delivered_seq(&mut client).await, first);
    let lost = cluster.world.put_row(bob, item(bob, "lost push"));
    let third = cluster.world.put_row(bob, item(bob, "third"));
    worker.push(&cluster, bob, third, Some(lost)).await;
    assert_eq!(delivered_seq(&mut client).await, lost);
    assert_eq!(delivered_seq(&mut client).await, third);
}

#[tokio::test]
async fn without_any_push_the_head_check_brings_it() {
    let config = EdgeConfig { head_check_ms: 100, ..EdgeConfig::default() };
    let cluster = Cluster::start_with(config).await;
    let bob = user("bob");
    let mut client = cluster.connect("bob", &Key::new()).await;
    assert!(matches!(client.delivered().await, DeliveryFrame::CaughtUp { .. }));
    let row = cluster.world.put_row(bob, item(bob, "unheard"));
    assert_eq!(delivered_seq(&mut client).await, row);
}

#[tokio::test]
async fn a_broken_link_of_a_worker_has_mailboxes_compared_at_once() {
    let cluster = Cluster::start().await;
    let bob = user("bob");
    let mut client = cluster.connect("bob", &Key::new()).await;
    assert!(matches!(client.delivered().await, DeliveryFrame::CaughtUp { .. }));
    let mut worker = Worker::link(&cluster).await;
    let row = cluster.world.put_row(bob, item(bob, "first"));
    worker.push(&cluster, bob, row, Some(Seq::ZERO)).await;
    assert_eq!(delivered_seq(&mut client).await, row);
    let unheard = cluster.world.put_row(bob, item(bob, "unheard"));
    drop(worker.1);
    worker.0.close(0, "");
    assert_eq!(delivered_seq(&mut client).await, unheard);
}

#[tokio::test]
async fn a_worker_that_lost_pushes_has_mailboxes_compared_at_once() {
    let cluster = Cluster::start().await;
    let bob = user("bob");
    let mut client = cluster.connect("bob", &Key::new()).await;
    assert!(matches!(client.delivered().await, DeliveryFrame::CaughtUp { .. }));
    let mut worker = Worker::link(&cluster).await;
    let lost = MeshFrame { lost: true, ..MeshFrame::default() };
    for text in ["unheard", "and unheard again, right after"] {
        let row = cluster.world.put_row(bob, item(bob, text));
        worker.write(lost.clone()).await;
        assert_eq!(delivered_seq(&mut client).await, row);
        assert_eq!(client.delivered().await, DeliveryFrame::CaughtUp { head: row, prev: row });
    }
}

#[tokio::test]
async fn routes_that_presence_forgot_are_written_again() {
    let config = EdgeConfig { lease_ttl_ms: 1_000, ..EdgeConfig::default() };
    let cluster = Cluster::start_with(config).await;
    let _client = cluster.connect("bob", &Key::new()).await;
    let routes = cluster.world.routes();
    assert_eq!(routes.len(), 1);
    cluster.until(|| cluster.world.leases() == 1).await;
    cluster.world.forget_presence();
    cluster.until(|| cluster.world.routes() == routes).await;
}

#[tokio::test]
async fn routes_are_written_again_when_nobody_heard_that_presence_forgot() {
    let config = EdgeConfig { lease_ttl_ms: 1_000, ..EdgeConfig::default() };
    let cluster = Cluster::start_with(config).await;
    let _client = cluster.connect("bob", &Key::new()).await;
    let routes = cluster.world.routes();
    cluster.until(|| cluster.world.leases() == 1).await;
    cluster.world.lose_answer();
    cluster.world.forget_presence();
    cluster.until(|| cluster.world.routes() == routes).await;
}

#[tokio::test]
async fn of_routes_written_again_those_of_gone_connections_are_not() {
    let config = EdgeConfig { lease_ttl_ms: 1_000, ..EdgeConfig::default() };
    let cluster = Cluster::start_with(config).await;
    let gone = cluster.connect("alice", &Key::new()).await;
    let _client = cluster.connect("bob", &Key::new()).await;
    cluster.until(|| cluster.world.leases() == 1).await;
    drop(gone);
    cluster.until(|| cluster.world.routes().len() == 1).await;
    let routes = cluster.world.routes();
    cluster.world.forget_presence();
    cluster.until(|| cluster.world.routes() == routes).await;
}

#[tokio::test]
async fn a_route_that_could_not_be_written_is_written_when_presence_answers_again() {
    let config = EdgeConfig { lease_ttl_ms: 1_000, ..EdgeConfig::default() };
    let cluster = Cluster::start_with(config).await;
    cluster.world.fail_presence();
    let _client = cluster.connect("bob", &Key::new()).await;
    assert!(cluster.world.routes().is_empty());
    cluster.world.forget_presence();
    cluster.until(|| cluster.world.routes().len() == 1).await;
}

#[tokio::test]
async fn an_acknowledged_position_is_stored_with_the_time_of_having_everything() {
    let cluster = Cluster::start().await;
    let bob = user("bob");
    let rows: Vec<Seq> = (0..2).map(|_| cluster.world.put_row(bob, item(bob, "hello"))).collect();
    let key = Key::new();
    let mut client = cluster.connect("bob", &key).await;
    while !matches!(client.delivered().await, DeliveryFrame::CaughtUp { .. }) {}
    client.say(ClientFrame::Ack(rows[1])).await;
    let stored = || cluster.world.cursor(bob, key.device());
    cluster.until(|| stored().is_some_and(|cursor| cursor.seq == rows[1])).await;
    assert_eq!(stored().unwrap().caught_up_ms, NOW_MS);
}

#[tokio::test]
async fn a_device_away_for_longer_than_rows_are_kept_is_told_from_where() {
    let config = EdgeConfig { retention_ms: 1_000, ..EdgeConfig::default() };
    let cluster = Cluster::start_with(config).await;
    let key = Key::new();
    let bob = user("bob");
    let mut client = cluster.connect("bob", &key).await;
    assert!(matches!(client.delivered().await, DeliveryFrame::CaughtUp { .. }));
    // Only then is it not stored any more that the device has everything now.
    cluster.until(|| cluster.world.cursor(bob, key.device()).is_some()).await;
    let cursor = Cursor { seq: Seq::ZERO, caught_up_ms: NOW_MS - 10_000 };
    cluster.world.set_cursor(bob, key.device(), cursor);
    cluster.world.age_devices(bob, 10_000);
    let row = cluster.world.put_row(bob, item(bob, "kept"));
    let mut client = cluster.connect("bob", &key).await;
    assert_eq!(client.delivered().await, DeliveryFrame::Truncated(row));
    assert_eq!(delivered_seq(&mut client).await, row);
}
