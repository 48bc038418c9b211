//! Axes: where a value is drawn, and which values are named beside it.

use super::{number, summary::Unit};

/// About as many ticks as a linear axis gets.
const TICKS: f64 = 4.0;
/// Steps of the time axis in seconds, from which the first that is wide enough is taken.
const TIME_STEPS: &[f64] = &[
    0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1_800.0,
    3_600.0, 7_200.0, 14_400.0, 21_600.0, 43_200.0, 86_400.0,
];
const MINUTE_US: f64 = 60e6;
const HOUR_US: f64 = 3_600e6;
/// Nothing is drawn below this on an axis of latencies, in microseconds.
const LEAST_US: f64 = 1.0;

/// An axis.
#[derive(Clone, Debug)]
pub(super) struct Axis {
    scale: Scale,
    /// The values that are named, in their order.
    pub(super) ticks: Vec<Tick>,
    /// What it shows and in which unit, when the ticks do not say.
    pub(super) title: &'static str,
}

/// A value named beside an axis.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tick {
    /// Where, from 0 to 1.
    pub(super) place: f64,
    /// What it says.
    pub(super) label: String,
    /// Whether it may be left out where there is little room.
    pub(super) rank: Rank,
}

/// Whether a tick may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    /// Always shown.
    Major,
    /// Left out on a narrow page.
    Minor,
}

#[derive(Clone, Copy, Debug)]
enum Scale {
    Linear { low: f64, high: f64 },
    Log { low: f64, high: f64 },
    Nines { high: f64 },
}

impl Axis {
    /// From 0 to a round value that is not below `most`.
    #[must_use]
    pub(super) fn linear(most: f64, unit: Unit) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let base = base_of(most, unit);
        let step = (round_step(most / base / TICKS) * base).max(least_step(unit));
        let count = (most / step - 1e-9).ceil().max(1.0);
        let high = step * count;
        let scale = Scale::Linear { low: 0.0, high };
        let values = (0..=count as usize).map(|place| place as f64 * step);
        let ticks = ticks(scale, values, |value| tick_label(value, high, unit));
        Self { scale, ticks, title: "" }
    }

    /// Latencies from `least` to `most` microseconds, by powers.
    #[must_use]
    pub(super) fn latency(least_us: f64, most_us: f64) -> Self {
        let least = if least_us.is_finite() { least_us.max(LEAST_US) } else { LEAST_US };
        let most = if most_us.is_finite() { most_us.max(least) } else { least };
        let low = round_lengths().take_while(|value| *value <= least).last().unwrap_or(LEAST_US);
        let high = round_lengths()
            .find(|value| *value >= most && *value >= low * 10.0)
            .unwrap_or(most.max(low * 10.0));
        let scale = Scale::Log { low, high };
        let only_decades = high / low > 300.0;
        let values = round_lengths()
            .filter(|value| (low..=high).contains(value))
            .filter(|value| !only_decades || is_decade(*value));
        let ticks = ticks(scale, values, number::latency_bound);
        Self { scale, ticks, title: "" }
    }

    /// Seconds since the run began.
    #[must_use]
    pub(super) fn time(begin_s: f64, end_s: f64) -> Self {
        let low = if begin_s.is_finite() { begin_s } else { 0.0 };
        let high = if end_s.is_finite() && end_s > low { end_s } else { low + 1.0 };
        let scale = Scale::Linear { low, high };
        let wanted = (high - low) / 9.0;
        let step = TIME_STEPS
            .iter()
            .copied()
            .find(|step| *step >= wanted)
            .unwrap_or_else(|| round_step(wanted / 86_400.0) * 86_400.0);
        let first = (low / step - 1e-9).ceil();
        let values = (0..64)
            .map(|place| (first + f64::from(place)) * step)
            .take_while(|value| *value <= high + step * 1e-6);
        let clock = Clock::of(high, step);
        let mut ticks = ticks(scale, values, |value| clock.label(value));
        for (place, tick) in ticks.iter_mut().enumerate() {
            tick.rank = if place % 2 == 0 { Rank::Major } else { Rank::Minor };
        }
        Self { scale, ticks, title: clock.title() }
    }

    /// Percentiles, each nine more as far from the last, up to what `count` values can show.
    #[must_use]
    pub(super) fn nines(count: u64) -> Self {
        let high = (count.max(1) as f64).log10().clamp(2.0, 8.0);
        let scale = Scale::Nines { high };
        let values = [0.5, 0.9, 0.99, 0.999, 0.9999, 0.999_99, 0.999_999, 0.999_999_9];
        let shown = values.into_iter().filter(|value| nines_of(*value) <= high + 1e-9);
        let mut ticks = ticks(scale, shown, |value| {
            let places = (nines_of(value).round() as usize).saturating_sub(2);
            format!("{:.places$} %", value * 100.0)
        });
        if let Some(first) = ticks.first_mut() {
            first.rank = Rank::Minor;
        }
        Self { scale, ticks, title: "percentile" }
    }

    /// Where a value is, from 0 to 1; a value beyond an end, or no number, is at that end.
    #[must_use]
    pub(super) fn place(&self, value: f64) -> f64 {
        self.scale.place(value)
    }
}

impl Axis {
    /// What a script needs to say a place of this axis: the kind of scale and its ends.
    #[must_use]
    pub(super) fn for_script(&self) -> serde_json::Value {
        match self.scale {
            Scale::Linear { low, high } => serde_json::json!(["linear", low, high]),
            Scale::Log { low, high } => serde_json::json!(["log", low, high]),
            Scale::Nines { high } => serde_json::json!(["nines", 0, high]),
        }
    }
}

impl Scale {
    fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { low, high } => (value - low) / (high - low),
            Self::Log { low, high } => (value.max(LEAST_US) / low).ln() / (high / low).ln(),
            Self::Nines { high } => nines_of(value).min(high) / high,
        };
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }
}

/// How times are said: by the longest that must be.
enum Clock {
    Seconds,
    Minutes,
    Hours,
}

impl Clock {
    fn of(longest_s: f64, step_s: f64) -> Self {
        if longest_s <= 120.0 || step_s < 1.0 {
            Self::Seconds
        } else if longest_s <= 7_200.0 || step_s < 60.0 {
            Self::Minutes
        } else {
            Self::Hours
        }
    }

    fn label(&self, s: f64) -> String {
        let whole = s.round() as i64;
        match self {
            Self::Seconds => format!("{} s", (s * 10.0).round() / 10.0),
            Self::Minutes => format!("{}:{:02}", whole / 60, whole % 60),
            Self::Hours => format!("{}:{:02}", whole / 3_600, whole / 60 % 60),
        }
    }

    fn title(&self) -> &'static str {
        match self {
            Self::Seconds => "",
            Self::Minutes => "min:s",
            Self::Hours => "h:min",
        }
    }
}

/// How a moment of a run is said, as on the axis of time.
#[must_use]
pub(super) fn moment(s: f64) -> String {
    if s < 120.0 { format!("{s:.1} s") } else { Clock::of(s, 1.0).label(s) }
}

fn ticks(
    scale: Scale,
    values: impl Iterator<Item = f64>,
    label: impl Fn(f64) -> String,
) -> Vec<Tick> {
    values
        .map(|value| Tick { place: scale.place(value), label: label(value), rank: Rank::Major })
        .collect()
}

/// What the steps of an axis are round in: bytes are in powers of 1024.
fn base_of(most: f64, unit: Unit) -> f64 {
    match unit {
        Unit::Bytes | Unit::BytesPerSecond | Unit::BytesPerHour => {
            1024_f64.powi(((most.ln() / 1024_f64.ln()).floor() as i32).clamp(0, 4))
        }
        Unit::Count
        | Unit::Share
        | Unit::PerSecond
        | Unit::Microseconds
        | Unit::Seconds
        | Unit::Cores => 1.0,
    }
}

/// Finer steps would have the same label.
fn least_step(unit: Unit) -> f64 {
    match unit {
        Unit::Count
        | Unit::Microseconds
        | Unit::Bytes
        | Unit::BytesPerSecond
        | Unit::BytesPerHour => 1.0,
        Unit::Share | Unit::PerSecond | Unit::Seconds | Unit::Cores => 0.01,
    }
}

fn tick_label(value: f64, high: f64, unit: Unit) -> String {
    match unit {
        Unit::Count | Unit::PerSecond => thousands(value, high),
        Unit::Share => format!("{} %", shortest(value * 100.0)),
        Unit::Microseconds => number::latency_bound(value),
        Unit::Seconds => number::seconds(value),
        Unit::Bytes | Unit::BytesPerSecond | Unit::BytesPerHour => bytes_label(value, high),
        Unit::Cores => shortest(value),
    }
}

fn thousands(value: f64, high: f64) -> String {
    if high >= 1e7 {
        format!("{} M", shortest(value / 1e6))
    } else if high >= 1e5 {
        format!("{} k", shortest(value / 1e3))
    } else if value.fract() == 0.0 {
        number::plain(value)
    } else {
        shortest(value)
    }
}

/// All labels of an axis of bytes are in the unit of its end.
fn bytes_label(value: f64, high: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let power = ((high.max(1.0).ln() / 1024_f64.ln() + 1e-9).floor() as usize).min(4);
    let size = value / 1024_f64.powi(i32::try_from(power).expect("at most 4"));
    if value == 0.0 { "0".to_owned() } else { format!("{} {}", shortest(size), UNITS[power]) }
}

/// Without digits that only come from sums in binary.
fn shortest(value: f64) -> String {
    let rounded = (value * 1e4).round() / 1e4;
    rounded.to_string()
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.max(1e-9).log10().floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= least * (1.0 - 1e-9));
    factor.unwrap_or(10.0) * power
}

/// Lengths of time that are round to a person, in microseconds: 1, 2, 5, 10 and so on to 10 s, then
/// in minutes, then in hours, for longer than any run.
fn round_lengths() -> impl Iterator<Item = f64> {
    let one_two_five = |unit: f64, powers: std::ops::RangeInclusive<i32>| {
        powers
            .flat_map(move |power| [1.0, 2.0, 5.0].map(|factor| factor * unit * 10_f64.powi(power)))
    };
    one_two_five(1.0, 0..=6)
        .chain([10e6, 20e6, 30e6])
        .chain(one_two_five(MINUTE_US, 0..=0))
        .chain([10.0, 20.0, 30.0].map(|minutes| minutes * MINUTE_US))
        .chain(one_two_five(HOUR_US, 0..=10))
}

/// The first of each unit, and ten, a hundred and so on of it.
fn is_decade(us: f64) -> bool {
    let unit = if us >= HOUR_US {
        HOUR_US
    } else if us >= MINUTE_US {
        MINUTE_US
    } else {
        1.0
    };
    let power = (us / unit).log10();
    (power - power.round()).abs() < 1e-9
}

/// 0.9 is one nine, 0.99 two.
fn nines_of(quantile: f64) -> f64 {
    if quantile >= 1.0 { f64::INFINITY } else { -(1.0 - quantile.max(0.0)).log10() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const UNITS: &[Unit] = &[
        Unit::Count,
        Unit::Share,
        Unit::PerSecond,
        Unit::Microseconds,
        Unit::Seconds,
        Unit::Bytes,
        Unit::BytesPerSecond,
        Unit::BytesPerHour,
        Unit::Cores,
    ];

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.ticks.iter().map(|tick| tick.label.as_str()).collect()
    }

    /// What must hold of every axis, whatever the data.
    fn check(axis: &Axis, values: &[f64]) {
        assert!((1..=70).contains(&axis.ticks.len()), "{:?}", axis.ticks);
        for tick in &axis.ticks {
            assert!((0.0..=1.0).contains(&tick.place), "{tick:?}");
            assert!(!tick.label.contains("NaN") && !tick.label.contains("inf"), "{tick:?}");
        }
        let rising = axis.ticks.windows(2).all(|pair| pair[0].place < pair[1].place);
        assert!(rising, "{:?}", axis.ticks);
        let distinct = axis.ticks.windows(2).all(|pair| pair[0].label != pair[1].label);
        assert!(distinct, "{:?}", axis.ticks);
        for value in values {
            assert!((0.0..=1.0).contains(&axis.place(*value)), "{value}");
        }
    }

    #[test]
    fn ticks_are_round_and_say_their_unit() {
        assert_eq!(labels(&Axis::linear(930.0, Unit::PerSecond)), ["0", "500", "1,000"]);
        let mib = 1024.0 * 1024.0;
        let bytes = Axis::linear(212.0 * mib, Unit::Bytes);
        assert_eq!(labels(&bytes), ["0", "100 MiB", "200 MiB", "300 MiB"]);
        let log = Axis::latency(80.0, 21_000.0);
        assert_eq!(labels(&log), ["100 µs", "1 ms", "10 ms"]);
        let narrow = Axis::latency(800.0, 3_000.0);
        assert_eq!(labels(&narrow), ["500 µs", "1 ms", "2 ms", "5 ms"]);
        let nines = Axis::nines(100_000);
        assert_eq!(labels(&nines), ["50 %", "90 %", "99 %", "99.9 %", "99.99 %", "99.999 %"]);
        let long = Axis::latency(900_000.0, 9e9);
        assert_eq!(labels(&long), ["1 s", "10 s", "60 s", "10 min", "1 h"]);
        let minute = Axis::time(0.0, 60.0);
        assert_eq!(labels(&minute), ["0 s", "10 s", "20 s", "30 s", "40 s", "50 s", "60 s"]);
        let hour = Axis::time(0.0, 3_600.0);
        assert_eq!(labels(&hour)[..3], ["0:00", "10:00", "20:00"]);
    }

    #[test]
    fn each_nine_is_as_wide_as_the_last() {
        let axis = Axis::nines(1_000_000);
        let places: Vec<_> = [0.9, 0.99, 0.999].map(|value| axis.place(value)).into();
        assert!((places[1] - 2.0 * places[0]).abs() < 1e-9, "{places:?}");
        assert!((places[2] - 3.0 * places[0]).abs() < 1e-9, "{places:?}");
        assert!((axis.place(1.0) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn nothing_to_show_still_makes_an_axis() {
        for unit in UNITS {
            for most in [0.0, -1.0, f64::NAN, f64::INFINITY] {
                check(&Axis::linear(most, *unit), &[f64::NAN, 0.0]);
            }
        }
        check(&Axis::latency(f64::NAN, f64::NAN), &[0.0]);
        check(&Axis::latency(f64::INFINITY, f64::NEG_INFINITY), &[0.0]);
        check(&Axis::time(5.0, 5.0), &[5.0]);
        check(&Axis::time(f64::NAN, f64::NAN), &[0.0]);
        check(&Axis::nines(0), &[0.0, 1.0]);
    }

    proptest! {
        #[test]
        fn every_linear_axis_is_sound(most in 1e-6..1e13_f64, unit in 0..UNITS.len()) {
            let axis = Axis::linear(most, UNITS[unit]);
            check(&axis, &[0.0, most / 2.0, most, most * 2.0, f64::NAN]);
            prop_assert!(axis.ticks.len() <= 12);
        }

        #[test]
        fn every_latency_axis_is_sound(least in 0.0..1e10_f64, factor in 1.0..1e8_f64) {
            let axis = Axis::latency(least, least * factor);
            check(&axis, &[0.0, least, least * factor, f64::NAN]);
        }

        #[test]
        fn every_time_axis_is_sound(begin in 0.0..1e5_f64, length in 0.2..1e6_f64) {
            let axis = Axis::time(begin, begin + length);
            prop_assert!(axis.ticks.len() <= 12, "{:?}", axis.ticks);
            check(&axis, &[begin, begin + length]);
        }

        #[test]
        fn every_axis_keeps_the_order(a in 0.0..1e9_f64, b in 0.0..1e9_f64) {
            let (low, high) = (a.min(b), a.max(b));
            for axis in [Axis::linear(1e9, Unit::Count), Axis::latency(1.0, 1e9)] {
                prop_assert!(axis.place(low) <= axis.place(high));
            }
        }
    }
}
