//! What an engine tells the people who run it, and what it needs to know from them.

use std::fmt;

/// What one look at an engine found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How it stands.
    pub state: State,
    /// What was looked at, such as `kafka: min.insync.replicas of posthorn.mail.e1`.
    pub about: String,
    /// What was found, such as `1, needed are 2`.
    pub found: String,
    /// What to do; empty when nothing is to be done.
    pub remedy: String,
}

/// How something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// As it must be.
    Good,
    /// It works, and someone should know.
    Doubtful,
    /// The cluster does not work, or not safely, until it is changed.
    Wrong,
}

/// One step of a plan. Steps are taken in their order, and taking one again changes nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// What is done, such as `create topic posthorn.mail.e1 with 12 partitions`.
    pub what: String,
    /// Why it is needed.
    pub why: String,
    /// There is nothing to do any more.
    pub done: bool,
}

/// Why an engine does not open, by what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// Nobody answers: try again.
    #[error("{0}")]
    Unreachable(String),
    /// Something has to be made or done first: say so, and try again.
    #[error("{what}: {remedy}")]
    NotReady {
        /// What is missing.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// It would not work or not be safe, and trying again changes nothing: someone must act.
    #[error("{what}: {remedy}")]
    Refused {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
}

impl OpenError {
    /// See [`Self::NotReady`].
    #[must_use]
    pub fn not_ready(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::NotReady { what: what.into(), remedy: remedy.into() }
    }

    /// See [`Self::Refused`].
    #[must_use]
    pub fn refused(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), remedy: remedy.into() }
    }
}

/// A password of an engine, which no message shows.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

impl Password {
    /// The password with these characters.
    #[must_use]
    pub fn new(password: impl Into<String>) -> Self {
        Self(password.into())
    }

    /// Its characters, for nobody but the engine.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(hidden)")
    }
}
