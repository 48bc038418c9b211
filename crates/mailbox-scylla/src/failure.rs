//! Which failures pass, and which need someone to act.

use ports::StoreError;
use scylla::errors::{
    DbError, ExecutionError, IntoRowsResultError, RequestAttemptError, RowsError,
};

/// What Cassandra says, of the same kinds as a refusal, when it could not read who may do what from
/// its own tables, such as while nodes are away.
const COULD_NOT_LOOK: &str = "Unable to perform auth";

/// Whether a node refuses a user only because it could not look whether it may.
pub(crate) fn could_not_look(why: &str) -> bool {
    why.contains(COULD_NOT_LOOK)
}

/// Why an attempt failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody answered in time: it may have happened, and may yet.
    Late(String),
    /// It may have happened; another attempt may succeed.
    Passing(String),
    /// Every attempt will fail.
    Lasting(String),
}

impl Failure {
    pub(crate) fn into_store_error(self) -> StoreError {
        match self {
            Self::Late(reason) | Self::Passing(reason) => StoreError::Retry(reason),
            Self::Lasting(reason) => StoreError::Stop(reason),
        }
    }
}

impl From<ExecutionError> for Failure {
    #[allow(clippy::wildcard_enum_match_arm, reason = "the driver may add kinds")]
    fn from(error: ExecutionError) -> Self {
        let reason = error.to_string();
        if matches!(error, ExecutionError::RequestTimeout(_)) {
            return Self::Late(reason);
        }
        if matches!(error, ExecutionError::BadQuery(_)) {
            return Self::Lasting(reason);
        }
        match error {
            ExecutionError::LastAttemptError(error) => of_attempt(&error, reason),
            // No connection, no plan, and what a later driver adds: nothing says it will last.
            _ => Self::Passing(reason),
        }
    }
}

#[allow(clippy::wildcard_enum_match_arm, reason = "the driver may add kinds")]
fn of_attempt(error: &RequestAttemptError, reason: String) -> Failure {
    use RequestAttemptError as E;
    match error {
        E::DbError(DbError::WriteTimeout { .. } | DbError::ReadTimeout { .. }, _) => {
            Failure::Late(reason)
        }
        E::DbError(DbError::AuthenticationError | DbError::Unauthorized, why)
            if could_not_look(why) =>
        {
            Failure::Passing(reason)
        }
        // A table or column that is not there, a right that was not given, a timestamp too far
        // ahead, a mutation too large: the same statement gets the same answer.
        E::DbError(
            DbError::SyntaxError
            | DbError::Invalid
            | DbError::AlreadyExists { .. }
            | DbError::FunctionFailure { .. }
            | DbError::AuthenticationError
            | DbError::Unauthorized
            | DbError::ConfigError
            | DbError::ProtocolError,
            _,
        )
        | E::SerializationError(_)
        | E::CqlRequestSerialization(_)
        | E::RepreparedIdChanged { .. }
        | E::RepreparedIdMissingInBatch => Failure::Lasting(reason),
        _ => Failure::Passing(reason),
    }
}

/// An answer that is no row of ours: the tables are not those this program knows.
macro_rules! lasting {
    ($($error:ty),+) => {
        $(impl From<$error> for Failure {
            fn from(error: $error) -> Self {
                Self::Lasting(format!("an answer does not fit: {error}"))
            }
        })+
    };
}

lasting!(
    IntoRowsResultError,
    RowsError,
    scylla::errors::MaybeFirstRowError,
    scylla::deserialize::DeserializationError
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_lasts_unless_the_node_could_not_look() {
        let of = |why: &str| {
            let error = RequestAttemptError::DbError(DbError::Unauthorized, why.to_owned());
            Failure::from(ExecutionError::LastAttemptError(error)).into_store_error()
        };
        let refused = of("User mail has no MODIFY permission on <table mail.marks>");
        assert!(matches!(refused, StoreError::Stop(_)));
        let why = "Unable to perform authorization of permissions: \
            Cannot achieve consistency level LOCAL_ONE";
        assert!(matches!(of(why), StoreError::Retry(_)));
    }
}
