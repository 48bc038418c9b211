//! What waits for the committer.

use std::{
    collections::VecDeque,
    sync::{Condvar, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use ports::log::{AppendError, DeadLetter, Refused};
use tokio::sync::oneshot;
use wire::Seq;

use crate::{config::EngineConfig, lane::Untold};

/// Records and bytes of one commit at most, so that latency and the offsets a torn commit may have
/// used are bounded.
const BATCH_RECORDS_MAX: usize = 16_384;
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Work that is worth a commit: gathering ends.
const ENOUGH: usize = 64;

/// Below this many offsets above the durable end, everything may have been used by a torn commit.
pub(crate) const OFFSETS_AT_RISK: u64 = 1 << 16;

const _: () = assert!((BATCH_RECORDS_MAX as u64) < OFFSETS_AT_RISK);

/// What an append resolves to; a failure keeps its partitions failing until it is told.
pub(crate) type Outcome = Result<Vec<Seq>, (AppendError, Untold)>;

/// Something for the committer to do, in order.
pub(crate) enum Work {
    /// Records for lanes.
    Append(Append),
    /// A dead letter.
    DeadLetter(DeadLetter, oneshot::Sender<Result<(), AppendError>>),
    /// Answered when everything before it is durable.
    Barrier(oneshot::Sender<()>),
}

/// Records for lanes, by index of the lane.
pub(crate) struct Append {
    pub(crate) records: Vec<(usize, Bytes)>,
    pub(crate) bytes: usize,
    pub(crate) reply: oneshot::Sender<Outcome>,
    pub(crate) fate: Fate,
}

/// Why something is appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A client wants it.
    Client,
    /// It follows from what was accepted.
    Owed,
}

/// What is known before about an append. Anything but `Succeeds` comes from a test's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It succeeds.
    Succeeds,
    /// It takes effect and fails.
    FailsAfterEffect,
    /// It follows one that failed and fails without effect.
    Follows,
}

/// The queue. Bounded by bytes and records; full: the append is refused.
pub(crate) struct Queue {
    state: Mutex<State>,
    filled: Condvar,
    bytes_max: usize,
    records_max: usize,
}

pub(crate) struct State {
    work: VecDeque<Work>,
    /// The committer is to be woken when there is so much.
    wanted: usize,
    bytes: usize,
    records: usize,
    closing: bool,
}

impl Queue {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        let state =
            State { work: VecDeque::new(), wanted: 1, bytes: 0, records: 0, closing: false };
        Self {
            state: Mutex::new(state),
            filled: Condvar::new(),
            bytes_max: config.queue_bytes_max,
            records_max: config.queue_records_max,
        }
    }

    /// The queue itself, to add several things in one go.
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Whether an append fits.
    ///
    /// # Errors
    /// It does not, and nothing was taken.
    pub(crate) fn check(
        &self,
        state: &State,
        origin: Origin,
        records: usize,
        bytes: usize,
    ) -> Result<(), Refused> {
        if state.closing {
            return Err(Refused::Closing);
        }
        if records > BATCH_RECORDS_MAX {
            return Err(Refused::Overload);
        }
        // Clients fill their half again at once, so workers, who come one call at a time, have
        // another one.
        let halves = match origin {
            Origin::Client => 1,
            Origin::Owed => 2,
        };
        let full = state.records + records > halves * self.records_max
            || state.bytes + bytes > halves * self.bytes_max;
        // A call larger than the whole queue is taken when nothing else waits, or it never would
        // be.
        if full && state.records > 0 {
            return Err(Refused::Overload);
        }
        Ok(())
    }

    /// Adds work at the end. Dead letters and barriers are few and come from waiting callers, so
    /// they are not counted.
    pub(crate) fn push(&self, mut state: MutexGuard<'_, State>, work: Work) {
        if let Work::Append(append) = &work {
            state.records += append.records.len();
            state.bytes += append.bytes;
        }
        state.work.push_back(work);
        let is_wanted = state.work.len() == state.wanted;
        drop(state);
        if is_wanted {
            self.filled.notify_one();
        }
    }

    /// Gathers work for so long, or until there is enough; then waits for some and takes a batch of
    /// it. None when the queue is closed and empty.
    pub(crate) fn take(&self, batch: &mut Vec<Work>, gather: Duration) -> bool {
        let mut state = self.lock();
        if !gather.is_zero() {
            state.wanted = ENOUGH;
            let lacks = |state: &mut State| state.work.len() < ENOUGH && !state.closing;
            let gathered = self.filled.wait_timeout_while(state, gather, lacks);
            (state, _) = gathered.expect("no holder of this lock panics");
            state.wanted = 1;
        }
        while state.work.is_empty() && !state.closing {
            state = self.filled.wait(state).expect("no holder of this lock panics");
        }
        let mut records = 0;
        let mut bytes = 0;
        while let Some(work) = state.work.pop_front() {
            if let Work::Append(append) = &work {
                let full = records + append.records.len() > BATCH_RECORDS_MAX
                    || bytes + append.bytes > BATCH_BYTES_MAX;
                if full && records > 0 {
                    state.work.push_front(work);
                    break;
                }
                records += append.records.len();
                bytes += append.bytes;
            }
            batch.push(work);
        }
        state.records -= records;
        state.bytes -= bytes;
        !batch.is_empty()
    }

    /// Lets everything that waits for one of these lanes fail: something before it did.
    pub(crate) fn fail_waiting(&self, lanes: &[usize]) {
        for work in &mut self.lock().work {
            if let Work::Append(append) = work
                && append.records.iter().any(|(lane, _)| lanes.contains(lane))
            {
                append.fate = Fate::Follows;
            }
        }
    }

    /// Refuses everything from now on; the committer ends when the queue is empty.
    pub(crate) fn close(&self) {
        self.lock().closing = true;
        self.filled.notify_all();
    }

    /// As [`Queue::close`], and forgets what waits: its callers learn that the outcome is unknown.
    pub(crate) fn abandon(&self) {
        let mut state = self.lock();
        state.closing = true;
        state.bytes = 0;
        state.records = 0;
        let work = std::mem::take(&mut state.work);
        drop(state);
        drop(work);
        self.filled.notify_all();
    }

    /// Whether nothing more is taken.
    pub(crate) fn is_closed(&self, state: &State) -> bool {
        state.closing
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;

    /// Far longer than any test takes.
    const LONG: Duration = Duration::from_secs(3600);

    fn queue() -> Arc<Queue> {
        Arc::new(Queue::new(&EngineConfig::new("")))
    }

    fn fill(queue: &Queue, works: usize) {
        for _ in 0..works {
            queue.push(queue.lock(), Work::Barrier(oneshot::channel().0));
        }
    }

    #[test]
    fn gathering_ends_when_there_is_enough() {
        let queue = queue();
        let taking = Arc::clone(&queue);
        let thread = std::thread::spawn(move || {
            let mut batch = Vec::new();
            assert!(taking.take(&mut batch, LONG));
            batch.len()
        });
        fill(&queue, ENOUGH);
        assert_eq!(thread.join().unwrap(), ENOUGH);
    }

    #[test]
    fn gathering_ends_when_its_time_is_over() {
        let queue = queue();
        fill(&queue, 1);
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch, Duration::from_millis(1)));
        assert_eq!(batch.len(), 1);
        // Afterwards one is enough to wake it.
        assert_eq!(queue.lock().wanted, 1);
    }

    #[test]
    fn gathering_ends_when_the_queue_closes() {
        let queue = queue();
        fill(&queue, 1);
        queue.close();
        let mut batch = Vec::new();
        assert!(queue.take(&mut batch, LONG));
        batch.clear();
        assert!(!queue.take(&mut batch, LONG));
    }
}
