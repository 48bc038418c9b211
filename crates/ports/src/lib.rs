//! The traits every engine implements, and the contract suite it must pass.
//!
//! A role sees an engine only through these traits, as `Arc<dyn …>`: the engine is chosen at run
//! time, and a boxed future per batch costs nothing beside a disk or a network. What each trait
//! promises about order, durability and idempotence is part of its meaning, and [`contract`] checks
//! it on every engine.
//!
//! - [`Log`]: durable, ordered partitions; accepted means appended.
//! - [`Mailbox`]: rows per user, cursors per device.
//! - [`Entities`]: state that decides: devices of a user, roster of a group.
//! - [`Presence`]: which edge holds which device; may forget everything at any time.

pub mod contract;
pub mod engines;
pub mod entities;
pub mod error;
pub mod log;
pub mod mailbox;
pub mod operate;
pub mod presence;

use std::{future::Future, pin::Pin};

pub use engines::Engines;
pub use entities::{Entities, EntityId};
pub use error::StoreError;
pub use log::Log;
pub use mailbox::Mailbox;
pub use presence::Presence;

/// A boxed future: what lets these traits be used as `dyn`.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
