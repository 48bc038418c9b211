//! The leases as they were when they last changed.

use std::sync::{Arc, Mutex, MutexGuard};

use ports::presence::Lease;
use redis::{RedisResult, Value, from_redis_value};
use wire::EdgeId;

use crate::keys;

/// The newest set of leases that was read. Every use asks whether it still is: only what did not
/// change is not sent.
#[derive(Default)]
pub(crate) struct KnownLeases(Mutex<Known>);

/// A set of leases, and the version of it.
#[derive(Clone, Default)]
pub(crate) struct Known {
    /// Empty when none is known.
    pub(crate) version: Vec<u8>,
    /// By edge.
    pub(crate) leases: Arc<Vec<Lease>>,
}

impl KnownLeases {
    /// What to ask with.
    pub(crate) fn get(&self) -> Known {
        self.lock().clone()
    }

    /// The leases by the answer to what was asked with: nothing new, or a version, then name and
    /// address of each edge.
    pub(crate) fn learn(&self, asked: Known, answer: Value) -> RedisResult<Arc<Vec<Lease>>> {
        let mut fields = from_redis_value::<Vec<Vec<u8>>>(answer)?.into_iter();
        let Some(version) = fields.next() else { return Ok(asked.leases) };
        let mut leases = Vec::with_capacity(fields.len() / 2);
        while let (Some(edge), Some(address)) = (fields.next(), fields.next()) {
            // What another program wrote there is no lease.
            if let (Some(edge), Ok(address)) = (keys::edge_named(&edge), String::from_utf8(address))
            {
                leases.push(Lease { edge, address });
            }
        }
        leases.sort_unstable_by_key(|lease| lease.edge);
        let leases = Arc::new(leases);
        *self.lock() = Known { version, leases: leases.clone() };
        Ok(leases)
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().expect("no holder of this lock panics")
    }
}

/// Whether an edge is among leases by edge.
pub(crate) fn is_live(leases: &[Lease], edge: EdgeId) -> bool {
    leases.binary_search_by_key(&edge, |lease| lease.edge).is_ok()
}
