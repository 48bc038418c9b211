//! How much may wait for the brokers, and for whom.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Mutex, MutexGuard},
};

use ports::log::Refused;
use tokio::sync::Notify;
use wire::limits::RECORD_BYTES_MAX;

use crate::stats::Queued;

/// Of what is for all lanes of a share, one lane may take this part: `1 / 4`.
const COMMON_LANES: usize = 4;

/// Whose records these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client's.
    Client,
    /// They follow from what was accepted.
    Owed,
}

/// Counts what waits, in a share for each origin. Full: it refuses.
///
/// Half of a share is divided among its lanes for good, so that a lane nobody drains leaves the
/// others theirs; the other half is for whoever needs more, at most a quarter of it for one lane.
pub(crate) struct Admission {
    state: Mutex<State>,
    /// Told when everything of a round that has ended is settled.
    settled: Notify,
}

struct State {
    clients: Share,
    owed: Share,
    is_closing: bool,
    refused: u64,
    /// The round records are counted for now: each flush waits for the rounds before it.
    round: u64,
    /// Records that wait, by round.
    open: BTreeMap<u64, usize>,
}

struct Share {
    lanes: Vec<Used>,
    /// In all.
    used: Used,
    /// What lanes use beyond their reserves.
    common: Used,
    reserve: Used,
    common_max: Used,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Used {
    records: usize,
    bytes: usize,
}

impl Admission {
    /// Two shares of this many records and bytes, for so many lanes.
    pub(crate) fn new(records_max: usize, bytes_max: usize, lanes: usize) -> Self {
        let share = || Share {
            lanes: vec![Used::default(); lanes],
            used: Used::default(),
            common: Used::default(),
            // A lane always has room for one record.
            reserve: Used {
                records: (records_max / 2 / lanes).max(1),
                bytes: (bytes_max / 2 / lanes).max(RECORD_BYTES_MAX),
            },
            common_max: Used { records: records_max / 2, bytes: bytes_max / 2 },
        };
        let state = State {
            clients: share(),
            owed: share(),
            is_closing: false,
            refused: 0,
            round: 0,
            open: BTreeMap::new(),
        };
        Self { state: Mutex::new(state), settled: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Takes room for all these records, given by lane and bytes, or for none; the round they are
    /// counted for.
    pub(crate) fn take(
        &self,
        origin: Origin,
        records: impl Iterator<Item = (usize, usize)> + Clone,
    ) -> Result<u64, Refused> {
        let mut state = self.lock();
        if state.is_closing {
            return Err(Refused::Closing);
        }
        let share = state.share(origin);
        let mut taken = 0;
        let fits = records.clone().all(|(lane, bytes)| {
            taken += 1;
            share.add(lane, bytes)
        });
        if !fits {
            // The last one was counted too.
            records.take(taken).for_each(|(lane, bytes)| share.remove(lane, bytes));
            state.refused += 1;
            return Err(Refused::Overload);
        }
        let round = state.round;
        *state.open.entry(round).or_default() += taken;
        Ok(round)
    }

    /// A record is settled.
    pub(crate) fn release(&self, origin: Origin, lane: usize, bytes: usize, round: u64) {
        let mut state = self.lock();
        state.share(origin).remove(lane, bytes);
        let open = state.open.get_mut(&round).expect("a round stays while it has records");
        *open -= 1;
        if *open == 0 {
            state.open.remove(&round);
            if round < state.round {
                drop(state);
                self.settled.notify_waiters();
            }
        }
    }

    /// Waits until everything taken before is settled.
    pub(crate) async fn flush(&self) {
        let last = {
            let mut state = self.lock();
            state.round += 1;
            state.round - 1
        };
        loop {
            let mut settled = pin!(self.settled.notified());
            settled.as_mut().enable();
            let is_open =
                self.lock().open.first_key_value().is_some_and(|(round, _)| *round <= last);
            if !is_open {
                return;
            }
            settled.await;
        }
    }

    /// Refuses everything from now on.
    pub(crate) fn close(&self) {
        self.lock().is_closing = true;
    }

    /// Whether nothing waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.lock().open.is_empty()
    }

    /// What waits of clients, what of the rest, and how often something was refused.
    pub(crate) fn queued(&self) -> (Queued, Queued, u64) {
        let state = self.lock();
        let queued =
            |share: &Share| Queued { records: share.used.records, bytes: share.used.bytes };
        (queued(&state.clients), queued(&state.owed), state.refused)
    }
}

impl State {
    fn share(&mut self, origin: Origin) -> &mut Share {
        match origin {
            Origin::Client => &mut self.clients,
            Origin::Owed => &mut self.owed,
        }
    }
}

impl Share {
    /// Counts a record, also when it does not fit; whether it does.
    fn add(&mut self, lane: usize, bytes: usize) -> bool {
        let before = self.lanes[lane].beyond(self.reserve);
        self.lanes[lane].records += 1;
        self.lanes[lane].bytes += bytes;
        self.used.records += 1;
        self.used.bytes += bytes;
        let after = self.lanes[lane].beyond(self.reserve);
        self.common.records += after.records - before.records;
        self.common.bytes += after.bytes - before.bytes;
        let needs_more = after != before;
        !needs_more
            || (self.common.records <= self.common_max.records
                && self.common.bytes <= self.common_max.bytes
                && after.records <= self.common_max.records / COMMON_LANES
                && after.bytes <= self.common_max.bytes / COMMON_LANES)
    }

    fn remove(&mut self, lane: usize, bytes: usize) {
        let before = self.lanes[lane].beyond(self.reserve);
        self.lanes[lane].records -= 1;
        self.lanes[lane].bytes -= bytes;
        self.used.records -= 1;
        self.used.bytes -= bytes;
        let after = self.lanes[lane].beyond(self.reserve);
        self.common.records -= before.records - after.records;
        self.common.bytes -= before.bytes - after.bytes;
    }
}

impl Used {
    fn beyond(self, reserve: Self) -> Self {
        Self {
            records: self.records.saturating_sub(reserve.records),
            bytes: self.bytes.saturating_sub(reserve.bytes),
        }
    }
}

#[cfg(test)]
#[path = "admission/tests.rs"]
mod tests;
