//! From start to end of a cluster process: signals, admin listener, drain.

use std::{net::SocketAddr, process};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;

use crate::{
    admin::{Admin, Surface},
    assemble::{Cluster, Shown},
    config::{Config, cluster::Engines},
    exit::Exit,
    failure::{Failure, Outcome},
};

/// SIGINT and SIGTERM. The first asks for a drain, the second ends the process.
pub struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Takes the signals over from the system.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn take() -> Outcome<Self> {
        let take = |kind| signal(kind).map_err(anyhow::Error::from);
        Ok(Self {
            interrupt: take(SignalKind::interrupt())?,
            terminate: take(SignalKind::terminate())?,
        })
    }

    /// The next signal, as how a process ends by it.
    ///
    /// # Cancel safety
    /// A dropped call took none.
    pub async fn next(&mut self) -> Exit {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Exit::Interrupted,
            _ = self.terminate.recv() => Exit::Terminated,
        }
    }
}

/// What [`run`] tells once the cluster serves.
pub struct Started {
    /// Where clients connect.
    pub address: Option<SocketAddr>,
    /// Where the admin listener is.
    pub admin: Option<SocketAddr>,
}

/// Starts the cluster, calls `started`, runs until it is asked to end, drains, ends.
///
/// The admin listener is there first: it tells what the process waits for. A process that is asked
/// to end before it serves ends at once.
///
/// The order of the end: clients are accepted no more and told to go; sends in flight are answered;
/// workers finish what they have in hand; the log is flushed; the engines close; only then the
/// admin listener goes. A second signal ends the process at once: what was accepted is durable.
///
/// # Errors
/// What kept it from starting, or a part that failed.
///
/// # Cancel safety
/// Ends everything at once; nothing accepted is lost.
pub async fn run(config: &Config, started: impl FnOnce(&Started) -> Outcome) -> Outcome {
    let mut signals = Signals::take()?;
    let (shown, drain) = (Shown::default(), CancellationToken::new());
    let (admin, refused) = match bind(config).await {
        Ok(admin) => (admin, None),
        // Two processes that want one data folder also want one port: the folder says more.
        Err(failure) if config.node.engines == Engines::Embedded => (None, Some(failure)),
        Err(failure) => return Err(failure),
    };
    let admin_address = admin.as_ref().and_then(|admin| admin.address().ok());
    let mut listener = JoinSet::new();
    if let Some(admin) = admin {
        let surface = Surface {
            registry: shown.registry.clone(),
            readiness: shown.standing.readiness(),
            drain: drain.clone(),
        };
        listener.spawn(admin.serve(surface));
        if let Some(address) = admin_address {
            tracing::info!(admin = %address, "the admin listener answers");
        }
    }
    let mut cluster = tokio::select! {
        biased;
        // Nothing was taken in yet.
        _ = signals.next() => end_at_once(Exit::Success),
        () = drain.cancelled() => end_at_once(Exit::Success),
        cluster = Cluster::start_shown(config, shown) => cluster?,
    };
    if let Some(refused) = refused {
        return Err(refused);
    }
    started(&Started { address: cluster.address(), admin: admin_address })?;

    let failed: Option<Failure> = tokio::select! {
        biased;
        _ = signals.next() => None,
        () = drain.cancelled() => None,
        failure = cluster.failed() => Some(failure),
    };
    drain.cancel();
    tracing::info!("draining; a second signal ends at once");
    let drained = tokio::select! {
        biased;
        exit = signals.next() => {
            tracing::warn!("ending at once; what was accepted is durable");
            end_at_once(exit)
        }
        drained = cluster.drain() => drained,
    };
    listener.shutdown().await;
    match failed {
        Some(failure) => Err(failure),
        None => drained,
    }
}

/// The admin listener, when there is to be one.
async fn bind(config: &Config) -> Outcome<Option<Admin>> {
    match config.admin.enabled {
        true => Admin::bind(config.admin.address).await.map(Some),
        false => Ok(None),
    }
}

/// Ends the process without running anything more: the second signal asks for just that, and what
/// was accepted is durable.
#[allow(clippy::disallowed_methods)] // Destructors would drain, which is not wanted any more.
pub fn end_at_once(exit: Exit) -> ! {
    process::exit(i32::from(exit.number()))
}
