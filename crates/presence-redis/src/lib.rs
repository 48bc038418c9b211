//! Presence on Redis or Valkey: one server, one with replicas and sentinels, or Redis Cluster.
//!
//! - Leases are one sorted set of deadlines by the server's clock, with a hash of addresses and a
//!   version that changes when the set does: a lookup asks for the leases in the same round trip,
//!   and is sent nothing when they are the same.
//! - Routes are a hash per user, in the slot of its shard. Generations are compared by scripts on
//!   the server. What nobody writes again goes after [`ports::presence::ROUTE_KEPT`].
//! - Everything may vanish. A renewal of a lease says so, so that the edge writes all again: when
//!   the lease was gone, when another server answers, and, in a cluster, when a witness on one of
//!   the servers has changed.
//!
//! The user needs the commands of these scripts, `INFO`, and `CLUSTER INFO` and `CLUSTER SLOTS`.

mod check;
mod config;
mod connect;
mod connection;
mod engine;
mod error;
mod keeper;
mod keys;
mod leases;
mod presence;
mod scripts;
mod stats;
mod witness;

pub use config::{Mode, RedisConfig};
pub use error::OpenError;
pub use ports::operate::Password;
pub use presence::RedisPresence;
pub use stats::Stats;
