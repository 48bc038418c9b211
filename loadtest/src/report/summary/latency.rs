//! How long things took, of four kinds that are never mixed.

use hdrhistogram::Histogram;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Steps of a curve for each halving of what is left above it.
const STEPS_PER_HALF: u32 = 5;

/// What a latency is counted from and to. The first three begin at the intended time.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(rename = "LatencyKind")]
pub enum Kind {
    /// From the intended time of a send to when it was really begun: the generator's own lateness.
    ScheduleDelay,
    /// From the intended time of a send to the cluster's answer that it is durable.
    Accept,
    /// From the intended time of a send to its delivery on a device that was connected then.
    EndToEnd,
    /// From the intended time of a send to its delivery on a device that was away then.
    CatchUp,
}

impl Kind {
    /// Every kind, in the order of a report.
    pub const ALL: &[Self] = &[Self::EndToEnd, Self::Accept, Self::ScheduleDelay, Self::CatchUp];

    /// The name in files and options.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::ScheduleDelay => "schedule_delay",
            Self::Accept => "accept",
            Self::EndToEnd => "end_to_end",
            Self::CatchUp => "catch_up",
        }
    }

    /// The name in sentences.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::ScheduleDelay => "schedule delay",
            Self::Accept => "accept",
            Self::EndToEnd => "end to end",
            Self::CatchUp => "catch-up",
        }
    }
}

/// One of something for each kind of latency; absent when nothing of the kind was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "KindsOf{T}")]
pub struct Kinds<T> {
    /// The generator's own lateness.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_delay: Option<T>,
    /// Until the send is durable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accept: Option<T>,
    /// Until it is on a device that was connected when it was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_to_end: Option<T>,
    /// Until it is on a device that was away when it was due.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub catch_up: Option<T>,
}

impl<T> Default for Kinds<T> {
    fn default() -> Self {
        Self { schedule_delay: None, accept: None, end_to_end: None, catch_up: None }
    }
}

impl<T> Kinds<T> {
    /// The one of a kind.
    #[must_use]
    pub fn get(&self, kind: Kind) -> Option<&T> {
        match kind {
            Kind::ScheduleDelay => self.schedule_delay.as_ref(),
            Kind::Accept => self.accept.as_ref(),
            Kind::EndToEnd => self.end_to_end.as_ref(),
            Kind::CatchUp => self.catch_up.as_ref(),
        }
    }

    /// Makes each by asking for it.
    pub fn from_fn(mut make: impl FnMut(Kind) -> Option<T>) -> Self {
        Self {
            schedule_delay: make(Kind::ScheduleDelay),
            accept: make(Kind::Accept),
            end_to_end: make(Kind::EndToEnd),
            catch_up: make(Kind::CatchUp),
        }
    }

    /// Those that are there, in the order of a report.
    pub fn iter(&self) -> impl Iterator<Item = (Kind, &T)> {
        Kind::ALL.iter().filter_map(|&kind| Some((kind, self.get(kind)?)))
    }
}

/// The distribution of a latency over a phase.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Percentiles {
    /// How many were seen.
    pub count: u64,
    /// The least.
    pub min_us: u64,
    /// The mean.
    pub mean_us: f64,
    /// Half were no longer.
    pub p50_us: u64,
    /// Nine in ten were no longer.
    pub p90_us: u64,
    /// 99 in 100 were no longer.
    pub p99_us: u64,
    /// 999 in 1000 were no longer.
    pub p999_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Percentiles {
    /// Those of a histogram of microseconds; `None` when it is empty.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            min_us: histogram.min(),
            mean_us: histogram.mean(),
            p50_us: histogram.value_at_quantile(0.5),
            p90_us: histogram.value_at_quantile(0.9),
            p99_us: histogram.value_at_quantile(0.99),
            p999_us: histogram.value_at_quantile(0.999),
            max_us: histogram.max(),
        })
    }

    /// The one of a name such as `p99`; `mean` and `max` are names too.
    #[must_use]
    pub fn named(&self, name: &str) -> Option<f64> {
        let us = match name {
            "min" => self.min_us,
            "p50" => self.p50_us,
            "p90" => self.p90_us,
            "p99" => self.p99_us,
            "p999" => self.p999_us,
            "max" => self.max_us,
            "mean" => return Some(self.mean_us),
            _ => return None,
        };
        Some(us as f64)
    }
}

/// The distribution of a latency over an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// How many were seen.
    pub count: u64,
    /// Half were no longer.
    pub p50_us: u64,
    /// 99 in 100 were no longer.
    pub p99_us: u64,
    /// The longest.
    pub max_us: u64,
}

impl Spread {
    /// That of a histogram of microseconds; `None` when it is empty.
    #[must_use]
    pub fn of(histogram: &Histogram<u64>) -> Option<Self> {
        (!histogram.is_empty()).then(|| Self {
            count: histogram.len(),
            p50_us: histogram.value_at_quantile(0.5),
            p99_us: histogram.value_at_quantile(0.99),
            max_us: histogram.max(),
        })
    }
}

/// The whole distribution of one kind of latency in one phase.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Curve {
    /// The place of the phase in the list of phases.
    pub phase: usize,
    /// Of what.
    pub kind: Kind,
    /// How many were seen.
    pub count: u64,
    /// From the least to the longest; the last has the quantile 1.
    pub points: Vec<CurvePoint>,
}

/// A point of a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CurvePoint {
    /// The share that was no longer than this, 0 to 1.
    pub quantile: f64,
    /// How long.
    pub us: u64,
}

impl Curve {
    /// That of a histogram of microseconds; `None` when it is empty.
    #[must_use]
    pub fn of(phase: usize, kind: Kind, histogram: &Histogram<u64>) -> Option<Self> {
        let points = histogram
            .iter_quantiles(STEPS_PER_HALF)
            .map(|step| CurvePoint {
                quantile: step.quantile(),
                us: step.value_iterated_to().min(histogram.max()),
            })
            .collect();
        (!histogram.is_empty()).then(|| Self { phase, kind, count: histogram.len(), points })
    }
}
