//! What an operator can set about a worker.

use std::time::Duration;

/// Which logs a worker consumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Roles {
    /// The mail log: rows of mailboxes, devices, pushes.
    pub mail: bool,
    /// The group log: membership and messages of groups.
    pub group: bool,
}

/// Options of a worker.
#[derive(Clone, Debug)]
pub struct WorkerConfig {
    /// Which logs it consumes. Every partition of a chosen log.
    pub roles: Roles,
    /// Records a lane takes at a time, at least 1.
    pub batch_records_max: usize,
    /// Bytes a lane takes at a time; one record may be larger. With as many under way it takes no
    /// more.
    pub batch_bytes_max: usize,
    /// Batches a lane has under way at a time, at least 1, and calls that store or append what
    /// follows from them. More hide the latency of a store; the order in each mailbox stays.
    pub batches_under_way: usize,
    /// Rows stored by one call of the mailbox; with as many waiting a lane takes no more.
    pub store_rows_max: usize,
    /// Bytes of derived records appended to the mail log by one call; with as many waiting a lane
    /// takes no more. One record may be larger.
    pub derive_bytes_max: usize,
    /// Messages a lane remembers to drop repeats of, per partition, 90 bytes each. An older repeat
    /// reaches the device, which drops it.
    pub repeats_remembered: usize,
    /// How much older than the newest finished record one may be to be read again when a partition
    /// is opened, to know repeats of it; at most `repeats_remembered` are.
    pub recall_log_time: Duration,
    /// Bytes read again when a partition is opened, at most.
    pub recall_bytes_max: usize,
    /// Time for that; a lane that has not read all by then goes on with what it has.
    pub recall_within: Duration,
    /// Users whose devices a lane of the mail log keeps in memory, per partition. Others are read
    /// again from the store.
    pub users_cached: usize,
    /// Groups whose roster a lane of the group log keeps in memory, per partition. Others are read
    /// again from the store.
    pub groups_cached: usize,
    /// Mailboxes whose newest position a lane remembers, per partition, so that a push names the
    /// row before it. A push to another mailbox makes the device read it.
    pub heads_remembered: usize,
    /// Pause before something that failed is tried again; doubled each time.
    pub retry_min: Duration,
    /// Longest such pause.
    pub retry_max: Duration,
    /// How often the worker says on the control log how far it is.
    pub heartbeat_every: Duration,
    /// Time for lanes to finish the batch they have in hand when the worker is stopped. What is not
    /// finished is done again by the next one.
    pub drain_within: Duration,
    /// Whether rows are pushed to connected devices. Without, they arrive by the edge's head check.
    pub push_enabled: bool,
    /// Batches of rows that wait to be pushed, each what one call of the mailbox stored. One more
    /// is not pushed and counted.
    pub push_batches_queued: usize,
    /// Bytes of rows that wait to be pushed, of all lanes. A batch beyond is not pushed likewise.
    pub push_queued_bytes: usize,
    /// Pushes that wait for one edge. One more is dropped, counted, and the edge told.
    pub push_edge_queued: usize,
    /// Bytes of pushes that wait for one edge. A push beyond is dropped likewise.
    pub push_edge_queued_bytes: usize,
    /// Bytes of pushes that wait for all edges together. A push beyond is dropped likewise.
    pub push_edges_queued_bytes: usize,
    /// Time for one look at presence; what is not found in time is not pushed.
    pub presence_within: Duration,
    /// Time for one write to an edge; after it the link counts as broken and is opened again.
    pub push_write_within: Duration,
    /// How often links to edges that are gone are given up.
    pub push_sweep_every: Duration,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            roles: Roles { mail: true, group: true },
            batch_records_max: 1024,
            batch_bytes_max: 1024 * 1024,
            batches_under_way: 4,
            store_rows_max: 8192,
            derive_bytes_max: 512 * 1024,
            repeats_remembered: 65_536,
            recall_log_time: Duration::from_secs(120),
            recall_bytes_max: 32 * 1024 * 1024,
            recall_within: Duration::from_secs(5),
            users_cached: 16_384,
            groups_cached: 1024,
            heads_remembered: 65_536,
            retry_min: Duration::from_millis(10),
            retry_max: Duration::from_secs(2),
            heartbeat_every: Duration::from_secs(1),
            drain_within: Duration::from_secs(10),
            push_enabled: true,
            push_batches_queued: 64,
            push_queued_bytes: 32 * 1024 * 1024,
            push_edge_queued: 8192,
            push_edge_queued_bytes: 16 * 1024 * 1024,
            push_edges_queued_bytes: 128 * 1024 * 1024,
            presence_within: Duration::from_secs(1),
            push_write_within: Duration::from_secs(5),
            push_sweep_every: Duration::from_secs(5),
        }
    }
}
