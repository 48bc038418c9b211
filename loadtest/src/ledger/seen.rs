//! What one device heard of one stream, in four bytes as long as it heard all of it in order.

use super::counters::CounterSet;

/// Marks a place among the exceptions.
const EXACT: u32 = 1 << 31;

/// What one device heard of one stream: either all below a counter, in order, or a place among
/// the [`Exceptions`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen(u32);

/// What was heard where something was left out or out of order.
#[derive(Debug, Default)]
pub(super) struct Exceptions(Vec<Exact>);

#[derive(Debug)]
struct Exact {
    set: CounterSet,
    /// The one that last arrived for the first time.
    last: Option<u32>,
}

/// How a counter arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// For the first time, and above the one before.
    First,
    /// For the first time, but after this higher one.
    Below(u32),
    /// Again.
    Again,
}

impl Seen {
    /// A counter was heard.
    pub(super) fn hear(&mut self, counter: u32, exceptions: &mut Exceptions) -> Arrival {
        if self.0 & EXACT == 0 {
            if counter == self.0 && counter + 1 < EXACT {
                self.0 += 1;
                return Arrival::First;
            }
            if counter < self.0 {
                return Arrival::Again;
            }
            let exact = Exact { set: CounterSet::below(self.0), last: self.0.checked_sub(1) };
            let place = u32::try_from(exceptions.0.len()).expect("less than 2^31 pairs");
            assert!(place < EXACT, "less than 2^31 pairs");
            exceptions.0.push(exact);
            self.0 = EXACT | place;
        }
        exceptions.0[(self.0 & !EXACT) as usize].hear(counter)
    }

    /// All that was heard.
    pub(super) fn set(self, exceptions: &Exceptions) -> CounterSet {
        if self.0 & EXACT == 0 {
            CounterSet::below(self.0)
        } else {
            exceptions.0[(self.0 & !EXACT) as usize].set.clone()
        }
    }
}

impl Exact {
    fn hear(&mut self, counter: u32) -> Arrival {
        if !self.set.insert(counter) {
            return Arrival::Again;
        }
        match self.last.replace(counter) {
            Some(last) if last > counter => Arrival::Below(last),
            Some(_) | None => Arrival::First,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(counters: &[u32], expected: &[Arrival]) {
        let mut exceptions = Exceptions::default();
        let mut seen = Seen::default();
        let found: Vec<Arrival> =
            counters.iter().map(|counter| seen.hear(*counter, &mut exceptions)).collect();
        assert_eq!(found, expected);
        let mut sorted = counters.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(seen.set(&exceptions).iter().collect::<Vec<_>>(), sorted);
    }

    #[test]
    fn each_fall_counts_once() {
        use Arrival::{Again, Below, First};
        check(&[0, 1, 2], &[First, First, First]);
        check(&[0, 2, 1, 3], &[First, First, Below(2), First]);
        check(&[3, 0, 1, 2, 4], &[First, Below(3), First, First, First]);
        check(&[0, 1, 2, 1, 2, 3], &[First, First, First, Again, Again, First]);
        check(&[5, 6, 5, 7], &[First, First, Again, First]);
        check(&[0, 2, 1, 2, 1, 3], &[First, First, Below(2), Again, Again, First]);
        check(&[2, 1, 0], &[First, Below(2), Below(1)]);
    }

    #[test]
    fn the_highest_counters_are_exact_ones() {
        use Arrival::{Again, First};
        check(&[EXACT - 1, EXACT, u32::MAX - 1, EXACT], &[First, First, First, Again]);
    }
}
