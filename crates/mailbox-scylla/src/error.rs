//! Why the store does not open.

use scylla::errors::{DbError, PrepareError, RequestAttemptError as E};

use crate::{OpenError, failure::could_not_look};

pub(crate) const REMEDY_GRANT: &str = "grant the user SELECT and MODIFY on the keyspace";

/// Of a statement that could not be prepared.
#[allow(clippy::wildcard_enum_match_arm, reason = "the driver may add kinds")]
pub(crate) fn of_prepare(error: &PrepareError) -> OpenError {
    match error {
        PrepareError::ConnectionPoolError(error) => OpenError::Unreachable(error.to_string()),
        PrepareError::AllAttemptsFailed {
            first_attempt: E::DbError(DbError::Unauthorized, why),
        } if could_not_look(why) => OpenError::Unreachable(why.clone()),
        PrepareError::AllAttemptsFailed {
            first_attempt: E::DbError(DbError::Unauthorized, why),
        } => OpenError::refused(format!("the user may not use the tables: {why}"), REMEDY_GRANT),
        PrepareError::AllAttemptsFailed { first_attempt: E::DbError(kind, why) } => {
            let what = format!("the tables are not those of this version: {kind}: {why}");
            OpenError::refused(what, "look at the plan of the schema, and apply it")
        }
        _ => OpenError::Unreachable(error.to_string()),
    }
}
