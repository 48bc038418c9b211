//! The commands, one file each.

pub mod check;
pub mod compare;
pub mod output;
mod plan;
pub mod report;
pub mod scenarios;
pub mod validate;
pub mod verify;
