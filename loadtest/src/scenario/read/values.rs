//! Values of keys: each reads one, or says what it expected.

use std::{ops::RangeInclusive, time::Duration};

use toml::de::DeValue;

use crate::scenario::{
    quantity,
    source::{self, Read},
};

/// Any text.
pub(crate) fn text(value: &DeValue<'_>) -> Read<String> {
    value.as_str().map(str::to_owned).ok_or_else(|| "a text in quotes".to_owned())
}

/// Text that is not empty.
pub(crate) fn some_text(value: &DeValue<'_>) -> Read<String> {
    let written = value.as_str().map(str::trim).filter(|text| !text.is_empty());
    written.map(str::to_owned).ok_or_else(|| "a text that says something".to_owned())
}

/// A name: letters, digits, `-` and `_`, at most 64.
pub(crate) fn name(value: &DeValue<'_>) -> Read<String> {
    let is_name = |text: &str| {
        (1..=64).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    let expected = "a name of at most 64 letters, digits, `-` and `_`";
    value.as_str().filter(|text| is_name(text)).map(str::to_owned).ok_or(expected.to_owned())
}

/// One of some names.
pub(crate) fn one_of<T: Copy>(choices: &[(&'static str, T)]) -> impl Fn(&DeValue<'_>) -> Read<T> {
    one_of_and(choices, "")
}

/// One of some names, or something else that is tried elsewhere: only for the error.
pub(crate) fn one_of_and<T: Copy>(
    choices: &[(&'static str, T)],
    others: &str,
) -> impl Fn(&DeValue<'_>) -> Read<T> {
    move |value| {
        let written = value.as_str().unwrap_or("");
        if let Some((_, choice)) = choices.iter().find(|(name, _)| *name == written) {
            return Ok(*choice);
        }
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let quoted: Vec<_> = names.iter().map(|name| format!("\"{name}\"")).collect();
        let near = source::nearest(written, &names);
        let near = near.map(|near| format!("; did you mean \"{near}\"?")).unwrap_or_default();
        Err(format!("one of {}{others}{near}", quoted.join(", ")))
    }
}

/// `true` or `false`.
pub(crate) fn flag(value: &DeValue<'_>) -> Read<bool> {
    value.as_bool().ok_or_else(|| "true or false".to_owned())
}

/// A whole number.
pub(crate) fn count(range: RangeInclusive<u64>) -> impl Fn(&DeValue<'_>) -> Read<u64> {
    move |value| {
        let number = value.as_integer();
        let number = number.and_then(|it| u64::from_str_radix(it.as_str(), it.radix()).ok());
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            let show = |number: &u64| quantity::show_number(*number as f64);
            match (range.start(), range.end()) {
                (0, &u64::MAX) => "a whole number".to_owned(),
                (start, end) => format!("a whole number from {} to {}", show(start), show(end)),
            }
        })
    }
}

/// A whole number that fits 32 bits.
pub(crate) fn count32(range: RangeInclusive<u32>) -> impl Fn(&DeValue<'_>) -> Read<u32> {
    let read = count(u64::from(*range.start())..=u64::from(*range.end()));
    move |value| Ok(u32::try_from(read(value)?).expect("the range was one of 32 bits"))
}

/// A number, whole or not.
pub(crate) fn number(range: RangeInclusive<f64>) -> impl Fn(&DeValue<'_>) -> Read<f64> {
    move |value| {
        as_number(value).filter(|number| range.contains(number)).ok_or_else(|| {
            let show = quantity::show_number;
            format!("a number from {} to {}", show(*range.start()), show(*range.end()))
        })
    }
}

fn as_number(value: &DeValue<'_>) -> Option<f64> {
    if let Some(whole) = value.as_integer() {
        return i64::from_str_radix(whole.as_str(), whole.radix()).ok().map(|it| it as f64);
    }
    value.as_float()?.as_str().parse().ok().filter(|number: &f64| number.is_finite())
}

/// From 0 to 1, or a percentage.
pub(crate) fn share(value: &DeValue<'_>) -> Read<f64> {
    let number = match value.as_str() {
        Some(text) => quantity::parse_percentage(text),
        None => as_number(value),
    };
    let number = number.filter(|number| (0.0..=1.0).contains(number));
    number.ok_or_else(|| quantity::SHARE_EXPECTED.to_owned())
}

/// A duration in a range.
pub(crate) fn duration(range: RangeInclusive<Duration>) -> impl Fn(&DeValue<'_>) -> Read<Duration> {
    move |value| {
        let Some(read) = value.as_str().and_then(quantity::parse_duration) else {
            return Err(quantity::DURATION_EXPECTED.to_owned());
        };
        if range.contains(&read) {
            return Ok(read);
        }
        let [least, most] = [*range.start(), *range.end()].map(quantity::show_duration);
        Err(format!("a duration from {least} to {most}"))
    }
}

/// Bytes in a range, as a number or a size.
pub(crate) fn bytes(range: RangeInclusive<u64>) -> impl Fn(&DeValue<'_>) -> Read<u64> {
    move |value| {
        let read = match value.as_str() {
            Some(text) => quantity::parse_size(text),
            None => count(0..=u64::MAX)(value).ok(),
        };
        let Some(read) = read else { return Err(quantity::SIZE_EXPECTED.to_owned()) };
        if range.contains(&read) {
            return Ok(read);
        }
        let [least, most] =
            [*range.start(), *range.end()].map(|at| quantity::show_bytes(at as f64));
        Err(format!("a size from {least} to {most}"))
    }
}

/// A list of at least one and at most `max`.
pub(crate) fn list<T>(
    max: usize,
    what: &str,
    read: impl Fn(&DeValue<'_>) -> Read<T>,
) -> impl Fn(&DeValue<'_>) -> Read<Vec<T>> {
    move |value| {
        let items = value.as_array().filter(|items| (1..=max).contains(&items.len()));
        let items = items.ok_or_else(|| format!("a list of 1 to {max} {what}"))?;
        let read = |item: &toml::Spanned<DeValue<'_>>| read(item.get_ref());
        items
            .iter()
            .map(read)
            .collect::<Read<_>>()
            .map_err(|expected| format!("a list of {what} of which each is {expected}"))
    }
}
