//! The search for the highest rate that keeps the bounds of a phase.

use crate::scenario::Search;

/// How often a proof may fail before the search gives up: then the cluster changes under it.
const PROOFS_MAX: u32 = 4;

/// What the search wants next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Next {
    /// Hold this rate for a step.
    Try(f64),
    /// Hold this rate for the proof.
    Prove(f64),
    /// It is over: the rate that was proved, if any was.
    Done(Option<f64>),
}

/// The search: doubles until a rate does not hold, halves the gap, then proves what held.
#[derive(Debug)]
pub(super) struct Knee {
    from: f64,
    to: f64,
    precision: f64,
    /// Rates that held for a step, ascending, all below `missed`.
    held: Vec<f64>,
    /// The lowest rate that did not hold.
    missed: Option<f64>,
    proofs: u32,
    proved: Option<f64>,
}

impl Knee {
    pub(super) fn new(search: &Search) -> Self {
        Self {
            from: search.from,
            to: search.to,
            precision: search.precision,
            held: Vec::new(),
            missed: None,
            proofs: 0,
            proved: None,
        }
    }

    /// What to do next.
    pub(super) fn next(&self) -> Next {
        if self.proved.is_some() || self.proofs >= PROOFS_MAX {
            return Next::Done(self.proved);
        }
        let highest = self.held.last().copied();
        match (highest, self.missed) {
            (None, None) => Next::Try(self.from),
            (None, Some(_)) => Next::Done(None),
            (Some(held), None) if held >= self.to => Next::Prove(held),
            (Some(held), None) => Next::Try((held * 2.0).min(self.to)),
            (Some(held), Some(missed)) if (missed - held) / held <= self.precision => {
                Next::Prove(held)
            }
            (Some(held), Some(missed)) => Next::Try(f64::midpoint(held, missed)),
        }
    }

    /// A rate was held for a step, or was not.
    pub(super) fn tried(&mut self, rate: f64, held: bool) {
        if held {
            self.held.push(rate);
        } else {
            self.missed = Some(rate);
        }
    }

    /// A rate was held for the proof, or was not.
    pub(super) fn proof(&mut self, rate: f64, held: bool) {
        self.proofs += 1;
        if held {
            self.proved = Some(rate);
        } else {
            self.held.pop();
            self.missed = Some(rate);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::scenario::Process;

    fn search(from: f64, to: f64) -> Search {
        Search {
            from,
            to,
            precision: 0.05,
            step: Duration::from_secs(1),
            prove: Duration::from_secs(1),
            process: Process::Poisson,
        }
    }

    /// Searches in a cluster that holds so much for a step, and so much for a proof.
    fn run(search: &Search, holds: f64, proves: f64) -> (Option<f64>, u32) {
        let mut knee = Knee::new(search);
        for steps in 0.. {
            match knee.next() {
                Next::Try(rate) => knee.tried(rate, rate <= holds),
                Next::Prove(rate) => knee.proof(rate, rate <= proves),
                Next::Done(found) => return (found, steps),
            }
        }
        unreachable!("a search ends")
    }

    #[test]
    fn what_is_found_is_within_the_precision_below_what_holds() {
        for holds in [1000.0, 1001.0, 3999.0, 23_456.0] {
            let (found, steps) = run(&search(1000.0, 60_000.0), holds, holds);
            let found = found.unwrap_or_default();
            assert!(found <= holds && found >= holds / 1.06, "{found} of {holds}");
            assert!(steps < 16, "{steps}");
        }
    }

    #[test]
    fn the_end_of_the_range_is_proved_and_not_passed() {
        assert_eq!(run(&search(1000.0, 5000.0), 9e9, 9e9).0, Some(5000.0));
    }

    #[test]
    fn nothing_is_claimed_when_even_the_first_rate_does_not_hold() {
        assert_eq!(run(&search(1000.0, 5000.0), 10.0, 10.0), (None, 1));
    }

    #[test]
    fn a_proof_that_fails_lowers_the_rate_or_ends_the_search() {
        let (found, _) = run(&search(1000.0, 60_000.0), 20_000.0, 19_000.0);
        assert!(found.is_some_and(|found| found <= 19_000.0 && found > 17_000.0), "{found:?}");
        assert_eq!(run(&search(1000.0, 60_000.0), 20_000.0, 0.0).0, None);
    }
}
