//! Stretches of a row of values that are long enough not to depend on each other.

/// Fewer stretches than this let the rank test say nothing.
pub(super) const STRETCHES_MIN: usize = 8;

/// Takes values that follow each other together until the medians of neighbouring stretches do not
/// resemble each other any more, and returns the width and these medians.
///
/// The width doubles while the correlation of neighbours is more than chance would give, and while
/// at least eight stretches are left. A rest that fills no stretch is left out.
#[must_use]
pub fn stretches(values: &[f64]) -> (usize, Vec<f64>) {
    let mut width = 1;
    loop {
        let medians = with_width(values, width);
        let narrow_enough = medians.len() / 2 < STRETCHES_MIN;
        if narrow_enough || !neighbours_resemble(&medians) {
            return (width, medians);
        }
        width *= 2;
    }
}

/// The medians of stretches of a given width.
pub(super) fn with_width(values: &[f64], width: usize) -> Vec<f64> {
    values.chunks_exact(width).map(median).collect()
}

/// Whether neighbours are more alike than chance would make them in 19 of 20 rows.
pub(super) fn neighbours_resemble(values: &[f64]) -> bool {
    let count = values.len() as f64;
    correlation_of_neighbours(values) > 1.645 / count.sqrt()
}

fn correlation_of_neighbours(values: &[f64]) -> f64 {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let spread: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let shared: f64 = values.windows(2).map(|pair| (pair[0] - mean) * (pair[1] - mean)).sum();
    if spread > 0.0 { shared / spread } else { 0.0 }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A row without memory, from a linear congruence.
    fn noise(count: usize) -> impl Iterator<Item = f64> {
        let mut state = 88_172_645_463_325_252_u64;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as f64 / f64::from(1_u32 << 31)
        })
        .take(count)
    }

    #[test]
    fn values_that_are_independent_stay_single() {
        let values: Vec<_> = noise(60).collect();
        assert_eq!(stretches(&values), (1, values));
    }

    #[test]
    fn values_that_drag_on_are_taken_together() {
        let mut level = 0.0;
        let values: Vec<_> = noise(400)
            .map(|step| {
                level = 0.9 * level + step;
                level
            })
            .collect();
        let (width, medians) = stretches(&values);
        assert!(width >= 8, "{width}");
        assert!(medians.len() >= STRETCHES_MIN);
    }

    #[test]
    fn short_rows_are_left_as_they_are() {
        assert_eq!(stretches(&[]), (1, vec![]));
        assert_eq!(stretches(&[1.0, 2.0, 3.0]), (1, vec![1.0, 2.0, 3.0]));
    }
}
