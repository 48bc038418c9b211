//! The program as people use it: processes, QUIC on loopback, signals, exit codes.
#![allow(clippy::unwrap_used)]

mod cluster;
mod commands;
mod groups;
mod hints;
mod promises;
mod readme;
mod waiting;
