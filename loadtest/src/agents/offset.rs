//! How far a clock on another machine is from ours, estimated as NTP does.

use crate::clock::{RunClock, wall_clock_ns};

/// The clock an agent tells the time by: nanoseconds since 1970 when it started, and since then at
/// the pace of a clock that nobody sets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timepiece(RunClock);

impl Timepiece {
    /// One that is wrong by so much.
    pub(super) fn start(skew_ns: i64) -> Self {
        let now_ns = i64::try_from(wall_clock_ns()).unwrap_or(i64::MAX);
        Self(RunClock::start().shifted(now_ns.saturating_add(skew_ns)))
    }

    /// What it shows.
    pub(super) fn now_ns(&self) -> i64 {
        i64::try_from(self.0.now_ns()).unwrap_or(i64::MAX)
    }

    /// The clock of a run that shows 0 when this one shows `zero_ns`.
    pub(super) fn run_clock(&self, zero_ns: i64) -> RunClock {
        self.0.shifted(zero_ns.saturating_neg())
    }
}

/// A question and its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exchange {
    /// When it was asked, by our clock.
    pub(super) asked_ns: u64,
    /// What the other clock showed.
    pub(super) shown_ns: i64,
    /// When the answer came, by our clock.
    pub(super) came_ns: u64,
}

/// How far another clock is from ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offset {
    /// What it shows when ours shows 0.
    pub(super) zero_ns: i64,
    /// How wrong that may be, either way.
    pub(super) uncertainty_ns: u64,
}

impl Offset {
    /// From the quickest of some exchanges: the less time an answer took, the less room is there
    /// for one way to have been longer than the other.
    pub(super) fn of(exchanges: &[Exchange]) -> Option<Self> {
        let quickest = exchanges.iter().min_by_key(|it| it.came_ns - it.asked_ns)?;
        let took_ns = quickest.came_ns - quickest.asked_ns;
        let middle_ns = i64::try_from(quickest.asked_ns + took_ns / 2).unwrap_or(i64::MAX);
        Some(Self {
            zero_ns: quickest.shown_ns.saturating_sub(middle_ns),
            uncertainty_ns: took_ns.div_ceil(2),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quickest_exchange_counts_and_bounds_the_error() {
        // The other clock is 1,000,000 ahead of ours; ways of 300 and 500, then 9,000 and 100.
        let exchanges = [
            Exchange { asked_ns: 20_000, shown_ns: 1_029_000, came_ns: 29_100 },
            Exchange { asked_ns: 10_000, shown_ns: 1_010_300, came_ns: 10_800 },
        ];
        let offset = Offset::of(&exchanges);
        assert_eq!(offset, Some(Offset { zero_ns: 999_900, uncertainty_ns: 400 }));
        assert_eq!(Offset::of(&[]), None);
    }

    #[test]
    fn a_clock_that_is_behind_is_understood_too() {
        let behind = Timepiece::start(-5_000_000_000);
        let ours = RunClock::start();
        let asked_ns = ours.now_ns();
        let shown_ns = behind.now_ns();
        let came_ns = ours.now_ns();
        let offset = Offset::of(&[Exchange { asked_ns, shown_ns, came_ns }]);
        let theirs = offset.map(|offset| behind.run_clock(offset.zero_ns).now_ns());
        let now_ns = ours.now_ns();
        assert!(theirs.is_some_and(|theirs| theirs.abs_diff(now_ns) < 50_000_000));
    }
}
