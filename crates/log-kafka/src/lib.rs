//! The log on Apache Kafka.

pub mod admin;
mod config;
mod consumer;
mod dead_letter;
mod epoch_map;
mod error;
mod faults;
mod identity;
mod kafka_log;
mod layout;
mod native;
mod producer;
mod settings;
mod stats;
mod watch;

pub use config::{KafkaConfig, Mechanism, Sasl, Security, Tls};
pub use error::OpenError;
pub use faults::Faults;
pub use kafka_log::KafkaLog;
pub use stats::{LaneStats, Queued, Stats};
