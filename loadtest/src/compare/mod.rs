//! Two runs side by side, and whether the second is worse.
//!
//! A figure counts as worse when it changed for the worse by more than its limit, *and* the
//! intervals of the two runs are told apart by a rank test. Neighbouring seconds resemble each
//! other, so the test sees stretches of seconds instead, as long as it takes for them to be
//! independent: otherwise every difference would seem certain.

mod comparable;
mod figure;
mod limits;
mod rank;
mod row;
mod stretches;
mod text;

use serde::Serialize;

pub use comparable::{Comparability, comparable};
pub use figure::{Figure, Worse};
pub use limits::{Limits, LimitsError};
pub use rank::{RankTest, rank_test};
pub use row::{Evidence, Finding, Row};
pub use stretches::stretches;

use crate::{exit::Exit, report::summary::Summary};

/// Two runs side by side.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// The first run.
    pub a: RunName,
    /// The second run.
    pub b: RunName,
    /// What follows.
    pub conclusion: Conclusion,
    /// Why the runs cannot be compared, in sentences; empty when they can.
    pub refusals: Vec<String>,
    /// What differs, or limits what can be said, in sentences.
    pub notes: Vec<String>,
    /// Each figure of each measured phase that both have.
    pub rows: Vec<Row>,
}

/// What a run is known by.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunName {
    /// Where it was read from, or a name for it.
    pub name: String,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// The version the cluster says of itself.
    pub server_version: Option<String>,
}

/// What follows from a comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Conclusion {
    /// No figure is worse than its limit allows.
    NotWorse,
    /// At least one is.
    Worse,
    /// Nothing can be said.
    NotComparable,
}

impl Conclusion {
    /// How the program ends.
    #[must_use]
    pub fn exit(self) -> Exit {
        match self {
            Self::NotWorse => Exit::Pass,
            Self::Worse => Exit::Worse,
            Self::NotComparable => Exit::Unusable,
        }
    }
}

/// What is done with runs that cannot be compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strictness {
    /// Nothing is concluded from them.
    Refuse,
    /// They are compared nevertheless.
    Anyway,
}

/// Sets two runs side by side, each with a name for it.
#[must_use]
pub fn compare(
    a: (&str, &Summary),
    b: (&str, &Summary),
    limits: &Limits,
    strictness: Strictness,
) -> Comparison {
    let Comparability { mut refusals, mut notes } = comparable(a.1, b.1);
    let mut rows = row::rows(a.1, b.1, limits);
    row::judge(&mut rows, strictness);
    for key in limits.unused(&rows) {
        refusals.push(format!("`{key}` is limited, and not both runs have such a figure."));
    }
    refusals.extend(rows.iter().filter_map(Row::refusal));
    notes.extend(row::notes(&rows));
    let worse = rows.iter().any(|row| row.finding == Finding::Worse);
    let conclusion = match (strictness, refusals.is_empty()) {
        (Strictness::Refuse, false) => Conclusion::NotComparable,
        (Strictness::Refuse, true) | (Strictness::Anyway, _) if worse => Conclusion::Worse,
        (Strictness::Refuse, true) | (Strictness::Anyway, _) => Conclusion::NotWorse,
    };
    Comparison { a: run_name(a), b: run_name(b), conclusion, refusals, notes, rows }
}

fn run_name((name, summary): (&str, &Summary)) -> RunName {
    RunName {
        name: name.to_owned(),
        began_ms: summary.run.began_ms,
        server_version: summary.run.server_version.clone(),
    }
}
