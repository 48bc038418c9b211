//! A lane: one partition of one topic, as readers, the committer and the store share it.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
};

use tokio::sync::watch;
use wire::{Partition, Topic};

use crate::block::Block;

/// Steps in which a lane remembers how many bytes are not finished; further ones are merged.
const BACKLOG_STEPS_MAX: usize = 1024;

/// Which topics have which lanes: mail, then group, then the one of control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    pub(crate) mail: u16,
    pub(crate) group: u16,
}

impl Layout {
    pub(crate) fn count(self, topic: Topic) -> u16 {
        match topic {
            Topic::Mail => self.mail,
            Topic::Group => self.group,
            Topic::Control => 1,
        }
    }

    pub(crate) fn lanes(self) -> usize {
        usize::from(self.mail) + usize::from(self.group) + 1
    }

    /// The index of a lane.
    ///
    /// # Panics
    /// When the topic has no such partition: the caller took it from elsewhere.
    pub(crate) fn index(self, topic: Topic, partition: Partition) -> usize {
        assert!(partition.get() < self.count(topic), "the partition is one of the topic's");
        let first = match topic {
            Topic::Mail => 0,
            Topic::Group => self.mail,
            Topic::Control => self.mail + self.group,
        };
        usize::from(first) + usize::from(partition.get())
    }

    /// The lane's name in keys.
    ///
    /// Layout, 3 bytes: topic at 0 (0 = mail, 1 = group, 2 = control), partition (big-endian) at 1.
    pub(crate) fn name(self, lane: usize) -> [u8; 3] {
        let lane = u16::try_from(lane).expect("at most 8193 lanes");
        let (topic, partition) = if lane < self.mail {
            (0, lane)
        } else if lane < self.mail + self.group {
            (1, lane - self.mail)
        } else {
            (2, lane - self.mail - self.group)
        };
        let partition = partition.to_be_bytes();
        [topic, partition[0], partition[1]]
    }

    /// Whether nobody commits this lane, so that it is trimmed by age alone.
    pub(crate) fn is_control(self, lane: usize) -> bool {
        lane + 1 == self.lanes()
    }
}

/// One lane.
pub(crate) struct Lane {
    state: Mutex<State>,
    /// Told when the end or the reader changed.
    changed: watch::Sender<()>,
    /// Failed appends whose callers do not know yet.
    untold: AtomicU64,
}

/// What readers see.
pub(crate) struct State {
    /// Offset after the last durable record.
    pub(crate) end: u64,
    /// Everything at and above this offset is in `tail`.
    pub(crate) tail_from: u64,
    pub(crate) tail: VecDeque<Arc<Block>>,
    tail_bytes: usize,
    /// Which reader has the lane: the last one opened.
    pub(crate) reader: u64,
    /// Offset after the last finished record, where a new reader begins; of control, after the last
    /// one that is too old to be read.
    pub(crate) finished: u64,
    /// As `finished`, on disk and synced by this process; zero before its first sync.
    pub(crate) finished_synced: u64,
    /// Bytes of unfinished records, by the offset after them.
    backlog: VecDeque<(u64, u64)>,
}

impl Lane {
    /// A lane with nothing in memory: `end` after the last record, `finished` from the checkpoint,
    /// `backlog` an estimate of the bytes between them.
    pub(crate) fn new(end: u64, finished: u64, backlog_bytes: u64) -> Self {
        let backlog = (finished < end).then_some((end, backlog_bytes)).into_iter().collect();
        Self {
            state: Mutex::new(State {
                end,
                tail_from: end,
                tail: VecDeque::new(),
                tail_bytes: 0,
                reader: 0,
                finished,
                finished_synced: 0,
                backlog,
            }),
            changed: watch::Sender::new(()),
            untold: AtomicU64::new(0),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder of this lock panics")
    }

    /// Told from now on when the end or the reader changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Shows a durable block to readers. The oldest blocks leave memory at `tail_bytes_max`.
    pub(crate) fn publish(&self, block: Block, tail_bytes_max: usize, counts: Counts) {
        let bytes = block.memory_bytes();
        let mut state = self.lock();
        assert!(block.base >= state.end, "positions only grow");
        state.end = block.end();
        if counts == Counts::Backlog {
            let end = state.end;
            state.add_backlog(end, bytes as u64);
        }
        state.tail_bytes += bytes;
        state.tail.push_back(Arc::new(block));
        while state.tail_bytes > tail_bytes_max && state.tail.len() > 1 {
            let oldest = state.tail.pop_front().expect("there are several");
            state.tail_bytes -= oldest.memory_bytes();
            state.tail_from = oldest.end();
        }
        drop(state);
        self.changed.send_replace(());
    }

    /// Gives the lane to a new reader, whose number this is.
    pub(crate) fn take_over(&self) -> u64 {
        let mut state = self.lock();
        state.reader += 1;
        let number = state.reader;
        drop(state);
        self.changed.send_replace(());
        number
    }

    /// Bytes of unfinished records, roughly.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.lock().backlog.iter().map(|(_, bytes)| bytes).sum()
    }

    /// Whether an append failed whose caller does not know yet.
    pub(crate) fn has_untold(&self) -> bool {
        self.untold.load(SeqCst) > 0
    }
}

/// Whether a lane's records wait to be finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counts {
    /// They do.
    Backlog,
    /// Nobody finishes them.
    Nothing,
}

impl State {
    /// Everything below `offset` is finished.
    pub(crate) fn finish(&mut self, offset: u64) {
        self.finished = self.finished.max(offset);
        while self.backlog.front().is_some_and(|(end, _)| *end <= self.finished) {
            self.backlog.pop_front();
        }
    }

    /// Lets new readers begin after the records in memory from before `before_ms`.
    pub(crate) fn forget_before(&mut self, before_ms: u64) {
        let old = self.tail.partition_point(|block| block.log_time_ms < before_ms);
        if let Some(last) = old.checked_sub(1) {
            self.finish(self.tail[last].end());
        }
    }

    fn add_backlog(&mut self, end: u64, bytes: u64) {
        if self.backlog.len() < BACKLOG_STEPS_MAX {
            self.backlog.push_back((end, bytes));
        } else if let Some(last) = self.backlog.back_mut() {
            *last = (end, last.1 + bytes);
        }
    }
}

/// Keeps lanes failing while it lives: it travels with a failure until the caller has it.
pub(crate) struct Untold {
    lanes: Arc<[Lane]>,
    failing: Vec<usize>,
}

impl Untold {
    pub(crate) fn new(lanes: &Arc<[Lane]>, failing: Vec<usize>) -> Self {
        failing.iter().for_each(|lane| {
            lanes[*lane].untold.fetch_add(1, SeqCst);
        });
        Self { lanes: Arc::clone(lanes), failing }
    }

    /// The lanes that fail.
    pub(crate) fn lanes(&self) -> &[usize] {
        &self.failing
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        for lane in &self.failing {
            self.lanes[*lane].untold.fetch_sub(1, SeqCst);
        }
    }
}
