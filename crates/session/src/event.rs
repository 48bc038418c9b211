//! What a client's half is told and what it tells.

use std::time::Duration;

use wire::{
    DecodeError, Item, MessageId, SendId, Seq, UserId,
    auth::DEVICE_KEY_LEN,
    client_frame::Proof,
    item::{Body, Verdict},
    server_frame::{Answer, RejectReason, Welcome},
    signal::SignalFrom,
};

#[cfg(doc)]
use crate::client::ClientSession;

/// Who connects.
#[derive(Clone, Debug)]
pub struct Greeting {
    /// Name and version of the program.
    pub agent: String,
    /// The device's public key.
    pub device_key: [u8; DEVICE_KEY_LEN],
    /// Token and signature for this connection.
    pub proof: Proof,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The edge knows the device; sending and delivery begin.
    Connected(Welcome),
    /// The send is durable.
    Accepted(SendId),
    /// The send will never be accepted; it has left the outbox.
    Rejected(SendId, RejectReason),
    /// The log decided about an accepted send. To be acknowledged, as an item.
    Result {
        /// Where it is in the mailbox.
        seq: Seq,
        /// Which send.
        id: SendId,
        /// What was decided.
        outcome: Outcome,
    },
    /// An item, to be acknowledged by [`ClientSession::acknowledge`] once it is processed.
    Item {
        /// Where it is in the mailbox.
        seq: Seq,
        /// When the log took it, milliseconds since 1970.
        log_time_ms: u64,
        /// What it is.
        item: Item,
    },
    /// A second body came under an id whose first body was shown. It is not shown.
    Conflict {
        /// Where it is in the mailbox.
        seq: Seq,
        /// The id.
        id: MessageId,
    },
    /// An item this version does not understand; skipped.
    Undecodable {
        /// Where it is in the mailbox.
        seq: Seq,
        /// Why.
        error: DecodeError,
    },
    /// Items before this position may be lost: this device was away longer than they are kept.
    Truncated(Seq),
    /// Everything that was in the mailbox has been shown.
    CaughtUp(Seq),
    /// A history page.
    Page(HistoryPage),
    /// The answer to a query.
    Answer(u32, Answer),
    /// The edge goes away: connect elsewhere after a random part of `jitter`, within `deadline`.
    Drain {
        /// The connection is closed after this.
        deadline: Duration,
        /// Wait a random part of this.
        jitter: Duration,
    },
    /// The token ends soon: give a fresh one to [`ClientSession::handle_token`].
    TokenNeeded,
    /// The edge leaves sends without an answer: close and connect again.
    Unresponsive,
    /// Somebody's signal, only worth having now.
    Signal(SignalFrom),
    /// A watched user has a device connected that shows itself to this user.
    Online(UserId),
    /// Nothing says any more that a watched user has one.
    Offline(UserId),
}

/// What the log decided about a send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The change happened; this is what everybody concerned is told.
    Happened(Body),
    /// It was refused.
    Refused(Verdict),
}

/// A history page, newest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryPage {
    /// The number [`ClientSession::read_history`] gave.
    pub request: u32,
    /// Position, log time in milliseconds since 1970, and item. Repeats and own items are there.
    pub rows: Vec<(Seq, u64, Result<Item, DecodeError>)>,
    /// Older rows exist.
    pub more: bool,
}
