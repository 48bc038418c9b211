//! The phases in numbers, and what was asked of them.

use super::{
    section,
    table::{Cell, Table, numbers, words},
};
use crate::report::{
    markup::{Escaped, put},
    number, slo,
    summary::{Percentiles, Phase, SloResult, Summary},
};

pub(super) fn write(out: &mut String, summary: &Summary) {
    section(
        out,
        "phases",
        "Phases",
        "Rates are of the whole phase. Phases in grey prepare and are not judged.",
    );
    write_figures(out, summary);
    write_bounds(out, summary);
    write_extras(out, summary);
    out.push_str("</section>\n");
}

fn write_figures(out: &mut String, summary: &Summary) {
    let mut table = Table::new(
        "Phases in numbers",
        vec![
            words("Phase"),
            numbers("Length"),
            numbers("Intended"),
            numbers("Accepted"),
            numbers("Delivered"),
            numbers("End to end p50"),
            numbers("p99"),
            numbers("p99.9"),
            numbers("max"),
            numbers("Accept p99"),
            numbers("Errors"),
            numbers("Server CPU per delivery"),
        ],
    );
    for (place, phase) in summary.phases.iter().enumerate() {
        let class = if phase.measured { "" } else { "aside" };
        table.row(class, figures(place, phase));
    }
    table.write(out);
}

fn figures(place: usize, phase: &Phase) -> Vec<Cell> {
    let end_to_end = |value: fn(&Percentiles) -> u64| {
        let latency = phase.latency.end_to_end.as_ref();
        Cell::from(latency.map(|latency| number::latency(value(latency) as f64)))
    };
    let closed = if phase.closed_loop.is_some() { " (closed loop)" } else { "" };
    let name = format!("<span class=\"no\">{}</span>{}{closed}", place + 1, Escaped(&phase.name));
    let accept = phase.latency.accept.as_ref();
    vec![
        Cell::Markup(name),
        number::seconds(phase.duration_s).into(),
        number::rate(phase.rates.intended_per_s).into(),
        number::rate(phase.rates.accepted_per_s).into(),
        number::rate(phase.rates.delivered_per_s).into(),
        end_to_end(|latency| latency.p50_us),
        end_to_end(|latency| latency.p99_us),
        end_to_end(|latency| latency.p999_us),
        end_to_end(|latency| latency.max_us),
        accept.map(|latency| number::latency(latency.p99_us as f64)).into(),
        number::count(phase.counts.errors).into(),
        phase.server_cpu_us_per_delivered.map(number::latency).into(),
    ]
}

fn write_bounds(out: &mut String, summary: &Summary) {
    let mut table = Table::new(
        "What was asked, and whether it was kept",
        vec![
            words("Phase"),
            words("Bound"),
            numbers("Asked"),
            numbers("Measured"),
            words("Of the bound"),
            words("Kept"),
        ],
    );
    for phase in &summary.phases {
        for result in &phase.slo {
            table.row(if result.kept { "" } else { "missed" }, bound(phase, result));
        }
    }
    out.push_str("<h3>Bounds</h3>\n");
    if table.is_empty() {
        out.push_str("<p class=\"nothing\">The scenario sets none.</p>\n");
    } else {
        table.write(out);
    }
}

fn bound(phase: &Phase, result: &SloResult) -> Vec<Cell> {
    let sign = if result.is_floor() { "≥" } else { "≤" };
    let kept = if result.kept {
        "<span class=\"kept\">✓ kept</span>"
    } else {
        "<span class=\"not-kept\">✕ missed</span>"
    };
    vec![
        phase.name.as_str().into(),
        slo::title(result).into(),
        format!("{sign} {}", number::bound(result.unit, result.bound)).into(),
        result.measured.map(|value| number::of(result.unit, value)).into(),
        Cell::Markup(bar(result)),
        Cell::Markup(kept.to_owned()),
    ]
}

/// How much of the bound is used: the mark is the bound, at two thirds.
fn bar(result: &SloResult) -> String {
    let Some(measured) = result.measured else { return String::new() };
    let part = if result.bound > 0.0 {
        measured / result.bound
    } else if measured > 0.0 {
        f64::INFINITY
    } else {
        0.0
    };
    let width = (part.clamp(0.0, 1.5) / 1.5 * 90.0).max(1.0);
    format!(
        "<svg class=\"bar\" width=\"92\" height=\"12\" aria-hidden=\"true\">\
         <rect class=\"all\" x=\"0\" y=\"4\" width=\"90\" height=\"4\"/>\
         <rect class=\"used\" x=\"0\" y=\"4\" width=\"{width:.1}\" height=\"4\"/>\
         <line x1=\"60\" x2=\"60\" y1=\"0\" y2=\"12\"/></svg>"
    )
}

fn write_extras(out: &mut String, summary: &Summary) {
    if summary.phases.iter().all(|phase| phase.figures.is_empty()) {
        return;
    }
    out.push_str("<h3>Other figures</h3>\n<dl class=\"extras\">");
    for phase in &summary.phases {
        for figure in &phase.figures {
            put!(
                out,
                "<div><dt>{} <span>{}</span></dt><dd><b>{}</b> {}</dd></div>",
                Escaped(&figure.name.replace('_', " ")),
                Escaped(&phase.name),
                Escaped(&number::of(figure.unit, figure.value)),
                Escaped(&figure.explanation),
            );
        }
    }
    out.push_str("</dl>\n");
}
