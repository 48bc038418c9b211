//! Signals and presence between connections, here and on other edges. Nothing of it is stored,
//! every step may drop it, and whatever is dropped is counted.
//!
//! A connection's lists say whose presence it follows and who may follow its own. Only where both
//! hold is anything told: the edge of the one who is asked about answers, or is silent, and silence
//! is the same for whoever is not connected, does not exist, or does not want to be seen.
//!
//! The session paces what one connection makes an edge look up, 404 users a second at most: 128 it
//! watches, 256 to whom it begins or ceases to show itself, 20 to whom it signals.

mod link;
mod links;

use std::{sync::Arc, time::Duration};

use ::link::MeshDialer;
use ports::presence::Route;
use session::signals::Users;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval},
};
use wire::{
    EdgeId, UserId,
    limits::DEVICES_REMEMBERED_MAX,
    mesh::{MeshSignal, Origin, SignalKind},
    signal::{Signal, SignalFrom},
};

use crate::{
    edge::Shared,
    metrics::EdgeMetrics,
    routes::{Handle, Hint, Hinted},
    signals::links::Links,
};

/// What waits for a look at presence, of all connections. At it: further ones are dropped.
const QUEUE_LEN: usize = 1_024;
/// Of these so many are taken together.
const TAKE_MAX: usize = 64;
/// Users of one look at presence; one look is under way at a time.
const LOOK_UP_MAX: usize = 512;
/// Older than this nothing is handed on: whoever typed has stopped.
const OLD_AFTER: Duration = Duration::from_secs(3);
/// Leases are compared with links so often.
const SWEEP_EVERY: Duration = Duration::from_secs(30);

/// What became of a hint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It waits for a connection here.
    Given,
    /// It was written to another edge.
    Sent,
    /// Dropped: its connection says or hears too much.
    Rate,
    /// Dropped: a queue was full.
    Full,
    /// Dropped: it waited for too long.
    Late,
    /// Dropped: presence did not say who is where.
    Presence,
    /// Dropped: no link to the other edge.
    Link,
    /// Dropped: its connection is not here any more.
    Stray,
}

impl Fate {
    pub(crate) const ALL: &[Self] = &[
        Self::Given,
        Self::Sent,
        Self::Rate,
        Self::Full,
        Self::Late,
        Self::Presence,
        Self::Link,
        Self::Stray,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::Given => "given",
            Self::Sent => "sent",
            Self::Rate => "rate",
            Self::Full => "full",
            Self::Late => "late",
            Self::Presence => "presence",
            Self::Link => "link",
            Self::Stray => "stray",
        }
    }
}

/// The queue to the task that finds out who is where.
pub(crate) struct Exchange {
    requests: mpsc::Sender<Request>,
    links: Links,
}

/// A hint on its way.
pub(crate) struct Request {
    at: Instant,
    what: What,
}

enum What {
    /// The same for all devices of these users.
    Say { users: Users, from: Origin, kind: SignalKind },
    /// For connections whose edge is known, to which there is no link yet.
    Send { edge: EdgeId, signal: MeshSignal },
}

impl Exchange {
    pub(crate) fn new() -> (Self, mpsc::Receiver<Request>) {
        let (requests, received) = mpsc::channel(QUEUE_LEN);
        (Self { requests, links: Links::default() }, received)
    }

    /// Hands a signal of a connection to the other devices it is for.
    pub(crate) fn signal(&self, metrics: &EdgeMetrics, handle: &Handle, signal: Signal) {
        let Signal { to, body } = signal;
        self.say(metrics, handle, to.into(), SignalKind::Body(body));
    }

    /// Asks for the presence of those a connection watches from now on.
    pub(crate) fn watch(&self, shared: &Shared, handle: &Handle, users: Users) {
        handle.set_watched(users.clone());
        self.say(&shared.metrics, handle, users, SignalKind::Asks(shared.edge_id));
    }

    /// Tells those to whom a connection shows itself from now on, and those to whom it did before.
    pub(crate) fn show(&self, metrics: &EdgeMetrics, handle: &Handle, users: Users) {
        let before = handle.set_shown(users.clone());
        let without = |these: &Users, those: &Users| -> Users {
            let is_left = |user: &&UserId| those.binary_search(user).is_err();
            these.iter().filter(is_left).copied().collect()
        };
        self.say(metrics, handle, without(&before, &users), SignalKind::Offline);
        self.say(metrics, handle, without(&users, &before), SignalKind::Online);
    }

    fn say(&self, metrics: &EdgeMetrics, handle: &Handle, users: Users, kind: SignalKind) {
        if !users.is_empty() {
            self.request(metrics, What::Say { users, from: handle.origin(), kind });
        }
    }

    fn request(&self, metrics: &EdgeMetrics, what: What) {
        let request = Request { at: Instant::now(), what };
        if self.requests.try_send(request).is_err() {
            metrics.count_hints(Fate::Full, 1);
        }
    }
}

/// Hands hints on until dropped.
pub(crate) async fn run(
    shared: Arc<Shared>,
    dialer: MeshDialer,
    mut received: mpsc::Receiver<Request>,
) {
    let links = &shared.exchange.links;
    let mut tasks = links::Tasks::new(dialer);
    let mut sweeps = interval(SWEEP_EVERY);
    sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::with_capacity(TAKE_MAX);
    loop {
        tokio::select! {
            biased;
            () = tasks.ended(links) => {}
            _ = sweeps.tick() => tasks.sweep(&shared, links).await,
            count = received.recv_many(&mut batch, TAKE_MAX) => {
                if count == 0 {
                    return;
                }
                take(&shared, &mut tasks, &mut batch).await;
            }
        }
    }
}

/// Looks up whom these requests are for, and hands them on.
async fn take(shared: &Shared, tasks: &mut links::Tasks, batch: &mut Vec<Request>) {
    let metrics = &shared.metrics;
    let count = batch.len();
    batch.retain(|request| request.at.elapsed() < OLD_AFTER);
    metrics.count_hints(Fate::Late, (count - batch.len()) as u64);
    let Some(routes) = look_up(shared, batch).await else {
        metrics.count_hints(Fate::Presence, batch.len() as u64);
        batch.clear();
        return;
    };
    // Sent to edges to which there is no link yet.
    let mut unlinked = Vec::new();
    for Request { what, .. } in batch.drain(..) {
        match what {
            What::Say { users, from, kind } => {
                for user in users.iter() {
                    say_to(shared, &routes, *user, (from, &kind), &mut unlinked);
                }
            }
            What::Send { edge, signal } => unlinked.push((edge, signal)),
        }
    }
    if !unlinked.is_empty() {
        tasks.open(shared, &shared.exchange.links, unlinked).await;
    }
}

/// The routes of everybody these requests are for, ordered by user and edge.
async fn look_up(shared: &Shared, batch: &[Request]) -> Option<Vec<Route>> {
    let mut users: Vec<UserId> = Vec::new();
    for Request { what, .. } in batch {
        match what {
            What::Say { users: named, .. } => users.extend(named.iter()),
            What::Send { .. } => {}
        }
    }
    users.sort_unstable();
    users.dedup();
    let presence = &shared.engines.presence;
    let mut routes = Vec::new();
    for users in users.chunks(LOOK_UP_MAX) {
        let found = presence.lookup(users.to_vec());
        routes.extend(shared.presence.call(&shared.metrics, found).await?);
    }
    routes.sort_unstable_by_key(|route| (route.user, route.edge, route.device));
    Some(routes)
}

/// Says something to every connection of a user but the one it comes from.
fn say_to(
    shared: &Shared,
    routes: &[Route],
    user: UserId,
    (from, kind): (Origin, &SignalKind),
    unlinked: &mut Vec<(EdgeId, MeshSignal)>,
) {
    let start = routes.partition_point(|route| route.user < user);
    let of_user = routes[start..].iter().take_while(|route| route.user == user);
    let is_other = |route: &&Route| (route.user, route.device) != (from.user, from.device);
    let others: Vec<&Route> = of_user.filter(is_other).collect();
    for of_edge in others.chunk_by(|a, b| a.edge == b.edge) {
        for some in of_edge.chunks(DEVICES_REMEMBERED_MAX) {
            let routes = some.iter().map(|route| (route.device, route.generation)).collect();
            let signal = MeshSignal { user, routes, from, kind: kind.clone() };
            unlinked.extend(send(shared, some[0].edge, signal));
        }
    }
}

/// Hands a hint to an edge, this one or another; gives it back when there is no link.
fn send(shared: &Shared, edge: EdgeId, signal: MeshSignal) -> Option<(EdgeId, MeshSignal)> {
    if edge == shared.edge_id {
        hand_out(shared, signal);
        return None;
    }
    let signal = shared.exchange.links.offer(&shared.metrics, edge, signal)?;
    Some((edge, signal))
}

/// Takes a hint for connections of this edge.
pub(crate) fn hand_out(shared: &Shared, signal: MeshSignal) {
    let MeshSignal { user, routes, from, kind } = signal;
    for route in routes {
        let Some(handle) = shared.routes.get(user, route) else {
            shared.metrics.count_hints(Fate::Stray, 1);
            continue;
        };
        let hint = match &kind {
            SignalKind::Body(body) => {
                let Origin { user, device, .. } = from;
                Hint::Signal(SignalFrom { user, device, body: body.clone() })
            }
            SignalKind::Online => Hint::Sighting(from, true),
            SignalKind::Offline => Hint::Sighting(from, false),
            SignalKind::Asks(edge) => {
                answer(shared, *edge, &handle, from);
                continue;
            }
        };
        match handle.hint(hint) {
            Hinted::Taken => shared.metrics.count_hints(Fate::Given, 1),
            Hinted::Full => shared.metrics.count_hints(Fate::Full, 1),
            Hinted::Unwanted => {}
        }
    }
}

/// Tells the one who asks that this connection is there, if it may know; else nobody hears a thing.
fn answer(shared: &Shared, edge: EdgeId, handle: &Handle, asks: Origin) {
    if !handle.shows_itself_to(asks.user) {
        return;
    }
    let signal = MeshSignal {
        user: asks.user,
        routes: vec![(asks.device, asks.generation)],
        from: handle.origin(),
        kind: SignalKind::Online,
    };
    if let Some((edge, signal)) = send(shared, edge, signal) {
        shared.exchange.request(&shared.metrics, What::Send { edge, signal });
    }
}
