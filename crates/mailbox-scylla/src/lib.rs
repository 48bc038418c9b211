//! Mailboxes and entities on ScyllaDB or Cassandra.

mod bucket;
mod config;
mod connect;
mod entities;
mod error;
mod failure;
mod health;
mod mailbox;
mod requests;
pub mod schema;
mod statements;
mod stats;
mod store;
mod tls;

pub use config::{CqlConfig, Password};
pub use error::OpenError;
pub use stats::Stats;
pub use store::CqlStore;
