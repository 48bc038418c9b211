//! What is reported of a stretch of the run.

use crate::{
    generator::returns::Stretch as Returned,
    measure::{Late, Portion},
    report::{
        slo,
        summary::{ClosedLoop, Counts, Figure, Interval, Percentiles, Phase, Unit},
    },
};

use super::{Conductor, Stretch};

/// Fewer intervals than this say nothing about growth.
const GROWTH_INTERVALS_MIN: usize = 10;
const S_PER_HOUR: f64 = 3600.0;

impl Conductor {
    /// What is reported of a stretch, with the intervals that are its.
    #[must_use]
    pub fn account(&self, stretch: &Stretch, intervals: &[&Interval]) -> Phase {
        let portion = self.generator.span(stretch.span);
        let duration_s = stretch.ended_ns.saturating_sub(stretch.began_ns) as f64 / 1e9;
        let (back, caught_up) = self.generator.returned(stretch.began_ns);
        let mut figures = stretch.figures.clone();
        returned(&mut figures, "back_within", &back, "connected again");
        returned(&mut figures, "caught_up_within", &caught_up, "had what waited for them");
        caught_up_rate(&mut figures, portion.late, &caught_up);
        steadfast(&mut figures, &portion);
        memory(&mut figures, intervals);
        let counts = counts(portion.tally.counts, stretch, duration_s);
        let mut phase = Phase {
            name: stretch.name.clone(),
            measured: stretch.measured,
            at_s: stretch.began_ns as f64 / 1e9,
            duration_s,
            closed_loop: closed_loop(stretch),
            counts,
            rates: counts.per_second(duration_s),
            latency: portion.latencies.percentiles(),
            errors: portion.tally.errors.listed(),
            server_cpu_us_per_delivered: cpu_us_per_delivered(intervals),
            slo: Vec::new(),
            figures,
        };
        phase.slo = slo::judge(&stretch.slo, &phase);
        phase
    }
}

fn closed_loop(stretch: &Stretch) -> Option<ClosedLoop> {
    let senders = stretch.closed.as_ref()?.closed_senders()?;
    Some(ClosedLoop { senders })
}

/// A closed loop never began what it had no time for, and it was wanted all the same.
fn counts(mut counts: Counts, stretch: &Stretch, duration_s: f64) -> Counts {
    if let Some(rate) = &stretch.closed {
        let lasts_s = duration_s.min(rate.duration.as_secs_f64());
        // The last at equal distances is before the end.
        let wanted = (rate.rate * lasts_s).ceil() as u64;
        counts.intended = counts.intended.max(wanted.saturating_sub(1));
    }
    counts
}

/// Times until devices returned. Without those that never did there is no figure, and a bound of it
/// is not kept.
fn returned(figures: &mut Vec<Figure>, name: &str, returned: &Returned, did: &str) {
    let count = returned.took_ns.len();
    if returned.missing > 0 {
        figures.push(Figure {
            name: format!("{name}_missing"),
            value: returned.missing as f64,
            unit: Unit::Count,
            explanation: format!("Devices that were expected and never were {did}."),
        });
        return;
    }
    let points = [(1.0, "", "all"), (0.99, "_p99", "99 of 100"), (0.5, "_p50", "half")];
    for (quantile, end, who) in points {
        let Some(value) = returned.quantile_s(quantile) else { return };
        figures.push(Figure {
            name: format!("{name}{end}"),
            value,
            unit: Unit::Seconds,
            explanation: format!("The time until {who} of {count} devices {did}."),
        });
    }
}

/// Only where devices were brought back; otherwise it says how fast those of the churn are.
fn caught_up_rate(figures: &mut Vec<Figure>, late: Late, returned: &Returned) {
    let Some((first_ns, last_ns)) = late.came_ns else { return };
    let took_s = last_ns.saturating_sub(first_ns) as f64 / 1e9;
    if took_s > 0.0 && !returned.took_ns.is_empty() {
        figures.push(Figure {
            name: "catch_up_rate".to_owned(),
            value: late.count as f64 / took_s,
            unit: Unit::PerSecond,
            explanation: format!("{} messages that had waited came in {took_s:.2} s.", late.count),
        });
    }
}

/// Only where some devices were gone; otherwise it says the same as the end-to-end latency.
fn steadfast(figures: &mut Vec<Figure>, portion: &Portion) {
    let all = portion.latencies.of(crate::report::summary::Kind::EndToEnd).len();
    if portion.steadfast.len() == all {
        return;
    }
    if let Some(percentiles) = Percentiles::of(&portion.steadfast) {
        figures.push(Figure {
            name: "not_gone_p99".to_owned(),
            value: percentiles.p99_us as f64,
            unit: Unit::Microseconds,
            explanation: format!(
                "End to end, on devices that stayed connected throughout: p50 {}, p99 {}, max {}.",
                crate::view::span(percentiles.p50_us),
                crate::view::span(percentiles.p99_us),
                crate::view::span(percentiles.max_us),
            ),
        });
    }
}

fn memory(figures: &mut Vec<Figure>, intervals: &[&Interval]) {
    let seen: Vec<(f64, f64)> = intervals
        .iter()
        .filter_map(|interval| Some((interval.at_s, interval.server?.rss_bytes as f64)))
        .collect();
    let connections = intervals.last().map_or(0, |interval| interval.connections);
    if let Some((_, bytes)) = seen.last().filter(|_| connections > 0) {
        figures.push(Figure {
            name: "memory_per_connection".to_owned(),
            value: bytes / connections as f64,
            unit: Unit::Bytes,
            explanation: format!(
                "All resident memory of the servers, divided by {connections} connections.",
            ),
        });
    }
    if let Some(per_s) = slope(&seen) {
        figures.push(Figure {
            name: "memory_growth_per_hour".to_owned(),
            value: per_s * S_PER_HOUR,
            unit: Unit::BytesPerHour,
            explanation: "How the servers' resident memory grew, by the line that fits best."
                .to_owned(),
        });
    }
}

/// How much y grows with x, by least squares.
fn slope(points: &[(f64, f64)]) -> Option<f64> {
    if points.len() < GROWTH_INTERVALS_MIN {
        return None;
    }
    let count = points.len() as f64;
    let mean_x = points.iter().map(|(x, _)| x).sum::<f64>() / count;
    let mean_y = points.iter().map(|(_, y)| y).sum::<f64>() / count;
    let both: f64 = points.iter().map(|(x, y)| (x - mean_x) * (y - mean_y)).sum();
    let square: f64 = points.iter().map(|(x, _)| (x - mean_x).powi(2)).sum();
    (square > 0.0).then(|| both / square)
}

fn cpu_us_per_delivered(intervals: &[&Interval]) -> Option<f64> {
    let loads = intervals.iter().filter_map(|it| Some(it.server?.cpu_cores * it.length_s));
    let used_s = loads.reduce(|sum, s| sum + s)?;
    let delivered: u64 = intervals.iter().map(|interval| interval.counts.delivered).sum();
    (delivered > 0).then(|| used_s * 1e6 / delivered as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_that_of_the_line_that_fits_best() {
        let points: Vec<_> = (0..20).map(|x| (f64::from(x), 100.0 + 3.0 * f64::from(x))).collect();
        assert!(slope(&points).is_some_and(|slope| (slope - 3.0).abs() < 1e-9));
        assert_eq!(slope(&points[..5]), None);
    }
}
