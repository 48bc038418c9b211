//! Mailboxes and entities on ScyllaDB or Cassandra.

mod config;
mod error;
pub mod schema;
mod stats;
mod store;

pub use config::{CqlConfig, Password};
pub use error::OpenError;
pub use stats::Stats;
pub use store::CqlStore;
