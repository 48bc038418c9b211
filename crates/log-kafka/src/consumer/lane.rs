//! A lane: what is fetched of one partition and not read yet.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use ports::log::{Entry, ReadError};
use tokio::{sync::watch, time::Instant};
use wire::{Epoch, Offset, Seq};

/// A lane that is full for longer is paused. Pausing throws away what the client has fetched, so a
/// short while is waited out.
const FULL_FOR: Duration = Duration::from_secs(1);

/// One partition, between the thread that fetches and the reader.
pub(crate) struct Lane {
    state: Mutex<State>,
    /// Told when there is something for a reader, or for one who waits to open.
    changed: watch::Sender<()>,
    limits: Limits,
}

/// What a lane holds before it is paused: after a while, or at once at twice as much.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

pub(crate) struct State {
    /// Counts the times the partition was given to this process or taken from it.
    pub(crate) grant: u64,
    pub(crate) is_granted: bool,
    /// The reader that has the lane; others have lost it.
    pub(crate) reader: u64,
    pub(crate) phase: Phase,
    entries: VecDeque<Entry>,
    /// So many of the entries are shown to the reader: what comes together is shown together.
    shown: usize,
    bytes: usize,
    full_since: Option<Instant>,
    pub(crate) is_paused: bool,
    log_time_ms: u64,
    /// Everything below is finished, as far as this process knows.
    pub(crate) finished: Option<u64>,
    /// `finished` is to be committed.
    pub(crate) is_dirty: bool,
    /// A position the brokers seemed to skip to, which was asked for again.
    jump: Option<u64>,
    stop: Option<String>,
    /// Offset after the last record, as of the last look.
    pub(crate) end: Option<u64>,
}

/// Whether a partition is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Nobody reads.
    Idle,
    /// It is to be fetched from this offset on.
    Wanted(u64),
    /// It is fetched; the next record has this offset.
    Fetching(u64),
}

/// What the thread that fetches does next about a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Todo {
    Seek(u64),
    Pause,
    Resume,
}

/// Whether offsets may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holes {
    /// The log is compacted.
    Normal,
    /// Each offset has a record: nothing writes to these logs in transactions, nothing compacts
    /// them.
    Loss,
}

impl Lane {
    pub(crate) fn new(limits: Limits) -> Self {
        let state = State {
            grant: 0,
            is_granted: false,
            reader: 0,
            phase: Phase::Idle,
            entries: VecDeque::new(),
            shown: 0,
            bytes: 0,
            full_since: None,
            is_paused: true,
            log_time_ms: 0,
            finished: None,
            is_dirty: false,
            jump: None,
            stop: None,
            end: None,
        };
        Self { state: Mutex::new(state), changed: watch::Sender::new(()), limits }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// The partition is this process's from now on; nothing is fetched before somebody reads.
    pub(crate) fn give(&self) {
        let mut state = self.lock();
        state.grant += 1;
        state.is_granted = true;
        state.finished = None;
        state.is_dirty = false;
        state.is_paused = true;
        state.end = None;
        drop(state);
        self.changed.send_replace(());
    }

    /// The partition is another's from now on: its reader has lost it. What is to be committed.
    pub(crate) fn take_away(&self) -> Option<u64> {
        let mut state = self.lock();
        state.grant += 1;
        state.is_granted = false;
        state.reader += 1;
        state.begin(Phase::Idle);
        let finished = state.finished.take().filter(|_| state.is_dirty);
        state.is_dirty = false;
        drop(state);
        self.changed.send_replace(());
        finished
    }

    /// Gives the lane to a new reader, if the partition is still granted as it was; its number, and
    /// up to where everything is finished.
    pub(crate) fn take_over(
        &self,
        grant: u64,
        committed: u64,
        from: Option<u64>,
    ) -> Option<(u64, u64)> {
        let mut state = self.lock();
        if state.grant != grant || !state.is_granted {
            return None;
        }
        let finished = state.finished.map_or(committed, |finished| finished.max(committed));
        state.finished = Some(finished);
        state.reader += 1;
        state.begin(Phase::Wanted(from.unwrap_or(finished)));
        let reader = state.reader;
        drop(state);
        self.changed.send_replace(());
        Some((reader, finished))
    }

    /// Nothing more is read: the reader is told why.
    pub(crate) fn stop(&self, reason: String) {
        let mut state = self.lock();
        if state.phase == Phase::Idle {
            return;
        }
        state.begin(Phase::Idle);
        state.stop = Some(reason);
        drop(state);
        self.changed.send_replace(());
    }

    /// Lets those who wait to open look again.
    pub(crate) fn wake(&self) {
        self.changed.send_replace(());
    }

    /// Takes a fetched record, to be shown later; what is not wanted (any more) is dropped.
    pub(crate) fn push(
        &self,
        offset: u64,
        log_time_ms: u64,
        record: &[u8],
        epoch: Epoch,
        holes: Holes,
    ) {
        let mut state = self.lock();
        let Phase::Fetching(next) = state.phase else { return };
        if offset < next {
            return;
        }
        if offset > next && holes == Holes::Loss {
            let reason = format!("after offset {next} the brokers sent {offset}");
            let is_again = state.jump == Some(offset);
            state.jump = Some(offset);
            // Asked for once more before anybody is alarmed. What is in the lane stays.
            state.phase = Phase::Wanted(next);
            drop(state);
            if is_again {
                self.stop(format!("{reason}: records were lost before they were read"));
            }
            return;
        }
        state.log_time_ms = state.log_time_ms.max(log_time_ms);
        state.bytes += record.len();
        let entry = Entry {
            seq: Seq::new(epoch, Offset::new(offset)),
            log_time_ms: state.log_time_ms,
            record: Bytes::copy_from_slice(record),
        };
        state.entries.push_back(entry);
        state.phase = Phase::Fetching(offset + 1);
        if state.full_since.is_none() && state.is_over(self.limits) {
            state.full_since = Some(Instant::now());
        }
    }

    /// Shows the reader what was taken.
    pub(crate) fn show(&self) {
        let mut state = self.lock();
        let waited = state.shown == 0 && !state.entries.is_empty();
        state.shown = state.entries.len();
        drop(state);
        if waited {
            self.changed.send_replace(());
        }
    }

    /// What is to be done about the lane now. The caller does it, and says so by [`State`].
    pub(crate) fn todo(&self, now: Instant) -> Option<Todo> {
        let state = self.lock();
        if !state.is_granted {
            return None;
        }
        match state.phase {
            Phase::Idle => (!state.is_paused).then_some(Todo::Pause),
            Phase::Wanted(offset) => Some(Todo::Seek(offset)),
            Phase::Fetching(_) if state.is_paused => {
                let Limits { records, bytes } = self.limits;
                let half = Limits { records: records / 2, bytes: bytes / 2 };
                (!state.is_over(half)).then_some(Todo::Resume)
            }
            Phase::Fetching(_) => {
                let Limits { records, bytes } = self.limits;
                let double = Limits { records: 2 * records, bytes: 2 * bytes };
                let is_long = state.full_since.is_some_and(|since| now - since > FULL_FOR);
                (is_long || state.is_over(double)).then_some(Todo::Pause)
            }
        }
    }

    /// The next entries for a reader; none when it has to wait.
    pub(crate) fn read(
        &self,
        reader: u64,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Option<Vec<Entry>>, ReadError> {
        let mut state = self.lock();
        if state.reader != reader {
            return Err(ReadError::Lost);
        }
        if let Some(reason) = &state.stop {
            return Err(ReadError::Stop(reason.clone()));
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while batch.len() < records_max.max(1).min(state.shown)
            && let Some(entry) = state.entries.front()
            && (batch.is_empty() || bytes + entry.record.len() <= bytes_max)
        {
            bytes += entry.record.len();
            batch.extend(state.entries.pop_front());
        }
        state.shown -= batch.len();
        state.bytes -= bytes;
        if !state.is_over(self.limits) {
            state.full_since = None;
        }
        Ok((!batch.is_empty()).then_some(batch))
    }

    /// Everything up to this offset is finished.
    pub(crate) fn commit(&self, reader: u64, offset: u64) -> Result<(), ReadError> {
        let mut state = self.lock();
        if state.reader != reader {
            return Err(ReadError::Lost);
        }
        if state.finished.is_none_or(|finished| finished <= offset) {
            state.finished = Some(offset + 1);
            state.is_dirty = true;
        }
        Ok(())
    }

    /// What is to be committed, once.
    pub(crate) fn take_dirty(&self) -> Option<u64> {
        let mut state = self.lock();
        std::mem::take(&mut state.is_dirty).then_some(state.finished).flatten()
    }
}

impl State {
    /// Forgets what was fetched and goes on otherwise.
    pub(crate) fn begin(&mut self, phase: Phase) {
        self.phase = phase;
        self.entries.clear();
        self.shown = 0;
        self.bytes = 0;
        self.full_since = None;
        self.log_time_ms = 0;
        self.jump = None;
        self.stop = None;
    }

    fn is_over(&self, limits: Limits) -> bool {
        self.entries.len() >= limits.records.max(1) || self.bytes >= limits.bytes.max(1)
    }
}

#[cfg(test)]
#[path = "lane/tests.rs"]
mod tests;
