//! An edge with real clients over QUIC on loopback.
#![allow(clippy::unwrap_used)]

mod admission;
mod client;
mod delivery;
mod leaving;
mod sending;
mod signals;
mod world;

/// What every clock in these tests says.
const NOW_MS: u64 = 1_800_000_000_000;
