//! What every [`crate::Presence`] must do.

use std::time::Duration;

use wire::{EdgeId, Generation};

use super::{Harness, device, soon, user};
use crate::{
    Presence,
    presence::{Lease, Renewed, Route},
};

const TTL: Duration = Duration::from_secs(10);

fn edge(number: u64) -> EdgeId {
    EdgeId::new(number)
}

fn route(device_number: u8, at: u64, generation: u64) -> Route {
    Route {
        user: user(1),
        device: device(device_number),
        edge: edge(at),
        generation: Generation::new(generation),
    }
}

async fn renew(presence: &dyn Presence, at: u64) -> Renewed {
    let lease = Lease { edge: edge(at), address: format!("edge-{at}") };
    soon(presence.renew_lease(lease, TTL)).await.unwrap()
}

async fn attach(presence: &dyn Presence, routes: &[Route]) {
    soon(presence.attach(routes.to_vec())).await.unwrap();
}

async fn routes(presence: &dyn Presence) -> Vec<Route> {
    let mut routes = soon(presence.lookup(vec![user(1), user(2)])).await.unwrap();
    routes.sort();
    routes
}

/// Not before it, and not after it.
pub async fn a_route_is_live_while_its_lease_is<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let presence = harness.presence();
    attach(presence.as_ref(), &[route(1, 1, 1)]).await;
    assert_eq!(routes(presence.as_ref()).await, []);
    renew(presence.as_ref(), 1).await;
    assert_eq!(routes(presence.as_ref()).await, [route(1, 1, 1)]);
    let leases = soon(presence.leases()).await.unwrap();
    assert_eq!(leases, [Lease { edge: edge(1), address: "edge-1".into() }]);
    harness.pass(TTL + Duration::from_secs(1)).await;
    assert_eq!(routes(presence.as_ref()).await, []);
    assert_eq!(soon(presence.leases()).await.unwrap(), []);
}

/// Renewed within its time, twice.
pub async fn a_renewed_lease_lasts<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let presence = harness.presence();
    renew(presence.as_ref(), 1).await;
    attach(presence.as_ref(), &[route(1, 1, 1)]).await;
    for _ in 0..2 {
        harness.pass(TTL * 2 / 3).await;
        renew(presence.as_ref(), 1).await;
    }
    assert_eq!(routes(presence.as_ref()).await, [route(1, 1, 1)]);
}

/// So that its edge writes its routes again.
pub async fn a_renewal_says_whether_the_lease_had_ended<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let presence = harness.presence();
    assert_eq!(renew(presence.as_ref(), 1).await, Renewed::Anew);
    assert_eq!(renew(presence.as_ref(), 1).await, Renewed::Held);
    assert_eq!(renew(presence.as_ref(), 2).await, Renewed::Anew);
    soon(presence.release_lease(edge(2))).await.unwrap();
    assert_eq!(renew(presence.as_ref(), 2).await, Renewed::Anew);
    harness.pass(TTL + Duration::from_secs(1)).await;
    assert_eq!(renew(presence.as_ref(), 1).await, Renewed::Anew);
}

/// Its routes with it, others not.
pub async fn a_released_lease_ends_at_once<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let presence = harness.presence();
    renew(presence.as_ref(), 1).await;
    renew(presence.as_ref(), 2).await;
    attach(presence.as_ref(), &[route(1, 1, 1), route(2, 2, 1)]).await;
    soon(presence.release_lease(edge(1))).await.unwrap();
    assert_eq!(routes(presence.as_ref()).await, [route(2, 2, 1)]);
}

/// A connection that was slow to attach.
pub async fn an_older_generation_changes_nothing<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let presence = harness.presence();
    renew(presence.as_ref(), 1).await;
    renew(presence.as_ref(), 2).await;
    attach(presence.as_ref(), &[route(1, 1, 5)]).await;
    attach(presence.as_ref(), &[route(1, 2, 4)]).await;
    assert_eq!(routes(presence.as_ref()).await, [route(1, 1, 5)]);
    attach(presence.as_ref(), &[route(1, 2, 6)]).await;
    assert_eq!(routes(presence.as_ref()).await, [route(1, 2, 6)]);
}

/// A connection that was slow to end.
pub async fn an_older_generation_does_not_detach_a_newer<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let presence = harness.presence();
    renew(presence.as_ref(), 1).await;
    attach(presence.as_ref(), &[route(1, 1, 5)]).await;
    soon(presence.detach(vec![route(1, 1, 4)])).await.unwrap();
    assert_eq!(routes(presence.as_ref()).await, [route(1, 1, 5)]);
    soon(presence.detach(vec![route(1, 1, 5)])).await.unwrap();
    assert_eq!(routes(presence.as_ref()).await, []);
}

/// Of one user and of two.
pub async fn every_device_has_a_route_of_its_own<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let presence = harness.presence();
    renew(presence.as_ref(), 1).await;
    let other = Route { user: user(2), ..route(1, 1, 1) };
    let stranger = Route { user: user(3), ..route(1, 1, 1) };
    attach(presence.as_ref(), &[route(1, 1, 1), route(2, 1, 1), other, stranger]).await;
    assert_eq!(routes(presence.as_ref()).await, [route(1, 1, 1), route(2, 1, 1), other]);
}
