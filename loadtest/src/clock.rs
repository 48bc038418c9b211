//! The clocks of a load test: the only place that asks the system for the time.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Nanoseconds since a moment that all parts of a run share: when the run was prepared.
#[derive(Clone, Copy, Debug)]
pub struct RunClock {
    began: Instant,
    /// How much later the run began for the coordinator; what an agent adds.
    offset: Duration,
}

impl RunClock {
    /// The clock of a run that begins now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn start() -> Self {
        Self { began: Instant::now(), offset: Duration::ZERO }
    }

    /// The same clock, ahead by `offset`: an agent's, made to agree with the coordinator's.
    #[must_use]
    pub fn ahead(self, offset: Duration) -> Self {
        Self { began: self.began, offset }
    }

    /// Nanoseconds since the run began.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now_ns(&self) -> u64 {
        let since = self.began.elapsed() + self.offset;
        u64::try_from(since.as_nanos()).expect("a run lasts less than 500 years")
    }
}

/// Milliseconds since 1970.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).expect("a time in this geological age")
}
