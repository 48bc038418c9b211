//! The log on Kafka, opened.

use std::sync::Arc;

use ports::Log;

use crate::{KafkaConfig, OpenError, Stats};

/// The log on Kafka.
pub struct KafkaLog;

impl KafkaLog {
    /// Connects, reads the epoch map, and looks whether the topics are those it names and safe.
    ///
    /// # Errors
    /// [`OpenError`]. Cancel safe.
    pub async fn open(config: KafkaConfig) -> Result<Self, OpenError> {
        let _ = config;
        unimplemented!()
    }

    /// The log, for roles.
    #[must_use]
    pub fn log(&self) -> Arc<dyn Log> {
        unimplemented!()
    }

    /// Why it cannot work now; none: it can.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        None
    }

    /// What it counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Refuses appends from now on, waits for those that were taken, commits, and ends. Not cancel
    /// safe: a dropped call may have ended it.
    pub async fn close(self) {}
}
