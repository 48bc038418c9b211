//! Findings as people and machines read them.

use ports::operate::{Finding, State};
use serde::Serialize;

use crate::{
    catalogue::Code,
    cli::Format,
    failure::{Failure, Outcome},
    output,
};

/// Columns of what was looked at at most; a longer one pushes what was found to the right.
const ABOUT_WIDTH_MAX: usize = 56;

/// A finding as JSON.
#[derive(Serialize)]
struct Line<'a> {
    state: &'a str,
    about: &'a str,
    found: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    remedy: &'a str,
}

/// What is as it must be.
pub fn good(about: impl Into<String>, found: impl Into<String>) -> Finding {
    finding(State::Good, about, found, "")
}

/// What works, and someone should know.
pub fn doubtful(
    about: impl Into<String>,
    found: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    finding(State::Doubtful, about, found, remedy)
}

/// What must be changed.
pub fn wrong(
    about: impl Into<String>,
    found: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    finding(State::Wrong, about, found, remedy)
}

/// A failure as something that must be changed.
#[must_use]
pub fn of_failure(about: &str, failure: &Failure) -> Finding {
    wrong(about, failure.found(), failure.advice())
}

/// Prints findings in their order; the text ends with how many there are of each kind.
///
/// # Errors
/// [`Code::FoundWrong`] when one is wrong, after all were printed; when the output is closed.
pub fn print(findings: &[Finding], format: Format) -> Outcome {
    match format {
        Format::Json => findings.iter().try_for_each(|one| {
            output::json(&Line {
                state: word(one.state),
                about: &one.about,
                found: &one.found,
                remedy: &one.remedy,
            })
        })?,
        Format::Text => output::print(&text(findings))?,
    }
    verdict(findings)
}

/// # Errors
/// [`Code::FoundWrong`] when one is wrong.
fn verdict(findings: &[Finding]) -> Outcome {
    let wrong = count(findings, State::Wrong);
    if wrong == 0 {
        return Ok(());
    }
    let things = if wrong == 1 { "thing is" } else { "things are" };
    Err(Failure::new(Code::FoundWrong, format!("{wrong} {things} wrong"))
        .remedy("see the lines marked WRONG, and what each says to do"))
}

fn finding(
    state: State,
    about: impl Into<String>,
    found: impl Into<String>,
    remedy: impl Into<String>,
) -> Finding {
    Finding { state, about: about.into(), found: found.into(), remedy: remedy.into() }
}

fn text(findings: &[Finding]) -> String {
    let widths = findings.iter().map(|one| one.about.chars().count());
    let width = widths.filter(|width| *width <= ABOUT_WIDTH_MAX).max().unwrap_or_default();
    let mut text = String::new();
    for one in findings {
        let mark = match one.state {
            State::Good => "OK   ",
            State::Doubtful => "WARN ",
            State::Wrong => "WRONG",
        };
        text.push_str(&format!("{mark}  {:width$}  {}\n", one.about, one.found));
        if !one.remedy.is_empty() {
            text.push_str(&format!("       do: {}\n", one.remedy));
        }
    }
    text.push_str(&format!(
        "\n{} good, {} doubtful, {} wrong.\n",
        count(findings, State::Good),
        count(findings, State::Doubtful),
        count(findings, State::Wrong)
    ));
    text
}

fn count(findings: &[Finding], state: State) -> usize {
    findings.iter().filter(|one| one.state == state).count()
}

fn word(state: State) -> &'static str {
    match state {
        State::Good => "ok",
        State::Doubtful => "warn",
        State::Wrong => "wrong",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn findings_stand_in_columns_and_remedies_below_them() {
        let long = "x".repeat(ABOUT_WIDTH_MAX + 1);
        let findings = [
            good("kafka: reachable", "3 brokers"),
            doubtful("clock", "2 s ahead", "let it be set by NTP"),
            wrong(long.clone(), "no", "change it"),
        ];
        let expected = format!(
            "OK     kafka: reachable  3 brokers\n\
             WARN   clock             2 s ahead\n       do: let it be set by NTP\n\
             WRONG  {long}  no\n       do: change it\n\n\
             1 good, 1 doubtful, 1 wrong.\n"
        );
        assert_eq!(text(&findings), expected);
    }

    #[test]
    fn only_what_is_wrong_is_a_failure() {
        let doubtful = doubtful("a", "b", "c");
        verdict(&[good("a", "b"), doubtful.clone()]).unwrap();
        let failure = verdict(&[doubtful, wrong("a", "b", "c")]).unwrap_err();
        assert_eq!(failure.code(), Code::FoundWrong);
    }

    #[test]
    fn a_failure_becomes_a_finding_with_its_place_and_remedy() {
        let failure = Failure::new(Code::BadValue, "not a number").at("--set a.b").remedy("do it");
        let finding = of_failure("configuration", &failure);
        assert_eq!(finding, wrong("configuration", "not a number (--set a.b)", "do it"));
    }
}
