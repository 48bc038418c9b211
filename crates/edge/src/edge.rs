//! The edge as a whole: what its tasks share, how it starts, runs and ends.

use std::{sync::Arc, time::Duration};

use link::{MeshDialer, MeshListener, quic::ServerEndpoint};
use ports::{Engines, presence::Lease};
use session::close::CloseCode;
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use wire::EdgeId;

use crate::{
    WallClock,
    config::EdgeConfig,
    control::{self, Control},
    cursor::Cursors,
    drain::drain,
    head_check::HeadCheck,
    inbound,
    listener::{self, Door},
    metrics::EdgeMetrics,
    presence::{Command, RouteQueue, RouteWriter},
    publish::Publisher,
    routes::Routes,
    signals::{self, Exchange},
    token::Verifier,
};

/// What an edge is made from.
pub struct Parts {
    /// Log, mailbox, entities, presence.
    pub engines: Engines,
    /// Where clients connect.
    pub endpoint: ServerEndpoint,
    /// Where workers and other edges connect.
    pub mesh: MeshListener,
    /// How they find `mesh`, as [`Lease::address`].
    pub mesh_address: String,
    /// How this edge reaches others, for what is never stored.
    pub dialer: MeshDialer,
    /// Who verifies tokens.
    pub verifier: Verifier,
    /// Milliseconds since 1970.
    pub wall_clock: WallClock,
    /// What it counts.
    pub metrics: EdgeMetrics,
    /// This start of this process, drawn at random; the same as in the endpoint's connection ids.
    pub edge_id: EdgeId,
}

/// A stateless node for clients.
pub struct Edge {
    shared: Arc<Shared>,
    endpoint: ServerEndpoint,
    mesh: MeshListener,
    dialer: MeshDialer,
    lease: Lease,
    routes_to_write: mpsc::Receiver<Command>,
    hints_to_hand_on: mpsc::Receiver<signals::Request>,
}

/// A view of a running edge. Cloning is cheap.
#[derive(Clone)]
pub struct EdgeHandle(Arc<Shared>);

/// Whether an edge can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// New clients may be sent here. Stays true while draining: a load balancer that drops the edge
    /// also drops the flows of clients which are being told to go.
    pub ready: bool,
    /// Why, or why not.
    pub reason: &'static str,
}

/// Why an edge ended by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The control log must not be read on: a newer version wrote it, or the engine refuses.
    #[error("{0}")]
    Control(String),
    /// A task of the edge panicked; the process is not to be trusted any more.
    #[error("a task of the edge panicked")]
    Panicked,
}

/// What all tasks of an edge share.
pub(crate) struct Shared {
    pub(crate) config: EdgeConfig,
    pub(crate) engines: Engines,
    pub(crate) verifier: Verifier,
    pub(crate) wall_clock: WallClock,
    pub(crate) metrics: EdgeMetrics,
    pub(crate) edge_id: EdgeId,
    pub(crate) routes: Routes,
    pub(crate) presence: RouteQueue,
    pub(crate) exchange: Exchange,
    pub(crate) cursors: Cursors,
    pub(crate) control: Arc<Control>,
    pub(crate) publisher: Publisher,
    pub(crate) door: Arc<Door>,
    /// Asks for a head check now.
    pub(crate) check_soon: Notify,
    /// Cancelled when the edge begins to leave.
    pub(crate) draining: CancellationToken,
    /// Session time counts from here.
    pub(crate) began: Instant,
}

impl Shared {
    /// Session time.
    pub(crate) fn now(&self) -> Duration {
        self.began.elapsed()
    }
}

impl EdgeHandle {
    /// Whether the edge can serve.
    #[must_use]
    pub fn is_ready(&self) -> Readiness {
        if let Some(reason) = self.0.control.trouble() {
            return Readiness { ready: false, reason };
        }
        let reason = if self.0.draining.is_cancelled() { "draining" } else { "ready" };
        Readiness { ready: true, reason }
    }

    /// Makes the edge leave: [`Edge::run`] returns when it has.
    pub fn drain(&self) {
        self.0.draining.cancel();
    }

    /// Client connections now, authenticated or not.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.0.door.open()
    }
}

impl Edge {
    /// An edge that takes nobody in before [`Self::run`].
    #[must_use]
    pub fn start(config: EdgeConfig, parts: Parts) -> Self {
        let Parts { engines, endpoint, mesh, mesh_address, dialer, .. } = parts;
        let Parts { verifier, wall_clock, metrics, edge_id, .. } = parts;
        let silence = Duration::from_millis(config.control_silence_ms);
        let control =
            Arc::new(Control::new(&*engines.log, silence, config.lag_max_ms, wall_clock()));
        let publisher = Publisher::new(
            engines.log.clone(),
            control.clone(),
            metrics.clone(),
            wall_clock,
            config.retention_ms,
        );
        let (presence, routes_to_write) = RouteQueue::new();
        let (exchange, hints_to_hand_on) = Exchange::new();
        let shared = Arc::new(Shared {
            routes: Routes::new(config.push_queue_len),
            config,
            engines,
            verifier,
            wall_clock,
            metrics,
            edge_id,
            presence,
            exchange,
            cursors: Cursors::default(),
            control,
            publisher,
            door: Arc::default(),
            check_soon: Notify::new(),
            draining: CancellationToken::new(),
            began: Instant::now(),
        });
        let lease = Lease { edge: edge_id, address: mesh_address };
        Self { shared, endpoint, mesh, dialer, lease, routes_to_write, hints_to_hand_on }
    }

    /// A view of this edge.
    #[must_use]
    pub fn handle(&self) -> EdgeHandle {
        EdgeHandle(self.shared.clone())
    }

    /// Serves until `stop`, then drains within [`EdgeConfig::drain_within`].
    ///
    /// # Errors
    /// [`RunError`]: the process should end. Nothing accepted is lost by it.
    ///
    /// # Cancel safety
    /// Dropping it ends everything at once; nothing accepted is lost by it either.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        self.run_until(stop, CancellationToken::new()).await
    }

    /// As [`Self::run`], and ends at once on `abort`, also in the middle of a drain.
    ///
    /// # Errors
    /// As [`Self::run`].
    ///
    /// # Cancel safety
    /// As [`Self::run`].
    pub async fn run_until(
        self,
        stop: CancellationToken,
        abort: CancellationToken,
    ) -> Result<(), RunError> {
        let endpoint = self.endpoint.clone();
        let outcome = tokio::select! {
            biased;
            () = abort.cancelled() => Ok(()),
            outcome = self.serve(stop) => outcome,
        };
        endpoint.close(CloseCode::GoingAway.code(), "going away");
        outcome
    }

    async fn serve(self, stop: CancellationToken) -> Result<(), RunError> {
        let Self { shared, endpoint, mesh, dialer, lease, routes_to_write, hints_to_hand_on } =
            self;
        let finish_writers = CancellationToken::new();
        let mut writers = start_writers(&shared, routes_to_write, &finish_writers);
        let mut readers = start_readers(&shared, mesh);
        readers.spawn(signals::run(shared.clone(), dialer, hints_to_hand_on));
        let mut leases = JoinSet::new();
        leases.spawn(keep_lease(shared.clone(), lease));
        let mut control = JoinSet::new();
        control.spawn(tail(shared.clone()));
        let mut listener = JoinSet::new();
        listener.spawn(listener::listen(shared.clone(), endpoint.clone()));

        let ended = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            () = shared.draining.cancelled() => None,
            Some(ended) = control.join_next() => Some(match ended {
                Ok(error) => RunError::Control(error.to_string()),
                Err(_) => RunError::Panicked,
            }),
            Some(_) = readers.join_next() => Some(RunError::Panicked),
            Some(_) = writers.join_next() => Some(RunError::Panicked),
            Some(_) = leases.join_next() => Some(RunError::Panicked),
        };
        shared.draining.cancel();
        let connections = match listener.join_next().await {
            Some(Ok(connections)) => connections,
            Some(Err(_)) | None => return Err(RunError::Panicked),
        };
        drain(&shared, &endpoint, connections, leases, writers, finish_writers).await;
        readers.shutdown().await;
        control.shutdown().await;
        ended.map_or(Ok(()), Err)
    }
}

/// What must finish what it has before the edge ends.
fn start_writers(
    shared: &Arc<Shared>,
    routes: mpsc::Receiver<Command>,
    finish: &CancellationToken,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (this, until) = (shared.clone(), finish.clone());
    tasks.spawn(async move {
        let presence = &*this.engines.presence;
        let writer = RouteWriter {
            queue: &this.presence,
            presence,
            metrics: &this.metrics,
            routes: &this.routes,
            edge: this.edge_id,
        };
        writer.run(routes, until).await;
    });
    let (this, until) = (shared.clone(), finish.clone());
    tasks.spawn(async move {
        let period = Duration::from_millis(this.config.cursor_flush_ms);
        let mailbox = &*this.engines.mailbox;
        this.cursors.keep_storing(mailbox, &this.metrics, period, until).await;
    });
    tasks
}

/// What may be dropped at any time.
fn start_readers(shared: &Arc<Shared>, mesh: MeshListener) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let verifier = shared.verifier.clone();
    tasks.spawn(async move { verifier.keep_fresh().await });
    tasks.spawn(inbound::listen(shared.clone(), mesh));
    let this = shared.clone();
    tasks.spawn(async move {
        let check = HeadCheck {
            routes: &this.routes,
            mailbox: &*this.engines.mailbox,
            cursors: &this.cursors,
            metrics: &this.metrics,
            wall_clock: this.wall_clock,
            soon: &this.check_soon,
        };
        check.run(this.config.head_check()).await;
    });
    tasks
}

async fn keep_lease(shared: Arc<Shared>, lease: Lease) {
    let ttl = Duration::from_millis(shared.config.lease_ttl_ms);
    let presence = &*shared.engines.presence;
    shared.presence.keep_lease(presence, &shared.metrics, lease, ttl).await;
}

async fn tail(shared: Arc<Shared>) -> control::TailError {
    let revoked = |user, device| shared.routes.close(user, device, CloseCode::Revoked);
    let log = shared.engines.log.clone();
    control::tail(&shared.control, log, shared.wall_clock, &shared.metrics, revoked).await
}
