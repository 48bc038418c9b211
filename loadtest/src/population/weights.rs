//! Draws by weight: from weights that stay, and from weights that come and go.

use rand::{RngExt, distr::Distribution};
use rand_distr::weighted::WeightedAliasIndex;

use crate::scenario::seed::Random;

/// Draws a place by weights that stay, in constant time.
#[derive(Debug)]
pub(super) struct Alias(WeightedAliasIndex<f64>);

impl Alias {
    /// # Panics
    /// When there is no weight, one is negative, or all are 0.
    pub(super) fn new(weights: &[f64]) -> Self {
        Self(WeightedAliasIndex::new(weights.to_vec()).expect("a scenario's weights were checked"))
    }

    pub(super) fn draw(&self, random: &mut Random) -> u32 {
        u32::try_from(self.0.sample(random)).expect("there are few weights")
    }
}

/// Draws a place by weights that change: both take as many steps as the number of places has
/// bits. The sums are whole numbers, so nothing is lost over billions of changes.
#[derive(Clone, Debug)]
pub(super) struct Weights {
    /// A Fenwick tree: at place `p`, from 1, the sum of as many weights up to `p` as the lowest bit
    /// of `p` says.
    sums: Vec<u64>,
    weights: Vec<u64>,
    total: u64,
}

impl Weights {
    /// All of weight 0.
    pub(super) fn new(len: usize) -> Self {
        Self { sums: vec![0; len + 1], weights: vec![0; len], total: 0 }
    }

    /// The sum of all.
    pub(super) fn total(&self) -> u64 {
        self.total
    }

    /// The weight of a place.
    pub(super) fn get(&self, place: usize) -> u64 {
        self.weights[place]
    }

    /// Gives a place another weight.
    ///
    /// # Panics
    /// When the sum of all would pass 2^64.
    pub(super) fn set(&mut self, place: usize, weight: u64) {
        let before = std::mem::replace(&mut self.weights[place], weight);
        self.total = (self.total - before).checked_add(weight).expect("weights are below 2^41");
        let mut at = place + 1;
        while let Some(sum) = self.sums.get_mut(at) {
            *sum = *sum - before + weight;
            at += at & at.wrapping_neg();
        }
    }

    /// A place; none when all weights are 0.
    pub(super) fn draw(&self, random: &mut Random) -> Option<usize> {
        if self.total == 0 {
            return None;
        }
        let mut below = random.random_range(0..self.total);
        let mut at = 0;
        let mut step = self.weights.len().checked_ilog2().map_or(0, |bits| 1_usize << bits);
        while step > 0 {
            if let Some(sum) = self.sums.get(at + step)
                && *sum <= below
            {
                below -= sum;
                at += step;
            }
            step >>= 1;
        }
        Some(at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;
    use crate::scenario::seed::Purpose;

    #[test]
    fn places_are_drawn_as_often_as_their_weights_say() {
        let mut random = Purpose::Senders.random(1);
        let mut weights = Weights::new(5);
        for (place, weight) in [(0, 1), (1, 9), (3, 2), (4, 4)] {
            weights.set(place, weight);
        }
        weights.set(1, 3);
        let mut drawn = [0; 5];
        (0..10_000).for_each(|_| drawn[weights.draw(&mut random).unwrap()] += 1);
        assert_eq!(drawn[2], 0);
        for (place, share) in [(0, 0.1), (1, 0.3), (3, 0.2), (4, 0.4)] {
            let off = f64::from(drawn[place]) / 10_000.0 - share;
            assert!(off.abs() < 0.02, "{drawn:?}");
        }
    }

    proptest! {
        #[test]
        fn only_places_with_a_weight_are_drawn(
            changes in prop::collection::vec((0_usize..70, 0_u64..4), 0..200),
            len in 1_usize..70,
        ) {
            let mut random = Purpose::Senders.random(1);
            let mut weights = Weights::new(len);
            for (place, weight) in changes {
                weights.set(place % len, weight);
            }
            match weights.draw(&mut random) {
                Some(place) => prop_assert!(weights.get(place) > 0),
                None => prop_assert_eq!(weights.total(), 0),
            }
        }
    }
}
