//! Where names stand so that they can be read.

/// Pixels between the base lines of two names.
const GAP: f64 = 14.0;

/// About how wide a text is drawn, in pixels.
pub(super) fn estimated_width(text: &str) -> f64 {
    text.chars().count() as f64 * 6.6
}

/// Moves places apart until none is nearer than a line of text to the next, as little as may be
/// and within the bounds as long as there is room; in the order of `wanted`.
pub(super) fn spread(wanted: &[f64], low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|a, b| wanted[*a].total_cmp(&wanted[*b]));
    let mut places = wanted.to_vec();
    let mut floor = low;
    for &index in &order {
        places[index] = places[index].max(floor);
        floor = places[index] + GAP;
    }
    let mut ceiling = high;
    for &index in order.iter().rev() {
        places[index] = places[index].min(ceiling);
        ceiling = places[index] - GAP;
    }
    places
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_that_are_apart_stay_where_they_are() {
        assert_eq!(spread(&[90.0, 20.0, 50.0], 0.0, 100.0), [90.0, 20.0, 50.0]);
        assert!(spread(&[], 0.0, 100.0).is_empty());
    }

    proptest! {
        #[test]
        fn names_never_overlap(wanted in proptest::collection::vec(0.0..200.0_f64, 0..8)) {
            let mut places = spread(&wanted, 0.0, 200.0);
            places.sort_by(f64::total_cmp);
            prop_assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= GAP - 1e-9));
            prop_assert!(places.iter().all(|place| (0.0..=200.0).contains(place)));
        }
    }
}
