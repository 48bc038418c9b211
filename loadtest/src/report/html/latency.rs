//! How long things took: by time, and as whole distributions.

use super::{
    section,
    table::{Cell, Table, numbers, words},
    timeline::{Shown, Timeline, write_events},
};
use crate::report::{
    markup::{Escaped, put},
    number,
    scale::Axis,
    series::{Point, Series},
    summary::{Curve, Kind, Phase, Spread, Summary, Unit},
    svg::{Bound, Plot, Width},
};

pub(super) fn write(out: &mut String, summary: &Summary) {
    section(
        out,
        "latency",
        "Latency by time",
        "Every latency counts from the moment the message was meant to be sent, not from when it \
         was: a stall of the cluster or of the generator cannot hide. The first three plots have \
         one scale, a logarithmic one; dashed lines are bounds of the 99th percentile.",
    );
    write_cautions(out, summary);
    let timeline = Timeline::of(summary);
    let together = [Kind::EndToEnd, Kind::Accept, Kind::ScheduleDelay];
    let y = common_scale(summary, &together);
    for kind in together {
        timeline.write(out, by_time(summary, kind, &y));
    }
    if seen(summary, Kind::CatchUp) {
        // Being away is measured in seconds and more; on one scale the others would be flat.
        let y = common_scale(summary, &[Kind::CatchUp]);
        timeline.write(out, by_time(summary, Kind::CatchUp, &y));
    }
    write_events(out, summary);
    out.push_str("</section>\n");
    section(
        out,
        "curves",
        "Latency as a distribution",
        "Each step to the right is ten times rarer. A curve that stays flat is predictable; where \
         it climbs, one in so many waits that long.",
    );
    write_curves(out, summary);
    write_percentiles(out, summary);
    out.push_str("</section>\n");
}

/// Of phases that are exceptions to what was said.
fn write_cautions(out: &mut String, summary: &Summary) {
    for caution in summary.phases.iter().filter_map(Phase::caution) {
        put!(out, "<p class=\"caution\">{}.</p>\n", Escaped(&caution));
    }
}

fn seen(summary: &Summary, kind: Kind) -> bool {
    summary.intervals.iter().any(|interval| interval.latency.get(kind).is_some())
}

/// One scale for several kinds, so that they can be compared by eye.
fn common_scale(summary: &Summary, kinds: &[Kind]) -> Axis {
    let spreads = || {
        let intervals = summary.intervals.iter();
        intervals.flat_map(|one| kinds.iter().filter_map(|kind| one.latency.get(*kind)))
    };
    let least = spreads().map(|spread| spread.p50_us).min().unwrap_or(1) as f64;
    let most = spreads().map(|spread| spread.max_us).max().unwrap_or(1) as f64;
    Axis::latency(least, most)
}

fn by_time(summary: &Summary, kind: Kind, y: &Axis) -> Shown {
    let line = |name: &str, value: fn(&Spread) -> u64| {
        let style = format!("{} {name}", kind.name());
        Series::over(name, style, &summary.intervals, |interval| {
            interval.latency.get(kind).map(|spread| value(spread) as f64)
        })
    };
    let (title, help) = words_of(kind);
    Shown {
        id: format!("time-{}", kind.name().replace('_', "-")),
        title: title.to_owned(),
        help: help.to_owned(),
        y: y.clone(),
        unit: Unit::Microseconds,
        height: 150.0,
        width: Width::Whole,
        series: vec![
            line("max", |spread| spread.max_us),
            line("p99", |spread| spread.p99_us),
            line("p50", |spread| spread.p50_us),
        ],
        bounds: bounds_by_time(summary, kind),
    }
}

pub(super) fn words_of(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::EndToEnd => (
            "End to end",
            "From the intended time to the arrival on each device that was connected then.",
        ),
        Kind::Accept => (
            "Accept",
            "From the intended time to the cluster’s answer that the message is durable.",
        ),
        Kind::ScheduleDelay => (
            "Schedule delay",
            "How late the generator itself was. It is part of the other latencies, and must stay \
             small for them to say anything about the cluster.",
        ),
        Kind::CatchUp => (
            "Catch-up",
            "From the intended time to the arrival on each device that was away then; it holds \
             how long the device was away.",
        ),
    }
}

/// Bounds of the 99th percentile, over the phases they are of.
fn bounds_by_time(summary: &Summary, kind: Kind) -> Vec<Bound> {
    let key = format!("{}_p99", kind.name());
    let mut bounds: Vec<_> = summary
        .phases
        .iter()
        .flat_map(|phase| phase.slo.iter().map(move |result| (phase, result)))
        .filter(|(_, result)| result.name == key && result.unit == Unit::Microseconds)
        .map(|(phase, result)| Bound {
            from: phase.at_s,
            to: phase.at_s + phase.duration_s,
            y: result.bound,
            text: format!("{}: p99 ≤ {}", phase.name, number::latency_bound(result.bound)),
        })
        .collect();
    let honest = summary.run.schedule_delay_p99_max_us as f64;
    if kind == Kind::ScheduleDelay && honest > 0.0 {
        bounds.extend(summary.measured().map(|(_, phase)| Bound {
            from: phase.at_s,
            to: phase.at_s + phase.duration_s,
            y: honest,
            text: format!("p99 ≤ {} to count as a result", number::latency_bound(honest)),
        }));
    }
    bounds
}

fn write_curves(out: &mut String, summary: &Summary) {
    let most = summary.curves.iter().map(|curve| curve.count).max().unwrap_or_default();
    let values = || summary.curves.iter().flat_map(|curve| &curve.points).map(|point| point.us);
    let y = Axis::latency(values().min().unwrap_or(1) as f64, values().max().unwrap_or(1) as f64);
    out.push_str("<div class=\"pair\">\n");
    for (place, phase) in summary.measured() {
        let curves: Vec<_> = summary.curves.iter().filter(|curve| curve.phase == place).collect();
        let plot = Plot {
            id: format!("curve-{place}"),
            title: phase.name.clone(),
            help: format!(
                "How long messages took in this phase, by how many took no longer: {}.",
                counts(&curves),
            ),
            x: Axis::nines(most),
            y: y.clone(),
            unit: Unit::Microseconds,
            height: 220.0,
            width: Width::Half,
            series: curves.iter().map(|curve| line(curve, most)).collect(),
            bands: Vec::new(),
            marks: Vec::new(),
            bounds: bounds_of_curve(phase),
        };
        out.push_str(&plot.render());
    }
    out.push_str("</div>\n");
}

fn counts(curves: &[&Curve]) -> String {
    let named: Vec<_> = curves
        .iter()
        .filter(|curve| curve.kind == Kind::EndToEnd || curve.kind == Kind::CatchUp)
        .map(|curve| format!("{} {}", number::count(curve.count), curve.kind.title()))
        .collect();
    if named.is_empty() { "no deliveries".to_owned() } else { named.join(", ") }
}

/// The longest of so many values is about where one in so many would be.
pub(super) fn line(curve: &Curve, most: u64) -> Series {
    let end = 1.0 - 1.0 / curve.count.min(most).max(1) as f64;
    let points = curve.points.iter().map(|point| Point {
        x: if point.quantile >= end { end } else { point.quantile },
        y: Some(point.us as f64),
    });
    Series {
        name: curve.kind.title().to_owned(),
        style: format!("{} curve", curve.kind.name()),
        points: points.collect(),
    }
}

/// Gates at the percentiles that were bounded, for the kind with the most at stake.
fn bounds_of_curve(phase: &Phase) -> Vec<Bound> {
    let gates = phase.slo.iter().filter_map(|result| {
        let name = result.name.strip_prefix("end_to_end_")?;
        let quantile = match name {
            "p50" => 0.5,
            "p90" => 0.9,
            "p99" => 0.99,
            "p999" => 0.999,
            _ => return None,
        };
        let text = format!("≤ {}", number::latency_bound(result.bound));
        Some(Bound { from: quantile, to: quantile, y: result.bound, text })
    });
    gates.collect()
}

fn write_percentiles(out: &mut String, summary: &Summary) {
    let mut table = Table::new(
        "Latencies of measured phases",
        vec![
            words("Phase"),
            words("Latency"),
            numbers("Seen"),
            numbers("min"),
            numbers("mean"),
            numbers("p50"),
            numbers("p90"),
            numbers("p99"),
            numbers("p99.9"),
            numbers("max"),
        ],
    );
    for (_, phase) in summary.measured() {
        for (kind, latency) in phase.latency.iter() {
            let say = |us: u64| Cell::from(number::latency(us as f64));
            table.row(
                "",
                vec![
                    phase.name.as_str().into(),
                    kind.title().into(),
                    number::count(latency.count).into(),
                    say(latency.min_us),
                    number::latency(latency.mean_us).into(),
                    say(latency.p50_us),
                    say(latency.p90_us),
                    say(latency.p99_us),
                    say(latency.p999_us),
                    say(latency.max_us),
                ],
            );
        }
    }
    if !table.is_empty() {
        table.write(out);
    }
}
