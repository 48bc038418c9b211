//! What the people who run a cluster do with its topics.

mod check;
mod epochs;
mod letters;
mod topics;

use std::time::Duration;

use rdkafka::{error::KafkaError, metadata::Metadata};
use wire::{Epoch, Partition, Topic, TopicId};

use crate::{
    OpenError,
    config::KafkaConfig,
    greeting::greet,
    identity,
    settings::{self, Asking, Reach},
};

pub use self::{
    check::check,
    epochs::epochs,
    letters::{dead_letters, put_back},
    topics::{apply, plan},
};

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

impl AdminError {
    fn refused(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::Refused { what: what.into(), remedy: remedy.into() }
    }
}

impl From<KafkaError> for AdminError {
    fn from(error: KafkaError) -> Self {
        Self::Retry(error.to_string())
    }
}

impl From<OpenError> for AdminError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Unreachable(why) => Self::Retry(why),
            OpenError::NotReady { what, remedy } | OpenError::Refused { what, remedy } => {
                Self::Refused { what, remedy }
            }
        }
    }
}

/// A client to ask with, and the brokers it has found. Blocks.
fn asking(config: &KafkaConfig) -> Result<(Asking, Metadata), AdminError> {
    let reach = Reach::default();
    let client = settings::asking(config, &reach)?;
    // Says better than any other request why nobody answers.
    let found = greet(&client, &reach, None, identity::ANSWER_WITHIN)?;
    Ok((client, found))
}

/// Does something that blocks, where that is allowed.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AdminError> + Send + 'static,
) -> Result<T, AdminError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(AdminError::Retry(error.to_string())),
    }
}
