//! The limit of open files: as high as this process may set it itself.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard one. Systems start programs with a soft limit of 1024, which a
/// demo with many people (a socket for each device) or an engine with many segments exceeds. Where
/// it cannot be raised nothing changes, and what fails later says so.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if let Err(error) = setrlimit(Resource::Nofile, wanted) {
        tracing::debug!(%error, "the limit of open files stays as it is");
    }
}
