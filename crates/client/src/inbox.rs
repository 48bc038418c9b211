//! What came in, for the application to process and acknowledge.

use std::sync::Arc;

use bytes::Bytes;
use session::client::Outcome;
use wire::{
    Address, DeviceId, MessageId, SendId, Seq, UserId, item::Body, server_frame::RejectReason,
};

use crate::shared::{INBOX_MAX, Shared};

/// What came in, in mailbox order. Several handles share one inbox: each event goes to one.
#[derive(Clone, Debug)]
pub struct Inbox {
    shared: Arc<Shared>,
}

/// Something for the application.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message, or a change of a group or of this user's devices.
    Item(Item),
    /// What became of a send or change of this device that nobody waits for any more, for one
    /// because the process was started anew.
    Result {
        /// Which one.
        id: SendId,
        /// What the cluster decided.
        outcome: Outcome,
        /// To acknowledge.
        receipt: Receipt,
    },
    /// A send that was queued before the process was started anew is durable now.
    Accepted(SendId),
    /// A send nobody waits for any more was rejected.
    Rejected(SendId, RejectReason),
    /// Everything that was in the mailbox has been shown.
    CaughtUp(Seq),
    /// Items before this position may be lost: this device was away longer than they are kept.
    Truncated(Seq),
    /// A second body came under the id of a message already shown; it is not shown.
    Conflict(MessageId),
    /// An item this version does not understand was skipped.
    Undecodable(Seq),
}

/// An item of the mailbox. Until it is acknowledged it is shown again after a restart.
#[derive(Clone, Debug)]
pub struct Item {
    /// Where it is in the mailbox; higher is later.
    pub seq: Seq,
    /// When the log took it, milliseconds since 1970.
    pub log_time_ms: u64,
    /// The item itself.
    pub item: wire::Item,
    receipt: Receipt,
}

/// Acknowledges one item, once it is processed; in any order.
#[derive(Clone, Debug)]
pub struct Receipt {
    shared: Arc<Shared>,
    seq: Seq,
}

/// What waits in the shared state; an [`Event`] without the way back.
#[derive(Debug)]
pub(crate) enum Pending {
    Item(Seq, u64, wire::Item),
    Result(Seq, SendId, Outcome),
    Accepted(SendId),
    Rejected(SendId, RejectReason),
    CaughtUp(Seq),
    Truncated(Seq),
    Conflict(MessageId),
    Undecodable(Seq),
}

impl Inbox {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Waits for the next event; none when the client has ended and nothing is left.
    ///
    /// # Cancel safety
    /// Cancel safe: an event is taken only when it is returned.
    pub async fn next(&mut self) -> Option<Event> {
        let shared = Arc::clone(&self.shared);
        loop {
            let arrived = shared.arrived.notified();
            let mut arrived = std::pin::pin!(arrived);
            arrived.as_mut().enable();
            if let Some(event) = self.try_next() {
                return Some(event);
            }
            if shared.lock().closed.is_some() {
                return None;
            }
            arrived.await;
        }
    }

    /// The next event if it is there.
    pub fn try_next(&mut self) -> Option<Event> {
        let (pending, was_full) = {
            let mut state = self.shared.lock();
            let was_full = state.inbox.len() >= INBOX_MAX;
            (state.inbox.pop_front()?, was_full)
        };
        if was_full {
            self.shared.work.notify_one();
        }
        let receipt = |seq| Receipt { shared: Arc::clone(&self.shared), seq };
        Some(match pending {
            Pending::Item(seq, log_time_ms, item) => {
                Event::Item(Item { seq, log_time_ms, item, receipt: receipt(seq) })
            }
            Pending::Result(seq, id, outcome) => {
                Event::Result { id, outcome, receipt: receipt(seq) }
            }
            Pending::Accepted(id) => Event::Accepted(id),
            Pending::Rejected(id, reason) => Event::Rejected(id, reason),
            Pending::CaughtUp(head) => Event::CaughtUp(head),
            Pending::Truncated(from) => Event::Truncated(from),
            Pending::Conflict(id) => Event::Conflict(id),
            Pending::Undecodable(seq) => Event::Undecodable(seq),
        })
    }
}

impl Item {
    /// Who sent it.
    #[must_use]
    pub fn from(&self) -> UserId {
        self.item.id.user
    }

    /// The device it was sent with.
    #[must_use]
    pub fn from_device(&self) -> DeviceId {
        self.item.id.device
    }

    /// Where it was sent: to a user or to a group.
    #[must_use]
    pub fn to(&self) -> Address {
        self.item.to
    }

    /// The payload of a message; none for a change.
    #[must_use]
    pub fn payload(&self) -> Option<&Bytes> {
        match &self.item.body {
            Body::Message(payload) => Some(payload),
            Body::GroupChange(_) | Body::DeviceChange(_) | Body::Verdict(_) => None,
        }
    }

    /// It is processed: once that is stored, 25 ms later at most or when the client is closed, it
    /// is not shown again. The edge hears of it with the next send, or half a second later.
    pub fn ack(&self) {
        self.receipt.ack();
    }

    /// To acknowledge it later, without holding the item.
    #[must_use]
    pub fn receipt(&self) -> Receipt {
        self.receipt.clone()
    }
}

impl Receipt {
    /// It is processed.
    pub fn ack(&self) {
        self.shared.acknowledge(self.seq);
    }
}
