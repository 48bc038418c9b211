//! `loadtest check`: a finished run held against bounds.

#![allow(clippy::unwrap_used)]

mod sample;

use loadtest::{
    exit::Exit,
    report::{check::Checked, summary::Outcome},
    scenario::Slo,
};

fn slo(text: &str) -> Slo {
    Slo::parse(text, "slo.toml").map_err(|problems| problems.to_string()).unwrap()
}

#[test]
fn without_a_file_the_run_is_judged_as_it_was() {
    let checked = Checked::as_it_was(&sample::passed(1));
    assert_eq!(checked.verdict.outcome, Outcome::Pass);
    let phases: Vec<_> = checked.phases.iter().map(|found| found.phase.as_str()).collect();
    assert_eq!(phases, ["steady", "spike", "after"]);
    let text = checked.to_string();
    assert!(text.contains("kept    steady: end to end p99"), "{text}");
    assert!(text.ends_with("\npass"), "{text}");
}

#[test]
fn a_missed_bound_fails_with_both_figures() {
    let checked = Checked::anew(&sample::passed(1), &slo("end_to_end_p99 = '10ms'"));
    assert_eq!(checked.verdict.outcome.exit(), Exit::Worse);
    assert_eq!(checked.verdict.reasons.len(), 1, "only the spike is slower");
    let text = checked.to_string();
    assert!(text.contains("MISSED  spike: end to end p99 "), "{text}");
    assert!(text.contains("must be at most 10 ms."), "{text}");
}

#[test]
fn a_bound_on_what_was_not_seen_is_missed() {
    let checked = Checked::anew(&sample::passed(1), &slo("back_within = '10s'"));
    let kept: Vec<_> = checked.phases.iter().map(|found| found.slo[0].kept).collect();
    assert_eq!(kept, [false, true, false], "only the spike has such a figure");
    assert!(checked.to_string().contains("nothing of the kind was seen"), "{checked}");
}

#[test]
fn other_bounds_do_not_excuse_a_violation() {
    let checked = Checked::anew(&sample::violated(1), &slo("errors_max = 1000000"));
    assert_eq!(checked.verdict.outcome, Outcome::Violation);
    assert_eq!(checked.verdict.reasons.len(), 1, "the bound of the scenario is not asked here");
}
