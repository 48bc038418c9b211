//! Numbers as people read them at a glance.

/// A count with thousands apart: `12,345`.
#[must_use]
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many each second: `12,345/s`.
#[must_use]
pub fn per_second(rate: f64) -> String {
    if rate < 9.95 { format!("{rate:.1}/s") } else { format!("{}/s", count(rate.round() as u64)) }
}

/// A span of time: `850 us`, `1.20 ms`, `34.5 ms`, `2.50 s`.
#[must_use]
pub fn span(us: u64) -> String {
    match us {
        0..1_000 => format!("{us} us"),
        1_000..10_000 => format!("{:.2} ms", us as f64 / 1e3),
        10_000..100_000 => format!("{:.1} ms", us as f64 / 1e3),
        100_000..1_000_000 => format!("{:.0} ms", us as f64 / 1e3),
        1_000_000..100_000_000 => format!("{:.2} s", us as f64 / 1e6),
        _ => format!("{:.0} s", us as f64 / 1e6),
    }
}

/// An amount of memory: `512 B`, `1.5 KiB`, `34.0 MiB`, `2.1 GiB`.
#[must_use]
pub fn bytes(bytes: u64) -> String {
    let mut amount = bytes as f64;
    if amount < 1024.0 {
        return format!("{bytes} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        amount /= 1024.0;
        if amount < 1024.0 {
            return format!("{amount:.1} {unit}");
        }
    }
    format!("{:.1} TiB", amount / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(per_second(0.25), "0.2/s");
        assert_eq!(per_second(12_345.4), "12,345/s");
        assert_eq!(
            [span(850), span(1_200), span(34_500), span(2_500_000)].join(" "),
            "850 us 1.20 ms 34.5 ms 2.50 s"
        );
        assert_eq!([bytes(512), bytes(1_536), bytes(3 << 30)].join(" "), "512 B 1.5 KiB 3.0 GiB");
    }
}
