//! Durable, ordered partitions.

use bytes::Bytes;
use wire::{Epoch, Offset, Partition, Seq, Topic};

use crate::BoxFuture;

/// The log: topics of numbered partitions of records.
///
/// *Order.* Appends to one partition take effect in the order in which [`Log::try_append`] was
/// called, and one that fails fails all that follow it until the caller has been told: a partition
/// is a fail-stop lane, nothing is ever skipped over. *Durability.* An append that resolves to `Ok`
/// survives what the engine promises (embedded: a crash and a power cut; Kafka: any one broker).
/// Readers see nothing that is not durable. *Positions* only ever grow, have gaps, and none is used
/// twice, crashes included.
pub trait Log: Send + Sync + 'static {
    /// Partitions of `topic`, at least 1. The control log has exactly 1. Never changes within an
    /// epoch.
    fn partition_count(&self, topic: Topic) -> u16;

    /// The generation of the logs, the high bits of every position.
    fn epoch(&self) -> Epoch;

    /// Takes the records for all these partitions, or none of them, without waiting. A partition
    /// may occur more than once. Once taken the records are appended whether or not the future is
    /// polled or dropped.
    ///
    /// The future resolves when all are durable, to their positions in the order given. Dropping it
    /// is allowed; the outcome is then unknown to the caller.
    ///
    /// # Errors
    /// [`Refused`]: nothing was taken and nothing will be appended.
    /// The future: [`AppendError`].
    fn try_append(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused>;

    /// As [`Log::try_append`], for what follows from records that were accepted: derived records,
    /// and what workers tell on the control log. Appends of clients are refused while there is
    /// still room to finish what was accepted; this uses that room.
    ///
    /// # Errors
    /// As [`Log::try_append`].
    fn try_append_owed(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused> {
        self.try_append(topic, records)
    }

    /// Opens a partition for reading, from its first uncommitted record. A partition of the mail or
    /// group log has one reader at a time; opening a second takes over from the first, whose calls
    /// then return [`ReadError::Lost`]. Where processes share the partitions among them, it waits
    /// until this process is given the partition, and what is taken from it again is lost likewise.
    /// The control log has any number of readers, starts at its first record for each, and is never
    /// committed.
    ///
    /// Cancel safe: a dropped call has opened nothing.
    fn open(
        &self,
        topic: Topic,
        partition: Partition,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>>;

    /// Opens a partition at `from`, to read again what may have been committed. Otherwise as
    /// [`Log::open`].
    fn open_at(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>>;

    /// Keeps a record that no version of the program can read, with where it was found, durably and
    /// apart. Resolves when durable; the same record twice is kept once or twice.
    ///
    /// # Errors
    /// As [`Log::try_append`]'s future: do it again.
    fn append_dead_letter(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), AppendError>>;

    /// Puts everything taken so far on the disk or the wire and waits for it; part of a clean end.
    fn flush(&self) -> BoxFuture<'_, ()>;
}

/// One reader of one partition.
pub trait Reader: Send {
    /// The next records in order, at least one: waits until there are any. At most `records_max`
    /// records, and about `bytes_max` bytes (one record may be larger).
    ///
    /// Cancel safe: a dropped call has read nothing.
    fn next_batch(
        &mut self,
        records_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, ReadError>>;

    /// Everything below this was finished when the partition was opened: where [`Log::open`]
    /// starts. Records read from below it by [`Log::open_at`] were processed before.
    fn first_unfinished(&self) -> Offset;

    /// Everything up to and including `position` is finished: a later reader starts after it. Never
    /// moves back; durable at some later time, and never before the rows that were stored before
    /// it.
    ///
    /// # Errors
    /// [`ReadError::Lost`] or [`ReadError::Retry`].
    fn commit(&mut self, position: Seq) -> BoxFuture<'_, Result<(), ReadError>>;
}

/// A record at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position.
    pub seq: Seq,
    /// When the log took it, milliseconds since 1970; never decreases within a partition.
    pub log_time_ms: u64,
    /// The record, as appended.
    pub record: Bytes,
}

/// A record nobody can read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Where it was found.
    pub topic: Topic,
    /// Where it was found.
    pub partition: Partition,
    /// The record at its place.
    pub entry: Entry,
    /// Why it cannot be read.
    pub reason: String,
}

/// Nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// A bounded queue is full: come back later.
    #[error("the log's queue is full")]
    Overload,
    /// There would be no room to store what would be accepted.
    #[error("the disk has no room to store what would be accepted")]
    Storage,
    /// The log is closing.
    #[error("the log is closing")]
    Closing,
}

/// It is not known whether the records, or some of them, were appended: append them again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not known whether the records were appended: {0}")]
pub struct AppendError(pub String);

/// Why a partition cannot be read or committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// Not now: call again.
    #[error("the log cannot be read now: {0}")]
    Retry(String),
    /// Another reader has the partition: end this one.
    #[error("another reader has taken this partition")]
    Lost,
    /// Reading on would skip or repeat something: stop and raise an alarm.
    #[error("reading on would not be safe: {0}")]
    Stop(String),
}
