//! The ledger: whatever is planted in it is found, and a crash of its writer invents nothing.
#![allow(clippy::unwrap_used)]

mod crash;
mod model;
mod plant;
mod table;
