//! Presence, in memory.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use ports::{
    BoxFuture, Presence, StoreError,
    presence::{Lease, Renewed, Route},
};
use tokio::time::Instant;
use wire::{EdgeId, UserId};

use crate::faults::Faults;

/// Routes are forgotten when their edge had no lease for so long.
const FORGET_AFTER: Duration = Duration::from_secs(300);

/// Leases and routes of the edges in this process. Bounded by the connections these hold.
#[derive(Default)]
pub(crate) struct PresenceEngine {
    state: Mutex<State>,
    faults: Faults,
}

#[derive(Default)]
struct State {
    /// Until when a lease lasts.
    leases: HashMap<EdgeId, (Lease, Instant)>,
    /// At most one route for each device of a user.
    routes: HashMap<UserId, Vec<Route>>,
}

impl PresenceEngine {
    pub(crate) fn new(faults: Faults) -> Self {
        Self { state: Mutex::default(), faults }
    }

    /// Forgets leases long over and the routes of edges without one.
    pub(crate) fn forget(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        let State { leases, routes } = &mut *state;
        leases.retain(|_, (_, until)| *until + FORGET_AFTER > now);
        routes.retain(|_, routes| {
            routes.retain(|route| leases.contains_key(&route.edge));
            !routes.is_empty()
        });
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }
}

impl State {
    fn is_live(&self, edge: EdgeId, now: Instant) -> bool {
        self.leases.get(&edge).is_some_and(|(_, until)| *until > now)
    }

    fn attach(&mut self, route: Route) {
        let routes = self.routes.entry(route.user).or_default();
        match routes.iter_mut().find(|present| present.device == route.device) {
            Some(present) if present.generation <= route.generation => *present = route,
            Some(_) => {}
            None => routes.push(route),
        }
    }

    fn detach(&mut self, route: Route) {
        let Some(routes) = self.routes.get_mut(&route.user) else { return };
        routes.retain(|present| {
            present.device != route.device || present.generation != route.generation
        });
        if routes.is_empty() {
            self.routes.remove(&route.user);
        }
    }
}

impl Presence for PresenceEngine {
    fn renew_lease(
        &self,
        lease: Lease,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<Renewed, StoreError>> {
        let now = Instant::now();
        match self.lock().leases.insert(lease.edge, (lease, now + ttl)) {
            Some((_, until)) if until > now => done(Renewed::Held),
            Some(_) | None => done(Renewed::Anew),
        }
    }

    fn release_lease(&self, edge: EdgeId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.lock().leases.remove(&edge);
        done(())
    }

    fn attach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut state = self.lock();
        routes.into_iter().for_each(|route| state.attach(route));
        done(())
    }

    fn detach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut state = self.lock();
        routes.into_iter().for_each(|route| state.detach(route));
        done(())
    }

    fn lookup(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Route>, StoreError>> {
        if self.faults.drops_lookup() {
            return done(Vec::new());
        }
        let now = Instant::now();
        let state = self.lock();
        let routes = users.iter().filter_map(|user| state.routes.get(user)).flatten();
        done(routes.filter(|route| state.is_live(route.edge, now)).copied().collect())
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        let now = Instant::now();
        let state = self.lock();
        let live = state.leases.values().filter(|(_, until)| *until > now);
        done(live.map(|(lease, _)| lease.clone()).collect())
    }
}

fn done<T: Send + 'static>(value: T) -> BoxFuture<'static, Result<T, StoreError>> {
    Box::pin(std::future::ready(Ok(value)))
}
