//! Servers that die, forget, stall and are replaced. Each test starts its own, with `redis-server`.
#![allow(clippy::unwrap_used)]

mod servers;

use std::{sync::Arc, time::Duration};

use ports::{
    Presence, StoreError,
    operate::State,
    presence::{Lease, Renewed, Route},
};
use presence_redis::{Mode, RedisConfig, RedisPresence};
use tokio::time::Instant;
use wire::{DeviceId, EdgeId, Generation, UserId};

use crate::servers::{Server, cluster, has_synced, until};

const TTL: Duration = Duration::from_secs(600);

/// An edge with routes, and where it writes them.
struct House {
    redis: RedisPresence,
    port: Arc<dyn Presence>,
}

impl House {
    async fn open(mode: Mode) -> Self {
        let within = Duration::from_millis(500);
        let redis = RedisPresence::open(RedisConfig { within, ..RedisConfig::new(mode) }).await;
        let redis = redis.unwrap();
        let port = redis.presence();
        Self { redis, port }
    }

    async fn on(server: &Server) -> Self {
        Self::open(Mode::Single(server.address())).await
    }

    async fn try_renew(&self) -> Result<Renewed, StoreError> {
        let lease = Lease { edge: EdgeId::new(1), address: "edge-1".into() };
        self.port.renew_lease(lease, TTL).await
    }

    /// Renews until it is done.
    async fn renew(&self) -> Renewed {
        let mut renewed = None;
        until("the lease is renewed", async || {
            renewed = self.try_renew().await.ok();
            renewed.is_some()
        })
        .await;
        renewed.unwrap()
    }

    /// Writes routes of so many users, until it is done.
    async fn attach(&self, users: u8) {
        until("routes are written", async || self.port.attach(routes(users)).await.is_ok()).await;
    }

    /// How many of so many users are found.
    async fn found(&self, users: u8) -> usize {
        let users: Vec<UserId> = (0..users).map(user).collect();
        let mut found = None;
        until("a lookup answers", async || {
            found = self.port.lookup(users.clone()).await.ok();
            found.is_some()
        })
        .await;
        found.unwrap().len()
    }

    /// Renews as an edge does until it is told to write all again, and writes all again.
    async fn recover(&self, users: u8) {
        until("a renewal says that something was lost", async || {
            matches!(self.try_renew().await, Ok(Renewed::Anew))
        })
        .await;
        self.attach(users).await;
        assert_eq!(self.found(users).await, usize::from(users));
    }
}

fn user(number: u8) -> UserId {
    UserId::from_bytes([number; 16])
}

fn routes(users: u8) -> Vec<Route> {
    let route = |number| Route {
        user: user(number),
        device: DeviceId::from_bytes([number; 8]),
        edge: EdgeId::new(1),
        generation: Generation::new(1),
    };
    (0..users).map(route).collect()
}

#[tokio::test]
async fn a_server_that_is_not_there_yet_is_no_error() {
    let mut server = Server::prepare(&[]);
    let house = House::on(&server).await;
    assert!(matches!(house.try_renew().await, Err(StoreError::Retry(_))));
    assert!(house.redis.trouble().is_some());
    server.start_again().await;
    assert_eq!(house.renew().await, Renewed::Anew);
    assert_eq!(house.redis.trouble(), None);
    assert!(house.redis.stats().connected);
}

#[tokio::test]
async fn a_server_that_was_killed_is_found_again_and_the_edge_hears_that_all_is_lost() {
    let mut server = Server::start(&[]).await;
    let house = House::on(&server).await;
    house.renew().await;
    house.attach(100).await;
    assert_eq!(house.found(100).await, 100);
    server.kill();
    until("a call fails", async || house.try_renew().await.is_err()).await;
    until("the trouble is known", async || house.redis.trouble().is_some()).await;
    server.start_again().await;
    assert_eq!(house.found(100).await, 0);
    house.recover(100).await;
    assert_eq!(house.renew().await, Renewed::Held);
}

#[tokio::test]
async fn the_edge_hears_that_a_server_was_flushed() {
    let server = Server::start(&[]).await;
    let house = House::on(&server).await;
    house.renew().await;
    house.attach(10).await;
    assert_eq!(house.renew().await, Renewed::Held);
    server.tell("FLUSHALL").await;
    assert_eq!(house.found(10).await, 0);
    assert_eq!(house.renew().await, Renewed::Anew);
    house.attach(10).await;
    assert_eq!(house.found(10).await, 10);
}

#[tokio::test]
async fn scripts_that_a_server_forgot_are_sent_again() {
    let server = Server::start(&[]).await;
    let house = House::on(&server).await;
    house.renew().await;
    server.tell("SCRIPT FLUSH").await;
    house.port.attach(routes(100)).await.unwrap();
    assert_eq!(house.found(100).await, 100);
    server.tell("SCRIPT FLUSH").await;
    house.port.detach(routes(100)).await.unwrap();
    assert_eq!(house.found(100).await, 0);
}

#[tokio::test]
async fn a_server_that_stalls_keeps_nobody_longer_than_the_time_for_a_call() {
    let server = Server::start(&[]).await;
    let house = House::on(&server).await;
    house.renew().await;
    server.tell("CLIENT PAUSE 3000 ALL").await;
    let began = Instant::now();
    assert!(matches!(house.try_renew().await, Err(StoreError::Retry(_))));
    let took = began.elapsed();
    assert!(took < Duration::from_millis(2_500), "{took:?}");
    // Nothing was lost, only answers.
    assert_eq!(house.renew().await, Renewed::Held);
}

#[tokio::test]
async fn a_full_memory_fails_writes_and_nothing_else() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]).await;
    let house = House::on(&server).await;
    house.renew().await;
    house.attach(10).await;
    server.tell("CONFIG SET maxmemory 1").await;
    assert!(matches!(house.port.attach(routes(20)).await, Err(StoreError::Retry(_))));
    assert_eq!(house.port.lookup((0..20).map(user).collect()).await.unwrap().len(), 10);
    house.port.release_lease(EdgeId::new(1)).await.unwrap();
    assert_eq!(house.port.leases().await.unwrap(), []);
    server.tell("CONFIG SET maxmemory 0").await;
    assert_eq!(house.renew().await, Renewed::Anew);
}

#[tokio::test]
async fn what_one_process_knows_of_leases_is_never_older_than_redis() {
    let server = Server::start(&[]).await;
    let (edge, worker) = (House::on(&server).await, House::on(&server).await);
    edge.renew().await;
    edge.attach(1).await;
    assert_eq!(worker.found(1).await, 1);
    edge.port.release_lease(EdgeId::new(1)).await.unwrap();
    assert_eq!(worker.found(1).await, 0);
    edge.renew().await;
    assert_eq!(worker.found(1).await, 1);
    let moved = Lease { edge: EdgeId::new(1), address: "edge-1b".into() };
    edge.port.renew_lease(moved.clone(), TTL).await.unwrap();
    assert_eq!(worker.port.leases().await.unwrap(), [moved]);
    server.tell("FLUSHALL").await;
    assert_eq!(worker.found(1).await, 0);
    assert_eq!(worker.port.leases().await.unwrap(), []);
}

#[tokio::test]
async fn routes_that_nobody_writes_again_go() {
    let server = Server::start(&[]).await;
    let house = House::on(&server).await;
    house.renew().await;
    house.attach(1).await;
    let keys = server.tell("KEYS *:routes:*").await;
    let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
    let left = server.tell(&format!("TTL {}", keys[0])).await;
    let left: u64 = redis::from_redis_value(left).unwrap();
    assert!((86_000..=86_400).contains(&left), "{left}");
}

#[tokio::test]
async fn one_server_of_a_cluster_that_lost_all_is_noticed() {
    let mut servers = cluster(0).await;
    let nodes = servers.iter().map(Server::address).collect();
    let house = House::open(Mode::Cluster(nodes)).await;
    house.renew().await;
    house.attach(200).await;
    assert_eq!(house.renew().await, Renewed::Held);
    for server in &servers {
        server.tell("FLUSHALL").await;
        assert!(house.found(200).await < 200);
        house.recover(200).await;
        assert_eq!(house.renew().await, Renewed::Held);
    }
    servers[1].kill();
    servers[1].start_again().await;
    house.recover(200).await;
}

#[tokio::test]
async fn a_cluster_goes_on_when_a_replica_takes_over() {
    let mut servers = cluster(1).await;
    let nodes = servers.iter().map(Server::address).collect();
    let house = House::open(Mode::Cluster(nodes)).await;
    house.renew().await;
    house.attach(200).await;
    servers[0].kill();
    house.recover(200).await;
    until("the trouble is over", async || house.redis.trouble().is_none()).await;
}

#[tokio::test]
async fn sentinels_say_who_takes_over() {
    let mut first = Server::start(&[]).await;
    let replicated = first.port.to_string();
    let second = Server::start(&["--replicaof", &format!("127.0.0.1 {replicated}")]).await;
    let mut sentinels = Vec::new();
    for _ in 0..3 {
        let watched = format!(
            "sentinel monitor posthorn 127.0.0.1 {replicated} 2\n\
             sentinel down-after-milliseconds posthorn 1000\n\
             sentinel failover-timeout posthorn 5000\n"
        );
        sentinels.push(Server::sentinel(&watched).await);
    }
    has_synced(&second).await;
    for sentinel in &sentinels {
        until("sentinels know each other and the replica", async || {
            let info = sentinel.text("INFO sentinel").await;
            info.contains("slaves=1,sentinels=3")
        })
        .await;
    }
    let nodes = sentinels.iter().map(Server::address).collect();
    let mode = Mode::Sentinel { nodes, service: "posthorn".into() };
    let house = House::open(mode.clone()).await;
    house.renew().await;
    house.attach(100).await;
    first.kill();
    house.recover(100).await;
    assert!(house.redis.stats().losses > 0);
    let findings = RedisPresence::check(&RedisConfig::new(mode)).await;
    assert!(findings.iter().all(|finding| finding.state == State::Good), "{findings:?}");
}
