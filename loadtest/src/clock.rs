//! The clocks of a load test: the only place that asks the system for the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since a moment that all parts of a run share: when the run was prepared.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    began: Instant,
    /// What is added, to agree with another machine's.
    offset_ns: i64,
}

impl RunClock {
    /// The clock of a run that begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn start() -> Self {
        Self { began: Instant::now(), offset_ns: 0 }
    }

    /// The same clock, ahead by so much, or behind: an agent's, made to agree with the
    /// coordinator's.
    #[must_use]
    pub fn shifted(self, by_ns: i64) -> Self {
        Self { began: self.began, offset_ns: self.offset_ns.saturating_add(by_ns) }
    }

    /// Nanoseconds since the run began; 0 before that.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now_ns(&self) -> u64 {
        let since = u64::try_from(self.began.elapsed().as_nanos());
        since.expect("a run lasts less than 500 years").saturating_add_signed(self.offset_ns)
    }
}

/// Milliseconds since 1970.
#[must_use]
pub fn wall_clock_ms() -> u64 {
    wall_clock_ns() / 1_000_000
}

/// Nanoseconds since 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn wall_clock_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).expect("a time before 2500")
}
