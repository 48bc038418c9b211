//! The top of the page: what is to be thought of the run, and the figures that matter most.

use crate::report::{
    markup::{Escaped, put},
    number,
    summary::{Kind, Outcome, Phase, Summary},
};

/// Figures that only some phases have, shown at the top at most.
const FIGURES_MAX: usize = 3;

pub(super) fn write(out: &mut String, summary: &Summary) {
    let verdict = &summary.verdict;
    let look = Look::of(verdict.outcome);
    put!(
        out,
        "<section id=\"verdict\" class=\"{}\"><h2>{}<span>{}</span></h2><p class=\"says\">{}</p>\n",
        look.class,
        look.icon,
        look.word,
        Escaped(&sentence(summary)),
    );
    if !verdict.reasons.is_empty() {
        out.push_str("<ul class=\"reasons\">");
        for reason in &verdict.reasons {
            put!(out, "<li>");
            if let Some(phase) = &reason.phase {
                put!(out, "<b>{}</b> ", Escaped(phase));
            }
            put!(out, "{}</li>", Escaped(&reason.text));
        }
        out.push_str("</ul>\n");
    }
    if !verdict.notes.is_empty() || !summary.run.driver_lacks.is_empty() {
        out.push_str("<ul class=\"notes\">");
        for note in verdict.notes.iter().chain(&summary.run.driver_lacks) {
            put!(out, "<li>{}</li>", Escaped(note));
        }
        out.push_str("</ul>\n");
    }
    out.push_str("</section>\n");
    write_tiles(out, summary);
}

/// How an outcome looks: never by colour alone.
struct Look {
    class: &'static str,
    word: &'static str,
    icon: &'static str,
}

/// An icon beside the word, in the outcome's own shape and colour.
macro_rules! icon {
    ($path:literal) => {
        concat!(
            "<svg class=\"icon\" viewBox=\"0 0 24 24\" aria-hidden=\"true\">",
            "<circle cx=\"12\" cy=\"12\" r=\"11\"/><path d=\"",
            $path,
            "\"/></svg>"
        )
    };
}

impl Look {
    fn of(outcome: Outcome) -> Self {
        let (class, word, icon) = match outcome {
            Outcome::Pass => ("good", "Passed", icon!("M7 12.5l3.5 3.5L17 9")),
            Outcome::Fail => ("bad", "Failed", icon!("M8 8l8 8M16 8l-8 8")),
            Outcome::GeneratorBound => ("void", "Generator-bound", icon!("M7 12h10")),
            Outcome::Interrupted => ("void", "Interrupted", icon!("M9.5 8v8M14.5 8v8")),
            Outcome::Incomplete => ("void", "Incomplete", icon!("M12 6.5v7M12 17v.1")),
            Outcome::Violation => ("bad", "Violation", icon!("M12 6.5v7M12 17v.1")),
        };
        Self { class, word, icon }
    }
}

fn sentence(summary: &Summary) -> String {
    match summary.verdict.outcome {
        Outcome::Pass => passed(summary),
        Outcome::Fail => {
            let missed = summary.phases.iter().flat_map(|phase| &phase.slo);
            let missed = missed.filter(|result| !result.kept).count();
            format!("{} missed.", amount(missed, "bound was", "bounds were"))
        }
        Outcome::GeneratorBound => "The generator did not keep its own times, so this run says \
             nothing about the cluster."
            .to_owned(),
        Outcome::Interrupted => {
            "The run was ended early: the figures are of the part that ran.".to_owned()
        }
        Outcome::Incomplete => {
            "A part of the run is missing: the figures are of what was left.".to_owned()
        }
        Outcome::Violation => "The cluster broke what it promises about messages: however fast \
             it was, this is a failure."
            .to_owned(),
    }
}

fn passed(summary: &Summary) -> String {
    let bounds = summary.phases.iter().map(|phase| phase.slo.len()).sum();
    let mut out = match bounds {
        0 => "No bound was set".to_owned(),
        1 => "The bound was kept".to_owned(),
        _ => format!("All {bounds} bounds were kept"),
    };
    match &summary.ledger {
        Some(ledger) => put!(
            out,
            ", and each of {} deliveries came once, in order, unchanged and to the right device.",
            number::count(ledger.delivered),
        ),
        None => out.push_str(". What became of each message was not verified."),
    }
    out
}

/// A number of things, said with the right word.
fn amount(count: usize, one: &str, many: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
}

struct Tile {
    label: String,
    value: String,
    detail: String,
}

fn write_tiles(out: &mut String, summary: &Summary) {
    let tiles = [
        latency(summary, Kind::EndToEnd),
        latency(summary, Kind::Accept),
        rate(summary),
        deliveries(summary),
        server(summary),
        generator(summary),
    ];
    out.push_str("<dl class=\"tiles\">");
    for tile in tiles.into_iter().flatten().chain(figures(summary)) {
        put!(
            out,
            "<div><dt>{}</dt><dd class=\"value\">{}</dd><dd class=\"detail\">{}</dd></div>",
            Escaped(&tile.label),
            value(&tile.value),
            Escaped(&tile.detail),
        );
    }
    out.push_str("</dl>\n");
}

/// The number large, its unit small.
fn value(text: &str) -> String {
    match text.split_once(' ') {
        Some((number, unit)) => {
            format!("{} <small>{}</small>", Escaped(number), Escaped(unit))
        }
        None => match text.split_once('/') {
            Some((number, unit)) => {
                format!("{}<small>/{}</small>", Escaped(number), Escaped(unit))
            }
            None => Escaped(text).to_string(),
        },
    }
}

/// Says which phase a figure is of, when that is not plain.
fn of_phase(summary: &Summary, phase: &Phase) -> String {
    if summary.measured().count() > 1 { format!(", in {}", phase.name) } else { String::new() }
}

fn latency(summary: &Summary, kind: Kind) -> Option<Tile> {
    let phases =
        summary.measured().filter_map(|(_, phase)| Some((phase, phase.latency.get(kind)?)));
    let (phase, worst) = phases.max_by_key(|(_, percentiles)| percentiles.p99_us)?;
    let title = match kind {
        Kind::EndToEnd => "End to end",
        Kind::Accept => "Accept",
        Kind::ScheduleDelay => "Schedule delay",
        Kind::CatchUp => "Catch-up",
    };
    Some(Tile {
        label: format!("{title}, p99"),
        value: number::latency(worst.p99_us as f64),
        detail: format!(
            "p50 {}, max {}{}",
            number::latency(worst.p50_us as f64),
            number::latency(worst.max_us as f64),
            of_phase(summary, phase),
        ),
    })
}

fn rate(summary: &Summary) -> Option<Tile> {
    let by_rate =
        |a: &&Phase, b: &&Phase| a.rates.accepted_per_s.total_cmp(&b.rates.accepted_per_s);
    let phase = summary.measured().map(|(_, phase)| phase).max_by(by_rate)?;
    let kept = phase.counts.accepted as f64 / phase.counts.intended.max(1) as f64;
    Some(Tile {
        label: "Accepted".to_owned(),
        value: number::rate(phase.rates.accepted_per_s),
        detail: format!(
            "{} of {} intended{}",
            number::percent(kept),
            number::rate(phase.rates.intended_per_s),
            of_phase(summary, phase),
        ),
    })
}

fn deliveries(summary: &Summary) -> Option<Tile> {
    let ledger = summary.ledger.as_ref()?;
    let violated = ledger.violation_count();
    let detail = if violated == 0 {
        format!("of {} due; no violation", number::count(ledger.due))
    } else {
        let found = number::count(violated);
        format!("of {} due; violations: {found}", number::count(ledger.due))
    };
    Some(Tile { label: "Delivered".to_owned(), value: number::count(ledger.delivered), detail })
}

fn server(summary: &Summary) -> Option<Tile> {
    let phase = summary
        .measured()
        .map(|(_, phase)| phase)
        .filter(|phase| phase.server_cpu_us_per_delivered.is_some())
        .max_by_key(|phase| phase.counts.delivered)?;
    let memory = summary.intervals.iter().filter_map(|interval| interval.server);
    let memory = memory.map(|load| load.rss_bytes).max().unwrap_or_default();
    Some(Tile {
        label: "Server CPU per delivery".to_owned(),
        value: number::latency(phase.server_cpu_us_per_delivered?),
        detail: format!(
            "memory up to {}{}",
            number::bytes(memory as f64),
            of_phase(summary, phase),
        ),
    })
}

fn generator(summary: &Summary) -> Option<Tile> {
    let delays = summary.measured().filter_map(|(_, phase)| phase.latency.schedule_delay);
    let worst = delays.map(|delay| delay.p99_us).max()?;
    let allowed = summary.run.schedule_delay_p99_max_us as f64;
    Some(Tile {
        label: "Generator’s own delay, p99".to_owned(),
        value: number::latency(worst as f64),
        detail: format!("at most {} allowed", number::latency_bound(allowed)),
    })
}

fn figures(summary: &Summary) -> Vec<Tile> {
    let all = summary.measured().flat_map(|(_, phase)| {
        phase.figures.iter().map(move |figure| Tile {
            label: figure.name.replace('_', " "),
            value: number::of(figure.unit, figure.value),
            detail: format!("in {}", phase.name),
        })
    });
    all.take(FIGURES_MAX).collect()
}
