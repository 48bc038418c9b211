//! What the people who run a cluster do with its topics.

use std::time::Duration;

use ports::{
    log::DeadLetter,
    operate::{Finding, Step},
};
use wire::{Epoch, Partition, Seq, Topic, TopicId};

use crate::KafkaConfig;

/// The topics as they should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// Partitions of the mail log, 1 to 4096; never changes within an epoch.
    pub mail_partitions: u16,
    /// Partitions of the group log, likewise.
    pub group_partitions: u16,
    /// Copies of each partition.
    pub replication: u16,
    /// Copies that must have a record before it is accepted.
    pub min_insync: u16,
    /// How long records of the mail and group logs are kept.
    pub log_retention: Duration,
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AdminError {
    /// No broker answers, or not in time: do the same again.
    #[error("Kafka did not answer: {0}")]
    Retry(String),
    /// It cannot be done: act first.
    #[error("{what}: {remedy}")]
    Refused {
        /// What is in the way.
        what: String,
        /// What to do.
        remedy: String,
    },
}

/// One epoch of the logs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochInfo {
    /// The epoch.
    pub epoch: Epoch,
    /// It is the one in use.
    pub current: bool,
    /// Its mail log and its group log.
    pub topics: Vec<TopicInfo>,
}

/// One log of an epoch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicInfo {
    /// The log.
    pub topic: Topic,
    /// Its name in Kafka.
    pub name: String,
    /// The identity the epoch map demands.
    pub id: Option<TopicId>,
    /// The identity of the topic that is there; none when there is none.
    pub found_id: Option<TopicId>,
    /// Its partitions, in order.
    pub partitions: Vec<PartitionInfo>,
}

/// One partition of a log of an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartitionInfo {
    /// The partition.
    pub partition: Partition,
    /// Offset of the first record that is kept.
    pub start: u64,
    /// Offset after the last record.
    pub end: u64,
    /// Everything below is finished; none when nothing was ever.
    pub committed: Option<u64>,
    /// Records that are not finished.
    pub lag: u64,
}

/// What would have to be done so that everything is as wanted.
///
/// # Errors
/// [`AdminError`]. Cancel safe.
pub async fn plan(config: &KafkaConfig, wanted: &Wanted) -> Result<Vec<Step>, AdminError> {
    let _ = (config, wanted);
    unimplemented!()
}

/// Does what is to be done, and tells each step when it is done. Doing it again changes nothing.
///
/// # Errors
/// [`AdminError`]: what was told is done. Cancel safe: a dropped call may go on where it was.
pub async fn apply(
    config: &KafkaConfig,
    wanted: &Wanted,
    on_step: impl FnMut(&Step),
) -> Result<(), AdminError> {
    let _ = (config, wanted, on_step);
    unimplemented!()
}

/// How everything stands; `retention` is how long rows of mailboxes are kept. Cancel safe.
pub async fn check(config: &KafkaConfig, retention: Duration) -> Vec<Finding> {
    let _ = (config, retention);
    unimplemented!()
}

/// All epochs that the control log knows, oldest first.
///
/// # Errors
/// [`AdminError`]. Cancel safe.
pub async fn epochs(config: &KafkaConfig) -> Result<Vec<EpochInfo>, AdminError> {
    let _ = config;
    unimplemented!()
}

/// Dead letters with numbers above `after`, at most `max`, oldest first, each with its number.
///
/// # Errors
/// [`AdminError`]. Cancel safe.
pub async fn dead_letters(
    config: &KafkaConfig,
    after: Option<u64>,
    max: usize,
) -> Result<Vec<(u64, DeadLetter)>, AdminError> {
    let _ = (config, after, max);
    unimplemented!()
}

/// Appends the record of a dead letter to its topic again, as a new record; where it is then.
///
/// # Errors
/// [`AdminError`]. Cancel safe, and the outcome unknown: doing it again appends it again.
pub async fn put_back(config: &KafkaConfig, number: u64) -> Result<Seq, AdminError> {
    let _ = (config, number);
    unimplemented!()
}
