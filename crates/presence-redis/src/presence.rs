//! The engine as a whole: how it starts, what it says of itself, how it ends.

use std::{
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use ports::{Presence, operate::Finding};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    check,
    config::RedisConfig,
    connect::Connector,
    engine::RedisEngine,
    error::OpenError,
    keeper::{self, Shared},
    keys::Keys,
    leases::KnownLeases,
    scripts::Scripts,
    stats::Stats,
    witness::Witnesses,
};

/// Presence on Redis or Valkey. It connects, and connects again, by itself; meanwhile calls fail at
/// once. Dropping it ends its connections.
pub struct RedisPresence {
    engine: Arc<RedisEngine>,
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl RedisPresence {
    /// Begins to connect. Must be called within a runtime.
    ///
    /// # Errors
    /// [`OpenError`]: the settings must be changed.
    ///
    /// # Cancel safety
    /// Dropping it opens nothing.
    #[expect(clippy::unused_async, reason = "like the other engines, which wait")]
    pub async fn open(config: RedisConfig) -> Result<Self, OpenError> {
        let connector = Arc::new(Connector::new(&config)?);
        let shared = Arc::new(Shared::new());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        tasks.spawn(keeper::keep(connector, shared.clone(), config.within, stop.clone()));
        let keys = Keys::new(&config.prefix);
        let engine = RedisEngine {
            shared,
            within: config.within,
            witnesses: Witnesses::new(&keys),
            keys,
            scripts: Scripts::new(),
            known: KnownLeases::default(),
            told: Mutex::default(),
            calls: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        };
        Ok(Self { engine: Arc::new(engine), tasks, stop })
    }

    /// The port. Its calls fail once this is closed or dropped.
    #[must_use]
    pub fn presence(&self) -> Arc<dyn Presence> {
        self.engine.clone()
    }

    /// Why it does not work now; `None` when it does. Pushes come late meanwhile, nothing is lost.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.engine.shared.trouble()
    }

    /// What it counted since it was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let RedisEngine { shared, calls, failures, .. } = &*self.engine;
        Stats {
            connected: shared.is_connected(),
            connects: shared.connects.load(Relaxed),
            calls: calls.load(Relaxed),
            failures: failures.load(Relaxed),
            losses: shared.losses.load(Relaxed),
        }
    }

    /// Ends its task and its connections. Calls under way fail.
    ///
    /// # Cancel safety
    /// Dropping it ends everything at once.
    pub async fn close(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }

    /// Looks at the servers and what is set there. Always answers something, within seconds.
    ///
    /// # Cancel safety
    /// It changes nothing.
    pub async fn check(config: &RedisConfig) -> Vec<Finding> {
        check::check(config).await
    }
}

impl fmt::Debug for RedisPresence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisPresence").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
