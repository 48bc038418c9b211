//! All engines in one process, durable on one disk.
//!
//! [`Engine::open`] opens a directory with two databases of `fjall`, a log-structured merge tree:
//!
//! - `log/`: the log. One committer thread takes what is queued, writes one block for each
//!   partition, syncs once, and only then shows the records to readers and answers the appends
//!   ([`committer`]). Blocks live in segments, each a keyspace of its own that is dropped whole.
//! - `store/`: the projection: mailbox rows, heads, cursors, marks, entities, and how far readers
//!   are. It is written to the operating system at once and synced every second. A checkpoint is
//!   written only after a sync of the rows before it, so it is never ahead of them, whatever is
//!   cut.
//!
//! Presence is in memory. After a crash the log is replayed from the last checkpoint; replaying
//! changes nothing that is there already.
//!
//! *Blocking.* Appends to the log never block the caller. Stores and reads of the mailbox run on
//! the caller's task, microseconds each; large batches, reads of old log blocks and every sync run
//! on threads made for blocking.

mod background;
mod block;
mod committer;
mod config;
mod engine;
mod entities;
pub mod faults;
mod journal;
mod lane;
mod letters;
mod log;
mod mailbox;
mod presence;
mod queue;
mod reader;
mod segment;
mod space;
mod store;
mod window;

pub use config::{EngineConfig, FreeSpace, OnFatal, WallClock};
pub use engine::{Engine, OpenError, Standing, Stats};
