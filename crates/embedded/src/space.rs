//! Room on the disk for what is accepted.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::config::EngineConfig;

/// The part of the reserve that is never used: a database that finds the disk full is broken until
/// it is opened again.
const UNTOUCHED: u64 = 4;

/// Admission by disk space: accepted and stored bytes take from the room, a measurement sets it
/// again.
///
/// Appends of clients stop first, at the reserve and with the backlog counted. What was accepted
/// may grow more than counted when it is stored, once for each member of a group: that is what the
/// reserve is for, and what workers append to finish it may use the reserve too. When also most of
/// that is used, stores and workers wait for what expires. Nothing is lost by it.
pub(crate) struct Space {
    for_appends: AtomicU64,
    for_stores: AtomicU64,
    reserve_bytes: u64,
    factor: u64,
}

impl Space {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self {
            for_appends: AtomicU64::new(0),
            // Not measured yet, and what must be stored before it is, is little.
            for_stores: AtomicU64::new(u64::MAX),
            reserve_bytes: config.disk_reserve_bytes,
            factor: config.disk_factor.max(1),
        }
    }

    /// Sets the room: what is free, without the reserve and without what the backlog will take.
    pub(crate) fn measured(&self, free_bytes: u64, backlog_bytes: u64) {
        let taken = self.reserve_bytes.saturating_add(backlog_bytes.saturating_mul(self.factor));
        self.for_appends.store(free_bytes.saturating_sub(taken), Relaxed);
        let untouched = self.reserve_bytes / UNTOUCHED;
        self.for_stores.store(free_bytes.saturating_sub(untouched), Relaxed);
    }

    /// Takes room for `bytes` of records; false when there is not enough.
    pub(crate) fn take_append(&self, bytes: u64) -> bool {
        take(&self.for_appends, bytes.saturating_mul(self.factor))
    }

    /// As [`Self::take_append`], of the reserve as well: for what follows from accepted records. If
    /// it had to wait for room it would wait for itself, as only finished records are trimmed.
    pub(crate) fn take_owed(&self, bytes: u64) -> bool {
        self.take_append(bytes) || self.take_store(bytes)
    }

    /// Takes room for `bytes` of the store; false when there is not enough.
    pub(crate) fn take_store(&self, bytes: u64) -> bool {
        // A journal and a table.
        take(&self.for_stores, bytes.saturating_mul(2))
    }
}

fn take(room: &AtomicU64, needed: u64) -> bool {
    let left = |room: u64| (room > 0).then(|| room.checked_sub(needed)).flatten();
    room.fetch_update(Relaxed, Relaxed, left).is_ok()
}

/// Bytes an unprivileged process may still write below `directory`.
pub(crate) fn measure(directory: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
