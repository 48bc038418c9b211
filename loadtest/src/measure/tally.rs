//! How much of everything happened, and what went wrong.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::report::summary::{Counts, ErrorCount};

/// How much of everything happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// What every report shows. Errors are counted in [`Self::errors`] as well.
    pub counts: Counts,
    /// Sends that will never be delivered.
    pub rejected: u64,
    /// Sends nobody can say anything about.
    pub unknown: u64,
    /// Of the deliveries, those to devices that had been away.
    pub caught_up: u64,
    /// What went wrong.
    pub errors: Errors,
}

impl Tally {
    /// Counts something that went wrong.
    pub fn error(&mut self, kind: &str, words: &str) {
        self.counts.errors += 1;
        self.errors.count(kind, words);
    }

    /// Takes those of another in addition.
    pub fn add(&mut self, other: &Self) {
        self.counts += other.counts;
        self.rejected += other.rejected;
        self.unknown += other.unknown;
        self.caught_up += other.caught_up;
        self.errors.add(&other.errors);
    }
}

/// What went wrong, by kind. Kinds are few: they come from closed lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errors(BTreeMap<String, (u64, String)>);

impl Errors {
    /// Counts one more of a kind; the words of the first are kept.
    pub fn count(&mut self, kind: &str, words: &str) {
        if let Some((count, _)) = self.0.get_mut(kind) {
            *count += 1;
        } else {
            self.0.insert(kind.to_owned(), (1, words.to_owned()));
        }
    }

    /// How many there are of a kind.
    #[must_use]
    pub fn of(&self, kind: &str) -> u64 {
        self.0.get(kind).map_or(0, |(count, _)| *count)
    }

    /// Takes those of another in addition.
    pub fn add(&mut self, other: &Self) {
        for (kind, (count, words)) in &other.0 {
            let ours = self.0.entry(kind.clone()).or_insert_with(|| (0, words.clone()));
            ours.0 += count;
        }
    }

    /// The most frequent first, for a report.
    #[must_use]
    pub fn listed(&self) -> Vec<ErrorCount> {
        let listed = self.0.iter().map(|(kind, (count, words))| ErrorCount {
            kind: kind.clone(),
            count: *count,
            example: (!words.is_empty()).then(|| words.clone()),
        });
        let mut listed: Vec<_> = listed.collect();
        listed.sort_by_key(|error| std::cmp::Reverse(error.count));
        listed
    }
}
