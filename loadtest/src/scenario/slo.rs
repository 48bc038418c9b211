//! Bounds: what the figures of a phase, or of a finished run, must be.

use std::fmt;

use super::quantity;

/// What the figures of a phase must be; empty when nothing is demanded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Slo {
    /// At most one for each figure, in the order of [`Figure::all`].
    pub bounds: Vec<Bound>,
}

/// One demand.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Of what.
    pub figure: Figure,
    /// The most, or the least, in the figure's unit.
    pub limit: f64,
}

impl Bound {
    /// Whether a figure keeps it.
    #[must_use]
    pub fn holds(&self, value: f64) -> bool {
        if self.figure.is_floor() { value >= self.limit } else { value <= self.limit }
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.figure.unit().show(self.limit);
        let sign = if self.figure.is_floor() { ">=" } else { "<=" };
        write!(f, "{} {sign} {limit}", self.figure.key())
    }
}

/// A figure that may be bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// From the intended time to the arrival at a device that was connected then.
    EndToEnd(Point),
    /// From the intended time to the answer that it is durable.
    Accept(Point),
    /// From the intended time to the arrival at a device that was away then.
    CatchUp(Point),
    /// Accepted messages as a share of those intended.
    Rate,
    /// Sends refused or without an answer, and connections that broke and were not meant to.
    Errors,
    /// From an action that parted devices and cluster until all of them were connected again.
    Back,
    /// From an action that brought devices back until all had what had waited for them.
    CaughtUp,
    /// Messages that had waited, brought per second while devices caught up.
    CatchUpRate,
    /// Resident memory of the servers per connection, what they use without any subtracted.
    MemoryPerConnection,
    /// How much the servers' resident memory grew, by the line that fits best.
    MemoryGrowth,
}

/// A place in a distribution of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Point {
    /// Half are lower.
    P50,
    /// 90 of 100 are lower.
    P90,
    /// 99 of 100 are lower.
    P99,
    /// 999 of 1,000 are lower.
    P999,
    /// The highest.
    Max,
}

/// What a figure is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds.
    Microseconds,
    /// 0 to 1.
    Share,
    /// A number of things.
    Count,
    /// Messages a second.
    PerSecond,
    /// Bytes.
    Bytes,
    /// Bytes an hour.
    BytesPerHour,
}

impl Point {
    /// Every place.
    pub const ALL: [Self; 5] = [Self::P50, Self::P90, Self::P99, Self::P999, Self::Max];

    /// The share of values at or below it.
    #[must_use]
    pub fn quantile(self) -> f64 {
        match self {
            Self::P50 => 0.5,
            Self::P90 => 0.9,
            Self::P99 => 0.99,
            Self::P999 => 0.999,
            Self::Max => 1.0,
        }
    }
}

/// Keys in the order of [`Point::ALL`].
const END_TO_END_KEYS: [&str; 5] =
    ["end_to_end_p50", "end_to_end_p90", "end_to_end_p99", "end_to_end_p999", "end_to_end_max"];
const ACCEPT_KEYS: [&str; 5] =
    ["accept_p50", "accept_p90", "accept_p99", "accept_p999", "accept_max"];
const CATCH_UP_KEYS: [&str; 5] =
    ["catch_up_p50", "catch_up_p90", "catch_up_p99", "catch_up_p999", "catch_up_max"];

impl Figure {
    /// Every figure.
    pub fn all() -> impl Iterator<Item = Self> {
        let latencies = [Self::EndToEnd, Self::Accept, Self::CatchUp]
            .into_iter()
            .flat_map(|kind| Point::ALL.into_iter().map(kind));
        latencies.chain([
            Self::Rate,
            Self::Errors,
            Self::Back,
            Self::CaughtUp,
            Self::CatchUpRate,
            Self::MemoryPerConnection,
            Self::MemoryGrowth,
        ])
    }

    /// The key that bounds it in a file.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::EndToEnd(point) => END_TO_END_KEYS[point as usize],
            Self::Accept(point) => ACCEPT_KEYS[point as usize],
            Self::CatchUp(point) => CATCH_UP_KEYS[point as usize],
            Self::Rate => "rate_min",
            Self::Errors => "errors_max",
            Self::Back => "back_within",
            Self::CaughtUp => "caught_up_within",
            Self::CatchUpRate => "catch_up_rate_min",
            Self::MemoryPerConnection => "memory_per_connection_max",
            Self::MemoryGrowth => "memory_growth_per_hour_max",
        }
    }

    /// What it is counted in.
    #[must_use]
    pub fn unit(self) -> Unit {
        match self {
            Self::EndToEnd(_)
            | Self::Accept(_)
            | Self::CatchUp(_)
            | Self::Back
            | Self::CaughtUp => Unit::Microseconds,
            Self::Rate => Unit::Share,
            Self::Errors => Unit::Count,
            Self::CatchUpRate => Unit::PerSecond,
            Self::MemoryPerConnection => Unit::Bytes,
            Self::MemoryGrowth => Unit::BytesPerHour,
        }
    }

    /// Whether the bound is the least it may be; otherwise it is the most.
    #[must_use]
    pub fn is_floor(self) -> bool {
        match self {
            Self::Rate | Self::CatchUpRate => true,
            Self::EndToEnd(_)
            | Self::Accept(_)
            | Self::CatchUp(_)
            | Self::Errors
            | Self::Back
            | Self::CaughtUp
            | Self::MemoryPerConnection
            | Self::MemoryGrowth => false,
        }
    }
}

impl Unit {
    /// A value as a person reads it.
    #[must_use]
    pub fn show(self, value: f64) -> String {
        match self {
            Self::Microseconds => quantity::show_us(value),
            Self::Share => format!("{}%", quantity::show_number(value * 100.0)),
            Self::Count => quantity::show_number(value),
            Self::PerSecond => format!("{}/s", quantity::show_number(value)),
            Self::Bytes => quantity::show_bytes(value),
            Self::BytesPerHour => format!("{}/h", quantity::show_bytes(value)),
        }
    }
}
