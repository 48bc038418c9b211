//! How much was meant to happen, and how much did.

use super::{
    section,
    timeline::{Shown, Timeline},
};
use crate::report::{
    scale::Axis,
    series::Series,
    summary::{Rates, Summary, Unit},
    svg::Width,
};

type Line = (&'static str, fn(&Rates) -> f64);

const SENDS: &[Line] = &[
    ("intended", |rates| rates.intended_per_s),
    ("sent", |rates| rates.sent_per_s),
    ("accepted", |rates| rates.accepted_per_s),
];
const DELIVERIES: &[Line] =
    &[("due", |rates| rates.due_per_s), ("delivered", |rates| rates.delivered_per_s)];

pub(super) fn write(out: &mut String, summary: &Summary) {
    section(
        out,
        "rates",
        "Rates",
        "The broad line is what was asked for. A thin line that leaves it fell behind, and one \
         that rises above it is catching up.",
    );
    let timeline = Timeline::of(summary);
    timeline.write(
        out,
        shown(
            summary,
            "sends",
            "Messages sent",
            "Messages each second: intended by the scenario, sent by the generator, accepted by \
             the cluster.",
            SENDS,
        ),
    );
    timeline.write(
        out,
        shown(
            summary,
            "deliveries",
            "Messages delivered",
            "Arrivals each second on all devices; a message to a group arrives on many.",
            DELIVERIES,
        ),
    );
    out.push_str("</section>\n");
}

fn shown(summary: &Summary, id: &str, title: &str, help: &str, lines: &[Line]) -> Shown {
    let series: Vec<_> = lines
        .iter()
        .map(|(name, value)| {
            Series::over(*name, *name, &summary.intervals, |interval| {
                let rates = interval.counts.per_second(interval.length_s);
                Some(value(&rates))
            })
        })
        // A driver that cannot tell has only zeros.
        .filter(|series| series.values().any(|value| value > 0.0))
        .collect();
    let most = series.iter().flat_map(Series::values).fold(0.0, f64::max);
    Shown {
        id: format!("rate-{id}"),
        title: title.to_owned(),
        help: help.to_owned(),
        y: Axis::linear(most, Unit::PerSecond),
        unit: Unit::PerSecond,
        height: 150.0,
        width: Width::Whole,
        series,
        bounds: Vec::new(),
    }
}
