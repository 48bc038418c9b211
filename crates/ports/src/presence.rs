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
    /// Holds an edge's lease for `ttl` from now. Called every third of it.
    fn renew_lease(&self, lease: Lease, ttl: Duration) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Ends a lease: its routes are not live any more.
    fn release_lease(&self, edge: EdgeId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Writes routes. One with an older generation than the device's present one changes nothing.
    fn attach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Deletes routes. One whose generation is not the device's present one changes nothing.
    fn detach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The live routes of these users, in no particular order.
    fn lookup(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Route>, StoreError>>;

    /// The live leases.
    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>>;
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
