//! Plain numbers about the requests.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

/// What happened since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Requests, each counted once however often it was tried.
    pub requests: u64,
    /// Attempts beyond the first.
    pub retries: u64,
    /// Attempts that were not answered in time, here or between the nodes.
    pub timeouts: u64,
    /// Requests that failed after all attempts.
    pub failures: u64,
    /// Requests under way.
    pub in_flight: u64,
    /// Time that requests took, attempts and the wait for a free place included; a sum.
    pub latency: Duration,
    /// Rows of mailboxes stored.
    pub rows_written: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) requests: AtomicU64,
    pub(crate) retries: AtomicU64,
    pub(crate) timeouts: AtomicU64,
    pub(crate) failures: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) latency_us: AtomicU64,
    pub(crate) rows_written: AtomicU64,
}

impl Counters {
    pub(crate) fn stats(&self) -> Stats {
        Stats {
            requests: self.requests.load(Relaxed),
            retries: self.retries.load(Relaxed),
            timeouts: self.timeouts.load(Relaxed),
            failures: self.failures.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            latency: Duration::from_micros(self.latency_us.load(Relaxed)),
            rows_written: self.rows_written.load(Relaxed),
        }
    }
}

/// Counts a request while it is under way.
pub(crate) struct InFlight<'a>(&'a AtomicU64);

impl Counters {
    pub(crate) fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(&self.in_flight)
    }

    pub(crate) fn took(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        self.latency_us.fetch_add(micros, Relaxed);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}
