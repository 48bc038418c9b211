//! Who there is: users, devices, contacts and groups, drawn from a seed.

mod index;

pub use index::{ConversationIndex, DeviceIndex, UserIndex};

/// Everybody who takes part in a run.
#[derive(Debug)]
pub struct Population {}
