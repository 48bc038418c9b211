//! The contract of presence on every way to run Redis. The servers are named by variables, which
//! `cargo xtask test engines` sets.
#![allow(clippy::unwrap_used)]

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::Arc,
    time::Duration,
};

use ports::{
    BoxFuture, Presence, StoreError,
    contract::{Harness, Refuse},
    operate::State,
    presence::{Lease, Renewed, Route},
};
use presence_redis::{Mode, Password, RedisConfig, RedisPresence};
use wire::{EdgeId, UserId};

/// What a variable names.
fn variable(name: &str) -> String {
    let value = std::env::var(name);
    value.unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test engines`"))
}

fn addresses(name: &str) -> Vec<String> {
    variable(name).split(',').map(str::to_owned).collect()
}

/// Settings under a prefix that no other test and no other run has.
fn fresh(mode: Mode) -> RedisConfig {
    let prefix = format!("test-{:016x}", RandomState::new().build_hasher().finish());
    // Machines under test are slow, and slowness is not what is tested.
    RedisConfig { prefix, within: Duration::from_secs(10), ..RedisConfig::new(mode) }
}

fn single() -> RedisConfig {
    fresh(Mode::Single(variable("POSTHORN_TEST_REDIS")))
}

fn cluster() -> RedisConfig {
    fresh(Mode::Cluster(addresses("POSTHORN_TEST_REDIS_CLUSTER")))
}

fn sentinel() -> RedisConfig {
    let nodes = addresses("POSTHORN_TEST_REDIS_SENTINEL");
    fresh(Mode::Sentinel { nodes, service: "posthorn".into() })
}

fn secured() -> RedisConfig {
    RedisConfig {
        user: Some("default".into()),
        password: Some(Password::new("posthorn-secret")),
        ca_file: Some(variable("POSTHORN_TEST_CA").into()),
        ..fresh(Mode::Single(variable("POSTHORN_TEST_REDIS_TLS")))
    }
}

struct Redis {
    _presence: RedisPresence,
    port: Arc<Hurried>,
}

impl Redis {
    async fn open(config: RedisConfig) -> Self {
        let presence = RedisPresence::open(config).await.unwrap();
        let port = Arc::new(Hurried(presence.presence()));
        Self { _presence: presence, port }
    }
}

/// Leases end by the clock of Redis, which only goes on by itself: all of them are shorter.
struct Hurried(Arc<dyn Presence>);

fn hurried(time: Duration) -> Duration {
    time * 2 / 5
}

impl Presence for Hurried {
    fn renew_lease(
        &self,
        lease: Lease,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<Renewed, StoreError>> {
        self.0.renew_lease(lease, hurried(ttl))
    }

    fn release_lease(&self, edge: EdgeId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.release_lease(edge)
    }

    fn attach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.attach(routes)
    }

    fn detach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.detach(routes)
    }

    fn lookup(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Route>, StoreError>> {
        self.0.lookup(users)
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        self.0.leases()
    }
}

macro_rules! harness {
    ($name:ident, $config:expr) => {
        struct $name(Redis);

        impl Harness for $name {
            async fn open(_partitions: u16) -> Self {
                Self(Redis::open($config).await)
            }

            fn presence(&self) -> Arc<dyn Presence> {
                self.0.port.clone()
            }

            async fn reopen(self) -> Self {
                self
            }

            fn now_ms(&self) -> u64 {
                0
            }

            fn advance(&self, _by: Duration) -> bool {
                false
            }

            async fn pass(&self, by: Duration) {
                tokio::time::timeout(hurried(by), std::future::pending::<()>()).await.ok();
            }

            fn fail_next_append(&self) -> bool {
                false
            }

            fn refuse_appends(&self, _refuse: Refuse) -> bool {
                false
            }

            fn fail_next_store(&self) -> bool {
                false
            }
        }
    };
}

harness!(Single, single());
harness!(Cluster, cluster());
harness!(Sentinel, sentinel());
harness!(Secured, secured());

ports::contract_suite!(on_one_server, Single, 1, presence);
ports::contract_suite!(on_a_cluster, Cluster, 1, presence);
ports::contract_suite!(with_sentinels, Sentinel, 1, presence);
ports::contract_suite!(with_tls_and_password, Secured, 1, presence);

async fn all_is_good(config: RedisConfig) {
    let findings = RedisPresence::check(&config).await;
    assert!(!findings.is_empty());
    for finding in findings {
        assert_eq!(finding.state, State::Good, "{finding:?}");
    }
}

#[tokio::test]
async fn a_look_at_one_server_finds_it_good() {
    all_is_good(single()).await;
}

#[tokio::test]
async fn a_look_at_a_cluster_finds_it_good() {
    all_is_good(cluster()).await;
}

#[tokio::test]
async fn a_look_at_sentinels_finds_them_good() {
    all_is_good(sentinel()).await;
}

#[tokio::test]
async fn a_look_with_tls_and_password_finds_it_good() {
    all_is_good(secured()).await;
}

#[tokio::test]
async fn a_wrong_password_is_found() {
    let config = RedisConfig { password: Some(Password::new("wrong")), ..secured() };
    let findings = RedisPresence::check(&config).await;
    assert!(findings.iter().any(|finding| finding.state == State::Wrong), "{findings:?}");
}
