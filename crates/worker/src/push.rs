//! Rows to connected devices: hints, in order for each mailbox, lost when there is no room.
//!
//! Lanes offer the rows they stored and never wait. One task looks at presence for all that is
//! waiting at once and hands each push to the link of its edge. When some are lost on the way, at a
//! full queue or a broken link, the edge is told and compares mailboxes; the devices that miss
//! something then read theirs.

mod link_task;
mod losses;
mod outage;
mod room;

use std::{collections::HashMap, sync::Arc, time::Duration};

use link::MeshDialer;
use ports::{
    Presence, StoreError,
    presence::{Lease, Route},
};
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;
use wire::{EdgeId, UserId, delivery_frame::Deliver, limits::DEVICES_REMEMBERED_MAX, mesh::Push};

use crate::{
    config::WorkerConfig,
    metrics::{Pushed, WorkerMetrics},
    push::{
        link_task::{Link, LinkTask},
        losses::Losses,
        outage::Outage,
        room::Room,
    },
};

/// Rows looked up in presence at a time.
const LOOKUP_ROWS_MAX: usize = 16 * 1024;
/// Time for links to write what they have when the worker ends.
const FLUSH_WITHIN: Duration = Duration::from_millis(500);

/// A row that was stored.
#[derive(Clone, Debug)]
pub(crate) struct NewRow {
    pub(crate) user: UserId,
    pub(crate) deliver: Deliver,
}

/// Where lanes leave rows to be pushed. Bounded by batches and bytes; a batch that finds it full is
/// shed, counted, and told to all edges.
#[derive(Clone)]
pub(crate) struct PushQueue {
    batches: mpsc::Sender<Vec<NewRow>>,
    room: Room,
    losses: Arc<Losses>,
    metrics: WorkerMetrics,
}

/// The task that looks at presence and owns the links.
pub(crate) struct Pusher {
    config: Arc<WorkerConfig>,
    presence: Arc<dyn Presence>,
    dialer: MeshDialer,
    metrics: WorkerMetrics,
    batches: mpsc::Receiver<Vec<NewRow>>,
    /// Of `batches`.
    room: Room,
    /// Of all links together.
    links_room: Room,
    links: HashMap<EdgeId, Link>,
    tasks: JoinSet<()>,
    /// Rows were dropped before it was known which edges they were for.
    losses: Arc<Losses>,
    outage: Outage,
}

impl PushQueue {
    /// Never waits.
    pub(crate) fn offer(&self, rows: Vec<NewRow>) {
        let count = rows.len();
        if count == 0 {
            return;
        }
        let bytes = batch_bytes(&rows);
        if self.room.try_take(bytes) {
            match self.batches.try_send(rows) {
                Ok(()) => return,
                Err(TrySendError::Full(_) | TrySendError::Closed(_)) => self.room.give_back(bytes),
            }
        }
        self.metrics.pushed(Pushed::Overflow, count);
        self.losses.add();
    }
}

impl Pusher {
    pub(crate) fn new(
        config: Arc<WorkerConfig>,
        presence: Arc<dyn Presence>,
        dialer: MeshDialer,
        metrics: WorkerMetrics,
    ) -> (PushQueue, Self) {
        let (sender, batches) = mpsc::channel(config.push_batches_queued.max(1));
        let losses = Arc::<Losses>::default();
        let room = Room::new(config.push_queued_bytes);
        let links_room = Room::new(config.push_edges_queued_bytes);
        let queue = PushQueue {
            batches: sender,
            room: room.clone(),
            losses: Arc::clone(&losses),
            metrics: metrics.clone(),
        };
        let (links, tasks) = (HashMap::new(), JoinSet::new());
        let pusher = Self {
            config,
            presence,
            dialer,
            metrics,
            batches,
            room,
            links_room,
            links,
            tasks,
            losses,
            outage: Outage::default(),
        };
        (queue, pusher)
    }

    /// Runs until stopped; then what waits for an edge is still written, for a moment.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut sweep = interval(self.config.push_sweep_every);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                _ = sweep.tick() => self.sweep().await,
                Some(ended) = self.tasks.join_next() => {
                    ended.expect("a link task does not panic and is not aborted");
                }
                Some(rows) = self.batches.recv() => self.push(rows).await,
            }
        }
        let flush = async {
            while let Ok(rows) = self.batches.try_recv() {
                self.push(rows).await;
            }
            self.links.clear();
            while self.tasks.join_next().await.is_some() {}
        };
        if timeout(FLUSH_WITHIN, flush).await.is_err() {
            self.tasks.shutdown().await;
        }
    }

    async fn push(&mut self, mut rows: Vec<NewRow>) {
        while rows.len() < LOOKUP_ROWS_MAX
            && let Ok(more) = self.batches.try_recv()
        {
            rows.extend(more);
        }
        // While presence is asked these rows still take the room of those that wait.
        let bytes = batch_bytes(&rows);
        self.look_up_and_send(&rows).await;
        self.room.give_back(bytes);
        if self.losses.is_untold() {
            self.sweep().await;
        }
    }

    async fn look_up_and_send(&mut self, rows: &[NewRow]) {
        let mut users: Vec<UserId> = rows.iter().map(|row| row.user).collect();
        users.sort_unstable();
        users.dedup();
        let presence = Arc::clone(&self.presence);
        let lookup = presence.lookup(users);
        let Some(mut routes) = self.within(lookup).await else {
            self.metrics.pushed(Pushed::Presence, rows.len());
            // Whoever has a link hears of it now, the others when presence answers again.
            self.losses.add();
            self.links.values().for_each(Link::lose);
            return;
        };
        // By user, then by edge: the routes of one push lie side by side.
        routes.sort_unstable_by_key(|route| (route.user, route.edge, route.device));
        self.know(&routes).await;
        for row in rows {
            let start = routes.partition_point(|route| route.user < row.user);
            let of_user = routes[start..].iter().take_while(|route| route.user == row.user).count();
            let of_user = &routes[start..start + of_user];
            for of_edge in of_user.chunk_by(|a, b| a.edge == b.edge) {
                of_edge.chunks(DEVICES_REMEMBERED_MAX).for_each(|routes| self.send(routes, row));
            }
        }
    }

    /// Hands a push to the link of its edge.
    fn send(&self, routes: &[Route], row: &NewRow) {
        let Some(link) = self.links.get(&routes[0].edge) else {
            self.metrics.pushed(Pushed::Presence, 1);
            return;
        };
        let push = Push {
            user: row.user,
            routes: routes.iter().map(|route| (route.device, route.generation)).collect(),
            deliver: row.deliver.clone(),
        };
        if !link.offer(push) {
            self.metrics.pushed(Pushed::Overflow, 1);
        }
    }

    /// Opens links to the edges of these routes that have none.
    async fn know(&mut self, routes: &[Route]) {
        if routes.iter().all(|route| self.links.contains_key(&route.edge)) {
            return;
        }
        let presence = Arc::clone(&self.presence);
        match self.within(presence.leases()).await {
            Some(leases) => self.open(leases),
            None => self.losses.add(),
        }
    }

    /// Opens links to those of these edges that have none.
    fn open(&mut self, leases: Vec<Lease>) {
        for lease in leases {
            if self.links.contains_key(&lease.edge) {
                continue;
            }
            let (sender, pushes) = mpsc::channel(self.config.push_edge_queued.max(1));
            let losses = Arc::<Losses>::default();
            let rooms = [Room::new(self.config.push_edge_queued_bytes), self.links_room.clone()];
            let task = LinkTask {
                address: lease.address,
                dialer: self.dialer.clone(),
                config: Arc::clone(&self.config),
                metrics: self.metrics.clone(),
                pushes,
                rooms: rooms.clone(),
                losses: Arc::clone(&losses),
            };
            self.tasks.spawn(task.run());
            self.links.insert(lease.edge, Link::new(sender, rooms, losses));
        }
    }

    /// Gives up links to edges whose lease is gone: their tasks write what they have and end. Tells
    /// all edges of what was lost while presence did not say who is where.
    async fn sweep(&mut self) {
        let lost = self.losses.take();
        if self.links.is_empty() && !lost {
            return;
        }
        let presence = Arc::clone(&self.presence);
        let Some(leases) = self.within(presence.leases()).await else {
            if lost {
                self.losses.add();
            }
            return;
        };
        self.links.retain(|edge, _| leases.iter().any(|lease| lease.edge == *edge));
        if lost {
            self.open(leases);
            self.links.values().for_each(Link::lose);
        }
    }

    /// What presence answers, if it does in time. Only pushes depend on it.
    async fn within<T>(
        &mut self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Option<T> {
        let failure = match timeout(self.config.presence_within, answer).await {
            Ok(Ok(found)) => {
                self.outage.ended();
                return Some(found);
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => "no answer in time".to_owned(),
        };
        self.outage.failed(&self.metrics, &failure);
        None
    }
}

/// What rows take that wait to be pushed.
fn batch_bytes(rows: &[NewRow]) -> usize {
    rows.iter().map(|row| size_of::<NewRow>() + row.deliver.item.len()).sum()
}
