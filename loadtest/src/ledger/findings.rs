//! The violations found, before their history is known: a few of every kind are kept.

use std::collections::BTreeMap;

use super::{
    record::Message,
    verdict::{Kind, Verdict},
};
use crate::population::DeviceIndex;

/// How many violations are told with their history.
pub(super) const TOLD_MAX: usize = 100;

/// A violation, where it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) kind: Kind,
    pub(super) device: Option<DeviceIndex>,
    /// The device whose order differs.
    pub(super) peer: Option<DeviceIndex>,
    pub(super) message: Option<Message>,
    pub(super) other: Option<Message>,
    /// When it was heard; nothing for what was not heard.
    pub(super) at_ns: Option<u64>,
}

impl Finding {
    /// A violation without any particulars.
    pub(super) fn of(kind: Kind) -> Self {
        Self { kind, device: None, peer: None, message: None, other: None, at_ns: None }
    }
}

/// The first of every kind.
#[derive(Debug, Default)]
pub(super) struct Findings(BTreeMap<Kind, Vec<Finding>>);

impl Findings {
    /// Counts one, and keeps it if it is among the first.
    pub(super) fn add(&mut self, verdict: &mut Verdict, finding: Finding) {
        *verdict.count_mut(finding.kind) += 1;
        let kept = self.0.entry(finding.kind).or_default();
        if kept.len() < TOLD_MAX {
            kept.push(finding);
        }
    }

    /// Counts many at once; makes only as many as are kept.
    pub(super) fn add_all(
        &mut self,
        verdict: &mut Verdict,
        kind: Kind,
        count: u64,
        findings: impl Iterator<Item = Finding>,
    ) {
        if count == 0 {
            return;
        }
        *verdict.count_mut(kind) += count;
        let kept = self.0.entry(kind).or_default();
        let room = TOLD_MAX - kept.len();
        kept.extend(findings.take(room));
    }

    /// Those to tell: every kind in turn gives one until there are enough; the worst kind first.
    pub(super) fn told(&self) -> Vec<Finding> {
        let mut shares: BTreeMap<Kind, usize> = BTreeMap::new();
        let mut left = TOLD_MAX;
        for round in 0..TOLD_MAX {
            for (kind, kept) in &self.0 {
                if kept.len() > round && left > 0 {
                    *shares.entry(*kind).or_default() += 1;
                    left -= 1;
                }
            }
        }
        let kept = |kind| self.0.get(kind).into_iter().flatten();
        let share = |kind| shares.get(kind).copied().unwrap_or(0);
        Kind::ALL.iter().flat_map(|kind| kept(kind).take(share(kind)).copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_kind_is_told_beside_a_frequent_one() {
        let (mut findings, mut verdict) = (Findings::default(), Verdict::default());
        for _ in 0..1000 {
            findings.add(&mut verdict, Finding::of(Kind::Duplicated));
        }
        let lost = std::iter::repeat_n(Finding::of(Kind::Lost), 3);
        findings.add_all(&mut verdict, Kind::Lost, 3, lost);
        let told = findings.told();
        assert_eq!(told.len(), TOLD_MAX);
        assert!(told[..3].iter().all(|finding| finding.kind == Kind::Lost));
        assert!(told[3..].iter().all(|finding| finding.kind == Kind::Duplicated));
        assert_eq!((verdict.lost, verdict.duplicated), (3, 1000));
    }
}
