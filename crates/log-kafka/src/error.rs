//! Why the log does not open.

/// Why the log does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// No broker answers: try again.
    #[error("Kafka is unreachable: {0}")]
    Unreachable(String),
    /// Something is not there yet: tell, and try again.
    #[error("{what}: {remedy}")]
    NotReady {
        /// What is missing.
        what: String,
        /// What to do.
        remedy: String,
    },
    /// It would not be safe: stop until someone has acted.
    #[error("{what}: {remedy}")]
    Refused {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
}
