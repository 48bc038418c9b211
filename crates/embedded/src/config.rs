//! What an engine can be told.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use wire::Epoch;

use crate::faults::Faults;

/// The wall clock, milliseconds since 1970.
pub type WallClock = fn() -> u64;

/// Bytes a process may still write on the disk that holds this directory.
pub type FreeSpace = Arc<dyn Fn(&Path) -> std::io::Result<u64> + Send + Sync>;

/// Called with the reason when a write or sync failed and the process must end.
pub type OnFatal = Arc<dyn Fn(&str) + Send + Sync>;

/// Configuration of an [`crate::Engine`].
#[derive(Clone)]
pub struct EngineConfig {
    /// Where everything is kept; made when absent. One process at a time.
    pub directory: PathBuf,
    /// Partitions of the mail log, 1 to 4096. Fixed when the directory is made.
    pub mail_partitions: u16,
    /// Partitions of the group log, 1 to 4096. Fixed when the directory is made.
    pub group_partitions: u16,
    /// The generation of the logs. Fixed when the directory is made.
    pub epoch: Epoch,
    /// Bytes of records that wait for the committer. Over it: [`ports::log::Refused::Overload`].
    pub queue_bytes_max: usize,
    /// Records that wait for the committer. Over it: [`ports::log::Refused::Overload`].
    pub queue_records_max: usize,
    /// Bytes of recent records kept in memory for readers, over all partitions. Beyond it readers
    /// read the disk.
    pub tail_bytes_max: usize,
    /// A segment of the log is full at this size, bytes; the log is trimmed by whole segments.
    pub segment_bytes: u64,
    /// A segment is full at this age.
    pub segment_age: Duration,
    /// Records are kept at least this long, also when every reader has finished them.
    pub log_keep: Duration,
    /// Records of the control log are kept this long.
    pub control_keep: Duration,
    /// The longest time to live: rows are dropped after it, decisions and ended memberships too
    /// when also the records they belong to are trimmed.
    pub retention: Duration,
    /// Rows of one such time share a keyspace, which is dropped whole. At most 64 to a retention.
    pub window: Duration,
    /// Appends are refused when less than this would stay free, bytes. What was accepted may use
    /// three quarters of it; then stores wait as well.
    pub disk_reserve_bytes: u64,
    /// Bytes of disk that each accepted byte may take until it is in a mailbox and trimmed: log and
    /// store write it to a journal and to a table each, and a compaction holds it twice.
    pub disk_factor: u64,
    /// The store is synced this often when it changed.
    pub sync_every: Duration,
    /// [`crate::Engine::maintain`] runs this often; none: only when called.
    pub maintain_every: Option<Duration>,
    /// Measures the disk.
    pub free_space: FreeSpace,
    /// Ends the process; by default [`std::process::abort`] after a message.
    pub on_fatal: OnFatal,
    /// Faults for tests.
    pub faults: Faults,
}

impl EngineConfig {
    /// The defaults, for a directory.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self {
            directory: directory.into(),
            mail_partitions: 4,
            group_partitions: 4,
            epoch: Epoch::new(0),
            queue_bytes_max: 64 * 1024 * 1024,
            queue_records_max: 65_536,
            tail_bytes_max: 64 * 1024 * 1024,
            segment_bytes: 64 * 1024 * 1024,
            segment_age: Duration::from_secs(15 * 60),
            log_keep: Duration::from_secs(3600),
            control_keep: Duration::from_secs(600),
            retention: wire::limits::TTL_MAX,
            window: Duration::from_secs(24 * 3600),
            disk_reserve_bytes: 512 * 1024 * 1024,
            disk_factor: 4,
            sync_every: Duration::from_secs(1),
            maintain_every: Some(Duration::from_secs(5)),
            free_space: Arc::new(crate::space::measure),
            on_fatal: Arc::new(crate::engine::abort),
            faults: Faults::default(),
        }
    }
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig")
            .field("directory", &self.directory)
            .field("mail_partitions", &self.mail_partitions)
            .field("group_partitions", &self.group_partitions)
            .finish_non_exhaustive()
    }
}

/// A duration in milliseconds.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
