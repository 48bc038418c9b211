//! The log on Apache Kafka.
//!
//! *Topics.* Each epoch has a topic for the mail log and one for the group log; a control log
//! (compacted) and the dead letters are for all epochs. The control log binds an epoch to the
//! identities of its topics, and [`admin`] makes all of it. [`KafkaLog::open`] refuses topics that
//! are not those, or that could lose what was accepted, and a watch goes on looking every 3 s.
//!
//! *Appends* go through one idempotent producer and never wait. `producer/admission.rs` takes them
//! or refuses them: each partition has its own share, so that one without a leader starves none.
//! `producer/fail_stop.rs` keeps order over failures: what entered a partition's lane after a
//! record that failed fails too, and nothing enters until the callers know. `producer/publisher.rs`
//! is the thread: the first failure ends the producer, all it had is told in the order of the
//! appends, and another one takes over what has waited meanwhile. Nothing is skipped, since the
//! client library gives up everything behind a gap (`enable.gapless.guarantee`).
//!
//! *Reading.* `consumer/member.rs` is this process in the group of one log, on a thread of its own,
//! joined when somebody first reads. A partition the group gives it is held paused until it is
//! opened; then `consumer/start.rs` finds where to begin and whether that is safe: what was deleted
//! before it was read, or committed beyond the end, is refused, not skipped. `consumer/lane.rs`
//! holds what is fetched and not read, in bounds; the thread never waits for a reader, and a lane
//! that stays full is paused. Offsets are consecutive here, so a hole is asked for again, and then
//! stops the lane. What was taken away, or opened again, is lost to its reader. Readers of the
//! control log have a consumer and a thread each, outside of any group.
//!
//! *Commits* are what readers have finished, sent every second, before a partition goes, and at the
//! end. Another process takes over from the last one; what comes twice is the worker's to drop.
//!
//! *What the watch cannot see*: a topic that is deleted and made again with as many records within
//! its 3 s is read for that long, since the client library follows the name. Deny the processes
//! the right to delete topics.

pub mod admin;
mod config;
mod consumer;
mod dead_letter;
mod epoch_map;
mod faults;
mod greeting;
mod identity;
mod kafka_log;
mod layout;
mod native;
mod producer;
mod settings;
mod stats;
mod watch;

pub use config::{KafkaConfig, Mechanism, Sasl, Security, Tls};
pub use faults::Faults;
pub use kafka_log::KafkaLog;
pub use ports::operate::{OpenError, Password};
pub use stats::{LaneStats, Queued, Stats};
