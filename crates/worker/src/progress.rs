//! How far each lane is, for heartbeats and readiness.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use tokio::sync::Notify;
use wire::{Partition, Topic};

/// Stands for *all records are finished*.
const NONE: u64 = u64::MAX;

/// How far one lane is; written by the lane, read by the heartbeat. Values may be a moment old.
#[derive(Debug)]
pub(crate) struct Progress {
    pub(crate) topic: Topic,
    pub(crate) partition: Partition,
    state: AtomicU8,
    oldest_ms: AtomicU64,
    /// Wakes the heartbeat, which need not wait for its time to say that a partition is open.
    opened: Arc<Notify>,
}

/// Where a lane is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It does not have its partition: it is opening it, or another process has it. It knows
    /// nothing about it and says nothing.
    Waiting,
    /// It works.
    Running,
    /// It stands and someone must act.
    Standing,
}

impl Progress {
    pub(crate) fn new(topic: Topic, partition: Partition, opened: Arc<Notify>) -> Arc<Self> {
        let (state, oldest_ms) = (AtomicU8::new(State::Waiting as u8), AtomicU64::new(NONE));
        Arc::new(Self { topic, partition, state, oldest_ms, opened })
    }

    pub(crate) fn state(&self) -> State {
        match self.state.load(Ordering::Relaxed) {
            0 => State::Waiting,
            1 => State::Running,
            _ => State::Standing,
        }
    }

    /// The partition is open.
    pub(crate) fn running(&self) {
        self.state.store(State::Running as u8, Ordering::Relaxed);
        self.opened.notify_one();
    }

    /// The partition is not open any more: what was known of it is no longer true.
    pub(crate) fn waiting(&self) {
        self.state.store(State::Waiting as u8, Ordering::Relaxed);
        self.caught_up();
    }

    /// Nothing is known of what comes after the finished records: the oldest of those ages from now
    /// on at the latest.
    pub(crate) fn stalled(&self, now_ms: u64) {
        self.oldest_ms.fetch_min(now_ms, Ordering::Relaxed);
    }

    /// The lane stands.
    pub(crate) fn standing(&self, now_ms: u64) {
        self.stalled(now_ms);
        self.state.store(State::Standing as u8, Ordering::Relaxed);
    }

    /// The oldest unfinished record has this log time.
    pub(crate) fn busy(&self, log_time_ms: u64) {
        self.oldest_ms.store(log_time_ms, Ordering::Relaxed);
    }

    /// Everything is finished.
    pub(crate) fn caught_up(&self) {
        self.oldest_ms.store(NONE, Ordering::Relaxed);
    }

    /// Log time of the oldest unfinished record.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        Some(self.oldest_ms.load(Ordering::Relaxed)).filter(|oldest_ms| *oldest_ms != NONE)
    }
}
