//! Mailboxes and entities on ScyllaDB or Cassandra.
//!
//! [`CqlStore`] is [`ports::Mailbox`] and [`ports::Entities`] in one keyspace, with the same
//! statements for both databases. What it rests on:
//!
//! - *No locks, no compare-and-set.* A write carries its timestamp: rows their log time, whatever
//!   changes the position it stands for. The highest wins, however late a lower one comes, and a
//!   write that is not known to have happened is simply done again.
//! - *One thing after the other where it matters.* A quorum has the rows before a head shows them,
//!   the rows and heads before a mark says so, a decision before the snapshot includes it. Readers
//!   ask a quorum too. Two mailboxes never wait for each other.
//! - *Rows expire, heads and cursors do not.* The reader's clock decides what it shows; the
//!   database forgets some time later.
//!
//! | file | what it is |
//! |---|---|
//! | `store` | the whole, as its users hold it |
//! | `config`, `error`, `stats` | what goes in and comes out |
//! | `connect`, `tls` | from the configuration to a session |
//! | `requests` | every request: bounded in number and time, tried again within a budget |
//! | `failure`, `health` | what may pass and what lasts; whether anything succeeds |
//! | `statements` | all statements, prepared; timestamps and times to live |
//! | `bucket` | how a mailbox is cut into partitions |
//! | `mailbox` | heads, cursors, marks, erasure; `append` stores rows, `pages` reads them |
//! | `entities` | snapshots, decisions, memberships |
//! | `schema` | the tables and why they are as they are; plan, apply, check |
//!
//! Full queues: requests beyond [`CqlConfig::in_flight_max`] wait for a place until their time is
//! over, then fail with [`ports::StoreError::Retry`].

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

pub use config::CqlConfig;
pub use ports::operate::{OpenError, Password};
pub use stats::Stats;
pub use store::CqlStore;
