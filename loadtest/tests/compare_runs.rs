//! `loadtest compare`: what counts as worse, and what cannot be compared.

#![allow(clippy::unwrap_used)]

mod sample;

use std::process::Command;

use loadtest::{
    compare::{Comparison, Conclusion, Evidence, Finding, Limits, Strictness, compare},
    exit::Exit,
    report::summary::{Outcome, Summary},
};

fn set(a: &Summary, b: &Summary, limits: &str) -> Comparison {
    compare(("a", a), ("b", b), &limits.parse().unwrap(), Strictness::Refuse)
}

fn finding(comparison: &Comparison, phase: &str, key: &str) -> Finding {
    let mut rows = comparison.rows.iter();
    rows.find(|row| row.phase == phase && row.key == key).unwrap().finding
}

#[test]
fn a_run_is_not_worse_than_itself() {
    let run = sample::passed(1);
    let comparison = set(&run, &run, "p50=0%,p99=0%,max=0%,rate=0%,cpu=0%,memory=0%");
    assert_eq!(comparison.conclusion, Conclusion::NotWorse);
    assert!(comparison.rows.iter().all(|row| row.change == Some(0.0)));
    assert_eq!(comparison.conclusion.exit(), Exit::Pass);
}

#[test]
fn the_same_system_drawn_again_is_not_worse() {
    for seed in 2..6 {
        let limits = Limits::default();
        let (a, b) = (sample::passed(1), sample::passed(seed));
        let found = compare(("a", &a), ("b", &b), &limits, Strictness::Refuse);
        assert_eq!(found.conclusion, Conclusion::NotWorse, "{found}");
    }
}

#[test]
fn thirty_percent_slower_is_worse_and_not_by_chance() {
    let comparison = set(&sample::passed(1), &sample::slower(2, 1.3), "p99=10%,rate=5%");
    assert_eq!(comparison.conclusion, Conclusion::Worse, "{comparison}");
    assert_eq!(comparison.conclusion.exit(), Exit::Worse);
    assert_eq!(finding(&comparison, "steady", "p99"), Finding::Worse);
    assert_eq!(finding(&comparison, "steady", "rate"), Finding::Within);
    assert_eq!(finding(&comparison, "steady", "p50"), Finding::Shown);
    let row = comparison.rows.iter().find(|row| row.key == "p99" && row.phase == "steady").unwrap();
    let Evidence::RankTest { p, superiority, .. } = row.evidence else { panic!("{row:?}") };
    assert!(p < 0.001 && superiority > 0.9, "{row:?}");
}

#[test]
fn faster_is_better_and_never_worse() {
    let comparison = set(&sample::slower(1, 1.3), &sample::passed(2), "p50=10%,p99=10%");
    assert_eq!(comparison.conclusion, Conclusion::NotWorse);
    assert_eq!(finding(&comparison, "steady", "p50"), Finding::Better);
}

#[test]
fn a_single_bad_second_is_not_told_from_chance() {
    let (a, mut b) = (sample::passed(1), sample::passed(2));
    let steady = b.phases.iter_mut().find(|phase| phase.name == "steady").unwrap();
    steady.latency.end_to_end.as_mut().unwrap().p99_us *= 2;
    let comparison = set(&a, &b, "p99=10%");
    assert_eq!(finding(&comparison, "steady", "p99"), Finding::Unclear);
    assert_eq!(comparison.conclusion, Conclusion::NotWorse);
}

#[test]
fn runs_too_short_to_tell_are_not_comparable() {
    let short = |seed, factor| {
        let shape = sample::Shape { seconds: 5, ..sample::SHAPES[1] };
        sample::run(seed, &[shape], factor)
    };
    let comparison = set(&short(1, 1.0), &short(2, 2.0), "p99=10%");
    assert_eq!(comparison.conclusion, Conclusion::NotComparable);
    assert!(comparison.refusals[0].contains("Run the phase for longer"), "{comparison}");
    let (a, b) = (short(1, 1.0), short(2, 2.0));
    let anyway = compare(("a", &a), ("b", &b), &"p99=10%".parse().unwrap(), Strictness::Anyway);
    assert_eq!(anyway.conclusion, Conclusion::Worse);
}

/// Changes the second run and expects a refusal that says this.
fn refused(says: &str, change: impl Fn(&mut Summary)) {
    let (a, mut b) = (sample::passed(1), sample::passed(1));
    change(&mut b);
    let comparison = set(&a, &b, "p99=10%");
    assert_eq!(comparison.conclusion, Conclusion::NotComparable, "{says}");
    assert_eq!(comparison.conclusion.exit(), Exit::Unusable);
    assert!(comparison.refusals.iter().any(|refusal| refusal.contains(says)), "{comparison}");
    let anyway = compare(("a", &a), ("b", &b), &"p99=10%".parse().unwrap(), Strictness::Anyway);
    assert_eq!(anyway.conclusion, Conclusion::NotWorse);
}

#[test]
fn what_is_not_alike_is_not_compared() {
    refused("scenarios differ: spike and knee", |b| b.run.scenario = "knee".to_owned());
    refused("changed between them: `phase.1.rate`", |b| {
        b.run.scenario_text = b.run.scenario_text.replace("1000", "2000");
    });
    refused("drivers differ", |b| b.run.driver = "mqtt".to_owned());
    refused("processors", |b| b.run.machine.cpu = "another".to_owned());
    refused("numbers of cores: 2 and 4", |b| b.run.machine.cores = 4);
    refused("amounts of memory", |b| b.run.machine.memory_bytes *= 2);
    refused("second run is generator-bound", |b| b.verdict.outcome = Outcome::GeneratorBound);
    refused("second run was interrupted", |b| b.verdict.outcome = Outcome::Interrupted);
    refused("second run is incomplete", |b| b.verdict.outcome = Outcome::Incomplete);
    refused("violations of the ledger", |b| b.verdict.outcome = Outcome::Violation);
}

#[test]
fn the_page_is_left_even_when_nothing_can_be_concluded() {
    let folder = tempfile::tempdir().unwrap();
    let [a, b, page] = ["a", "b", "both.html"].map(|name| folder.path().join(name));
    let mut other = sample::passed(2);
    other.run.driver = "mqtt".to_owned();
    for (place, summary) in [(&a, sample::passed(1)), (&b, other)] {
        std::fs::create_dir(place).unwrap();
        summary.write(place).unwrap();
    }
    let mut command = Command::new(env!("CARGO_BIN_EXE_loadtest"));
    let output = command.arg("compare").args([&a, &b]).arg("--html").arg(&page).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains("The drivers differ") && said.contains("both.html"), "{said}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("The drivers differ") && page.contains("<svg class=\"chart\""));
}

#[test]
fn a_limit_without_its_figure_is_refused() {
    let run = sample::passed(1);
    let comparison = set(&run, &run, "knee=5%");
    assert_eq!(comparison.conclusion, Conclusion::NotComparable);
    assert!(comparison.refusals[0].contains("`knee`"));
}

#[test]
fn the_table_is_aligned_and_names_each_phase_once() {
    let comparison = set(&sample::passed(1), &sample::slower(2, 1.3), "p99=10%,rate=5%");
    let text = comparison.to_string();
    assert_eq!(text.matches("\nsteady ").count(), 1, "{text}");
    assert!(text.contains("WORSE"), "{text}");
    assert!(text.ends_with("B is worse than A."), "{text}");
    let json = serde_json::to_value(&comparison).unwrap();
    assert_eq!(json["conclusion"], "worse");
    assert_eq!(json["rows"][1]["evidence"]["by"], "rank-test");
}
