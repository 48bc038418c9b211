//! What a lane reads again when it opens a partition, so that it knows the repeats of it.

use std::time::Duration;

use ports::log::{Entry, ReadError};
use tokio::time::{Instant, timeout_at};
use wire::{Offset, Seq, UserId};

use crate::{
    lane::{Context, Process},
    repeats::Key,
};

/// Records read again at first; so few are read also of a partition where little happens.
const FIRST_RECORDS: u64 = 1024;
/// Each further step goes so much further back.
const STEP_FACTOR: u64 = 4;
/// A read that brings nothing for so long brings nothing: what is asked for is not kept.
const SILENCE: Duration = Duration::from_millis(500);
/// Records and bytes of one read.
const READ_RECORDS: usize = 4096;
const READ_BYTES: usize = 1024 * 1024;

/// What is remembered of a record.
#[derive(Debug)]
pub(crate) struct Recalled {
    pub(crate) seq: Seq,
    /// The messages in it that a lane knows again.
    pub(crate) messages: Vec<Key>,
    /// Those in whose mailboxes it may have a row.
    pub(crate) users: Vec<UserId>,
}

/// Why nothing further back is read.
enum Enough {
    /// The engine does not answer, or the partition is gone. The lane will see.
    Failed(ReadError),
    /// There is nothing kept.
    Nothing,
    /// More would be too many bytes.
    Full,
}

/// One stretch of the log, whole.
struct Stretch {
    records: Vec<Recalled>,
    oldest_ms: u64,
    newest_ms: u64,
}

/// Reads again what comes right before the first unfinished record; none when there is nothing to
/// read. Takes the partition from an earlier reader.
///
/// It goes back in growing steps until it has enough: by number, bytes, log time, or the time it
/// takes. A step that is not complete is not used, so that what is returned has no gaps. To know
/// less costs a device a repeat to drop, so nothing here is ever a reason not to go on.
pub(crate) async fn recall<P: Process>(
    context: &Context,
    first_unfinished: Offset,
) -> Option<Vec<Recalled>> {
    let (end, config) = (first_unfinished.get(), &context.config);
    let furthest = end.saturating_sub(config.repeats_remembered as u64);
    // A partition in which nothing was finished yet begins at 0 or 1.
    if furthest == end || end <= 1 {
        return None;
    }
    let deadline = Instant::now() + config.recall_within;
    let log_time_ms = config.recall_log_time.as_millis() as u64;
    let mut stretches = Vec::new();
    let (mut bytes_left, mut up_to, mut newest_ms) = (config.recall_bytes_max, end, None);
    let mut back = FIRST_RECORDS;
    while up_to > furthest {
        let from = end.saturating_sub(back).max(furthest);
        let reading = read_again::<P>(context, from, up_to, &mut bytes_left);
        let stretch = match timeout_at(deadline, reading).await {
            Ok(Ok(stretch)) => stretch,
            Ok(Err(Enough::Failed(error))) => {
                tracing::info!(%error, "repeats of earlier messages may not be known");
                break;
            }
            Ok(Err(Enough::Nothing | Enough::Full)) | Err(_) => break,
        };
        let newest_ms = *newest_ms.get_or_insert(stretch.newest_ms);
        let is_old = newest_ms.saturating_sub(stretch.oldest_ms) > log_time_ms;
        stretches.push(stretch.records);
        if is_old {
            break;
        }
        (up_to, back) = (from, back.saturating_mul(STEP_FACTOR));
    }
    let recalled: Vec<Recalled> = stretches.into_iter().rev().flatten().collect();
    context.metrics.recalled.inc_by(recalled.len() as u64);
    Some(recalled)
}

/// Everything from one offset up to another, which is not included.
async fn read_again<P: Process>(
    context: &Context,
    from: u64,
    up_to: u64,
    bytes_left: &mut usize,
) -> Result<Stretch, Enough> {
    let Context { topic, partition, engines, .. } = context;
    let mut reader = engines.log.open_at(*topic, *partition, Offset::new(from)).await?;
    let mut stretch = Stretch { records: Vec::new(), oldest_ms: u64::MAX, newest_ms: 0 };
    loop {
        let reading = reader.next_batch(READ_RECORDS, READ_BYTES);
        let silent = Instant::now() + SILENCE;
        let batch = timeout_at(silent, reading).await.map_err(|_| Enough::Nothing)??;
        for entry in batch {
            let offset = entry.seq.offset().get();
            if offset >= up_to {
                return stretch.complete();
            }
            let left = bytes_left.checked_sub(entry.record.len()).ok_or(Enough::Full)?;
            *bytes_left = left;
            stretch.add::<P>(entry);
            if offset + 1 == up_to {
                return stretch.complete();
            }
        }
    }
}

impl Stretch {
    fn add<P: Process>(&mut self, entry: Entry) {
        self.oldest_ms = self.oldest_ms.min(entry.log_time_ms);
        self.newest_ms = self.newest_ms.max(entry.log_time_ms);
        self.records.push(P::recall(entry));
    }

    fn complete(self) -> Result<Self, Enough> {
        if self.records.is_empty() { Err(Enough::Nothing) } else { Ok(self) }
    }
}

impl From<ReadError> for Enough {
    fn from(error: ReadError) -> Self {
        Self::Failed(error)
    }
}
