//! Whether a client is connected, for whoever wants to follow it.

use tokio::sync::watch;
use wire::UserId;

use crate::error::Closed;

/// Whether a client is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// Not now; why the last attempt or connection ended. It tries again by itself.
    Connecting(String),
    /// It is, as this user.
    Connected(UserId),
    /// It never will be again.
    Closed(Closed),
}

/// Follows the [`Status`] of a client.
#[derive(Clone, Debug)]
pub struct Statuses {
    told: watch::Receiver<Status>,
    is_over: bool,
}

impl Statuses {
    pub(crate) fn new(mut told: watch::Receiver<Status>) -> Self {
        told.mark_changed();
        Self { told, is_over: false }
    }

    /// How it is now.
    #[must_use]
    pub fn now(&self) -> Status {
        self.told.borrow().clone()
    }

    /// Waits for the next change; the first call tells how it is now. Of changes between two calls
    /// only the last is told. None after [`Status::Closed`].
    ///
    /// # Cancel safety
    /// Cancel safe: a change is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Status> {
        if self.is_over || self.told.changed().await.is_err() {
            return None;
        }
        let status = self.told.borrow_and_update().clone();
        self.is_over = matches!(status, Status::Closed(_));
        Some(status)
    }
}
