//! Room on the disk for what is accepted.

use std::{
    path::Path,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use crate::config::EngineConfig;

/// Admission by disk space: accepted bytes take from the room, a measurement sets it again.
pub(crate) struct Space {
    room_bytes: AtomicU64,
    reserve_bytes: u64,
    factor: u64,
}

impl Space {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self {
            room_bytes: AtomicU64::new(0),
            reserve_bytes: config.disk_reserve_bytes,
            factor: config.disk_factor.max(1),
        }
    }

    /// Sets the room: what is free, without the reserve and without what the backlog will take.
    pub(crate) fn measured(&self, free_bytes: u64, backlog_bytes: u64) {
        let taken = self.reserve_bytes.saturating_add(backlog_bytes.saturating_mul(self.factor));
        self.room_bytes.store(free_bytes.saturating_sub(taken), Relaxed);
    }

    /// Takes room for `bytes` of records; false when there is not enough.
    pub(crate) fn take(&self, bytes: u64) -> bool {
        let needed = bytes.saturating_mul(self.factor);
        let taken = self.room_bytes.fetch_update(Relaxed, Relaxed, |room| {
            (room > 0).then(|| room.checked_sub(needed)).flatten()
        });
        taken.is_ok()
    }
}

/// Bytes an unprivileged process may still write below `directory`.
pub(crate) fn measure(directory: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(directory)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
