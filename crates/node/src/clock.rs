//! The wall clock: the one place that reads it, everyone else is given it.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds of a day.
const DAY_MS: u64 = 86_400_000;

/// Milliseconds since 1970; 0 when the machine's clock is before that.
#[must_use]
#[allow(clippy::disallowed_methods)] // Other crates are given this function.
pub fn wall_clock_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).expect("milliseconds since 1970 fit for 500 million years")
}

/// A time as people read it: `2026-01-31T12:00:00Z`, UTC.
#[must_use]
pub fn date_time(ms: u64) -> String {
    let seconds = ms % DAY_MS / 1000;
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{}T{hour:02}:{minute:02}:{second:02}Z", date(ms))
}

/// The day of a time, UTC: `2026-01-31`.
#[must_use]
pub fn date(ms: u64) -> String {
    let mut days = ms / DAY_MS;
    let mut year = 1970;
    loop {
        let of_year = days_of(year).iter().sum();
        if days < of_year {
            break;
        }
        days -= of_year;
        year += 1;
    }
    let mut month = 1;
    for of_month in days_of(year) {
        if days < of_month {
            break;
        }
        days -= of_month;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", days + 1)
}

/// The days of each month.
fn days_of(year: u64) -> [u64; 12] {
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let february = if is_leap { 29 } else { 28 };
    [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_written_as_a_date() {
        for (seconds, written) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_735_689_599, "2024-12-31T23:59:59Z"),
            (1_735_689_600, "2025-01-01T00:00:00Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(date_time(seconds * 1000), written);
        }
    }
}
