//! What of a client must outlive its process, as a state and as the changes of it.

use std::collections::{BTreeMap, BTreeSet};

use wire::{Address, MessageId, SendId, Seq, UserId, client_frame::Send};

use crate::repeats::{Digest, Repeats};

/// Conversations whose last accepted send is remembered; the one unused for longest is forgotten.
/// Its next send names no predecessor, which is always allowed when all before it were accepted.
pub const CONVERSATIONS_MAX: usize = 65_536;

/// A change of what must outlive the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StoreChange {
    /// The store belongs to this user from now on.
    User(UserId),
    /// This send waits for its answer, after all queued before it. Its predecessor is not stored.
    Queued(Send),
    /// This send waits no more: it was accepted, and is the last one in its conversation.
    Accepted(SendId, Address),
    /// This send waits no more: it was rejected.
    Rejected(SendId),
    /// The application has processed the item here, though not everything before it.
    ProcessedAhead(Seq),
    /// The application has processed this message, and everything before it.
    Processed(MessageId, Address, Digest),
    /// The application has processed everything up to here.
    Cursor(Seq),
}

/// What a client starts from. The default is a device that never connected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Whose store it is.
    pub user: Option<UserId>,
    /// Everything up to here is processed.
    pub cursor: Option<Seq>,
    /// Items above the cursor that are processed; at most a delivery window.
    pub ahead: BTreeSet<Seq>,
    /// Sends that wait for their answer, in their order.
    pub outbox: Vec<Send>,
    /// The last accepted send of each conversation.
    pub accepted: LastAccepted,
    /// Messages processed.
    pub repeats: Repeats,
}

impl Restored {
    /// Applies a change. Applying a list of changes in order gives the state to start from.
    pub fn apply(&mut self, change: StoreChange) {
        match change {
            StoreChange::User(user) => self.user = Some(user),
            StoreChange::Queued(send) => self.outbox.push(send),
            StoreChange::Accepted(id, to) => {
                self.remove(id);
                self.accepted.insert(to, id);
            }
            StoreChange::Rejected(id) => self.remove(id),
            StoreChange::ProcessedAhead(seq) => {
                self.ahead.insert(seq);
            }
            StoreChange::Processed(id, to, digest) => self.repeats.insert(&id, to, digest),
            StoreChange::Cursor(seq) => {
                self.cursor = Some(seq);
                self.ahead = self.ahead.split_off(&Seq::from_u64(seq.get() + 1));
            }
        }
    }

    /// Changes that give this state from nothing.
    pub fn to_changes(&self) -> impl Iterator<Item = StoreChange> {
        let user = self.user.map(StoreChange::User);
        let accepted = self.accepted.iter().map(|(to, id)| StoreChange::Accepted(id, to));
        let outbox = self.outbox.iter().cloned().map(StoreChange::Queued);
        let repeats = self.repeats.iter();
        let repeats = repeats.map(|(id, to, digest)| StoreChange::Processed(id, to, digest));
        let cursor = self.cursor.map(StoreChange::Cursor);
        let ahead = self.ahead.iter().copied().map(StoreChange::ProcessedAhead);
        user.into_iter().chain(accepted).chain(outbox).chain(repeats).chain(cursor).chain(ahead)
    }

    fn remove(&mut self, id: SendId) {
        // Answers come in order, or nearly: the first one is the one.
        if let Some(index) = self.outbox.iter().position(|send| send.id == id) {
            self.outbox.remove(index);
        }
    }
}

/// The last accepted send of each conversation, at most [`CONVERSATIONS_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LastAccepted {
    sends: BTreeMap<Address, (SendId, u64)>,
    by_use: BTreeMap<u64, Address>,
    uses: u64,
}

impl LastAccepted {
    /// The last accepted send of a conversation.
    #[must_use]
    pub fn get(&self, to: Address) -> Option<SendId> {
        self.sends.get(&to).map(|(id, _)| *id)
    }

    /// Remembers the last accepted send of a conversation.
    pub fn insert(&mut self, to: Address, id: SendId) {
        self.uses += 1;
        if let Some((_, used)) = self.sends.insert(to, (id, self.uses)) {
            self.by_use.remove(&used);
        }
        self.by_use.insert(self.uses, to);
        if self.sends.len() > CONVERSATIONS_MAX
            && let Some((_, oldest)) = self.by_use.pop_first()
        {
            self.sends.remove(&oldest);
        }
    }

    /// Every conversation, the one unused for longest first.
    pub fn iter(&self) -> impl Iterator<Item = (Address, SendId)> {
        self.by_use.values().filter_map(|to| self.get(*to).map(|id| (*to, id)))
    }
}
