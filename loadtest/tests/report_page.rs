//! `report.html`: what it must hold, whatever the run was like.

#![allow(clippy::unwrap_used)]

mod sample;

use std::collections::BTreeSet;

use loadtest::{
    compare::{Limits, Strictness, compare},
    report::{
        html,
        summary::{ClosedLoop, Interval, Outcome, Reason, Summary, Verdict},
    },
};

/// Every opened element is closed, in order: browsers forgive what is not, and differ in how.
fn assert_well_formed(page: &str) {
    const EMPTY: &[&str] = &["meta", "input", "!doctype"];
    let mut open = Vec::new();
    let mut rest = page;
    while let Some(begin) = rest.find('<') {
        let end = begin + rest[begin..].find('>').unwrap();
        let tag = &rest[begin + 1..end];
        let name: String = tag
            .trim_start_matches('/')
            .chars()
            .take_while(|character| !character.is_whitespace() && *character != '/')
            .collect();
        rest = &rest[end + 1..];
        if tag.starts_with('/') {
            assert_eq!(open.pop().as_deref(), Some(name.as_str()), "before {:.80}", rest);
        } else if !tag.ends_with('/') && !EMPTY.contains(&name.as_str()) {
            if name == "script" || name == "style" {
                let close = format!("</{name}>");
                rest = &rest[rest.find(&close).unwrap() + close.len()..];
            } else {
                open.push(name);
            }
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

fn assert_sound(page: &str) {
    assert_well_formed(page);
    for forbidden in ["NaN", "inf%", "http://", "https://", "@import", " src=", "<link"] {
        assert!(!page.contains(forbidden), "{forbidden}");
    }
    let ids: Vec<_> = page.split(" id=\"").skip(1).map(|rest| rest.split('"').next()).collect();
    let distinct: BTreeSet<_> = ids.iter().collect();
    assert_eq!(ids.len(), distinct.len(), "an id occurs twice");
}

fn count(page: &str, what: &str) -> usize {
    page.matches(what).count()
}

#[test]
fn a_run_that_passed_says_so_first_and_shows_every_part() {
    let page = html::render(&sample::passed(7));
    assert_sound(&page);
    let verdict = page.find("<span>Passed</span>").unwrap();
    assert!(verdict < page.find("<table").unwrap() && verdict < page.find("<figure").unwrap());
    for id in ["phases", "latency", "curves", "rates", "errors", "resources", "ledger", "about"] {
        assert!(page.contains(&format!("<section id=\"{id}\">")), "{id}");
        assert!(page.contains(&format!("<a href=\"#{id}\">")), "{id}");
    }
    assert!(page.contains("All 9 bounds were kept"));
    // Four latencies, three distributions, two rates, CPU, memory, connections, two queues.
    assert_eq!(count(&page, "<svg class=\"chart\""), 4 + 3 + 2 + 3 + 2);
    assert_eq!(count(&page, "There were none."), 1);
}

#[test]
fn every_plot_has_a_name_a_description_and_help() {
    let page = html::render(&sample::passed(7));
    for figure in page.split("<figure").skip(1) {
        let figure = figure.split("</figure>").next().unwrap();
        let text = |open: &str, close: &str| {
            let rest = &figure[figure.find(open).unwrap() + open.len()..];
            let rest = &rest[rest.find('>').unwrap() + 1..];
            rest[..rest.find(close).unwrap()].trim().to_owned()
        };
        assert!(!text("<title", "</title>").is_empty());
        assert!(text("<desc", "</desc>").contains("from"), "{}", text("<desc", "</desc>"));
        assert!(!text("<figcaption", "</figcaption>").is_empty());
        assert!(figure.contains("role=\"img\"") && figure.contains("aria-labelledby"));
    }
}

#[test]
fn a_violation_is_told_with_its_history() {
    let page = html::render(&sample::violated(7));
    assert_sound(&page);
    assert!(page.contains("<span>Violation</span>"));
    assert!(page.find("2 deliveries were lost").unwrap() < page.find("162 ms").unwrap());
    assert_eq!(count(&page, "<details class=\"violation\""), 5);
    assert_eq!(count(&page, "<details class=\"violation\" open>"), 3);
    assert!(page.contains("The first 5 of 133"));
    assert!(page.contains("&lt;b&gt;without&lt;/b&gt;"));
}

/// The sample, its phase "steady" in a closed loop.
fn closed(seed: u64) -> Summary {
    let mut summary = sample::passed(seed);
    let steady = summary.phases.iter_mut().find(|phase| phase.name == "steady").unwrap();
    steady.closed_loop = Some(ClosedLoop { senders: 20 });
    steady.counts.sent = steady.counts.intended * 9 / 10;
    summary.run.scenario_text += "\n[other]\nkey = 1\n";
    summary
}

fn set_beside(a: (&str, &Summary), b: (&str, &Summary), strictness: Strictness) -> String {
    let comparison = compare(a, b, &Limits::default(), strictness);
    html::render_comparison(&comparison, a.1, b.1)
}

#[test]
fn a_closed_loop_says_what_its_figures_leave_out() {
    let page = html::render(&closed(7));
    assert_sound(&page);
    assert_eq!(count(&page, "steady (closed loop)"), 1);
    assert_eq!(count(&page, "steady was a closed loop: each of 20 senders waited"), 1);
    assert!(page.contains("(10.0 % of"), "how much is left out");
    assert_eq!(count(&html::render(&sample::passed(7)), "closed loop"), 0);
}

#[test]
fn two_runs_are_drawn_in_the_same_plots_with_every_figure() {
    let (a, b) = (sample::passed(1), sample::slower(2, 1.3));
    let page = set_beside(("runs/long-before", &a), ("runs/after", &b), Strictness::Refuse);
    assert_sound(&page);
    let plots = count(&page, "<svg class=\"chart\"");
    assert_eq!(plots, a.curves.len());
    for style in ["first", "second"] {
        assert_eq!(count(&page, &format!("<path class=\"line {style} curve\"")), plots, "{style}");
    }
    assert!(page.contains("<h2>Worse</h2>") && page.contains("<b>runs/after</b>"));
    assert_eq!(count(&page, ">A</text>"), plots, "a long name stands above only");
    assert_eq!(count(&page, ">B after</text>"), plots);
    assert_eq!(count(&page, "<tr class=\"missed\">"), count(&page, ">WORSE<"));
    assert!(count(&page, ">WORSE<") > 0);
}

#[test]
fn runs_that_cannot_be_compared_are_drawn_with_the_reasons() {
    let (a, b) = (sample::passed(1), closed(1));
    let page = set_beside(("open", &a), ("<closed>", &b), Strictness::Refuse);
    assert_sound(&page);
    assert!(page.contains("<h2>Not comparable</h2>"));
    assert!(page.contains("The scenario was changed between them: `other.key`."));
    assert_eq!(count(&page, "In the second run steady was a closed loop"), 1);
    assert!(page.contains("<b>&lt;closed&gt;</b>"));
    assert!(page.contains(", steady in a closed loop of 20 senders"));
    assert_eq!(count(&page, " second curve\" d="), a.curves.len());
    let of_steady = a.curves.iter().filter(|curve| a.phases[curve.phase].name == "steady").count();
    assert_eq!(count(&page, "B: from when it was sent.</p>"), of_steady);
    let nothing = sample::run(3, &[], 1.0);
    let page = set_beside(("open", &a), ("nothing", &nothing), Strictness::Anyway);
    assert_sound(&page);
    assert!(page.contains("There is no measured phase that both runs have."));
}

#[test]
fn every_outcome_has_its_word() {
    let words = ["Passed", "Failed", "Generator-bound", "Interrupted", "Incomplete", "Violation"];
    for (outcome, word) in Outcome::ALL.iter().zip(words) {
        let mut summary = sample::run(3, &sample::SHAPES[1..2], 1.0);
        let text = "A reason in words.".to_owned();
        let reason = Reason { outcome: *outcome, phase: None, text };
        summary.verdict = Verdict::of(vec![reason], vec!["A note.".to_owned()]);
        let page = html::render(&summary);
        assert_sound(&page);
        assert!(page.contains(&format!("<span>{word}</span>")));
        assert!(page.contains("A reason in words.") && page.contains("A note."));
    }
}

/// Puts the text wherever a text may stand.
fn everywhere(value: &mut serde_json::Value, text: &str) {
    if value.as_str().is_some_and(|old| !is_word(old)) {
        *value = text.into();
    } else if let Some(items) = value.as_array_mut() {
        items.iter_mut().for_each(|item| everywhere(item, text));
    } else if let Some(fields) = value.as_object_mut() {
        fields.values_mut().for_each(|field| everywhere(field, text));
        let metrics = fields.keys().filter(|name| name.starts_with("posthorn_"));
        for (place, name) in metrics.cloned().collect::<Vec<_>>().iter().enumerate() {
            let value = fields.remove(name).unwrap();
            fields.insert(format!("{text}{place}"), value);
        }
    }
}

/// Words that stand for a variant, and must stay.
fn is_word(text: &str) -> bool {
    const WORDS: &[&str] = &[
        "pass",
        "fail",
        "violation",
        "action",
        "trouble",
        "step",
        "drained",
        "lost",
        "duplicated",
        "count",
        "share",
        "per_second",
        "microseconds",
        "seconds",
        "bytes",
        "cores",
        "end_to_end",
        "accept",
        "schedule_delay",
        "catch_up",
        "intended",
        "sent",
        "accepted",
        "delivered",
        "connected",
        "disconnected",
        "caught-up",
    ];
    WORDS.contains(&text)
}

#[test]
fn nothing_a_run_brings_becomes_markup() {
    let hostile = "</script></title><img src=x onerror=alert(1)>'\"&";
    let mut value = serde_json::to_value(sample::violated(7)).unwrap();
    everywhere(&mut value, hostile);
    let summary: Summary = serde_json::from_value(value).unwrap();
    let page = html::render(&summary);
    assert!(page.contains("&lt;img src=x onerror=alert(1)&gt;"));
    assert!(!page.contains("<img"));
    assert_well_formed(&page);
}

#[test]
fn an_empty_run_still_makes_a_page() {
    let mut summary = sample::run(3, &[], 1.0);
    summary.ledger = None;
    summary.events.clear();
    let page = html::render(&summary);
    assert_sound(&page);
    assert!(page.contains("Nothing of this kind was seen."));
    let mut one = sample::run(3, &sample::SHAPES[..1], 1.0);
    one.intervals.truncate(1);
    assert_sound(&html::render(&one));
}

#[test]
fn hours_are_thinned_and_their_worst_second_stays() {
    let mut summary = sample::run(3, &sample::SHAPES[..2], 1.0);
    let pattern = summary.intervals.clone();
    let hour = 4 * 3_600;
    summary.intervals = (0..hour)
        .map(|second| Interval { at_s: f64::from(second), ..pattern[second as usize % 70].clone() })
        .collect();
    let spread = summary.intervals[9_001].latency.end_to_end.as_mut().unwrap();
    spread.max_us = 7_654_321;
    summary.phases[1].duration_s = f64::from(hour) - 10.0;
    let page = html::render(&summary);
    assert_sound(&page);
    assert!(page.contains("7.65 s"), "the longest of all is in the description");
    assert!(page.contains("Of every 40 s the least and the greatest second are drawn."));
    assert!(page.len() < 2_000_000, "{}", page.len());
}

/// `cargo test -p loadtest --test report_page written` leaves pages to be looked at.
#[test]
fn pages_are_written_where_a_person_can_look_at_them() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (name, summary) in [("passed", sample::passed(7)), ("violated", sample::violated(7))] {
        let path = folder.join(format!("report-{name}.html"));
        loadtest::report::write_html(&summary, &path).unwrap();
        assert!(path.metadata().unwrap().len() > 10_000);
    }
    let page = set_beside(("open", &sample::passed(1)), ("closed", &closed(2)), Strictness::Refuse);
    std::fs::write(folder.join("comparison.html"), page).unwrap();
}
