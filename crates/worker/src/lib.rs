//! Consumes the logs: drops repeats, decides, stores, pushes, commits.
//!
//! A [`Worker`] runs one lane per partition of its [`Roles`]; where processes share the partitions
//! among them, a lane waits until it is given its own. A lane takes batches in order, has a few of
//! them under way, and commits those that are finished; it never commits past a failure, and what
//! fails for now it does again.
//!
//! - `mail`: records to rows of mailboxes, changes of devices to decisions, rows to pushes.
//! - `group`: messages and changes of groups to decisions and derived records on the mail log.
//! - `push`: rows to connected devices, as hints that may be lost.
//!
//! A worker never holds a client connection, and nothing it keeps in memory is needed later.

mod config;
mod group;
mod heartbeat;
mod lane;
mod mail;
mod metrics;
mod progress;
mod push;
mod recall;
mod recent;
mod repeats;
mod retry;
mod worker;

pub use config::{Roles, WorkerConfig};
pub use metrics::WorkerMetrics;
pub use worker::{Lanes, Parts, Readiness, RunError, WallClock, Worker, WorkerHandle};
