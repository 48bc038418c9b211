//! What the database says about itself.

use std::collections::HashMap;

use scylla::{
    client::session::Session, deserialize::row::DeserializeRow, serialize::row::SerializeRow,
};

use super::Dialect;
use crate::failure::Failure;

/// Rows of a statement that is asked seldom.
pub(super) async fn rows<R>(
    session: &Session,
    statement: &str,
    values: impl SerializeRow,
) -> Result<Vec<R>, Failure>
where
    R: for<'f> DeserializeRow<'f, 'f>,
{
    let answer = session.query_unpaged(statement, values).await?.into_rows_result()?;
    let rows = answer.rows::<R>()?.collect::<Result<_, _>>()?;
    Ok(rows)
}

/// Which database it is: one of them has a table of its own.
pub(super) async fn dialect(session: &Session) -> Result<Dialect, Failure> {
    let own = "SELECT table_name FROM system_schema.tables \
        WHERE keyspace_name = 'system' AND table_name = 'scylla_local'";
    let found = rows::<(String,)>(session, own, ()).await?;
    Ok(if found.is_empty() { Dialect::Cassandra } else { Dialect::Scylla })
}

/// The tables of a keyspace, and for how many seconds each remembers deletions.
pub(super) async fn tables(
    session: &Session,
    keyspace: &str,
) -> Result<HashMap<String, u64>, Failure> {
    let statement = "SELECT table_name, gc_grace_seconds FROM system_schema.tables \
        WHERE keyspace_name = ?";
    let found = rows::<(String, i32)>(session, statement, (keyspace,)).await?;
    let seconds = |seconds| u64::try_from(seconds).unwrap_or(0);
    Ok(found.into_iter().map(|(name, grace)| (name, seconds(grace))).collect())
}

/// How a keyspace is replicated; none when there is no such keyspace.
pub(super) async fn replication(
    session: &Session,
    keyspace: &str,
) -> Result<Option<HashMap<String, String>>, Failure> {
    let statement = "SELECT replication FROM system_schema.keyspaces WHERE keyspace_name = ?";
    let found = rows::<(HashMap<String, String>,)>(session, statement, (keyspace,)).await?;
    Ok(found.into_iter().next().map(|(replication,)| replication))
}

/// Copies that a datacenter holds.
pub(super) fn copies(replication: &HashMap<String, String>, datacenter: &str) -> u16 {
    let copies = replication.get(datacenter).or_else(|| replication.get("replication_factor"));
    // `3/1` would be one of several kinds of copies.
    copies.and_then(|text| text.split('/').next()?.parse().ok()).unwrap_or(0)
}

/// The version of the tables; 0 before the first. The table must be there.
pub(super) async fn version(session: &Session, keyspace: &str) -> Result<i32, Failure> {
    let statement =
        format!("SELECT version FROM {keyspace}.schema_version WHERE part = 'posthorn'");
    let found = rows::<(i32,)>(session, &statement, ()).await?;
    Ok(found.into_iter().map(|(version,)| version).max().unwrap_or(0))
}
