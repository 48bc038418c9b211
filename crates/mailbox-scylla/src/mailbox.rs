//! The mailboxes.

mod append;
mod pages;

use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use ports::{
    BoxFuture, Mailbox, StoreError,
    mailbox::{Batch, Cursor, Range, Rows},
};
use wire::{DeviceId, Partition, Seq, UserId, record::Source};

use crate::{
    CqlConfig, bucket,
    requests::{Kind, Requests},
    statements::{AHEAD_MAX_MS, Statements, timestamp_of},
};

use self::pages::Order;

/// Requests of one call at a time. Those of all calls together are bounded by the configuration.
const AT_ONCE: usize = 256;

/// The mailboxes in the database.
pub(crate) struct CqlMailbox {
    requests: Arc<Requests>,
    statements: Arc<Statements>,
    wall_clock: fn() -> u64,
    /// No row of a bucket is there any more so long after its newest row was logged.
    bucket_keep_ms: u64,
}

impl CqlMailbox {
    pub(crate) fn new(
        requests: Arc<Requests>,
        statements: Arc<Statements>,
        config: &CqlConfig,
        wall_clock: fn() -> u64,
    ) -> Self {
        let keep = config.retention.max(wire::limits::TTL_MAX);
        let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        // Log times of one partition may step back a little when its leader changes.
        let bucket_keep_ms = keep_ms.saturating_add(AHEAD_MAX_MS);
        Self { requests, statements, wall_clock, bucket_keep_ms }
    }

    async fn head(&self, user: UserId) -> Result<Seq, StoreError> {
        let (session, statement) = (&self.requests.session, &self.statements.head);
        let attempt = async || {
            let answer = session.execute_unpaged(statement, (user.as_bytes(),)).await?;
            let newest = answer.into_rows_result()?.maybe_first_row::<(i64,)>()?;
            Ok(newest.map_or(Seq::ZERO, |(newest,)| bucket::read(newest)))
        };
        self.requests.run(Kind::Read, attempt).await
    }

    async fn all_heads(&self, users: Vec<UserId>) -> Result<Vec<Seq>, StoreError> {
        if let [user] = users[..] {
            return Ok(vec![self.head(user).await?]);
        }
        stream::iter(users).map(|user| self.head(user)).buffered(AT_ONCE).try_collect().await
    }

    async fn stored_marks(&self, partition: Partition) -> Result<Vec<Source>, StoreError> {
        let values = (i32::from(partition.get()),);
        let rows = self.requests.all_rows::<(i32, i64)>(&self.statements.marks, values).await?;
        rows.into_iter()
            .map(|(source, seq)| {
                let source = u16::try_from(source)
                    .map_err(|_| StoreError::Stop("a mark has no partition".to_owned()))?;
                Ok(Source { partition: Partition::new(source), seq: bucket::read(seq) })
            })
            .collect()
    }

    async fn stored_cursor(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> Result<Option<Cursor>, StoreError> {
        let (session, statement) = (&self.requests.session, &self.statements.cursor);
        let values = (user.as_bytes(), device.as_bytes());
        let attempt = async || {
            let answer = session.execute_unpaged(statement, &values).await?;
            let found = answer.into_rows_result()?.maybe_first_row::<(i64, i64)>()?;
            Ok(found.map(|(seq, caught_up_ms)| Cursor {
                seq: bucket::read(seq),
                caught_up_ms: u64::try_from(caught_up_ms).unwrap_or(0),
            }))
        };
        self.requests.run(Kind::Read, attempt).await
    }

    /// The position is the timestamp, so a lower one loses, whenever it comes. Of two with the same
    /// timestamp and no time to live the database keeps the larger bytes, cell by cell: the
    /// positions are the same, and the larger bytes of a time, which is never negative, are the
    /// later time.
    async fn put_cursors(
        &self,
        mut cursors: Vec<(UserId, DeviceId, Cursor)>,
    ) -> Result<(), StoreError> {
        cursors.sort_unstable_by_key(|(user, ..)| *user);
        let mut of_users = Vec::new();
        for of_user in cursors.chunk_by(|(user, ..), (other, ..)| user == other) {
            let values = of_user.iter().map(|(user, device, cursor)| {
                let seq = bucket::stored(cursor.seq.get());
                let caught_up_ms = i64::try_from(cursor.caught_up_ms).unwrap_or(i64::MAX);
                (*user.as_bytes(), *device.as_bytes(), seq, caught_up_ms, seq)
            });
            of_users.push(values.collect::<Vec<_>>());
        }
        let (statements, set_cursor) = (&self.statements, &self.statements.set_cursor);
        stream::iter(of_users)
            .map(|values| self.requests.write_together(statements, set_cursor, values))
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await
    }

    /// The deletion is newer than every log time there may be below the position, so that a row
    /// that is written again stays away; rows above it are not touched. The database remembers it
    /// for longer than the log can be replayed.
    async fn erase_up_to(&self, user: UserId, up_to: Seq) -> Result<(), StoreError> {
        let now_ms = (self.wall_clock)();
        let timestamp = timestamp_of(now_ms + AHEAD_MAX_MS, now_ms)?;
        let up_to_bucket = bucket::of(up_to.get());
        let mut buckets = self.buckets(user, 0, up_to_bucket).await?;
        buckets.push((up_to_bucket, now_ms));
        let (session, statement) = (&self.requests.session, &self.statements.erase_rows);
        for (bucket, _) in buckets {
            let values = (timestamp, user.as_bytes(), bucket, bucket::stored(up_to.get()));
            let attempt = async || Ok(session.execute_unpaged(statement, &values).await?);
            self.requests.run(Kind::Write, attempt).await?;
        }
        Ok(())
    }

    /// The buckets of a mailbox between two, and when their newest row was logged; newest first.
    async fn buckets(
        &self,
        user: UserId,
        first: i32,
        last: i32,
    ) -> Result<Vec<(i32, u64)>, StoreError> {
        let values = (user.as_bytes(), first, last);
        let rows = self.requests.all_rows::<(i32, i64)>(&self.statements.buckets, values).await?;
        Ok(rows.into_iter().map(|(bucket, ms)| (bucket, u64::try_from(ms).unwrap_or(0))).collect())
    }
}

impl Mailbox for CqlMailbox {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.append_batch(batch))
    }

    fn marks(&self, partition: Partition) -> BoxFuture<'_, Result<Vec<Source>, StoreError>> {
        Box::pin(self.stored_marks(partition))
    }

    fn heads(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Seq>, StoreError>> {
        Box::pin(self.all_heads(users))
    }

    fn read(&self, range: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
        Box::pin(self.read_page(range, Order::OldestFirst))
    }

    fn read_back(&self, range: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
        Box::pin(self.read_page(range, Order::NewestFirst))
    }

    fn cursor(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        Box::pin(self.stored_cursor(user, device))
    }

    fn store_cursors(
        &self,
        cursors: Vec<(UserId, DeviceId, Cursor)>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.put_cursors(cursors))
    }

    fn erase(&self, user: UserId, up_to: Seq) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.erase_up_to(user, up_to))
    }
}
