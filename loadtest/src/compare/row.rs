//! One figure of one phase in both runs, and what is found of it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    Limits, Strictness,
    figure::{self, Figure, Worse},
    rank::{RankTest, rank_test},
    stretches::{STRETCHES_MIN, neighbours_resemble, stretches, with_width},
};
use crate::report::{
    number,
    summary::{Phase, Summary, Unit},
};

/// A difference is believed when chance would give it less often than this.
const CHANCE_MAX: f64 = 0.01;

/// One figure of one phase in both runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    /// The phase.
    pub phase: String,
    /// The name of the figure in `--max-regress`.
    pub key: &'static str,
    /// The name of the figure for people.
    pub title: &'static str,
    /// What it counts.
    pub unit: Unit,
    /// Which direction is worse.
    pub worse: Worse,
    /// In the first run.
    pub a: f64,
    /// In the second run.
    pub b: f64,
    /// The second as a share of the first, less 1; absent when the first is 0.
    pub change: Option<f64>,
    /// How much worse it may become.
    pub limit: Option<f64>,
    /// What tells the runs apart.
    pub evidence: Evidence,
    /// What follows.
    pub finding: Finding,
}

/// What tells the runs apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(tag = "by", rename_all = "kebab-case")]
pub enum Evidence {
    /// Nothing but the two figures: intervals do not hold it.
    FigureAlone,
    /// There are fewer independent stretches than the test needs.
    TooFew {
        /// How many the first run has.
        stretches_a: usize,
        /// How many the second run has.
        stretches_b: usize,
    },
    /// A rank test over stretches of intervals.
    RankTest {
        /// How likely by chance, corrected for how many figures are judged (Holm).
        p: f64,
        /// How often the second run has the greater value of a pair; 0.5 when neither does.
        superiority: f64,
        /// How many intervals make a stretch.
        intervals_per_stretch: usize,
        /// How many stretches the first run has.
        stretches_a: usize,
        /// How many the second run has.
        stretches_b: usize,
        /// Whether neighbouring stretches still resemble each other, so that `p` is too small.
        still_dependent: bool,
    },
}

/// What is found of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// Worse by more than the limit, and not by chance.
    Worse,
    /// Worse by more than the limit, as far as can be told, which is not far enough.
    Unclear,
    /// Worse by more than the limit, and too short to say whether by chance.
    TooShort,
    /// Better by more than the limit, and not by chance.
    Better,
    /// Within the limit.
    Within,
    /// Only shown: it has no limit.
    Shown,
}

/// Every figure that both runs have, phase by phase.
pub(super) fn rows(a: &Summary, b: &Summary, limits: &Limits) -> Vec<Row> {
    let mut rows = Vec::new();
    for (phase_a, phase) in a.measured() {
        let same = |other: &(usize, &Phase)| other.1.name == phase.name;
        let Some((phase_b, _)) = b.measured().find(same) else { continue };
        let figures = figure::all();
        rows.extend(figures.filter_map(|figure| row(figure, (a, phase_a), (b, phase_b), limits)));
    }
    rows
}

fn row(
    figure: &Figure,
    a: (&Summary, usize),
    b: (&Summary, usize),
    limits: &Limits,
) -> Option<Row> {
    let (value_a, value_b) = (figure.of_phase(a.0, a.1)?, figure.of_phase(b.0, b.1)?);
    let intervals = figure.of_intervals(a.0, a.1).zip(figure.of_intervals(b.0, b.1));
    Some(Row {
        phase: a.0.phases[a.1].name.clone(),
        key: figure.key,
        title: figure.title,
        unit: figure.unit,
        worse: figure.worse,
        a: value_a,
        b: value_b,
        change: (value_a != 0.0).then(|| value_b / value_a - 1.0),
        limit: limits.of(figure.key),
        evidence: intervals.map_or(Evidence::FigureAlone, |(a, b)| evidence(&a, &b)),
        finding: Finding::Shown,
    })
}

/// Both runs are cut into stretches of the same width: the wider of what each needs.
fn evidence(a: &[f64], b: &[f64]) -> Evidence {
    let (width_a, width_b) = (stretches(a).0, stretches(b).0);
    let width = width_a.max(width_b);
    let (a, b) = (with_width(a, width), with_width(b, width));
    let (stretches_a, stretches_b) = (a.len(), b.len());
    let enough = stretches_a.min(stretches_b) >= STRETCHES_MIN;
    match rank_test(&a, &b).filter(|_| enough) {
        Some(RankTest { p, superiority }) => Evidence::RankTest {
            p,
            superiority,
            intervals_per_stretch: width,
            stretches_a,
            stretches_b,
            still_dependent: neighbours_resemble(&a) || neighbours_resemble(&b),
        },
        None => Evidence::TooFew { stretches_a, stretches_b },
    }
}

/// Judges every row that has a limit.
pub(super) fn judge(rows: &mut [Row], strictness: Strictness) {
    correct(rows);
    for row in rows {
        let Some(limit) = row.limit else { continue };
        let worsening = row.worsening();
        row.finding = if worsening > limit {
            match (row.evidence, strictness) {
                (Evidence::FigureAlone, _) | (Evidence::TooFew { .. }, Strictness::Anyway) => {
                    Finding::Worse
                }
                (Evidence::TooFew { .. }, Strictness::Refuse) => Finding::TooShort,
                (Evidence::RankTest { .. }, _) if row.told_apart() => Finding::Worse,
                (Evidence::RankTest { .. }, _) => Finding::Unclear,
            }
        } else if worsening < -limit && row.told_apart() {
            Finding::Better
        } else {
            Finding::Within
        };
    }
}

/// Many figures are judged, so one of them is soon different by chance: Holm's correction raises
/// the least `p` as many times as there are figures, the next one time less, and so on.
fn correct(rows: &mut [Row]) {
    let mut found: Vec<_> = rows
        .iter_mut()
        .filter(|row| row.limit.is_some())
        .filter_map(|row| match &mut row.evidence {
            Evidence::RankTest { p, .. } => Some(p),
            Evidence::FigureAlone | Evidence::TooFew { .. } => None,
        })
        .collect();
    found.sort_by(|a, b| a.total_cmp(b));
    let (count, mut floor) = (found.len(), 0.0_f64);
    for (place, p) in found.into_iter().enumerate() {
        *p = (*p * (count - place) as f64).min(1.0).max(floor);
        floor = *p;
    }
}

impl Row {
    /// How much worse it became, as a share of what it was; below 0 when it became better.
    #[must_use]
    pub fn worsening(&self) -> f64 {
        let change = self.change.unwrap_or(if self.b > 0.0 { f64::INFINITY } else { 0.0 });
        match self.worse {
            Worse::More => change,
            Worse::Less => -change,
        }
    }

    /// Whether the rank test believes the change, and in the same direction.
    fn told_apart(&self) -> bool {
        match self.evidence {
            Evidence::RankTest { p, superiority, .. } => {
                p < CHANCE_MAX && (superiority > 0.5) == (self.b > self.a)
            }
            Evidence::FigureAlone | Evidence::TooFew { .. } => false,
        }
    }

    /// Why nothing can be concluded because of this row.
    pub(super) fn refusal(&self) -> Option<String> {
        let Evidence::TooFew { stretches_a, stretches_b } = self.evidence else { return None };
        (self.finding == Finding::TooShort).then(|| {
            format!(
                "{}: {} changed by {}, and the runs are too short to say whether by chance: \
                 {stretches_a} and {stretches_b} independent stretches, where {STRETCHES_MIN} are \
                 needed. Run the phase for longer.",
                self.phase,
                self.title,
                self.change.map_or("much".to_owned(), number::change),
            )
        })
    }
}

/// What limits the rows as a whole.
pub(super) fn notes(rows: &[Row]) -> Vec<String> {
    let dependent: BTreeSet<_> = rows
        .iter()
        .filter(|row| match row.evidence {
            Evidence::RankTest { still_dependent, .. } => still_dependent && row.limit.is_some(),
            Evidence::FigureAlone | Evidence::TooFew { .. } => false,
        })
        .map(|row| format!("{} in {}", row.title, row.phase))
        .collect();
    if dependent.is_empty() {
        return Vec::new();
    }
    let figures = dependent.into_iter().collect::<Vec<_>>().join(", ");
    vec![format!(
        "Even the longest stretches resemble their neighbours, so the differences are less \
         certain than they look: {figures}. Longer runs help."
    )]
}
