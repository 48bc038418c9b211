//! Appends: from a caller to the brokers and back.

mod admission;
mod append;
mod delivery;
mod fail_stop;
mod publisher;

pub(crate) use admission::Origin;
pub(crate) use publisher::Publisher;
