//! Which edge holds which device.

use std::time::Duration;

use wire::{DeviceId, EdgeId, Generation, UserId};

use crate::{BoxFuture, StoreError};

/// Presence: leases of edges and routes of devices.
///
/// A route is live only while its edge's lease is, so keeping it costs nothing per device.
/// *Offline* is never remembered: every lookup looks. Everything here may vanish at any time; what
/// is lost is a push, never a message.
pub trait Presence: Send + Sync + 'static {
    /// Holds an edge's lease for `ttl` from now, and says what became of what was there. Called
    /// every third of it. The answer to a call that failed is lost: it may have been any.
    fn renew_lease(
        &self,
        lease: Lease,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<Renewed, StoreError>>;

    /// Ends a lease: its routes are not live any more.
    fn release_lease(&self, edge: EdgeId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Writes routes, to be kept for [`ROUTE_KEPT`] at least. One with an older generation than the
    /// device's present one changes nothing.
    fn attach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Deletes routes. One whose generation is not the device's present one changes nothing.
    fn detach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The live routes of these users, in no particular order.
    fn lookup(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Route>, StoreError>>;

    /// The live leases.
    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>>;
}

/// How long a route is kept that is not written again, so that those of edges that are gone do not
/// pile up. An edge writes its routes several times in it.
pub const ROUTE_KEPT: Duration = Duration::from_secs(24 * 3600);

/// What became of a lease until it was renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Renewed {
    /// It was held, and what was written under it is there.
    Held,
    /// It had ended, or something may have been forgotten: the edge writes all its routes again.
    Anew,
}

/// That an edge lives, and where workers reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The edge.
    pub edge: EdgeId,
    /// Its address on the mesh, as [`Lease::address`] of the link in use: `127.0.0.1:7001`, or a
    /// name.
    pub address: String,
}

/// That a device is connected, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Route {
    /// Whose device.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// The edge it is connected to.
    pub edge: EdgeId,
    /// Which of its connections.
    pub generation: Generation,
}
