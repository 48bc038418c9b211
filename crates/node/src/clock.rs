//! The wall clock: the one place that reads it, everyone else is given it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970; 0 when the machine's clock is before that.
#[must_use]
#[allow(clippy::disallowed_methods)] // Other crates are given this function.
pub fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).expect("milliseconds since 1970 fit for 500 million years")
}
