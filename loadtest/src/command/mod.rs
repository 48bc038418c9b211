//! The commands, one file each.

pub(crate) mod agent;
pub(crate) mod check;
pub(crate) mod compare;
pub(crate) mod output;
mod plan;
pub(crate) mod report;
pub(crate) mod run;
pub(crate) mod scenarios;
pub(crate) mod token_key;
pub(crate) mod validate;
pub(crate) mod verify;
