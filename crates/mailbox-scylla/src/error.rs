//! Why the store does not open.

use scylla::errors::{DbError, PrepareError, RequestAttemptError as E};

use crate::failure::could_not_look;

pub(crate) const REMEDY_GRANT: &str = "grant the user SELECT and MODIFY on the keyspace";

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

    /// Of a statement that could not be prepared.
    #[allow(clippy::wildcard_enum_match_arm, reason = "the driver may add kinds")]
    pub(crate) fn of_prepare(error: &PrepareError) -> Self {
        match error {
            PrepareError::ConnectionPoolError(error) => Self::Unreachable(error.to_string()),
            PrepareError::AllAttemptsFailed {
                first_attempt: E::DbError(DbError::Unauthorized, why),
            } if could_not_look(why) => Self::Unreachable(why.clone()),
            PrepareError::AllAttemptsFailed {
                first_attempt: E::DbError(DbError::Unauthorized, why),
            } => Self::refused(format!("the user may not use the tables: {why}"), REMEDY_GRANT),
            PrepareError::AllAttemptsFailed { first_attempt: E::DbError(kind, why) } => {
                let what = format!("the tables are not those of this version: {kind}: {why}");
                Self::refused(what, "look at the plan of the schema, and apply it")
            }
            _ => Self::Unreachable(error.to_string()),
        }
    }

    pub(crate) fn not_ready(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::NotReady { what: what.into(), remedy: remedy.into() }
    }
}
