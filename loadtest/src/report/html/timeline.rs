//! What all plots by time share: the axis, the phases behind the lines, and what happened.

use crate::report::{
    markup::{Escaped, put},
    scale::{self, Axis},
    series::{Series, stretch},
    summary::{EventKind, Summary, Unit},
    svg::{Band, Bound, Mark, Plot, Width},
};

/// Events beyond this many are drawn without a number.
const NUMBERED: usize = 20;

/// What all plots by time share.
#[derive(Debug)]
pub(super) struct Timeline {
    axis: Axis,
    bands: Vec<Band>,
    marks: Vec<Mark>,
    thinned: String,
}

/// What a plot by time shows.
pub(super) struct Shown {
    /// Names it within the page.
    pub(super) id: String,
    /// Above it.
    pub(super) title: String,
    /// How to read it.
    pub(super) help: String,
    /// Up.
    pub(super) y: Axis,
    /// What is up.
    pub(super) unit: Unit,
    /// How high, in pixels.
    pub(super) height: f64,
    /// How much of the page's width it has.
    pub(super) width: Width,
    /// The lines.
    pub(super) series: Vec<Series>,
    /// Bounds that were set.
    pub(super) bounds: Vec<Bound>,
}

impl Timeline {
    pub(super) fn of(summary: &Summary) -> Self {
        let intervals = &summary.intervals;
        let begin = summary
            .phases
            .first()
            .map_or(f64::INFINITY, |phase| phase.at_s)
            .min(intervals.first().map_or(f64::INFINITY, |interval| interval.at_s));
        let end = summary
            .phases
            .last()
            .map_or(0.0, |phase| phase.at_s + phase.duration_s)
            .max(intervals.last().map_or(0.0, |interval| interval.at_s + interval.length_s));
        Self {
            axis: Axis::time(begin, end),
            bands: bands(summary),
            marks: marks(summary),
            thinned: thinned(summary),
        }
    }

    /// Writes a plot by time.
    pub(super) fn write(&self, out: &mut String, shown: Shown) {
        let plot = Plot {
            id: shown.id,
            title: shown.title,
            help: format!("{}{}", shown.help, self.thinned),
            x: self.axis.clone(),
            y: shown.y,
            unit: shown.unit,
            height: shown.height,
            width: shown.width,
            series: shown.series,
            bands: self.bands.clone(),
            marks: self.marks.clone(),
            bounds: shown.bounds,
        };
        out.push_str(&plot.render());
    }
}

/// Says so when not every interval is drawn by itself.
fn thinned(summary: &Summary) -> String {
    let width = stretch(summary.intervals.len());
    if width == 1 {
        return String::new();
    }
    let length: f64 = summary.intervals.iter().take(width).map(|one| one.length_s).sum();
    format!(" Of every {length:.0} s the least and the greatest second are drawn.")
}

fn bands(summary: &Summary) -> Vec<Band> {
    let bands = summary.phases.iter().enumerate().map(|(place, phase)| Band {
        from: phase.at_s,
        to: phase.at_s + phase.duration_s,
        name: phase.name.clone(),
        short: (place + 1).to_string(),
        style: if phase.measured { "measured" } else { "unmeasured" },
    });
    bands.collect()
}

/// Steps of a search are in the table of the phase; here they would only be a fence.
fn marks(summary: &Summary) -> Vec<Mark> {
    let events = summary.events.iter().filter(|event| event.kind != EventKind::Step);
    let marks = events.enumerate().map(|(place, event)| Mark {
        x: event.at_s,
        label: if place < NUMBERED { (place + 1).to_string() } else { String::new() },
        text: format!("{}: {}", scale::moment(event.at_s), event.text),
    });
    marks.collect()
}

/// The list that the numbers in the plots refer to.
pub(super) fn write_events(out: &mut String, summary: &Summary) {
    let events = || summary.events.iter().filter(|event| event.kind != EventKind::Step);
    if events().next().is_none() {
        return;
    }
    out.push_str("<ol class=\"events\" aria-label=\"What happened\">");
    for event in events() {
        let class = match event.kind {
            EventKind::Action | EventKind::Step => "action",
            EventKind::Trouble => "trouble",
        };
        put!(
            out,
            "<li class=\"{class}\"><span>{}</span> {}</li>",
            Escaped(&scale::moment(event.at_s)),
            Escaped(&event.text),
        );
    }
    out.push_str("</ol>\n");
}
