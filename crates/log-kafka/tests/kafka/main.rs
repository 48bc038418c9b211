//! The log on a real Kafka: the contract every log keeps, and what only Kafka can do wrong.
//!
//! `POSTHORN_TEST_KAFKA` names the brokers.

#![allow(clippy::unwrap_used, reason = "tests")]

mod contract;
mod faults;
mod operate;
mod world;
