//! The commands, one file each.

pub mod output;
mod plan;
pub mod scenarios;
pub(crate) mod token_key;
pub mod validate;
pub mod verify;
