//! Telling the cluster who is connected here. Everything here may fail: what is lost is a push.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use ports::{
    BoxFuture, Presence, StoreError,
    presence::{Lease, Route},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use wire::EdgeId;

use crate::{metrics::EdgeMetrics, routes::Routes};

/// Routes that wait to be written. At the limit: attaching waits, detaching is left to the lease
/// and to later routes.
const QUEUE_LEN: usize = 4_096;
/// Routes of one call.
const BATCH_MAX: usize = 256;
/// A call is given up after this.
const CALL_WITHIN: Duration = Duration::from_secs(2);
/// A connection waits for its route at most this, then goes on without: its pushes come late.
const ATTACH_WITHIN: Duration = Duration::from_secs(1);

/// The queue to the task that writes routes.
pub(crate) struct RouteQueue {
    commands: mpsc::Sender<Command>,
    failing: AtomicBool,
    /// A route could not be written: all are written again.
    incomplete: AtomicBool,
}

/// What the task does.
pub(crate) enum Command {
    Attach(Route, oneshot::Sender<()>),
    Detach(Route),
}

impl RouteQueue {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel(QUEUE_LEN);
        let failing = AtomicBool::new(false);
        (Self { commands, failing, incomplete: AtomicBool::new(false) }, received)
    }

    /// Writes a route, or goes on without after a while.
    pub(crate) async fn attach(&self, route: Route) {
        let (written, is_written) = oneshot::channel();
        let attached = async {
            self.commands.send(Command::Attach(route, written)).await.ok()?;
            is_written.await.ok()
        };
        // Either way the connection goes on: the head check finds what is not pushed.
        tokio::time::timeout(ATTACH_WITHIN, attached).await.ok();
    }

    /// Deletes a route some time later.
    pub(crate) fn detach(&self, route: Route) {
        self.commands.try_send(Command::Detach(route)).ok();
    }

    /// Writes and deletes routes in batches until `finish`, then what is left.
    pub(crate) async fn keep_writing(
        &self,
        mut received: mpsc::Receiver<Command>,
        presence: &dyn Presence,
        metrics: &EdgeMetrics,
        finish: CancellationToken,
    ) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        loop {
            let count = tokio::select! {
                biased;
                count = received.recv_many(&mut batch, BATCH_MAX) => count,
                () = finish.cancelled(), if !received.is_closed() => {
                    received.close();
                    continue;
                }
            };
            if count == 0 {
                return;
            }
            self.write(presence, metrics, batch.drain(..)).await;
        }
    }

    /// Holds the lease until dropped, and writes every route again when it or a route was lost.
    pub(crate) async fn keep_lease(
        &self,
        presence: &dyn Presence,
        metrics: &EdgeMetrics,
        routes: &Routes,
        lease: Lease,
        ttl: Duration,
    ) {
        let mut ticks = tokio::time::interval(ttl / 3);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut held = false;
        loop {
            ticks.tick().await;
            // A store that forgot everything takes the renewal like any other: look first.
            let leases = self.call(metrics, presence.leases()).await;
            let was_lost =
                held && leases.is_none_or(|all| all.iter().all(|found| found.edge != lease.edge));
            let renewed = self.call(metrics, presence.renew_lease(lease.clone(), ttl)).await;
            if renewed.is_none() {
                continue;
            }
            if was_lost || self.incomplete.swap(false, Ordering::Relaxed) {
                tracing::warn!("the lease or routes were lost; all routes are written again");
                self.attach_all(presence, metrics, routes, lease.edge).await;
            }
            held = true;
        }
    }

    async fn attach_all(
        &self,
        presence: &dyn Presence,
        metrics: &EdgeMetrics,
        routes: &Routes,
        edge: EdgeId,
    ) {
        let all: Vec<Route> = routes.all().iter().map(|handle| handle.route(edge)).collect();
        for batch in all.chunks(BATCH_MAX) {
            self.write_attached(presence, metrics, batch.to_vec()).await;
        }
    }

    async fn write(
        &self,
        presence: &dyn Presence,
        metrics: &EdgeMetrics,
        batch: impl Iterator<Item = Command>,
    ) {
        let (mut attach, mut waiting, mut detach) = (Vec::new(), Vec::new(), Vec::new());
        for command in batch {
            match command {
                Command::Attach(route, written) => {
                    attach.push(route);
                    waiting.push(written);
                }
                Command::Detach(route) => detach.push(route),
            }
        }
        if !attach.is_empty() {
            self.write_attached(presence, metrics, attach).await;
        }
        for written in waiting {
            // The connection may have gone on or away.
            written.send(()).ok();
        }
        if !detach.is_empty() {
            self.call(metrics, presence.detach(detach)).await;
        }
    }

    async fn write_attached(
        &self,
        presence: &dyn Presence,
        metrics: &EdgeMetrics,
        routes: Vec<Route>,
    ) {
        if self.call(metrics, presence.attach(routes)).await.is_none() {
            self.incomplete.store(true, Ordering::Relaxed);
        }
    }

    /// One call; a failure is told once until a call succeeds again.
    pub(crate) async fn call<T>(
        &self,
        metrics: &EdgeMetrics,
        call: BoxFuture<'_, Result<T, StoreError>>,
    ) -> Option<T> {
        let failure = match tokio::time::timeout(CALL_WITHIN, call).await {
            Ok(Ok(done)) => {
                if self.failing.swap(false, Ordering::Relaxed) {
                    tracing::info!("presence answers again");
                }
                return Some(done);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        metrics.presence_failed.inc();
        if !self.failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(failure, "presence fails; pushes may come late until it answers");
        }
        None
    }
}
