//! A set of counters that holds runs of them, not each one.
//!
//! What is sent and heard comes nearly in order and without gaps, so that millions are one run.

/// Some counters of one stream; each below 2^32 - 1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct CounterSet {
    /// Ascending; none touches the next, nor the last.
    earlier: Vec<Run>,
    /// The highest run, apart, so that it needs no allocation; empty when the set is.
    last: Run,
}

/// Counters without a gap: `start..end`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Run {
    fn is_empty(self) -> bool {
        self.start >= self.end
    }

    fn len(self) -> u64 {
        u64::from(self.end.saturating_sub(self.start))
    }
}

impl CounterSet {
    /// All below `end`.
    pub(super) fn below(end: u32) -> Self {
        Self { earlier: Vec::new(), last: Run { start: 0, end } }
    }

    /// Adds one; whether it is new.
    pub(super) fn insert(&mut self, counter: u32) -> bool {
        let alone = Run { start: counter, end: counter + 1 };
        if self.last.is_empty() {
            self.last = alone;
        } else if counter == self.last.end {
            self.last.end += 1;
        } else if counter > self.last.end {
            self.earlier.push(self.last);
            self.last = alone;
        } else if counter >= self.last.start {
            return false;
        } else {
            return self.insert_earlier(alone);
        }
        true
    }

    fn insert_earlier(&mut self, alone: Run) -> bool {
        let at = self.earlier.partition_point(|run| run.end < alone.start);
        let joins_left = match self.earlier.get(at) {
            Some(run) if run.start <= alone.start && alone.start < run.end => return false,
            Some(run) => run.end == alone.start,
            None => false,
        };
        let right = if joins_left { at + 1 } else { at };
        let joins_right = self.run_mut(right).start == alone.end;
        match (joins_left, joins_right) {
            (true, true) => {
                let left = self.earlier.remove(at);
                self.run_mut(at).start = left.start;
            }
            (true, false) => self.earlier[at].end = alone.end,
            (false, true) => self.run_mut(right).start = alone.start,
            (false, false) => self.earlier.insert(at, alone),
        }
        true
    }

    fn run_mut(&mut self, at: usize) -> &mut Run {
        self.earlier.get_mut(at).unwrap_or(&mut self.last)
    }

    /// Whether it is in the set.
    pub(super) fn contains(&self, counter: u32) -> bool {
        if counter >= self.last.start {
            return counter < self.last.end;
        }
        let at = self.earlier.partition_point(|run| run.end <= counter);
        self.earlier.get(at).is_some_and(|run| run.start <= counter)
    }

    /// How many there are.
    pub(super) fn len(&self) -> u64 {
        self.runs().map(Run::len).sum()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.last.is_empty()
    }

    /// One above the highest; 0 when there are none.
    pub(super) fn end(&self) -> u32 {
        self.last.end
    }

    /// Its runs, ascending.
    pub(super) fn runs(&self) -> impl Iterator<Item = Run> {
        self.earlier.iter().copied().chain((!self.last.is_empty()).then_some(self.last))
    }

    /// Each of them, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        self.runs().flat_map(|run| run.start..run.end)
    }

    /// Those that are not in `other`.
    pub(super) fn minus(&self, other: &Self) -> Self {
        let mut result = Self::default();
        let mut others = other.runs().peekable();
        for mut run in self.runs() {
            while others.next_if(|other| other.end <= run.start).is_some() {}
            while let Some(other) = others.peek().filter(|other| other.start < run.end) {
                result.push(Run { start: run.start, end: other.start });
                run.start = other.end.max(run.start);
                if other.end >= run.end {
                    break;
                }
                others.next();
            }
            result.push(run);
        }
        result
    }

    /// Those that are in `other`, too.
    pub(super) fn and(&self, other: &Self) -> Self {
        self.minus(&self.minus(other))
    }

    /// Adds all of `other`.
    pub(super) fn add(&mut self, other: &Self) {
        if other.is_empty() {
            return;
        }
        let mut runs: Vec<Run> = self.runs().chain(other.runs()).collect();
        runs.sort_by_key(|run| run.start);
        *self = Self::default();
        for run in runs {
            if self.last.is_empty() || run.start > self.last.end {
                self.push(run);
            } else {
                self.last.end = self.last.end.max(run.end);
            }
        }
    }

    /// Adds a run above all others.
    fn push(&mut self, run: Run) {
        if run.is_empty() {
            return;
        }
        if self.last.is_empty() {
            self.last = run;
        } else if self.last.end == run.start {
            self.last.end = run.end;
        } else {
            assert!(self.last.end < run.start, "runs are pushed in order");
            self.earlier.push(std::mem::replace(&mut self.last, run));
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn set(of: &[u32]) -> CounterSet {
        let mut set = CounterSet::default();
        for counter in of {
            set.insert(*counter);
        }
        set
    }

    fn assert_sound(set: &CounterSet) {
        let runs: Vec<Run> = set.runs().collect();
        assert!(runs.iter().all(|run| !run.is_empty()));
        assert!(runs.windows(2).all(|two| two[0].end < two[1].start));
        assert!(set.earlier.is_empty() || !set.last.is_empty());
    }

    proptest! {
        #[test]
        fn it_is_a_set(a: Vec<u8>, b: Vec<u8>) {
            let [a, b] = [a, b].map(|all| {
                all.into_iter().map(|one| u32::from(one) % 48).collect::<Vec<_>>()
            });
            let plain = |all: &[u32]| all.iter().copied().collect::<BTreeSet<_>>();
            let (plain_a, plain_b) = (plain(&a), plain(&b));
            let mut one_by_one = BTreeSet::new();
            let mut set_a = CounterSet::default();
            for counter in &a {
                prop_assert_eq!(set_a.insert(*counter), one_by_one.insert(*counter));
                assert_sound(&set_a);
            }
            let set_b = set(&b);
            prop_assert_eq!(set_a.len(), plain_a.len() as u64);
            prop_assert_eq!(set_a.end(), plain_a.last().map_or(0, |last| last + 1));
            for counter in 0..50 {
                prop_assert_eq!(set_a.contains(counter), plain_a.contains(&counter));
            }
            let mut sum = set_a.clone();
            sum.add(&set_b);
            for (ours, plain) in [
                (set_a.clone(), plain_a.clone()),
                (set_a.minus(&set_b), &plain_a - &plain_b),
                (set_a.and(&set_b), &plain_a & &plain_b),
                (sum, &plain_a | &plain_b),
            ] {
                assert_sound(&ours);
                prop_assert_eq!(ours.iter().collect::<BTreeSet<_>>(), plain.clone());
                prop_assert!(ours.iter().is_sorted());
                prop_assert_eq!(ours.is_empty(), plain.is_empty());
            }
        }
    }

    #[test]
    fn counters_in_order_need_no_allocation() {
        let set = set(&(0..10_000).collect::<Vec<_>>());
        assert_eq!(set.earlier.capacity(), 0);
        assert_eq!(set, CounterSet::below(10_000));
    }
}
