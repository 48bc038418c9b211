//! The commands, one file each.

#[allow(dead_code)] // Until the command line lists it.
pub(crate) mod token_key;
