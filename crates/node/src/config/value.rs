//! Values of settings, as people write them: `30d`, `64 KiB`, `127.0.0.1:4433`.

use std::{fmt, net::SocketAddr, path::PathBuf, time::Duration};

/// A type a setting can have.
pub trait Value: Sized {
    /// What to write, for a reader who got it wrong.
    const EXPECTED: &'static str;

    /// The value written in `text`; the error says no more than [`Self::EXPECTED`] does.
    ///
    /// # Errors
    /// [`NotValid`] when it is not one.
    fn parse(text: &str) -> Result<Self, NotValid>;

    /// The value as TOML; parsing what is between its quotes gives the same value.
    fn to_toml(&self) -> String;
}

/// A text is not a value of the type wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotValid;

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// Something that must not be printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Option<String>);

const DURATION_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
const SIZE_UNITS: &[(&str, u64)] =
    &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40)];

impl Size {
    /// `count` KiB.
    #[must_use]
    pub const fn kib(count: u64) -> Self {
        Self(count << 10)
    }

    /// `count` MiB.
    #[must_use]
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// `count` GiB.
    #[must_use]
    pub const fn gib(count: u64) -> Self {
        Self(count << 30)
    }
}

impl Secret {
    /// A secret that is there.
    #[must_use]
    pub const fn new(text: String) -> Self {
        Self(Some(text))
    }

    /// The secret itself, when there is one.
    #[must_use]
    pub fn reveal(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Secret(<hidden>)" } else { "Secret(none)" })
    }
}

/// `text` as a number and one of the units; exact, without fractions.
fn parse_with_unit(text: &str, units: &[(&str, u64)]) -> Result<u64, NotValid> {
    let text = text.trim();
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '_').ok_or(NotValid)?;
    let (digits, unit) = text.split_at(digits_end);
    let count: u64 = digits.replace('_', "").parse().map_err(|_| NotValid)?;
    let unit = unit.trim();
    let (_, factor) = units.iter().find(|(name, _)| *name == unit).ok_or(NotValid)?;
    count.checked_mul(*factor).ok_or(NotValid)
}

/// `value` with the largest unit that divides it.
fn format_with_unit(value: u64, units: &[(&str, u64)], gap: &str) -> String {
    let fits = |(_, factor): &&(&str, u64)| value != 0 && value.is_multiple_of(*factor);
    let (name, factor) = units.iter().rev().find(fits).unwrap_or(&units[0]);
    format!("{}{gap}{name}", value / factor)
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

impl Value for Duration {
    const EXPECTED: &'static str =
        "a duration such as \"500ms\", \"10s\", \"5m\", \"2h\" or \"30d\"";

    fn parse(text: &str) -> Result<Self, NotValid> {
        parse_with_unit(text, DURATION_UNITS).map(Self::from_millis)
    }

    fn to_toml(&self) -> String {
        let ms = u64::try_from(self.as_millis()).expect("settings are below 500 million years");
        quoted(&format_with_unit(ms, DURATION_UNITS, ""))
    }
}

impl Value for Size {
    const EXPECTED: &'static str = "a size such as \"512 B\", \"64 KiB\", \"16 MiB\" or \"10 GiB\"";

    fn parse(text: &str) -> Result<Self, NotValid> {
        parse_with_unit(text, SIZE_UNITS).map(Self)
    }

    fn to_toml(&self) -> String {
        quoted(&format_with_unit(self.0, SIZE_UNITS, " "))
    }
}

impl Value for SocketAddr {
    const EXPECTED: &'static str =
        "an address and a port such as \"127.0.0.1:4433\" or \"[::]:4433\"";

    fn parse(text: &str) -> Result<Self, NotValid> {
        text.trim().parse().map_err(|_| NotValid)
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string())
    }
}

macro_rules! number_value {
    ($($int:ty: $expected:literal),+) => {$(
        impl Value for $int {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, NotValid> {
                text.trim().replace('_', "").parse().map_err(|_| NotValid)
            }

            fn to_toml(&self) -> String {
                self.to_string()
            }
        }
    )+};
}

number_value!(
    u16: "a whole number from 0 to 65535",
    u32: "a whole number from 0 to 4294967295",
    usize: "a whole number, 0 or more",
    bool: "true or false"
);

impl Value for String {
    const EXPECTED: &'static str = "a text";

    fn parse(text: &str) -> Result<Self, NotValid> {
        Ok(text.to_owned())
    }

    fn to_toml(&self) -> String {
        quoted(self)
    }
}

impl Value for PathBuf {
    const EXPECTED: &'static str = "a path";

    fn parse(text: &str) -> Result<Self, NotValid> {
        if text.is_empty() { Err(NotValid) } else { Ok(Self::from(text)) }
    }

    fn to_toml(&self) -> String {
        quoted(&self.to_string_lossy())
    }
}

impl Value for Secret {
    const EXPECTED: &'static str = "a secret";

    fn parse(text: &str) -> Result<Self, NotValid> {
        Ok(Self((!text.is_empty()).then(|| text.to_owned())))
    }

    /// Never the secret.
    fn to_toml(&self) -> String {
        quoted("")
    }
}

/// Empty means none.
impl<T: Value> Value for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn parse(text: &str) -> Result<Self, NotValid> {
        if text.trim().is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }

    fn to_toml(&self) -> String {
        self.as_ref().map_or_else(|| quoted(""), T::to_toml)
    }
}

/// A list in TOML; in a variable or a flag, separated by commas.
impl<T: Value> Value for Vec<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn parse(text: &str) -> Result<Self, NotValid> {
        text.split(',').map(str::trim).filter(|one| !one.is_empty()).map(T::parse).collect()
    }

    fn to_toml(&self) -> String {
        format!("[{}]", self.iter().map(T::to_toml).collect::<Vec<_>>().join(", "))
    }
}

/// Implements [`Value`] for an enum of words.
macro_rules! word_value {
    ($(#[$doc:meta])* $name:ident: $expected:literal {
        $($(#[$word_doc:meta])* $variant:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$word_doc])* $variant),+ }

        impl $crate::config::value::Value for $name {
            const EXPECTED: &'static str = $expected;

            fn parse(text: &str) -> Result<Self, $crate::config::value::NotValid> {
                match text.trim() {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::config::value::NotValid),
                }
            }

            fn to_toml(&self) -> String {
                match self { $(Self::$variant => concat!('"', $word, '"').to_owned()),+ }
            }
        }
    };
}
pub(crate) use word_value;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check<T: Value + PartialEq + fmt::Debug>(text: &str, value: T, written: &str) {
        assert_eq!(T::parse(text).unwrap(), value, "{text}");
        assert_eq!(value.to_toml(), written);
        assert_eq!(T::parse(written.trim_matches('"')).unwrap(), value, "{written}");
    }

    #[test]
    fn durations_and_sizes_are_written_with_units() {
        check("30d", Duration::from_secs(30 * 86400), "\"30d\"");
        check("90s", Duration::from_secs(90), "\"90s\"");
        check("60 s", Duration::from_secs(60), "\"1m\"");
        check("0s", Duration::ZERO, "\"0ms\"");
        check("64 KiB", Size::kib(64), "\"64 KiB\"");
        check("64KiB", Size::kib(64), "\"64 KiB\"");
        check("1_500 B", Size(1500), "\"1500 B\"");
    }

    #[test]
    fn what_has_no_unit_or_an_unknown_one_is_refused() {
        for text in ["10", "", "s", "1.5s", "10 sec", "-1s", "99999999999999999d"] {
            assert_eq!(Duration::parse(text), Err(NotValid), "{text}");
        }
        for text in ["10", "10 KB", "1.5 GiB", "99999999999 TiB"] {
            assert_eq!(Size::parse(text), Err(NotValid), "{text}");
        }
    }

    #[test]
    fn a_secret_is_never_written() {
        let secret = Secret::parse("hunter2").unwrap();
        assert_eq!(secret.reveal(), Some("hunter2"));
        assert!(!format!("{secret:?}{}", secret.to_toml()).contains("hunter2"));
    }
}
