//! The store as its users hold it.

use std::sync::Arc;

use ports::{Entities, Mailbox};

use crate::{CqlConfig, OpenError, Stats};

/// Mailboxes and entities in one keyspace.
pub struct CqlStore {
    mailbox: Arc<dyn Mailbox>,
    entities: Arc<dyn Entities>,
}

impl CqlStore {
    /// Connects, and looks whether the schema is the one this program knows.
    ///
    /// # Errors
    /// [`OpenError`], within about ten seconds.
    ///
    /// # Cancel safety
    /// Nothing stays behind.
    pub async fn open(_config: CqlConfig, _wall_clock: fn() -> u64) -> Result<Self, OpenError> {
        Err(OpenError::Unreachable("no node was asked".to_owned()))
    }

    /// The mailboxes.
    #[must_use]
    pub fn mailbox(&self) -> Arc<dyn Mailbox> {
        Arc::clone(&self.mailbox)
    }

    /// The entities.
    #[must_use]
    pub fn entities(&self) -> Arc<dyn Entities> {
        Arc::clone(&self.entities)
    }

    /// Why it does not work at this time, for readiness; none when it does.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        None
    }

    /// What happened since it was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Ends the connections; what was handed out fails from then on.
    ///
    /// # Cancel safety
    /// It ends all the same.
    pub async fn close(self) {}
}
