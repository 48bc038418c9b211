//! What of a phase is compared: as one figure, and interval by interval.

use serde::Serialize;

use crate::{
    report::{
        slo,
        summary::{Interval, Kind, Percentiles, Phase, Spread, Summary, Unit},
    },
    scenario,
};

/// Something that is compared.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    /// Its name in `--max-regress`.
    pub key: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Which direction is worse.
    pub worse: Worse,
    of_phase: fn(&Summary, usize) -> Option<f64>,
    of_interval: Option<fn(&Interval) -> Option<f64>>,
}

/// Which direction is worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Worse {
    /// More is worse.
    More,
    /// Less is worse.
    Less,
}

/// A latency by its kind and place.
macro_rules! latency {
    ($key:literal, $title:literal, $kind:ident, $place:ident) => {
        Figure {
            key: $key,
            title: $title,
            unit: Unit::Microseconds,
            worse: Worse::More,
            of_phase: |summary, phase| {
                let latency = summary.phases[phase].latency.get(Kind::$kind)?;
                let value: fn(&Percentiles) -> u64 = |latency| latency.$place;
                Some(value(latency) as f64)
            },
            of_interval: Some(|interval| {
                let latency = interval.latency.get(Kind::$kind)?;
                let value: fn(&Spread) -> u64 = |latency| latency.$place;
                Some(value(latency) as f64)
            }),
        }
    };
}

const LATENCIES: [Figure; 6] = [
    latency!("p50", "end to end p50", EndToEnd, p50_us),
    latency!("p99", "end to end p99", EndToEnd, p99_us),
    latency!("max", "end to end max", EndToEnd, max_us),
    latency!("accept_p50", "accept p50", Accept, p50_us),
    latency!("accept_p99", "accept p99", Accept, p99_us),
    latency!("accept_max", "accept max", Accept, max_us),
];

const OTHERS: [Figure; 4] = [
    Figure {
        key: "rate",
        title: "accepted",
        unit: Unit::PerSecond,
        worse: Worse::Less,
        of_phase: |summary, phase| Some(summary.phases[phase].rates.accepted_per_s),
        of_interval: Some(|interval| {
            Some(interval.counts.per_second(interval.length_s).accepted_per_s)
        }),
    },
    Figure {
        key: "delivered",
        title: "delivered",
        unit: Unit::PerSecond,
        worse: Worse::Less,
        of_phase: |summary, phase| Some(summary.phases[phase].rates.delivered_per_s),
        of_interval: Some(|interval| {
            Some(interval.counts.per_second(interval.length_s).delivered_per_s)
        }),
    },
    Figure {
        key: "cpu",
        title: "server CPU per delivery",
        unit: Unit::Microseconds,
        worse: Worse::More,
        of_phase: |summary, phase| summary.phases[phase].server_cpu_us_per_delivered,
        of_interval: Some(|interval| {
            let busy_us = interval.server?.cpu_cores * interval.length_s * 1e6;
            let delivered = interval.counts.delivered;
            (delivered > 0).then(|| busy_us / delivered as f64)
        }),
    },
    Figure {
        key: "memory",
        title: "server memory, most",
        unit: Unit::Bytes,
        worse: Worse::More,
        of_phase: |summary, phase| {
            let intervals = summary.intervals.iter().filter(|one| one.phase == Some(phase));
            let memory = intervals.filter_map(|one| one.server).map(|load| load.rss_bytes);
            memory.max().map(|bytes| bytes as f64)
        },
        of_interval: Some(|interval| Some(interval.server?.rss_bytes as f64)),
    },
];

/// A figure that only some phases have, under its own name; it has no intervals.
macro_rules! extra {
    ($key:literal, $title:literal, $unit:ident, $worse:ident, $value:expr) => {
        Figure {
            key: $key,
            title: $title,
            unit: Unit::$unit,
            worse: Worse::$worse,
            of_phase: |summary, phase| {
                let value: fn(&Phase) -> Option<f64> = $value;
                value(&summary.phases[phase])
            },
            of_interval: None,
        }
    };
}

/// The value of a bounded figure that a phase holds under its own name.
macro_rules! bounded {
    ($figure:ident) => {
        |phase| slo::measured(scenario::Figure::$figure, phase)
    };
}

const EXTRAS: [Figure; 6] = [
    extra!("knee", "knee", PerSecond, Less, |phase| {
        phase.figures.iter().find(|figure| figure.name == "knee").map(|figure| figure.value)
    }),
    extra!("back_within", "all back within", Microseconds, More, bounded!(Back)),
    extra!("caught_up_within", "caught up within", Microseconds, More, bounded!(CaughtUp)),
    extra!("catch_up_rate", "catch-up rate", PerSecond, Less, bounded!(CatchUpRate)),
    extra!(
        "memory_per_connection",
        "memory per connection",
        Bytes,
        More,
        bounded!(MemoryPerConnection)
    ),
    extra!(
        "memory_growth_per_hour",
        "growth of memory",
        BytesPerHour,
        More,
        bounded!(MemoryGrowth)
    ),
];

/// Everything that is compared, in the order of a table.
pub(super) fn all() -> impl Iterator<Item = &'static Figure> {
    LATENCIES.iter().chain(&OTHERS).chain(&EXTRAS)
}

/// The names of all figures.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    all().map(|figure| figure.key)
}

impl Figure {
    /// Over a whole phase; `None` when nothing of the kind was seen.
    pub(super) fn of_phase(&self, summary: &Summary, phase: usize) -> Option<f64> {
        (self.of_phase)(summary, phase)
    }

    /// In each interval of a phase that has it; `None` when intervals do not hold it at all.
    pub(super) fn of_intervals(&self, summary: &Summary, phase: usize) -> Option<Vec<f64>> {
        let of_interval = self.of_interval?;
        let intervals = summary.intervals.iter().filter(|interval| interval.phase == Some(phase));
        Some(intervals.filter_map(of_interval).filter(|value| value.is_finite()).collect())
    }
}
