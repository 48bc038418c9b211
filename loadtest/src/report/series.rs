//! A line of a plot, and how a long one is thinned without hiding its extremes.

use super::summary::Interval;

/// Stretches of a thinned line; each keeps its least and its greatest value.
const STRETCHES: usize = 360;

/// A line of a plot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    /// What stands beside its end.
    pub(super) name: String,
    /// How it is drawn: classes of the style sheet.
    pub(super) style: String,
    /// Its points in the order of x.
    pub(super) points: Vec<Point>,
}

/// A point of a line.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    /// Along.
    pub(super) x: f64,
    /// Up; `None` interrupts the line.
    pub(super) y: Option<f64>,
}

impl Series {
    /// A line over the intervals of a run: in the middle of each, thinned.
    pub(super) fn over(
        name: impl Into<String>,
        style: impl Into<String>,
        intervals: &[Interval],
        value: impl Fn(&Interval) -> Option<f64>,
    ) -> Self {
        let points = intervals
            .iter()
            .map(|interval| Point {
                x: interval.at_s + interval.length_s / 2.0,
                y: value(interval).filter(|value| value.is_finite()),
            })
            .collect();
        Self { name: name.into(), style: style.into(), points: thin(points) }
    }

    /// Its values.
    pub(super) fn values(&self) -> impl Iterator<Item = f64> {
        self.points.iter().filter_map(|point| point.y)
    }

    /// Whether there is anything to draw.
    #[must_use]
    pub(super) fn is_empty(&self) -> bool {
        self.values().next().is_none()
    }

    /// Where it ends, along.
    #[must_use]
    pub(super) fn end(&self) -> Option<f64> {
        self.points.iter().rev().find(|point| point.y.is_some()).map(|point| point.x)
    }

    /// The last value, where the name stands.
    #[must_use]
    pub(super) fn last(&self) -> Option<f64> {
        self.points.iter().rev().find_map(|point| point.y)
    }
}

/// How many intervals are drawn as one stretch; 1 when every one is drawn.
#[must_use]
pub(super) fn stretch(intervals: usize) -> usize {
    if intervals <= 2 * STRETCHES { 1 } else { intervals.div_ceil(STRETCHES) }
}

/// Keeps of each stretch the points with the least and the greatest value, in their order; a
/// stretch with a gap keeps the gap.
fn thin(points: Vec<Point>) -> Vec<Point> {
    let width = stretch(points.len());
    if width == 1 {
        return points;
    }
    points.chunks(width).flat_map(extremes).collect()
}

fn extremes(stretch: &[Point]) -> Vec<Point> {
    let by_value = |a: &&Point, b: &&Point| a.y.partial_cmp(&b.y).expect("values are numbers");
    let some = || stretch.iter().filter(|point| point.y.is_some());
    let mut kept: Vec<Point> = Vec::with_capacity(3);
    kept.extend(some().min_by(by_value));
    kept.extend(some().max_by(by_value));
    kept.extend(stretch.iter().find(|point| point.y.is_none()));
    kept.sort_by(|a, b| a.x.total_cmp(&b.x));
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn points(values: &[Option<f64>]) -> Vec<Point> {
        values.iter().enumerate().map(|(x, y)| Point { x: x as f64, y: *y }).collect()
    }

    #[test]
    fn a_short_line_is_drawn_as_it_is() {
        let all = points(&[Some(1.0), None, Some(3.0)]);
        assert_eq!(thin(all.clone()), all);
        assert!(thin(Vec::new()).is_empty());
    }

    #[test]
    fn a_gap_survives_thinning() {
        let mut values = vec![Some(1.0); 10_000];
        values[5_000] = None;
        assert!(thin(points(&values)).iter().any(|point| point.y.is_none()));
    }

    proptest! {
        #[test]
        fn thinning_keeps_extremes_and_order(
            values in proptest::collection::vec(proptest::option::of(0.0..1e9_f64), 0..5_000)
        ) {
            let all = points(&values);
            let thinned = thin(all.clone());
            prop_assert!(thinned.len() <= all.len().max(3 * STRETCHES));
            prop_assert!(thinned.windows(2).all(|pair| pair[0].x < pair[1].x));
            let most = |points: &[Point]| {
                points.iter().filter_map(|point| point.y).fold(f64::NEG_INFINITY, f64::max)
            };
            let least = |points: &[Point]| {
                points.iter().filter_map(|point| point.y).fold(f64::INFINITY, f64::min)
            };
            prop_assert_eq!(most(&all), most(&thinned));
            prop_assert_eq!(least(&all), least(&thinned));
        }
    }
}
