//! Settings: one tree, from a file, then variables, then flags.

pub mod cluster;
mod cluster_check;
mod cluster_parts;
pub mod layers;
mod parts;
pub mod reference;
pub mod section;
pub mod tree;
pub mod value;

use std::path::Path;

pub use layers::{Loaded, Origin, Sources};
pub use tree::{Config, Role};

use crate::{
    catalogue::Code,
    failure::{Failure, Outcome},
};

/// Reads the configuration of this process: a file when there is one, the environment, flags.
///
/// # Errors
/// What is wrong, where, and what to do.
pub fn load(file: Option<&Path>, flags: &[String]) -> Outcome<Loaded> {
    let text = match file {
        None => None,
        Some(path) => Some(std::fs::read_to_string(path).map_err(|error| {
            Failure::new(Code::ConfigUnreadable, format!("the configuration file: {error}"))
                .at(path.display().to_string())
                .remedy("`posthorn config default > FILE` writes one to begin with")
        })?),
    };
    let variables: Vec<_> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    layers::load(Sources { file: file.zip(text.as_deref()), variables: &variables, flags })
}
