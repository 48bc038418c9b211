//! The log on a real Kafka: the contract every log keeps, and what only Kafka can do wrong.
//!
//! `POSTHORN_TEST_KAFKA` names the brokers, `POSTHORN_TEST_KAFKA_TLS` them where they want
//! encryption and a password, `POSTHORN_TEST_CA` who vouches for them there.

#![allow(clippy::unwrap_used, reason = "tests")]

mod contract;
mod faults;
mod operate;
mod secured;
mod world;
