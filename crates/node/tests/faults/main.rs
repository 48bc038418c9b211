//! A cluster of several processes on real engines, and what it does when parts of it die.
//!
//! Run by `cargo xtask test engines`, which starts three brokers, three database nodes and a Redis.
//! Every test has topics, a keyspace and processes of its own, but the engines belong to all: the
//! tests run one after another.
#![allow(clippy::unwrap_used)]

mod edges;
mod engines;
mod kafka;
mod load;
mod memory;
mod presence;
mod stage;
mod store;
mod workers;
