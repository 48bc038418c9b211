//! Why the store does not open.

/// Why a store does not open, by what to do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No node answers in time: try again.
    #[error("no node of the database can be reached: {0}")]
    Unreachable(String),
    /// It is reached and has something to be done before it can be used: do it, or try again.
    #[error("the database is not ready: {what}: {remedy}")]
    NotReady {
        /// What is missing.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// It will not open as it is: act.
    #[error("the database is refused: {what}: {remedy}")]
    Refused {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
}

impl OpenError {
    pub(crate) fn refused(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), remedy: remedy.into() }
    }

    pub(crate) fn not_ready(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::NotReady { what: what.into(), remedy: remedy.into() }
    }
}
