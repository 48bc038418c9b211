//! Numbers as a person reads them.

use super::summary::Unit;

/// A number with its unit.
#[must_use]
pub fn of(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Count => plain(value),
        Unit::Share => percent(value),
        Unit::PerSecond => rate(value),
        Unit::Microseconds => latency(value),
        Unit::Seconds => seconds(value),
        Unit::Bytes => bytes(value),
        Unit::BytesPerSecond => format!("{}/s", bytes(value)),
        Unit::BytesPerHour => format!("{}/h", bytes(value)),
        Unit::Cores => cores(value),
    }
}

/// A bound with its unit, which is round: without digits that say nothing.
#[must_use]
pub fn bound(unit: Unit, value: f64) -> String {
    let text = of(unit, value);
    match text.split_once(' ') {
        Some((number, unit)) => format!("{} {unit}", without_trailing_zeros(number)),
        None => text,
    }
}

/// Microseconds with three digits that count: `812 µs`, `3.14 ms`, `1.02 s`.
#[must_use]
pub fn latency(us: f64) -> String {
    if us < 999.5 {
        format!("{us:.0} µs")
    } else if us < 999_500.0 {
        format!("{} ms", three_digits(us / 1e3))
    } else if us < 120_000_000.0 {
        format!("{} s", three_digits(us / 1e6))
    } else {
        seconds(us / 1e6)
    }
}

/// The same without digits that say nothing, for bounds and ticks: `20 ms`.
#[must_use]
pub fn latency_bound(us: f64) -> String {
    bound(Unit::Microseconds, us)
}

/// A length of time: `10 s`, `1 min 30 s`, `2 h 5 min`.
#[must_use]
pub fn seconds(s: f64) -> String {
    if !s.is_finite() {
        return "–".to_owned();
    }
    if s < 119.5 {
        return format!("{} s", without_trailing_zeros(&three_digits(s)));
    }
    let whole = s.round() as u64;
    let (days, hours, minutes, rest) =
        (whole / 86_400, whole / 3_600 % 24, whole / 60 % 60, whole % 60);
    let parts = match (days, hours) {
        (0, 0) => [(minutes, "min"), (rest, "s")],
        (0, _) => [(hours, "h"), (minutes, "min")],
        (_, _) => [(days, "d"), (hours, "h")],
    };
    let said: Vec<_> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count} {unit}"))
        .collect();
    said.join(" ")
}

/// A count with its thousands apart: `284,032`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number that need not be whole: thousands apart from 100 on, three digits below.
#[must_use]
pub fn plain(value: f64) -> String {
    if !value.is_finite() {
        return "–".to_owned();
    }
    let sign = if value < 0.0 { "−" } else { "" };
    let size = value.abs();
    if size >= 99.95 || size.fract() == 0.0 {
        format!("{sign}{}", count(size.round() as u64))
    } else {
        format!("{sign}{}", three_digits(size))
    }
}

/// So many for each second: `1,000/s`.
#[must_use]
pub fn rate(per_s: f64) -> String {
    format!("{}/s", plain(per_s))
}

/// Bytes in powers of 1024: `212 MiB`.
#[must_use]
pub fn bytes(value: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let sign = if value < 0.0 { "−" } else { "" };
    let mut size = value.abs();
    let mut unit = 0;
    while size >= 999.5 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{sign}{size:.0} B")
    } else {
        format!("{sign}{} {}", three_digits(size), UNITS[unit])
    }
}

/// Cores, fully busy: `0.42 cores`.
#[must_use]
pub fn cores(value: f64) -> String {
    format!("{value:.2} cores")
}

/// A share of a whole; never says `100 %` of less, nor `0 %` of something.
#[must_use]
pub fn percent(share: f64) -> String {
    if !share.is_finite() {
        return "–".to_owned();
    }
    if share == 0.0 || share == 1.0 {
        return format!("{:.0} %", share * 100.0);
    }
    let rest = if share > 0.5 { 1.0 - share } else { share };
    let places = if share < 1.0 { (-rest.log10()).ceil().clamp(3.0, 6.0) as usize - 2 } else { 1 };
    // Down, as 99.99 % is not 100 %; the little more is for sums that are not exact in binary.
    let step = 10_f64.powi(i32::try_from(places).expect("at most 4") + 2);
    let down = (share * step + 1e-6).floor() / step;
    if down == 0.0 { "< 0.0001 %".to_owned() } else { format!("{:.places$} %", down * 100.0) }
}

/// A change as a signed percentage: `+12.3 %`.
#[must_use]
pub fn change(share: f64) -> String {
    if !share.is_finite() {
        return "–".to_owned();
    }
    let percent = share * 100.0;
    let places = usize::from(percent.abs() < 99.95);
    let text = format!("{:.places$}", percent.abs());
    let sign = match text.bytes().all(|byte| matches!(byte, b'0' | b'.')) {
        true => "±",
        false if share < 0.0 => "−",
        false => "+",
    };
    format!("{sign}{text} %")
}

/// A moment in UTC: `2026-11-23 19:04 UTC`.
#[must_use]
pub fn date(ms_since_1970: u64) -> String {
    let minutes = ms_since_1970 / 60_000;
    let (year, month, day) = civil(minutes / 1_440);
    format!("{year}-{month:02}-{day:02} {:02}:{:02} UTC", minutes / 60 % 24, minutes % 60)
}

/// Year, month and day of a day since 1970, by eras of 400 years that begin in March.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day_of_year - (153 * from_march + 2) / 5 + 1)
}

fn three_digits(value: f64) -> String {
    let size = value.abs();
    let places = if size >= 99.95 {
        0
    } else if size >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.places$}")
}

fn without_trailing_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_have_three_digits_and_the_unit_that_fits() {
        let said: Vec<_> = [0.0, 7.0, 999.4, 999.6, 3_141.0, 99_960.0, 999_600.0, 61e6, 125e6]
            .into_iter()
            .map(latency)
            .collect();
        let expected = [
            "0 µs",
            "7 µs",
            "999 µs",
            "1.00 ms",
            "3.14 ms",
            "100 ms",
            "1.00 s",
            "61.0 s",
            "2 min 5 s",
        ];
        assert_eq!(said, expected);
        assert_eq!(latency_bound(20_000.0), "20 ms");
    }

    #[test]
    fn a_share_is_never_rounded_up_to_all_nor_down_to_none() {
        assert_eq!(percent(1.0), "100 %");
        assert_eq!(percent(0.0), "0 %");
        assert_eq!(percent(0.5), "50.0 %");
        assert_eq!(percent(0.57), "57.0 %");
        assert_eq!(percent(0.999_93), "99.993 %");
        assert_eq!(percent(0.999_999_99), "99.9999 %");
        assert_eq!(percent(1e-9), "< 0.0001 %");
        assert_eq!(percent(1.25), "125.0 %");
    }

    #[test]
    fn counts_rates_and_bytes_are_readable() {
        assert_eq!(count(0), "0");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(rate(999.6), "1,000/s");
        assert_eq!(rate(48.25), "48.2/s");
        assert_eq!(bytes(512.0), "512 B");
        assert_eq!(bytes(222_298_112.0), "212 MiB");
        assert_eq!(change(0.1234), "+12.3 %");
        assert_eq!(change(-0.0001), "±0.0 %");
    }

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(date(0), "1970-01-01 00:00 UTC");
        assert_eq!(date(951_782_400_000), "2000-02-29 00:00 UTC");
        assert_eq!(date(1_795_460_640_000), "2026-11-23 19:04 UTC");
    }
}
