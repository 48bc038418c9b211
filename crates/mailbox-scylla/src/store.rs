//! The store as its users hold it.

use std::{sync::Arc, time::Duration};

use ports::{Entities, Mailbox};

use crate::{
    CqlConfig, OpenError, Stats,
    connect::{self, Profiles},
    entities::CqlEntities,
    error::of_prepare,
    mailbox::CqlMailbox,
    requests::Requests,
    schema,
    statements::Statements,
};

/// Connecting, looking at the schema and preparing the statements end within this.
const OPEN_WITHIN: Duration = Duration::from_secs(10);

/// Mailboxes and entities in one keyspace.
pub struct CqlStore {
    requests: Arc<Requests>,
    mailbox: Arc<CqlMailbox>,
    entities: Arc<CqlEntities>,
}

impl CqlStore {
    /// Connects, and looks whether the schema is the one this program knows. `wall_clock` says
    /// milliseconds since 1970.
    ///
    /// # Errors
    /// [`OpenError`], within about ten seconds when no node answers.
    ///
    /// # Cancel safety
    /// Nothing stays behind.
    pub async fn open(config: CqlConfig, wall_clock: fn() -> u64) -> Result<Self, OpenError> {
        let opening = tokio::time::timeout(OPEN_WITHIN, Self::open_now(config, wall_clock));
        let late = || {
            let seconds = OPEN_WITHIN.as_secs();
            OpenError::Unreachable(format!("it was not opened within {seconds} s"))
        };
        opening.await.unwrap_or_else(|_| Err(late()))
    }

    async fn open_now(config: CqlConfig, wall_clock: fn() -> u64) -> Result<Self, OpenError> {
        let session = connect::connect(&config).await?;
        schema::fits(&session, &config).await?;
        // The only one there is stays the one when another is added: rows come there later.
        let datacenter = Some(schema::local_datacenter(&session, &config));
        let datacenter = datacenter.filter(|name| !name.is_empty());
        let config = CqlConfig { datacenter, ..config };
        let profiles = Profiles::new(&config);
        let statements = Statements::prepare(&session, &config.keyspace, &profiles);
        let statements = statements.await.map_err(|error| of_prepare(&error))?;
        let CqlConfig { in_flight_max, write_within, read_within, .. } = config;
        let requests = Requests::new(session, in_flight_max, write_within, read_within);
        let (requests, statements) = (Arc::new(requests), Arc::new(statements));
        let shared = || (Arc::clone(&requests), Arc::clone(&statements));
        let ((for_mailbox, with), (for_entities, and)) = (shared(), shared());
        Ok(Self {
            mailbox: Arc::new(CqlMailbox::new(for_mailbox, with, &config, wall_clock)),
            entities: Arc::new(CqlEntities::new(for_entities, and, &config, wall_clock)),
            requests,
        })
    }

    /// The mailboxes.
    #[must_use]
    pub fn mailbox(&self) -> Arc<dyn Mailbox> {
        Arc::clone(&self.mailbox) as Arc<dyn Mailbox>
    }

    /// The entities.
    #[must_use]
    pub fn entities(&self) -> Arc<dyn Entities> {
        Arc::clone(&self.entities) as Arc<dyn Entities>
    }

    /// Why it does not work at this time, for readiness; none when it does.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        self.requests.trouble()
    }

    /// What happened since it was opened.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.requests.counters.stats()
    }

    /// Ends: what was handed out takes no request any more, and the connections end with the last
    /// of it.
    ///
    /// # Cancel safety
    /// It ends all the same.
    pub async fn close(self) {
        self.requests.close();
    }
}
