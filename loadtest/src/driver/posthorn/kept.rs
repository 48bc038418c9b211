//! What stays of a device while it is not connected.

use std::{
    collections::BTreeMap,
    sync::{Arc, Weak},
};

use client::{Client, SendId, store::MemoryStore};

use super::Ground;
use crate::{
    driver::{ConnectError, Sink},
    population::DeviceIndex,
};

/// What stays of a device while it is not connected, and what others need of it while it is.
#[derive(Default)]
pub(super) struct Kept {
    /// Key, cursor and outbox; made when it first connects.
    store: Option<MemoryStore>,
    /// It is connected, or about to be.
    is_taken: bool,
    /// While it is connected.
    client: Weak<Client>,
    /// Where it told last.
    sink: Option<Sink>,
    /// Tickets of sends of earlier connections that wait for their answer.
    owed: BTreeMap<SendId, u64>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Kept(is_taken: {}, owed: {})", self.is_taken, self.owed.len())
    }
}

impl Kept {
    /// What it resumes from.
    pub(super) fn store(&mut self) -> MemoryStore {
        self.store.get_or_insert_default().clone()
    }

    /// It is connected, and others may use its client.
    pub(super) fn handle_connected(&mut self, client: &Arc<Client>, sink: &Sink) {
        self.client = Arc::downgrade(client);
        self.sink = Some(Arc::clone(sink));
    }

    /// Its client, while it is connected.
    pub(super) fn client(&self) -> Option<Arc<Client>> {
        self.client.upgrade()
    }

    /// The connection ended before this send was answered.
    pub(super) fn owe(&mut self, id: SendId, ticket: u64) {
        self.owed.insert(id, ticket);
    }

    /// A send of an earlier connection was answered.
    pub(super) fn take_owed(&mut self, id: SendId) -> Option<u64> {
        self.owed.remove(&id)
    }

    /// Nobody will answer what is owed; the tickets, in the order of sending within each start.
    pub(super) fn give_up(&mut self) -> (Option<Sink>, Vec<u64>) {
        let owed = std::mem::take(&mut self.owed);
        (self.sink.take(), owed.into_values().collect())
    }
}

/// The right to connect a device: one at a time, since the cluster has a second one displace the
/// first.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) ground: Arc<Ground>,
    pub(super) device: DeviceIndex,
}

impl Lease {
    pub(super) fn take(ground: Arc<Ground>, device: DeviceIndex) -> Result<Self, ConnectError> {
        let was_taken = std::mem::replace(&mut ground.kept(device).is_taken, true);
        if was_taken {
            return Err(ConnectError::Refused(format!("device {device} is connected already")));
        }
        Ok(Self { ground, device })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.ground.kept(self.device).is_taken = false;
    }
}
