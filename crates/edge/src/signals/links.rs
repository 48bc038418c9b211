//! The links to other edges: few, opened when something is for an edge, closed when nothing is.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use link::MeshDialer;
use ports::presence::Lease;
use tokio::{task::JoinSet, time::Instant};
use wire::{EdgeId, mesh::MeshSignal};

use super::{
    Fate,
    link::{Link, LinkTask},
};
use crate::{edge::Shared, metrics::EdgeMetrics};

/// Links at once. At it: what is for further edges is dropped.
const LINKS_MAX: usize = 1_024;
/// Leases are read no sooner again: a stale route is no reason to ask for all edges every time.
const READ_LEASES_EVERY: Duration = Duration::from_secs(1);

/// The near ends of the links.
#[derive(Default)]
pub(super) struct Links(Mutex<HashMap<EdgeId, Link>>);

/// The tasks of the links, and how new ones come to be.
pub(super) struct Tasks {
    dialer: MeshDialer,
    running: JoinSet<EdgeId>,
    leases_read: Option<Instant>,
}

impl Links {
    /// Queues a hint for another edge; gives it back when there is no link.
    pub(super) fn offer(
        &self,
        metrics: &EdgeMetrics,
        edge: EdgeId,
        signal: MeshSignal,
    ) -> Option<MeshSignal> {
        let links = self.lock();
        let Some(link) = links.get(&edge) else { return Some(signal) };
        if !link.offer(signal) {
            metrics.count_hints(Fate::Full, 1);
        }
        None
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<EdgeId, Link>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tasks {
    pub(super) fn new(dialer: MeshDialer) -> Self {
        Self { dialer, running: JoinSet::new(), leases_read: None }
    }

    /// Waits until a link has ended, and forgets it; for ever while there is none.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn ended(&mut self, links: &Links) {
        match self.running.join_next().await {
            Some(Ok(edge)) => drop(links.lock().remove(&edge)),
            // It panicked: what is offered to its link is dropped until the next sweep.
            Some(Err(_)) => links.lock().retain(|_, link| link.is_open()),
            None => std::future::pending().await,
        }
    }

    /// Gives up links to edges whose lease is gone.
    pub(super) async fn sweep(&mut self, shared: &Shared, links: &Links) {
        if links.lock().is_empty() {
            return;
        }
        if let Some(leases) = self.read_leases(shared).await {
            links.lock().retain(|edge, _| leases.iter().any(|lease| lease.edge == *edge));
        }
    }

    /// Opens links to these edges and hands over what is for them, as far as leases tell where.
    pub(super) async fn open(
        &mut self,
        shared: &Shared,
        links: &Links,
        unlinked: Vec<(EdgeId, MeshSignal)>,
    ) {
        let metrics = &shared.metrics;
        let is_too_soon = self.leases_read.is_some_and(|read| read.elapsed() < READ_LEASES_EVERY);
        let leases = if is_too_soon { None } else { self.read_leases(shared).await };
        for (edge, signal) in unlinked {
            // An earlier one may have opened it.
            let Some(signal) = links.offer(metrics, edge, signal) else { continue };
            let lease = leases.iter().flatten().find(|lease| lease.edge == edge);
            let Some(lease) = lease.filter(|_| links.lock().len() < LINKS_MAX) else {
                metrics.count_hints(Fate::Link, 1);
                continue;
            };
            let (link, task) = LinkTask::new(lease.clone(), self.dialer.clone(), metrics.clone());
            link.offer(signal);
            links.lock().insert(edge, link);
            self.running.spawn(task.run());
        }
    }

    async fn read_leases(&mut self, shared: &Shared) -> Option<Vec<Lease>> {
        self.leases_read = Some(Instant::now());
        shared.presence.call(&shared.metrics, shared.engines.presence.leases()).await
    }
}
