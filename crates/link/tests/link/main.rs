//! Links as their users see them, over real sockets on the loopback interface and in memory.
#![allow(clippy::unwrap_used)]

mod contract;
mod fixture;
mod memory;
mod mesh;
mod quic;
mod shared_keys;
