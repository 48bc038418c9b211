//! What went wrong.

use super::{
    section,
    table::{Table, numbers, words},
    timeline::{Shown, Timeline},
};
use crate::report::{
    number,
    scale::Axis,
    series::Series,
    summary::{Summary, Unit},
    svg::Width,
};

pub(super) fn write(out: &mut String, summary: &Summary) {
    section(
        out,
        "errors",
        "Errors",
        "Sends that were refused, not taken or not answered, and connections that broke without \
         being meant to.",
    );
    if summary.phases.iter().all(|phase| phase.errors.is_empty() && phase.counts.errors == 0) {
        out.push_str("<p class=\"nothing\">There were none.</p></section>\n");
        return;
    }
    let series = Series::over("errors", "trouble", &summary.intervals, |interval| {
        Some(interval.counts.errors as f64)
    });
    let most = series.values().fold(0.0, f64::max);
    Timeline::of(summary).write(
        out,
        Shown {
            id: "errors-by-time".to_owned(),
            title: "Errors by time".to_owned(),
            help: "How many came in each interval.".to_owned(),
            y: Axis::linear(most, Unit::Count),
            unit: Unit::Count,
            height: 80.0,
            width: Width::Whole,
            series: vec![series],
            bounds: Vec::new(),
        },
    );
    write_kinds(out, summary);
    out.push_str("</section>\n");
}

fn write_kinds(out: &mut String, summary: &Summary) {
    let mut table = Table::new(
        "Errors by phase and kind",
        vec![words("Phase"), words("Kind"), numbers("How often"), words("The first of them")],
    );
    for phase in &summary.phases {
        for error in &phase.errors {
            table.row(
                "wordy",
                vec![
                    phase.name.as_str().into(),
                    error.kind.as_str().into(),
                    number::count(error.count).into(),
                    error.example.as_deref().into(),
                ],
            );
        }
    }
    if !table.is_empty() {
        table.write(out);
    }
}
