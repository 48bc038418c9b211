//! The worker on the embedded engines.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod away;
mod devices;
mod failures;
mod gate;
mod groups;
mod handover;
mod house;
mod mail;
mod pushes;
mod slow;
