//! Rows per user, cursors per device.

use bytes::Bytes;
use wire::{DeviceId, Partition, Seq, UserId, record::Source};

use crate::{BoxFuture, StoreError};

/// The mailboxes: what connected and returning devices read.
///
/// *Order.* One writer at a time writes one mailbox, strictly in order; a reader that looks at the
/// head first and then reads up to it sees everything below it. A writer that lost its partition
/// and writes late writes the rows that are there already. *Idempotence.* A row is written once:
/// the same position again is the same row. *Time.* A row is gone when its time to live has passed,
/// counted from its log time; a reader may stop seeing it at once, and the disk forgets it later.
pub trait Mailbox: Send + Sync + 'static {
    /// Stores a batch: rows first, then the marks.
    ///
    /// # Errors
    /// [`StoreError`]; some of the batch may have been stored.
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The highest position of the group log each mail partition has stored a derived record of, by
    /// source partition: what [`Batch::marks`] said last.
    fn marks(&self, partition: Partition) -> BoxFuture<'_, Result<Vec<Source>, StoreError>>;

    /// The position of the newest row of each mailbox, [`Seq::ZERO`] for one that never had any, in
    /// the order asked. Never moves back, also when the newest row has expired or was erased.
    fn heads(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Seq>, StoreError>>;

    /// Rows after `after` and up to `up_to`, oldest first. At most `rows_max`, and about
    /// `bytes_max` bytes but at least one row. A caller takes `up_to` from [`Mailbox::heads`].
    fn read(&self, range: Range) -> BoxFuture<'_, Result<Rows, StoreError>>;

    /// As [`Mailbox::read`], newest first: the page ends at the lower end when it is full.
    fn read_back(&self, range: Range) -> BoxFuture<'_, Result<Rows, StoreError>>;

    /// The stored cursor of a device.
    fn cursor(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>>;

    /// Stores cursors. Of two for one device the one with the higher position stays, whichever was
    /// stored last; with equal positions the later `caught_up_ms`.
    fn store_cursors(
        &self,
        cursors: Vec<(UserId, DeviceId, Cursor)>,
    ) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Erases the rows of a mailbox up to and including a position. Rows above it, also later ones,
    /// stay.
    fn erase(&self, user: UserId, up_to: Seq) -> BoxFuture<'_, Result<(), StoreError>>;
}

/// Rows to store, from one partition of the mail log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// In the order of their positions; rows of one mailbox have different positions.
    pub rows: Vec<Row>,
    /// The highest position seen of each source partition, for this mail partition.
    pub marks: Vec<(Partition, Source)>,
}

/// A row of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose mailbox.
    pub user: UserId,
    /// Its position.
    pub seq: Seq,
    /// When the log took it, milliseconds since 1970.
    pub log_time_ms: u64,
    /// It is gone after this, milliseconds since 1970.
    pub expires_ms: u64,
    /// An encoded [`wire::Item`].
    pub item: Bytes,
}

/// What to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Whose mailbox.
    pub user: UserId,
    /// Rows above this.
    pub after: Seq,
    /// And up to this.
    pub up_to: Seq,
    /// At most so many, at least 1.
    pub rows_max: usize,
    /// About so many bytes.
    pub bytes_max: usize,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows {
    /// In the order asked for. Expired rows are absent.
    pub rows: Vec<Row>,
    /// The range may hold more beyond the last row.
    pub more: bool,
}

/// How far a device is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// It has processed everything up to here.
    pub seq: Seq,
    /// When it last had processed everything there was, milliseconds since 1970.
    pub caught_up_ms: u64,
}
