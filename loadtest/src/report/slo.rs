//! Whether the figures of a phase keep the bounds that were set.

use super::{
    number,
    summary::{self, Kind, Percentiles, Phase, SloResult},
};
use crate::scenario::{Bound, Figure, Point, Slo, Unit};

/// Judges a phase by each bound, in the order of the bounds.
///
/// A figure that was not seen does not keep its bound: nobody knows that it would.
#[must_use]
pub fn judge(slo: &Slo, phase: &Phase) -> Vec<SloResult> {
    slo.bounds.iter().map(|bound| judge_one(bound, phase)).collect()
}

fn judge_one(bound: &Bound, phase: &Phase) -> SloResult {
    let measured = measured(bound.figure, phase);
    SloResult {
        name: bound.figure.key().to_owned(),
        bound: bound.limit,
        measured,
        unit: unit(bound.figure.unit()),
        kept: measured.is_some_and(|value| bound.holds(value)),
    }
}

/// The figure of a phase, in its own unit; `None` when nothing of the kind was seen.
#[must_use]
pub fn measured(figure: Figure, phase: &Phase) -> Option<f64> {
    let latency = |kind, point| phase.latency.get(kind).map(|latency| at(latency, point));
    match figure {
        Figure::EndToEnd(point) => latency(Kind::EndToEnd, point),
        Figure::Accept(point) => latency(Kind::Accept, point),
        Figure::CatchUp(point) => latency(Kind::CatchUp, point),
        Figure::Rate => {
            let counts = phase.counts;
            (counts.intended > 0).then(|| counts.accepted as f64 / counts.intended as f64)
        }
        Figure::Errors => Some(phase.counts.errors as f64),
        Figure::Back
        | Figure::CaughtUp
        | Figure::CatchUpRate
        | Figure::MemoryPerConnection
        | Figure::MemoryGrowth => extra(figure, phase),
    }
}

/// The name under which a phase holds a figure of its own: the bound's key without its end.
#[must_use]
pub fn figure_name(figure: Figure) -> String {
    let key = figure.key();
    key.trim_end_matches("_min").trim_end_matches("_max").to_owned()
}

fn extra(figure: Figure, phase: &Phase) -> Option<f64> {
    let name = figure_name(figure);
    let found = phase.figures.iter().find(|extra| extra.name == name)?;
    // Lengths of time are bounded in microseconds, and may be shown in seconds.
    let in_seconds = found.unit == summary::Unit::Seconds;
    let factor = if in_seconds && figure.unit() == Unit::Microseconds { 1e6 } else { 1.0 };
    Some(found.value * factor)
}

fn at(latency: &Percentiles, point: Point) -> f64 {
    let us = match point {
        Point::P50 => latency.p50_us,
        Point::P90 => latency.p90_us,
        Point::P99 => latency.p99_us,
        Point::P999 => latency.p999_us,
        Point::Max => latency.max_us,
    };
    us as f64
}

fn unit(unit: Unit) -> summary::Unit {
    match unit {
        Unit::Microseconds => summary::Unit::Microseconds,
        Unit::Share => summary::Unit::Share,
        Unit::Count => summary::Unit::Count,
        Unit::PerSecond => summary::Unit::PerSecond,
        Unit::Bytes => summary::Unit::Bytes,
        Unit::BytesPerHour => summary::Unit::BytesPerHour,
    }
}

/// What is bounded, in words: the key without its end, which the sign says.
#[must_use]
pub fn title(result: &SloResult) -> String {
    let key = result.name.as_str();
    let key = key.strip_suffix("_min").or(key.strip_suffix("_max")).unwrap_or(key);
    // The longest of a kind of latency is no end of a key.
    let longest = result.unit == summary::Unit::Microseconds && result.name.ends_with("_max");
    if longest { result.name.replace('_', " ") } else { key.replace('_', " ") }
}

/// A missed bound as a sentence, without the phase.
#[must_use]
pub fn missed(result: &SloResult) -> String {
    let name = title(result);
    let bound = number::bound(result.unit, result.bound);
    let sign = if result.is_floor() { "at least" } else { "at most" };
    match result.measured {
        Some(value) => {
            let value = number::of(result.unit, value);
            format!("{name} is {value}, and must be {sign} {bound}.")
        }
        None => format!("{name} must be {sign} {bound}, and nothing of the kind was seen."),
    }
}

/// A bound and what was measured, in a few words: `end to end p99 1.20 ms, at most 20 ms`.
#[must_use]
pub fn says(result: &SloResult) -> String {
    let name = title(result);
    let bound = number::bound(result.unit, result.bound);
    let sign = if result.is_floor() { "at least" } else { "at most" };
    let measured = result.measured.map(|value| number::of(result.unit, value));
    format!("{name} {}, {sign} {bound}", measured.unwrap_or("not seen".to_owned()))
}
