//! Every statement the store uses, prepared once.
//!
//! Columns are named, so that a new one changes nothing here; values are bound by their place, and
//! no name is bound twice: Cassandra and `ScyllaDB` differ in both. Every write says its timestamp:
//! one without would get the wall clock's, which beats every position for ever.

use ports::StoreError;
use scylla::{
    client::{execution_profile::ExecutionProfileHandle, session::Session},
    errors::PrepareError,
    statement::{
        batch::{Batch, BatchStatement, BatchType},
        prepared::PreparedStatement,
    },
};

use crate::connect::Profiles;

/// Rows of a page.
pub(crate) const PAGE_ROWS_MAX: i32 = 64;

pub(crate) struct Statements {
    pub(crate) insert_row: PreparedStatement,
    pub(crate) erase_rows: PreparedStatement,
    pub(crate) rows_forward: PreparedStatement,
    pub(crate) rows_back: PreparedStatement,
    pub(crate) set_newest: PreparedStatement,
    pub(crate) head: PreparedStatement,
    pub(crate) buckets: PreparedStatement,
    pub(crate) set_mark: PreparedStatement,
    pub(crate) marks: PreparedStatement,
    pub(crate) set_cursor: PreparedStatement,
    pub(crate) cursor: PreparedStatement,
    pub(crate) put_part: PreparedStatement,
    pub(crate) put_part_for: PreparedStatement,
    pub(crate) part: PreparedStatement,
    pub(crate) part_position: PreparedStatement,
    pub(crate) parts: PreparedStatement,
    write: ExecutionProfileHandle,
}

impl Statements {
    /// Prepares all of them in a keyspace.
    ///
    /// # Errors
    /// When one does not fit the tables, or nobody answers.
    ///
    /// # Cancel safety
    /// Nothing stays behind.
    pub(crate) async fn prepare(
        session: &Session,
        keyspace: &str,
        profiles: &Profiles,
    ) -> Result<Self, PrepareError> {
        let of = async |profile: &ExecutionProfileHandle, text: &str| {
            let mut statement = session.prepare(text.replace("{ks}", keyspace)).await?;
            statement.set_is_idempotent(true);
            statement.set_execution_profile_handle(Some(profile.clone()));
            statement.set_page_size(PAGE_ROWS_MAX);
            Ok::<_, PrepareError>(statement)
        };
        let read = async |text| of(&profiles.read, text).await;
        let write = async |text| of(&profiles.write, text).await;
        Ok(Self {
            insert_row: write(INSERT_ROW).await?,
            erase_rows: write(ERASE_ROWS).await?,
            rows_forward: read(ROWS_FORWARD).await?,
            rows_back: read(ROWS_BACK).await?,
            set_newest: write(SET_NEWEST).await?,
            head: read(HEAD).await?,
            buckets: read(BUCKETS).await?,
            set_mark: write(SET_MARK).await?,
            marks: read(MARKS).await?,
            set_cursor: write(SET_CURSOR).await?,
            cursor: read(CURSOR).await?,
            put_part: write(PUT_PART).await?,
            put_part_for: write(PUT_PART_FOR).await?,
            part: read(PART).await?,
            part_position: read(PART_POSITION).await?,
            parts: read(PARTS).await?,
            write: profiles.write.clone(),
        })
    }

    /// Writes to one partition of one table, done together: an unlogged batch of them is a single
    /// mutation.
    pub(crate) fn batch<'a>(
        &self,
        statements: impl IntoIterator<Item = &'a PreparedStatement>,
    ) -> Batch {
        let statements = statements.into_iter().cloned().map(BatchStatement::PreparedStatement);
        let mut batch = Batch::new_with_statements(BatchType::Unlogged, statements.collect());
        batch.set_is_idempotent(true);
        batch.set_execution_profile_handle(Some(self.write.clone()));
        batch
    }
}

/// How a time to live is told: whole seconds, rounded up, and at most the twenty years that the
/// database takes. None when it has passed. Never 0, which would mean for ever.
pub(crate) fn time_to_live(expires_ms: u64, now_ms: u64) -> Option<i32> {
    const SECONDS_MAX: u64 = 20 * 365 * 24 * 3600;
    let left_ms = expires_ms.checked_sub(now_ms).filter(|left| *left > 0)?;
    let seconds = left_ms.div_ceil(1000).min(SECONDS_MAX);
    Some(i32::try_from(seconds).expect("twenty years in seconds are below 2^31"))
}

/// How far ahead of our clock a log time may be: `ScyllaDB` refuses timestamps more than three
/// days ahead of its own clock, Cassandra takes every one.
pub(crate) const AHEAD_MAX_MS: u64 = 2 * 24 * 3600 * 1000;

/// A log time as a write timestamp, microseconds.
///
/// # Errors
/// [`StoreError::Stop`] when it is too far ahead.
pub(crate) fn timestamp_of(log_time_ms: u64, now_ms: u64) -> Result<i64, StoreError> {
    if log_time_ms > now_ms.saturating_add(AHEAD_MAX_MS) {
        let hours = (log_time_ms - now_ms) / 3_600_000;
        return Err(StoreError::Stop(format!(
            "a log time is {hours} hours ahead of this clock, and ScyllaDB refuses timestamps \
             more than three days ahead: correct the clocks of the log's brokers or of this machine"
        )));
    }
    let micros = log_time_ms.saturating_mul(1000);
    i64::try_from(micros).map_err(|_| StoreError::Stop("a log time is out of range".to_owned()))
}

const INSERT_ROW: &str = "INSERT INTO {ks}.mailbox_rows \
    (user_id, bucket, seq, log_ms, expires_ms, item) \
    VALUES (?, ?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
const ERASE_ROWS: &str = "DELETE FROM {ks}.mailbox_rows USING TIMESTAMP ? \
    WHERE user_id = ? AND bucket = ? AND seq <= ?";
const ROWS_FORWARD: &str = "SELECT seq, log_ms, expires_ms, item FROM {ks}.mailbox_rows \
    WHERE user_id = ? AND bucket = ? AND seq > ? AND seq <= ?";
const ROWS_BACK: &str = "SELECT seq, log_ms, expires_ms, item FROM {ks}.mailbox_rows \
    WHERE user_id = ? AND bucket = ? AND seq > ? AND seq <= ? ORDER BY seq DESC";
const SET_NEWEST: &str = "INSERT INTO {ks}.mailbox_buckets (user_id, bucket, newest, log_ms) \
    VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
const HEAD: &str = "SELECT newest FROM {ks}.mailbox_buckets WHERE user_id = ? LIMIT 1";
const BUCKETS: &str = "SELECT bucket, log_ms FROM {ks}.mailbox_buckets \
    WHERE user_id = ? AND bucket >= ? AND bucket <= ?";
const SET_MARK: &str = "INSERT INTO {ks}.marks (mail_partition, source_partition, seq) \
    VALUES (?, ?, ?) USING TIMESTAMP ?";
const MARKS: &str = "SELECT source_partition, seq FROM {ks}.marks WHERE mail_partition = ?";
const SET_CURSOR: &str = "INSERT INTO {ks}.cursors (user_id, device_id, seq, caught_up_ms) \
    VALUES (?, ?, ?, ?) USING TIMESTAMP ?";
const CURSOR: &str = "SELECT seq, caught_up_ms FROM {ks}.cursors \
    WHERE user_id = ? AND device_id = ?";
const PUT_PART: &str = "INSERT INTO {ks}.entities (entity, kind, part, position, value) \
    VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ?";
const PUT_PART_FOR: &str = "INSERT INTO {ks}.entities (entity, kind, part, position, value) \
    VALUES (?, ?, ?, ?, ?) USING TIMESTAMP ? AND TTL ?";
const PART: &str = "SELECT position, value FROM {ks}.entities \
    WHERE entity = ? AND kind = ? AND part = ?";
const PART_POSITION: &str = "SELECT position FROM {ks}.entities \
    WHERE entity = ? AND kind = ? AND part = ?";
const PARTS: &str = "SELECT part, value FROM {ks}.entities WHERE entity = ? AND kind = ?";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_live_is_rounded_up_and_never_none_of_the_databases_words_for_ever() {
        assert_eq!(time_to_live(5000, 5000), None);
        assert_eq!(time_to_live(4000, 5000), None);
        assert_eq!(time_to_live(5001, 5000), Some(1));
        assert_eq!(time_to_live(7000, 5000), Some(2));
        assert_eq!(time_to_live(u64::MAX, 0), Some(630_720_000));
    }

    #[test]
    fn a_log_time_far_ahead_is_refused_and_named() {
        let day_ms = 24 * 3_600_000;
        assert_eq!(timestamp_of(3 * day_ms, day_ms), Ok(3 * 86_400_000_000));
        let refused = timestamp_of(3 * day_ms + 1, day_ms);
        assert!(matches!(refused, Err(StoreError::Stop(why)) if why.contains("48 hours ahead")));
    }
}
