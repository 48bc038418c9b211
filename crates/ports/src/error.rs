//! What a caller does when a store fails.

/// Why a store did not do what it was asked. Every operation of a store may be repeated.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// It is not known whether it happened: do the same again.
    #[error("the store did not answer in time or is overloaded: {0}")]
    Retry(String),
    /// It will not happen, however often it is asked: stop and raise an alarm.
    #[error("the store refuses: {0}")]
    Stop(String),
}
