//! The page of two runs side by side: their distributions in the same plots, and every figure.

use std::{ffi::OsStr, path::Path};

use super::{
    CHOICE, begin, end,
    latency::{line, words_of},
    section,
    table::{Table, numbers, words},
};
use crate::{
    compare::{Comparison, Conclusion, Finding, RunName},
    report::{
        markup::{Escaped, put},
        number,
        scale::Axis,
        series::Series,
        summary::{Curve, Kind, Summary, Unit},
        svg::{Plot, Width},
    },
};

/// A folder's name as long as this stands at the end of its curves, where there is little room.
const NAME_CHARS_MAX: usize = 7;

/// A run, and how it is known on the page.
struct Side<'s> {
    letter: &'static str,
    /// A class of the style sheet.
    style: &'static str,
    name: &'s RunName,
    summary: &'s Summary,
}

impl Side<'_> {
    /// Its letter, and the name of its folder where that is short.
    fn short(&self) -> String {
        let folder = Path::new(&self.name.name).file_name().and_then(OsStr::to_str);
        let folder = folder.filter(|folder| folder.chars().count() <= NAME_CHARS_MAX);
        folder.map_or(self.letter.to_owned(), |folder| format!("{} {folder}", self.letter))
    }
}

/// The whole page: runs that cannot be compared are drawn too, with the reasons.
#[must_use]
pub fn render(comparison: &Comparison, a: &Summary, b: &Summary) -> String {
    let sides = [
        Side { letter: "A", style: "first", name: &comparison.a, summary: a },
        Side { letter: "B", style: "second", name: &comparison.b, summary: b },
    ];
    let mut title = a.run.scenario.clone();
    if b.run.scenario != title {
        put!(title, ", {}", b.run.scenario);
    }
    let mut out = begin(&format!("{title}: two runs – load test"));
    put!(
        out,
        "<header><p class=\"kicker\">Load test<span> · two runs</span></p><h1>{}</h1>{CHOICE}\n",
        Escaped(&title),
    );
    write_sides(&mut out, &sides);
    out.push_str("</header>\n<main>\n");
    write_conclusion(&mut out, comparison);
    write_curves(&mut out, &sides);
    write_rows(&mut out, comparison);
    end(&mut out);
    out
}

fn write_sides(out: &mut String, sides: &[Side<'_>; 2]) {
    out.push_str("<dl class=\"sides\">");
    for Side { letter, style, name, summary } in sides {
        put!(
            out,
            "<div><dt class=\"{style}\">{letter}</dt><dd><b>{}</b>, {}{}</dd></div>",
            Escaped(&name.name),
            Escaped(&number::date(name.began_ms)),
            Escaped(&loops(summary)),
        );
    }
    out.push_str("</dl>");
}

/// Which phases were closed loops: what that means is among the notes.
fn loops(summary: &Summary) -> String {
    let mut out = String::new();
    for (_, phase) in summary.measured() {
        if let Some(closed) = phase.closed_loop {
            put!(out, ", {} in a closed loop of {} senders", phase.name, closed.senders);
        }
    }
    out
}

fn write_conclusion(out: &mut String, comparison: &Comparison) {
    let (class, word) = match comparison.conclusion {
        Conclusion::NotWorse => ("good", "Not worse"),
        Conclusion::Worse => ("bad", "Worse"),
        Conclusion::NotComparable => ("void", "Not comparable"),
    };
    put!(
        out,
        "<section id=\"verdict\" class=\"{class}\"><h2>{word}</h2><p class=\"says\">{}</p>\n",
        comparison.conclusion.sentence(),
    );
    for (class, sentences) in [("reasons", &comparison.refusals), ("notes", &comparison.notes)] {
        if sentences.is_empty() {
            continue;
        }
        put!(out, "<ul class=\"{class}\">");
        for sentence in sentences {
            put!(out, "<li>{}</li>", Escaped(sentence));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</section>\n");
}

fn write_curves(out: &mut String, sides: &[Side<'_>; 2]) {
    section(
        out,
        "curves",
        "Latency as a distribution",
        "Each step to the right is ten times rarer. Where two curves part, that share of messages \
         waited longer in one run than in the other.",
    );
    for (place, phase) in sides[0].summary.measured() {
        let same = sides[1].summary.measured().find(|(_, other)| other.name == phase.name);
        let Some((other, _)) = same else { continue };
        put!(out, "<h3>{}</h3>\n<div class=\"pair\">\n", Escaped(&phase.name));
        for kind in Kind::ALL {
            let curves = [curve(&sides[0], place, *kind), curve(&sides[1], other, *kind)];
            if curves.iter().any(Option::is_some) {
                let mut plot = plot(place, *kind, sides, curves);
                plot.help += &from_when([&sides[0], &sides[1]], [place, other]);
                out.push_str(&plot.render());
            }
        }
        out.push_str("</div>\n");
    }
    out.push_str("</section>\n");
}

/// In a closed loop, what is meant to be sent is meant to be when it is.
fn from_when(sides: [&Side<'_>; 2], places: [usize; 2]) -> String {
    let closed = sides.into_iter().zip(places).filter(|(side, place)| {
        let phase = side.summary.phases.get(*place);
        phase.is_some_and(|phase| phase.closed_loop.is_some())
    });
    closed.map(|(side, _)| format!(" {}: from when it was sent.", side.letter)).collect()
}

fn curve<'s>(side: &Side<'s>, place: usize, kind: Kind) -> Option<&'s Curve> {
    side.summary.curves.iter().find(|curve| curve.phase == place && curve.kind == kind)
}

fn plot(place: usize, kind: Kind, sides: &[Side<'_>; 2], curves: [Option<&Curve>; 2]) -> Plot {
    let (title, help) = words_of(kind);
    let seen = || curves.iter().flatten();
    let most = seen().map(|curve| curve.count).max().unwrap_or_default();
    let values = || seen().flat_map(|curve| &curve.points).map(|point| point.us);
    let counts = sides.iter().zip(curves).map(|(side, curve)| {
        let count = curve.map_or(0, |curve| curve.count);
        format!("{} {}", side.letter, number::count(count))
    });
    let counts = counts.collect::<Vec<_>>().join(", ");
    let series = sides.iter().zip(curves).filter_map(|(side, curve)| {
        let style = format!("{} curve", side.style);
        Some(Series { name: side.short(), style, ..line(curve?, most) })
    });
    Plot {
        id: format!("both-{place}-{}", kind.name().replace('_', "-")),
        title: title.to_owned(),
        help: format!("{help} Seen: {counts}."),
        x: Axis::nines(most),
        y: Axis::latency(values().min().unwrap_or(1) as f64, values().max().unwrap_or(1) as f64),
        unit: Unit::Microseconds,
        height: 220.0,
        width: Width::Half,
        series: series.collect(),
        bands: Vec::new(),
        marks: Vec::new(),
        bounds: Vec::new(),
    }
}

fn write_rows(out: &mut String, comparison: &Comparison) {
    section(
        out,
        "figures",
        "Figures",
        "Chance is how often two equal runs would differ as much, by a rank test over stretches \
         of seconds that are long enough to be independent, corrected for the number of figures; \
         in brackets, how often B is the greater of a pair of stretches.",
    );
    let mut table = Table::new(
        "Figures of both runs",
        vec![
            words("Phase"),
            words("Figure"),
            numbers("A"),
            numbers("B"),
            numbers("Change"),
            numbers("Limit"),
            numbers("Chance"),
            words("Finding"),
        ],
    );
    for row in &comparison.rows {
        let class = match row.finding {
            Finding::Worse => "missed",
            Finding::Shown => "aside",
            Finding::Unclear | Finding::TooShort | Finding::Better | Finding::Within => "",
        };
        table.row(class, row.cells(&row.phase).map(Into::into).into());
    }
    if table.is_empty() {
        out.push_str("<p class=\"nothing\">There is no measured phase that both runs have.</p>\n");
    } else {
        table.write(out);
    }
    out.push_str("</section>\n");
}
