//! The worker on the embedded engines.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod devices;
mod failures;
mod groups;
mod house;
mod mail;
mod pushes;
