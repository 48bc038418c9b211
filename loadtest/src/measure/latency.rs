//! The latencies of a run, a histogram a kind.

use hdrhistogram::Histogram;

use crate::report::summary::{Curve, Kind, Kinds, Percentiles, Spread};

/// A histogram for each kind of latency: microseconds, three significant digits.
#[derive(Clone, Debug)]
pub struct Latencies {
    schedule_delay: Histogram<u64>,
    accept: Histogram<u64>,
    end_to_end: Histogram<u64>,
    catch_up: Histogram<u64>,
}

impl Latencies {
    /// Nothing recorded.
    #[must_use]
    pub fn new() -> Self {
        Self { schedule_delay: empty(), accept: empty(), end_to_end: empty(), catch_up: empty() }
    }

    /// Records one of `ns` nanoseconds, rounded up to a microsecond.
    pub fn record(&mut self, kind: Kind, ns: u64) {
        record(self.of_mut(kind), ns);
    }

    /// Those of one kind.
    #[must_use]
    pub fn of(&self, kind: Kind) -> &Histogram<u64> {
        match kind {
            Kind::ScheduleDelay => &self.schedule_delay,
            Kind::Accept => &self.accept,
            Kind::EndToEnd => &self.end_to_end,
            Kind::CatchUp => &self.catch_up,
        }
    }

    /// Those of one kind, to change them.
    pub fn of_mut(&mut self, kind: Kind) -> &mut Histogram<u64> {
        match kind {
            Kind::ScheduleDelay => &mut self.schedule_delay,
            Kind::Accept => &mut self.accept,
            Kind::EndToEnd => &mut self.end_to_end,
            Kind::CatchUp => &mut self.catch_up,
        }
    }

    /// Takes those of another in addition.
    pub fn add(&mut self, other: &Self) {
        for &kind in Kind::ALL {
            merge(self.of_mut(kind), other.of(kind));
        }
    }

    /// A quantile in microseconds; none when nothing was recorded.
    #[must_use]
    pub fn quantile_us(&self, kind: Kind, quantile: f64) -> Option<u64> {
        let histogram = self.of(kind);
        (!histogram.is_empty()).then(|| histogram.value_at_quantile(quantile))
    }

    /// What a phase's table shows.
    #[must_use]
    pub fn percentiles(&self) -> Kinds<Percentiles> {
        Kinds::from_fn(|kind| Percentiles::of(self.of(kind)))
    }

    /// What an interval shows.
    #[must_use]
    pub fn spreads(&self) -> Kinds<Spread> {
        Kinds::from_fn(|kind| Spread::of(self.of(kind)))
    }

    /// The whole distributions, for the phase at this place.
    pub fn curves(&self, phase: usize) -> impl Iterator<Item = Curve> {
        Kind::ALL.iter().filter_map(move |&kind| Curve::of(phase, kind, self.of(kind)))
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self::new()
    }
}

/// A histogram that takes every value.
pub(super) fn empty() -> Histogram<u64> {
    Histogram::new(3).expect("three digits are allowed")
}

/// Records one of `ns` nanoseconds, rounded up to a microsecond.
pub(super) fn record(histogram: &mut Histogram<u64>, ns: u64) {
    histogram.record(ns.div_ceil(1000)).expect("a histogram that grows takes every value");
}

/// Takes the values of another in addition.
pub(super) fn merge(ours: &mut Histogram<u64>, theirs: &Histogram<u64>) {
    ours.add(theirs).expect("a histogram that grows takes every value");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn kinds_are_never_mixed_and_merged_kind_by_kind() {
        let (mut one, mut two) = (Latencies::new(), Latencies::new());
        one.record(Kind::Accept, 1_000_000);
        two.record(Kind::Accept, 3_000_000);
        two.record(Kind::EndToEnd, 9_000_000_000_000);
        one.add(&two);
        assert_eq!(one.of(Kind::Accept).len(), 2);
        assert_eq!(one.quantile_us(Kind::Accept, 0.5), Some(1000));
        assert!(one.quantile_us(Kind::EndToEnd, 0.99).unwrap() >= 9_000_000_000);
        assert_eq!(one.quantile_us(Kind::ScheduleDelay, 0.99), None);
    }
}
