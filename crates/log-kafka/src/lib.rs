//! The log on Apache Kafka.

pub mod admin;
mod config;
mod error;
mod faults;
mod kafka_log;
mod stats;

pub use config::{KafkaConfig, Mechanism, Sasl, Security, Tls};
pub use error::OpenError;
pub use faults::Faults;
pub use kafka_log::KafkaLog;
pub use stats::{LaneStats, Queued, Stats};
