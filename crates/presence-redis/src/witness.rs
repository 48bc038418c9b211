//! Noticing that one server of a cluster lost what it had, though the leases, on another, are
//! there.
//!
//! A witness is a key on each server, of a shard it has. When its value changes, the server lost
//! what was written; when its shard has another server, what was written last may be lost.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Mutex, MutexGuard},
};

use redis::{ErrorKind, RedisError, RedisResult, Value, cluster_routing::Slot, from_redis_value};
use wire::limits::VSHARDS;

use crate::{
    connection::Connection,
    engine::{kept, only},
    keys::Keys,
    scripts::{Run, Source},
};

/// Slots of a cluster.
const SLOTS: u16 = 16_384;

/// The witnesses of a cluster; of one server there are none, its leases are.
pub(crate) struct Witnesses {
    /// The slot of each shard.
    slots: Vec<u16>,
    /// By shard. Bounded by the servers.
    seen: Mutex<BTreeMap<u16, Seen>>,
}

#[derive(Clone, PartialEq, Eq)]
struct Seen {
    server: String,
    value: String,
}

/// Slots that one server has.
struct Range {
    first: u16,
    last: u16,
    server: String,
}

impl Witnesses {
    pub(crate) fn new(keys: &Keys) -> Self {
        let numbers: HashMap<Slot, u16> =
            (0..SLOTS).filter_map(|slot| Some((Slot::new(slot)?, slot))).collect();
        let slot = |shard| numbers[&Slot::for_key(keys.witness(shard))];
        let slots = (0..VSHARDS).map(slot).collect();
        Self { slots, seen: Mutex::default() }
    }

    /// Whether a server lost something since the last look.
    pub(crate) async fn look(
        &self,
        mut connection: Connection,
        script: &Source,
        keys: &Keys,
    ) -> RedisResult<bool> {
        if connection.takes_all_slots() {
            return Ok(false);
        }
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let ranges = ranges(connection.ask(command).await?)?;
        let mut lost = false;
        for (shard, server) in self.shards(&ranges) {
            let run = Run { keys: vec![keys.witness(shard)], arguments: vec![kept()] };
            // One that does not answer is asked again at the next look; the others count now.
            let Ok(answers) = script.run(&mut connection, &[run]).await else { continue };
            let value = from_redis_value(only(answers)?)?;
            let now = Seen { server, value };
            let before = self.lock().insert(shard, now.clone());
            lost |= before.is_some_and(|before| before != now);
        }
        Ok(lost)
    }

    /// One shard for each server, one that is looked at already if it can be.
    fn shards(&self, ranges: &[Range]) -> Vec<(u16, String)> {
        let servers: BTreeSet<&str> = ranges.iter().map(|range| range.server.as_str()).collect();
        let mut seen = self.lock();
        let known: Vec<u16> = seen.keys().copied().collect();
        let mut shards = BTreeMap::new();
        for shard in known.into_iter().chain(0..VSHARDS) {
            if shards.len() == servers.len() {
                break;
            }
            let slot = self.slots[usize::from(shard)];
            if let Some(range) = ranges.iter().find(|range| range.has(slot)) {
                shards.entry(range.server.clone()).or_insert(shard);
            }
        }
        seen.retain(|shard, _| shards.values().any(|used| used == shard));
        shards.into_iter().map(|(server, shard)| (shard, server)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u16, Seen>> {
        self.seen.lock().expect("no holder of this lock panics")
    }
}

impl Range {
    const fn has(&self, slot: u16) -> bool {
        self.first <= slot && slot <= self.last
    }
}

/// Which server has which slots, from `CLUSTER SLOTS`: first and last slot, then the server in
/// charge as address, port, id, and more; then its replicas.
fn ranges(answer: Value) -> RedisResult<Vec<Range>> {
    let unexpected =
        || RedisError::from((ErrorKind::UnexpectedReturnType, "CLUSTER SLOTS answered otherwise"));
    let mut ranges = Vec::new();
    for entry in from_redis_value::<Vec<Vec<Value>>>(answer)? {
        let mut fields = entry.into_iter();
        let mut field = || fields.next().ok_or_else(unexpected);
        let (first, last) = (from_redis_value(field()?)?, from_redis_value(field()?)?);
        let server = from_redis_value::<Vec<Value>>(field()?)?;
        let id = server.into_iter().nth(2).ok_or_else(unexpected)?;
        ranges.push(Range { first, last, server: from_redis_value(id)? });
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u16, last: u16, server: &str) -> Range {
        Range { first, last, server: server.to_owned() }
    }

    #[test]
    fn every_server_has_a_witness_that_stays() {
        let witnesses = Witnesses::new(&Keys::new("posthorn"));
        let thirds = [range(0, 5_460, "a"), range(5_461, 10_922, "b"), range(10_923, 16_383, "c")];
        let chosen = witnesses.shards(&thirds);
        assert_eq!(chosen.len(), 3);
        for (shard, server) in &chosen {
            let seen = Seen { server: server.clone(), value: "1".into() };
            witnesses.lock().insert(*shard, seen);
        }
        let moved = [range(0, 10, "d"), range(11, 5_460, "a"), range(5_461, 16_383, "b")];
        let now = witnesses.shards(&moved);
        assert_eq!(now.len(), 3);
        let kept = now.iter().filter(|(shard, _)| chosen.iter().any(|(had, _)| had == shard));
        assert_eq!(kept.count(), 2, "of a and of b");
        assert!(witnesses.lock().len() <= 2);
    }
}
