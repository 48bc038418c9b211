//! Storing rows: each mailbox strictly in order, different mailboxes at the same time.

use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use ports::{
    StoreError,
    mailbox::{Batch, Row},
};
use wire::{Partition, UserId, record::Source};

use super::{AT_ONCE, CqlMailbox};
use crate::{
    bucket,
    requests::Kind,
    statements::{time_to_live, timestamp_of},
};

/// Bytes of items that are written together; a larger item goes alone. A database warns of much
/// larger batches, and refuses those of megabytes.
const TOGETHER_BYTES_MAX: usize = 64 * 1024;

/// Rows that are written together.
const TOGETHER_ROWS_MAX: usize = 128;

/// What a row is bound as: user, bucket, position, log time, expiry, item, timestamp, time to live.
type RowValues<'a> = (&'a [u8; UserId::LEN], i32, i64, i64, i64, &'a Bytes, i64, i32);

impl CqlMailbox {
    /// Rows, then the heads of their mailboxes, then the marks. Each only when what is before it is
    /// stored by a quorum: who sees a head or a mark, on whichever copy, finds what it stands for.
    pub(super) async fn append_batch(&self, mut batch: Batch) -> Result<(), StoreError> {
        let now_ms = (self.wall_clock)();
        // Stable: within a mailbox the order of positions stays.
        batch.rows.sort_by_key(|row| row.user);
        let mailboxes: Vec<&[Row]> = batch.rows.chunk_by(|a, b| a.user == b.user).collect();
        // All in this one task: a task for each row would cost more than the row.
        let mut running = FuturesUnordered::new();
        for rows in mailboxes {
            if running.len() == AT_ONCE
                && let Some(stored) = running.next().await
            {
                stored?;
            }
            running.push(self.append_rows(rows, now_ms));
        }
        while let Some(stored) = running.next().await {
            stored?;
        }
        drop(running);
        self.requests.counters.rows_written.fetch_add(batch.rows.len() as u64, Relaxed);
        self.put_marks(batch.marks).await
    }

    /// Rows of one mailbox.
    async fn append_rows(&self, mut rows: &[Row], now_ms: u64) -> Result<(), StoreError> {
        while let Some(first) = rows.first() {
            let bucket = bucket::of(first.seq.get());
            let of_bucket = rows.partition_point(|row| bucket::of(row.seq.get()) == bucket);
            let (mut now, rest) = rows.split_at(of_bucket);
            rows = rest;
            let newest = now.last().expect("the first row is in its own bucket");
            while !now.is_empty() {
                let (together, later) = now.split_at(fit_together(now));
                now = later;
                self.write_rows(bucket, together, now_ms).await?;
            }
            // Before the next bucket's rows: who finds that bucket must find this one too.
            self.put_head(bucket, newest).await?;
        }
        Ok(())
    }

    async fn write_rows(&self, bucket: i32, rows: &[Row], now_ms: u64) -> Result<(), StoreError> {
        if let [row] = rows {
            let Some(values) = row_values(bucket, row, now_ms)? else { return Ok(()) };
            let (session, statement) = (&self.requests.session, &self.statements.insert_row);
            let attempt = async || Ok(session.execute_unpaged(statement, &values).await?);
            return self.requests.run(Kind::Write, attempt).await.map(|_| ());
        }
        let values = rows.iter().filter_map(|row| row_values(bucket, row, now_ms).transpose());
        let values = values.collect::<Result<Vec<_>, _>>()?;
        let (statements, insert) = (&self.statements, &self.statements.insert_row);
        self.requests.write_together(statements, insert, values).await
    }

    async fn put_head(&self, bucket: i32, newest: &Row) -> Result<(), StoreError> {
        let seq = bucket::stored(newest.seq.get());
        let log_ms = i64::try_from(newest.log_time_ms).unwrap_or(i64::MAX);
        let values = (newest.user.as_bytes(), bucket, seq, log_ms, seq);
        let (session, statement) = (&self.requests.session, &self.statements.set_newest);
        let attempt = async || Ok(session.execute_unpaged(statement, &values).await?);
        self.requests.run(Kind::Write, attempt).await.map(|_| ())
    }

    async fn put_marks(&self, mut marks: Vec<(Partition, Source)>) -> Result<(), StoreError> {
        marks.sort_unstable();
        for of_partition in marks.chunk_by(|(partition, _), (other, _)| partition == other) {
            let values = of_partition.iter().map(|(partition, source)| {
                let seq = bucket::stored(source.seq.get());
                (i32::from(partition.get()), i32::from(source.partition.get()), seq, seq)
            });
            let (statements, set_mark) = (&self.statements, &self.statements.set_mark);
            self.requests.write_together(statements, set_mark, values.collect::<Vec<_>>()).await?;
        }
        Ok(())
    }
}

/// How many of the first rows are written together, at least one.
fn fit_together(rows: &[Row]) -> usize {
    let mut bytes = 0;
    let fit = rows.iter().take(TOGETHER_ROWS_MAX).take_while(|row| {
        bytes += row.item.len();
        bytes <= TOGETHER_BYTES_MAX
    });
    fit.count().max(1)
}

/// A row as it is bound; none when its time to live has passed.
///
/// # Errors
/// [`StoreError::Stop`] when its position or log time is none the database takes.
fn row_values(bucket: i32, row: &Row, now_ms: u64) -> Result<Option<RowValues<'_>>, StoreError> {
    if row.seq.get() > bucket::SEQ_MAX {
        return Err(StoreError::Stop(format!("position {} is out of range", row.seq)));
    }
    let Some(time_to_live) = time_to_live(row.expires_ms, now_ms) else { return Ok(None) };
    let timestamp = timestamp_of(row.log_time_ms, now_ms)?;
    Ok(Some((
        row.user.as_bytes(),
        bucket,
        bucket::stored(row.seq.get()),
        i64::try_from(row.log_time_ms).unwrap_or(i64::MAX),
        i64::try_from(row.expires_ms).unwrap_or(i64::MAX),
        &row.item,
        timestamp,
        time_to_live,
    )))
}
