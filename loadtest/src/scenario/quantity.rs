//! Quantities as people write and read them: `5ms`, `64 KiB`, `30%`.

use std::time::Duration;

const DURATION_UNITS: &[(&str, f64)] =
    &[("us", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3_600.0), ("d", 86_400.0)];
const SIZE_UNITS: &[(&str, f64)] = &[
    ("B", 1.0),
    ("KiB", 1_024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("TiB", 1_099_511_627_776.0),
];
/// What is longer is a mistake, and no clock here counts further.
const DURATION_MAX_S: f64 = 366.0 * 86_400.0;
/// 2^53: whole numbers up to it are exact.
const SIZE_MAX: f64 = 9_007_199_254_740_992.0;

/// What a duration looks like, for somebody who got it wrong.
pub const DURATION_EXPECTED: &str =
    "a duration such as \"5ms\", \"10s\", \"2m\", \"1h\" or \"1.5h\"";
/// What a size looks like, for somebody who got it wrong.
pub const SIZE_EXPECTED: &str = "bytes, such as 256, or a size such as \"64 KiB\" or \"16 MiB\"";
/// What a share looks like, for somebody who got it wrong.
pub const SHARE_EXPECTED: &str = "a share from 0 to 1 such as 0.3, or \"30%\"";

/// A duration; none when the text is not one, or it is longer than a year.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let seconds = parse_with_unit(text, DURATION_UNITS)?;
    (seconds <= DURATION_MAX_S).then(|| {
        // Rounded, for 1.1e-3 s has no exact nanoseconds.
        Duration::from_nanos((seconds * 1e9).round() as u64)
    })
}

/// A size in bytes; none when the text is not one, or not whole bytes.
#[must_use]
pub fn parse_size(text: &str) -> Option<u64> {
    let bytes = parse_with_unit(text, SIZE_UNITS)?;
    (bytes <= SIZE_MAX && bytes.fract() == 0.0).then_some(bytes as u64)
}

/// A share from 0 to 1, written as `30%`.
#[must_use]
pub fn parse_percentage(text: &str) -> Option<f64> {
    let percent = parse_decimal(text.trim().strip_suffix('%')?.trim_end())?;
    (percent <= 100.0).then_some(percent / 100.0)
}

fn parse_with_unit(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let text = text.trim();
    let number_end = text.find(|c: char| !(c.is_ascii_digit() || c == '_' || c == '.'))?;
    let (number, unit) = text.split_at(number_end);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    Some(parse_decimal(number)? * factor)
}

/// Digits with at most one point; no sign, no exponent.
fn parse_decimal(text: &str) -> Option<f64> {
    let is_plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_digit() || c == '_' || c == '.');
    if is_plain { text.replace('_', "").parse().ok() } else { None }
}

/// A duration with the unit that suits it: `1.5ms`, `10s`, `2m 30s`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if duration < Duration::from_secs(60) {
        return show_us(duration.as_secs_f64() * 1e6);
    }
    let parts = [
        (seconds / 86_400, "d"),
        (seconds / 3_600 % 24, "h"),
        (seconds / 60 % 60, "m"),
        (seconds % 60, "s"),
    ];
    let parts = parts.iter().filter(|(count, _)| *count > 0);
    parts.map(|(count, unit)| format!("{count}{unit}")).collect::<Vec<_>>().join(" ")
}

/// Microseconds with the unit that suits them.
#[must_use]
pub fn show_us(us: f64) -> String {
    if us >= 60e6 {
        return show_duration(Duration::from_secs_f64(us / 1e6));
    }
    let (value, unit) = match us {
        us if us >= 1e6 => (us / 1e6, "s"),
        us if us >= 1e3 => (us / 1e3, "ms"),
        us => (us, "us"),
    };
    format!("{}{unit}", show_number(value))
}

/// Bytes with the unit that suits them: `1.5 KiB`.
#[must_use]
pub fn show_bytes(bytes: f64) -> String {
    let (name, factor) =
        SIZE_UNITS.iter().rev().find(|(_, factor)| bytes >= *factor).unwrap_or(&SIZE_UNITS[0]);
    format!("{} {name}", show_number(bytes / factor))
}

/// A number with thousands apart: whole ones as they are, others with three digits that count.
#[must_use]
pub fn show_number(value: f64) -> String {
    let magnitude = value.abs();
    let decimals = match magnitude {
        _ if value.fract() == 0.0 || magnitude >= 100.0 => 0,
        m if m >= 10.0 => 1,
        m if m >= 1.0 => 2,
        _ => 3,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').map_or((&*text, ""), |(whole, rest)| (whole, rest));
    let rest = rest.trim_end_matches('0');
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if rest.is_empty() { format!("{sign}{grouped}") } else { format!("{sign}{grouped}.{rest}") }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_are_read_as_people_write_them() {
        let cases = [
            ("250us", 250_000),
            ("5ms", 5_000_000),
            ("1.5s", 1_500_000_000),
            ("10 s", 10_000_000_000),
            ("2m", 120_000_000_000),
            ("1_000ms", 1_000_000_000),
            ("1h", 3_600_000_000_000),
        ];
        for (text, ns) in cases {
            assert_eq!(parse_duration(text).unwrap().as_nanos(), ns, "{text}");
        }
        for text in ["", "10", "s", "10 sec", "-1s", "1e3s", "1..5s", ".5s", "400d", "\u{7b2}s"] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    #[test]
    fn sizes_are_whole_bytes() {
        assert_eq!(parse_size("64 KiB"), Some(65_536));
        assert_eq!(parse_size("1.5KiB"), Some(1_536));
        for text in ["1.5 B", "64 KB", "64", "-1 B", "9000000 TiB"] {
            assert_eq!(parse_size(text), None, "{text}");
        }
    }

    #[test]
    fn shares_may_be_percentages() {
        assert_eq!(parse_percentage("30%"), Some(0.3));
        assert_eq!(parse_percentage("2.5 %"), Some(0.025));
        assert_eq!(parse_percentage("101%"), None);
        assert_eq!(parse_percentage("30"), None);
    }

    #[test]
    fn quantities_are_shown_with_the_unit_that_suits_them() {
        assert_eq!(show_duration(Duration::from_micros(1_500)), "1.5ms");
        assert_eq!(show_duration(Duration::from_secs(5)), "5s");
        assert_eq!(show_duration(Duration::from_secs(3_690)), "1h 1m 30s");
        assert_eq!(show_bytes(36_864.0), "36 KiB");
        assert_eq!(show_bytes(10.0), "10 B");
        assert_eq!(show_number(1_234_567.0), "1,234,567");
        assert_eq!(show_number(-1_234.5), "-1,234");
        assert_eq!(show_number(0.95), "0.95");
        assert_eq!(show_number(0.0), "0");
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in ".*") {
            let _ = (parse_duration(&text), parse_size(&text), parse_percentage(&text));
        }

        #[test]
        fn whole_milliseconds_are_exact(ms in 0_u64..10_000_000) {
            let read = parse_duration(&format!("{ms}ms"));
            prop_assert_eq!(read, Some(Duration::from_millis(ms)));
        }
    }
}
