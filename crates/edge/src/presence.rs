//! Telling the cluster who is connected here. Everything here may fail: what is lost is a push.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ports::{
    BoxFuture, Presence, StoreError,
    presence::{Lease, ROUTE_KEPT, Renewed, Route},
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use wire::EdgeId;

use crate::{
    metrics::EdgeMetrics,
    routes::{Handle, Routes},
};

/// Routes that wait to be written. At the limit: attaching waits, detaching is left to the lease
/// and to later routes.
const QUEUE_LEN: usize = 4_096;
/// Routes of one call.
const BATCH_MAX: usize = 256;
/// A call is given up after this.
const CALL_WITHIN: Duration = Duration::from_secs(2);
/// A connection waits for its route at most this, then goes on without: its pushes come late.
const ATTACH_WITHIN: Duration = Duration::from_secs(1);
/// Between two batches of routes that were lost: 20,000 routes a second, so that all edges together
/// do not overwhelm a store that just came back.
const REWRITE_PAUSE: Duration = Duration::from_micros(12_800);
/// Between two batches of routes that are only kept from being forgotten: 1,000 a second.
const REFRESH_PAUSE: Duration = Duration::from_millis(256);
/// How often all routes are written again though nothing seems lost. A store may also lose single
/// routes without anybody noticing.
const REFRESH_EVERY: Duration = Duration::from_secs(ROUTE_KEPT.as_secs() / 24);

/// The queue to the task that writes routes.
pub(crate) struct RouteQueue {
    commands: mpsc::Sender<Command>,
    failing: AtomicBool,
    /// A route could not be written: all are written again.
    incomplete: AtomicBool,
    /// Asks for all routes to be written again.
    rewrite: Notify,
}

/// What the task does.
pub(crate) enum Command {
    Attach(Route, oneshot::Sender<()>),
    Detach(Route),
}

/// The task that writes routes: the only one, so that a route that is written again never comes
/// after its own deletion.
pub(crate) struct RouteWriter<'a> {
    pub(crate) queue: &'a RouteQueue,
    pub(crate) presence: &'a dyn Presence,
    pub(crate) metrics: &'a EdgeMetrics,
    pub(crate) routes: &'a Routes,
    pub(crate) edge: EdgeId,
}

/// Connections whose routes are to be written again, a batch now and then.
#[derive(Default)]
struct Rewriting {
    left: Vec<Arc<Handle>>,
    /// Between two batches.
    pause: Duration,
    /// When the next batch is written.
    next: Option<Instant>,
}

impl RouteQueue {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Command>) {
        let (commands, received) = mpsc::channel(QUEUE_LEN);
        let (failing, incomplete) = (AtomicBool::new(false), AtomicBool::new(false));
        (Self { commands, failing, incomplete, rewrite: Notify::new() }, received)
    }

    /// Writes a route, or goes on without after a while.
    pub(crate) async fn attach(&self, route: Route) {
        let (written, is_written) = oneshot::channel();
        let attached = async {
            self.commands.send(Command::Attach(route, written)).await.ok()?;
            is_written.await.ok()
        };
        // Either way the connection goes on: the head check finds what is not pushed.
        timeout(ATTACH_WITHIN, attached).await.ok();
    }

    /// Deletes a route some time later.
    pub(crate) fn detach(&self, route: Route) {
        self.commands.try_send(Command::Detach(route)).ok();
    }

    /// Holds the lease until dropped, and has every route written again when it or a route was
    /// lost.
    pub(crate) async fn keep_lease(
        &self,
        presence: &dyn Presence,
        metrics: &EdgeMetrics,
        lease: Lease,
        ttl: Duration,
    ) {
        let mut ticks = interval(ttl / 3);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut was_held = false;
        let mut is_sure = true;
        loop {
            ticks.tick().await;
            let renewed = self.call(metrics, presence.renew_lease(lease.clone(), ttl)).await;
            let Some(renewed) = renewed else {
                // The answer that was lost may have been that everything is.
                is_sure = false;
                continue;
            };
            let was_lost = renewed == Renewed::Anew || !std::mem::replace(&mut is_sure, true);
            let was_incomplete = self.incomplete.swap(false, Ordering::Relaxed);
            if was_held && (was_lost || was_incomplete) {
                tracing::warn!("the lease or routes may be lost; all routes are written again");
            }
            if was_lost || was_incomplete {
                self.rewrite.notify_one();
            }
            was_held = true;
        }
    }

    /// One call; a failure is told once until a call succeeds again.
    pub(crate) async fn call<T>(
        &self,
        metrics: &EdgeMetrics,
        call: BoxFuture<'_, Result<T, StoreError>>,
    ) -> Option<T> {
        let failure = match timeout(CALL_WITHIN, call).await {
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

impl RouteWriter<'_> {
    /// Writes and deletes routes in batches until `finish`, then what is left.
    pub(crate) async fn run(
        &self,
        mut received: mpsc::Receiver<Command>,
        finish: CancellationToken,
    ) {
        let mut batch = Vec::with_capacity(BATCH_MAX);
        let mut rewriting = Rewriting::default();
        let mut refresh = interval(REFRESH_EVERY);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = finish.cancelled(), if !received.is_closed() => received.close(),
                () = self.queue.rewrite.notified() => {
                    rewriting = Rewriting::of(self.routes, REWRITE_PAUSE);
                }
                _ = refresh.tick() => {
                    if rewriting.left.is_empty() {
                        rewriting = Rewriting::of(self.routes, REFRESH_PAUSE);
                    }
                }
                // Before new routes, because it pauses and they may never.
                () = rewriting.is_due(), if !received.is_closed() => {
                    self.write_again(&mut rewriting).await;
                }
                count = received.recv_many(&mut batch, BATCH_MAX) => {
                    if count == 0 {
                        return;
                    }
                    self.write(batch.drain(..)).await;
                }
            }
        }
    }

    async fn write_again(&self, rewriting: &mut Rewriting) {
        let first = rewriting.left.len().saturating_sub(BATCH_MAX);
        let batch = rewriting.left.drain(first..).filter(|handle| self.routes.holds(handle));
        let batch: Vec<Route> = batch.map(|handle| handle.route(self.edge)).collect();
        if !batch.is_empty() && !self.attach(batch).await {
            // The lease's next renewal begins again.
            rewriting.left.clear();
        }
        rewriting.next = Some(Instant::now() + rewriting.pause);
    }

    async fn write(&self, batch: impl Iterator<Item = Command>) {
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
            self.attach(attach).await;
        }
        for written in waiting {
            // The connection may have gone on or away.
            written.send(()).ok();
        }
        if !detach.is_empty() {
            self.queue.call(self.metrics, self.presence.detach(detach)).await;
        }
    }

    /// Whether it was done.
    async fn attach(&self, routes: Vec<Route>) -> bool {
        let written = self.queue.call(self.metrics, self.presence.attach(routes)).await;
        if written.is_none() {
            self.queue.incomplete.store(true, Ordering::Relaxed);
        }
        written.is_some()
    }
}

impl Rewriting {
    fn of(routes: &Routes, pause: Duration) -> Self {
        Self { left: routes.all(), pause, next: None }
    }

    /// When the next batch is to be written; never when there is none.
    async fn is_due(&self) {
        if self.left.is_empty() {
            std::future::pending::<()>().await;
        }
        if let Some(next) = self.next {
            sleep_until(next).await;
        }
    }
}
