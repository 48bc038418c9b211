//! Sends of a client that wait for their answer, in order within each conversation.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use wire::{
    Address, SendId,
    client_frame::{Previous, Send},
    item::{Body, GroupChange},
    limits::ANSWER_WITHIN,
};

use crate::restored::{LastAccepted, StoreChange};

/// How much may wait for its answer. Beyond it: [`Full`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sends.
    pub entries_max: usize,
    /// Bytes of their bodies, and 128 for each.
    pub bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { entries_max: 4096, bytes_max: 16 * 1024 * 1024 }
    }
}

/// As much waits for its answer as may: try again when something was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the outbox is full: too many sends wait for their answer")]
pub struct Full;

/// An edge that leaves a send without its answer for so long does not work.
const ANSWER_AWAITED: Duration = Duration::from_secs(20);

const _: () = assert!(ANSWER_AWAITED.as_millis() > ANSWER_WITHIN.as_millis());

/// The place of a send among all sends of this device.
type Place = u64;

#[derive(Debug)]
pub(crate) struct Outbox {
    limits: Limits,
    window: usize,
    last_place: Place,
    bytes: usize,
    entries: BTreeMap<Place, Send>,
    places: BTreeMap<SendId, Place>,
    conversations: BTreeMap<Address, Conversation>,
    in_flight: usize,
    /// When the answer of each is overdue.
    overdue: BTreeMap<Place, Duration>,
    /// Conversations that can send now, by their next place.
    ready: BTreeMap<Place, Address>,
    /// Conversations that wait out a delay.
    delayed: BTreeSet<(Duration, Address)>,
    accepted: LastAccepted,
}

/// Unanswered sends of one conversation. It exists while there are any.
#[derive(Debug, Default)]
struct Conversation {
    waiting: BTreeSet<Place>,
    in_flight: BTreeSet<Place>,
    not_before: Option<Duration>,
    /// Its key in `ready`.
    ready: Option<Place>,
}

impl Outbox {
    pub(crate) fn new(limits: Limits, restored: Vec<Send>, accepted: LastAccepted) -> Self {
        let mut outbox = Self {
            limits,
            window: 0,
            last_place: 0,
            bytes: 0,
            entries: BTreeMap::new(),
            places: BTreeMap::new(),
            conversations: BTreeMap::new(),
            in_flight: 0,
            overdue: BTreeMap::new(),
            ready: BTreeMap::new(),
            delayed: BTreeSet::new(),
            accepted,
        };
        for send in restored {
            outbox.insert(send);
        }
        outbox
    }

    pub(crate) fn enqueue(&mut self, send: Send) -> Result<StoreChange, Full> {
        let full = self.entries.len() >= self.limits.entries_max
            || self.bytes + cost(&send) > self.limits.bytes_max;
        if full {
            return Err(Full);
        }
        let change = StoreChange::Queued(send.clone());
        self.insert(send);
        Ok(change)
    }

    fn insert(&mut self, send: Send) {
        self.last_place += 1;
        let (place, to) = (self.last_place, send.to);
        self.bytes += cost(&send);
        self.places.insert(send.id, place);
        self.entries.insert(place, send);
        self.conversations.entry(to).or_default().waiting.insert(place);
        self.refresh(to);
    }

    pub(crate) fn handle_welcome(&mut self, window: usize) {
        self.window = window;
    }

    /// Everything unanswered is sent again on the next connection.
    pub(crate) fn handle_disconnected(&mut self) {
        self.window = 0;
        self.in_flight = 0;
        self.overdue.clear();
        let conversations: Vec<Address> = self.conversations.keys().copied().collect();
        for to in conversations {
            self.set_delay(to, None);
            if let Some(conversation) = self.conversations.get_mut(&to) {
                conversation.waiting.append(&mut conversation.in_flight);
            }
            self.refresh(to);
        }
    }

    pub(crate) fn handle_accepted(&mut self, id: SendId) -> Option<StoreChange> {
        let to = self.remove(id)?;
        self.accepted.insert(to, id);
        Some(StoreChange::Accepted(id, to))
    }

    /// The followers are chained to the one before it: `previous` is found when a send leaves.
    pub(crate) fn handle_rejected(&mut self, id: SendId) -> Option<StoreChange> {
        self.remove(id)?;
        Some(StoreChange::Rejected(id))
    }

    /// The send, and all after it in its conversation, come again from `not_before` on.
    pub(crate) fn handle_again(&mut self, id: SendId, not_before: Duration) {
        let Some(&place) = self.places.get(&id) else { return };
        let Some(to) = self.entries.get(&place).map(|send| send.to) else { return };
        let Some(conversation) = self.conversations.get_mut(&to) else { return };
        if !conversation.in_flight.remove(&place) {
            return;
        }
        self.in_flight -= 1;
        self.overdue.remove(&place);
        conversation.waiting.insert(place);
        let not_before = conversation.not_before.map_or(not_before, |old| old.max(not_before));
        self.set_delay(to, Some(not_before));
        self.refresh(to);
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        while let Some(&(not_before, to)) = self.delayed.first()
            && not_before <= now
        {
            self.set_delay(to, None);
            self.refresh(to);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let delayed = self.delayed.first().map(|(not_before, _)| *not_before);
        delayed.into_iter().chain(self.first_overdue()).min()
    }

    //= protocol#send-11
    pub(crate) fn is_overdue(&self, now: Duration) -> bool {
        self.first_overdue().is_some_and(|due| due <= now)
    }

    /// When the first answer is overdue. At most a window of them is looked through.
    fn first_overdue(&self) -> Option<Duration> {
        self.overdue.values().min().copied()
    }

    /// The next send to transmit, in the order of sending as far as delays allow.
    pub(crate) fn poll(&mut self, now: Duration) -> Option<Send> {
        if self.in_flight >= self.window {
            return None;
        }
        let (place, to) = self.ready.pop_first()?;
        let conversation = self.conversations.get_mut(&to).expect("ready ones have sends");
        conversation.ready = None;
        //= protocol#send-5
        let previous = match conversation.in_flight.last() {
            Some(before) => self.entries.get(before).map(|send| (send.id, false)),
            None => self.accepted.get(to).map(|id| (id, true)),
        };
        conversation.waiting.remove(&place);
        conversation.in_flight.insert(place);
        self.in_flight += 1;
        self.overdue.insert(place, now + ANSWER_AWAITED);
        self.refresh(to);
        let mut send = self.entries.get(&place).expect("a place has its send").clone();
        send.previous = previous.map(|(id, accepted)| Previous { id, accepted });
        Some(send)
    }

    /// Sends that wait for their answer.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Sends of this connection that wait for their answer.
    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight
    }

    pub(crate) fn contains(&self, id: SendId) -> bool {
        self.places.contains_key(&id)
    }

    fn remove(&mut self, id: SendId) -> Option<Address> {
        let place = self.places.remove(&id)?;
        let send = self.entries.remove(&place)?;
        self.bytes -= cost(&send);
        let conversation = self.conversations.get_mut(&send.to)?;
        if conversation.in_flight.remove(&place) {
            self.in_flight -= 1;
            self.overdue.remove(&place);
        }
        conversation.waiting.remove(&place);
        self.refresh(send.to);
        Some(send.to)
    }

    fn set_delay(&mut self, to: Address, not_before: Option<Duration>) {
        let Some(conversation) = self.conversations.get_mut(&to) else { return };
        if let Some(old) = std::mem::replace(&mut conversation.not_before, not_before) {
            self.delayed.remove(&(old, to));
        }
        if let Some(not_before) = not_before {
            self.delayed.insert((not_before, to));
        }
    }

    /// Finds out anew whether a conversation can send. It sends strictly in order: while a later
    /// send is in flight, an earlier one that must come again waits for the later one's answer.
    fn refresh(&mut self, to: Address) {
        let Some(conversation) = self.conversations.get_mut(&to) else { return };
        if let Some(place) = conversation.ready.take() {
            self.ready.remove(&place);
        }
        let next = conversation.waiting.first().copied();
        let in_order = next > conversation.in_flight.last().copied();
        if let Some(next) = next
            && in_order
            && conversation.not_before.is_none()
        {
            conversation.ready = Some(next);
            self.ready.insert(next, to);
        }
        if conversation.waiting.is_empty() && conversation.in_flight.is_empty() {
            self.set_delay(to, None);
            self.conversations.remove(&to);
        }
    }
}

/// What a send takes of the outbox.
fn cost(send: &Send) -> usize {
    const OVERHEAD: usize = 128;
    let users = |users: &[wire::UserId]| users.len() * wire::UserId::LEN;
    let body = match &send.body {
        Body::Message(payload) => payload.len(),
        Body::GroupChange(
            GroupChange::Create(members) | GroupChange::Add(members) | GroupChange::Remove(members),
        ) => users(members),
        Body::GroupChange(GroupChange::Leave | GroupChange::SetRole(..))
        | Body::DeviceChange(_)
        | Body::Verdict(_) => 0,
    };
    OVERHEAD + body
}
