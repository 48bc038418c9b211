//! How much worse each figure may become.

use std::{collections::BTreeMap, str::FromStr};

use super::{Row, figure};

/// How much worse each figure may become, as a share of what it was.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    by_key: BTreeMap<String, f64>,
    given: bool,
}

impl Default for Limits {
    /// `p50=10%,p99=10%,rate=5%`.
    fn default() -> Self {
        let limits = [("p50", 0.1), ("p99", 0.1), ("rate", 0.05)];
        let by_key = limits.into_iter().map(|(key, limit)| (key.to_owned(), limit)).collect();
        Self { by_key, given: false }
    }
}

impl Limits {
    /// The limit of a figure.
    #[must_use]
    pub fn of(&self, key: &str) -> Option<f64> {
        self.by_key.get(key).copied()
    }

    /// The keys that a person gave and that no row has.
    pub(super) fn unused(&self, rows: &[Row]) -> Vec<&str> {
        let unused = |key: &&String| !rows.iter().any(|row| row.key == **key);
        self.by_key.keys().filter(|_| self.given).filter(unused).map(String::as_str).collect()
    }
}

/// Why limits were not understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitsError {
    /// A part is not of the form.
    #[error("`{0}` is not a figure and a percentage such as `p99=10%`")]
    Form(String),
    /// A figure that there is not.
    #[error("there is no figure `{key}`{nearest}; there are {known}")]
    Unknown {
        /// What was given.
        key: String,
        /// What may have been meant.
        nearest: String,
        /// What there is.
        known: String,
    },
    /// A percentage that makes no sense.
    #[error("`{0}` is not a percentage from 0 to 1000")]
    Percentage(String),
}

impl FromStr for Limits {
    type Err = LimitsError;

    fn from_str(text: &str) -> Result<Self, LimitsError> {
        let by_key = text.split(',').map(one).collect::<Result<_, _>>()?;
        Ok(Self { by_key, given: true })
    }
}

fn one(part: &str) -> Result<(String, f64), LimitsError> {
    let form = || LimitsError::Form(part.trim().to_owned());
    let (key, share) = part.split_once('=').ok_or_else(form)?;
    let (key, share) = (key.trim(), share.trim());
    if !figure::keys().any(|known| known == key) {
        return Err(unknown(key));
    }
    let percent: f64 = share.trim_end_matches('%').trim().parse().map_err(|_| form())?;
    if !(0.0..=1_000.0).contains(&percent) {
        return Err(LimitsError::Percentage(share.to_owned()));
    }
    Ok((key.to_owned(), percent / 100.0))
}

fn unknown(key: &str) -> LimitsError {
    let near = |known: &&str| strsim::jaro_winkler(key, known) > 0.75;
    let score = |known: &str| strsim::jaro_winkler(key, known);
    let nearest = figure::keys().filter(near).max_by(|a, b| score(a).total_cmp(&score(b)));
    LimitsError::Unknown {
        key: key.to_owned(),
        nearest: nearest.map_or(String::new(), |known| format!(": did you mean `{known}`?")),
        known: figure::keys().collect::<Vec<_>>().join(", "),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn limits_are_read_with_or_without_the_sign() {
        let limits: Limits = "p99=10%, rate=2.5".parse().unwrap();
        assert_eq!(limits.of("p99"), Some(0.1));
        assert_eq!(limits.of("rate"), Some(0.025));
        assert_eq!(limits.of("p50"), None);
    }

    #[test]
    fn a_mistake_is_named_with_what_was_meant() {
        let error = |text: &str| text.parse::<Limits>().unwrap_err().to_string();
        assert!(error("p98=10%").contains("`p98`"));
        assert!(error("acept_p99=1%").contains("did you mean `accept_p99`?"));
        assert!(error("p99").contains("such as `p99=10%`"));
        assert!(error("p99=-3%").contains("0 to 1000"));
        assert!(error("p99=NaN%").contains("0 to 1000"));
    }
}
