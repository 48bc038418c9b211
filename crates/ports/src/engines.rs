//! One of each engine, as a role is given them.

use std::sync::Arc;

use crate::{Entities, Log, Mailbox, Presence};

/// The engines of a cluster. Cloning is cheap.
#[derive(Clone)]
pub struct Engines {
    /// Where envelopes become durable.
    pub log: Arc<dyn Log>,
    /// Where they are read from.
    pub mailbox: Arc<dyn Mailbox>,
    /// What decides.
    pub entities: Arc<dyn Entities>,
    /// Who is where.
    pub presence: Arc<dyn Presence>,
}
