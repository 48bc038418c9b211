//! The database under test, a keyspace of this run, and a clock that tests move.

use std::{
    cell::Cell,
    net::SocketAddr,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use mailbox_scylla::{CqlConfig, CqlStore, schema};
use tokio::sync::OnceCell;

use crate::relay::Relay;

/// The clock begins so long ago, so that moving it on leads to no time to come: `ScyllaDB` refuses
/// timestamps far ahead.
const BEGINS_AGO: Duration = Duration::from_secs(100 * 24 * 3600);

thread_local! {
    /// Every test has a thread, and so a clock, of its own.
    static NOW_MS: Cell<u64> = Cell::new(real_ms() - millis(BEGINS_AGO));
}

pub(crate) fn now_ms() -> u64 {
    NOW_MS.get()
}

pub(crate) fn advance(by: Duration) {
    NOW_MS.set(now_ms() + millis(by));
}

#[allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a database has no other clock"
)]
pub(crate) fn real_ms() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap()
}

/// A number no other case of this run has.
pub(crate) fn next_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, SeqCst)
}

pub(crate) fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| {
        panic!("{name} is not set: run these tests by `cargo xtask test engines`")
    })
}

pub(crate) fn nodes() -> Vec<SocketAddr> {
    let nodes = variable("POSTHORN_TEST_CQL");
    nodes.split(',').map(|node| node.parse().expect("POSTHORN_TEST_CQL has host:port")).collect()
}

/// A keyspace that no other run has.
pub(crate) fn keyspace(what: &str) -> String {
    format!("test_{what}_{}_{}", std::process::id(), real_ms() % 1_000_000_000)
}

/// A database as it is, in a keyspace.
pub(crate) fn config(keyspace: &str) -> CqlConfig {
    let nodes = nodes().iter().map(ToString::to_string).collect();
    CqlConfig {
        unsafe_replication: true,
        write_within: Duration::from_secs(4),
        read_within: Duration::from_secs(10),
        ..CqlConfig::new(nodes, keyspace)
    }
}

/// As many copies as there are nodes, at most three.
pub(crate) fn copies() -> u16 {
    u16::try_from(nodes().len().min(3)).unwrap()
}

/// The keyspace of this run, made once.
pub(crate) async fn prepared() -> CqlConfig {
    static PREPARED: OnceCell<CqlConfig> = OnceCell::const_new();
    let prepare = || async {
        let config = config(&keyspace("store"));
        let wanted = schema::wanted(&config, copies()).await.unwrap();
        schema::apply(&config, &wanted, |_| {}).await.unwrap();
        config
    };
    PREPARED.get_or_init(prepare).await.clone()
}

/// A store whose connections go through a relay.
pub(crate) async fn open_through(relay: &Relay) -> CqlStore {
    let mut config = prepared().await;
    let ips = nodes().into_iter().map(|node| node.ip());
    config.translate = ips.zip(relay.addresses()).collect();
    config.nodes = relay.addresses().iter().map(ToString::to_string).collect();
    CqlStore::open(config, now_ms).await.unwrap()
}

/// A store, connected directly.
pub(crate) async fn open() -> CqlStore {
    CqlStore::open(prepared().await, now_ms).await.unwrap()
}
