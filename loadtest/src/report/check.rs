//! A finished run held against bounds: its own, or others.

use std::fmt::{self, Display, Formatter};

use serde::Serialize;

use super::{
    slo,
    summary::{Outcome, Reason, SloResult, Summary, Verdict},
};
use crate::scenario::Slo;

/// A finished run held against bounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// What is to be thought of the run by these bounds.
    pub verdict: Verdict,
    /// Each phase that has bounds.
    pub phases: Vec<CheckedPhase>,
}

/// A phase held against bounds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckedPhase {
    /// Its name.
    pub phase: String,
    /// Each bound, and whether it was kept.
    pub slo: Vec<SloResult>,
}

impl Checked {
    /// By the bounds of the scenario, as the run itself was judged.
    #[must_use]
    pub fn as_it_was(summary: &Summary) -> Self {
        let bounded = summary.phases.iter().filter(|phase| !phase.slo.is_empty());
        let phases = bounded
            .map(|phase| CheckedPhase { phase: phase.name.clone(), slo: phase.slo.clone() })
            .collect();
        Self { verdict: summary.verdict.clone(), phases }
    }

    /// By other bounds, which every measured phase must keep. What else was found of the run, such
    /// as a violation, stands.
    #[must_use]
    pub fn anew(summary: &Summary, slo: &Slo) -> Self {
        let phases: Vec<_> = summary
            .measured()
            .map(|(_, phase)| CheckedPhase {
                phase: phase.name.clone(),
                slo: slo::judge(slo, phase),
            })
            .collect();
        let standing = summary.verdict.reasons.iter().filter(|one| one.outcome != Outcome::Fail);
        let missed = phases.iter().flat_map(|found| {
            found.slo.iter().filter(|result| !result.kept).map(|result| Reason {
                outcome: Outcome::Fail,
                phase: Some(found.phase.clone()),
                text: slo::missed(result),
            })
        });
        let reasons = standing.cloned().chain(missed).collect();
        Self { verdict: Verdict::of(reasons, summary.verdict.notes.clone()), phases }
    }
}

impl Display for Checked {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for found in &self.phases {
            for result in &found.slo {
                let word = if result.kept { "kept  " } else { "MISSED" };
                writeln!(f, "{word}  {}: {}", found.phase, slo::says(result))?;
            }
        }
        if self.phases.iter().all(|found| found.slo.is_empty()) {
            writeln!(f, "The scenario sets no bound. `--slo FILE` checks others.")?;
        }
        write!(f, "\n{}", self.verdict.outcome.name())?;
        for reason in &self.verdict.reasons {
            match &reason.phase {
                Some(phase) => write!(f, "\n  {phase}: {}", reason.text)?,
                None => write!(f, "\n  {}", reason.text)?,
            }
        }
        Ok(())
    }
}
