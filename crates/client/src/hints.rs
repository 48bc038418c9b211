//! What is only worth having now: signals of others, and who is connected.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use wire::{DeviceId, UserId};

use crate::shared::Shared;

/// Hints that wait for the application. At it the oldest is dropped.
const HINTS_MAX: usize = 256;

/// What is only worth having now. Apart from the inbox: between the two there is no order, and
/// nothing here is acknowledged or comes again. Several handles share what comes: each hint goes to
/// one.
#[derive(Clone, Debug)]
pub struct Hints {
    shared: Arc<Shared>,
}

/// Something that is only worth having now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// Somebody's signal.
    Signal {
        /// Who sent it.
        from: UserId,
        /// With which device.
        device: DeviceId,
        /// What was given to [`Client::signal`](crate::Client::signal).
        body: Bytes,
    },
    /// A watched user who shows itself to this user is connected.
    Online(UserId),
    /// A watched user is not connected any more, or does not want to be seen, or it is not known.
    Offline(UserId),
}

/// Hints that wait.
#[derive(Debug, Default)]
pub(crate) struct Waiting(VecDeque<Hint>);

impl Waiting {
    pub(crate) fn push(&mut self, hint: Hint) {
        if self.0.len() >= HINTS_MAX {
            self.0.pop_front();
        }
        self.0.push_back(hint);
    }
}

impl Hints {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Waits for the next hint; none when the client has ended.
    ///
    /// # Cancel safety
    /// Cancel safe: a hint is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Hint> {
        let shared = Arc::clone(&self.shared);
        loop {
            let arrived = shared.arrived.notified();
            let mut arrived = std::pin::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(hint) = self.try_next() {
                return Some(hint);
            }
            if shared.lock().closed.is_some() {
                return None;
            }
            arrived.await;
        }
    }

    /// The next hint if it is there.
    pub fn try_next(&mut self) -> Option<Hint> {
        self.shared.lock().hints.0.pop_front()
    }
}
