//! The commands, one file each.

pub mod output;
mod plan;
pub mod scenarios;
pub mod validate;
pub mod verify;
