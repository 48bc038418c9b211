//! Reading: from the brokers into lanes, and from lanes to readers.

mod control;
mod lane;
mod member;
mod reader;
mod start;

pub(crate) use control::ControlReaders;
pub(crate) use member::{Counters, Member};
pub(crate) use start::Start;
