//! What the log counts.

use wire::{Partition, Topic};

/// Counts since the log was opened, and how it stands now.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Of clients' appends, what waits for the brokers.
    pub clients: Queued,
    /// Of what follows from accepted records, what waits for the brokers.
    pub owed: Queued,
    /// Records the brokers have made durable.
    pub delivered: u64,
    /// Records of which that is not known.
    pub failed: u64,
    /// Appends that were refused because a share was full.
    pub refused: u64,
    /// Producers that ended with a failure and were replaced.
    pub producer_rebuilds: u64,
    /// Records fetched for readers.
    pub fetched: u64,
    /// Times a partition was paused because its lane stayed full.
    pub paused: u64,
    /// The partitions this process was given.
    pub lanes: Vec<LaneStats>,
}

/// What waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queued {
    /// Records.
    pub records: usize,
    /// Bytes.
    pub bytes: usize,
}

/// One partition this process was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneStats {
    /// The log.
    pub topic: Topic,
    /// The partition.
    pub partition: Partition,
    /// Records that are not finished, as of the last look at the log's end; none before that.
    pub lag: Option<u64>,
}
