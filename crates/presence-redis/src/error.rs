//! What is wrong with the settings.

/// Why there is no presence on Redis: the settings cannot be right. A Redis that is not reachable
/// is no such reason.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}")]
pub struct OpenError {
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub remedy: String,
}
