//! What was sent, answered and heard, for every stream: one device's messages in one conversation.

use super::{
    counters::CounterSet,
    members::Members,
    order::Ring,
    record::{Message, OwnCopies, Rules},
    seen::{Arrival, Exceptions, Seen},
};
use crate::population::{ConversationIndex, DeviceIndex, UserIndex};

/// All conversations in which something happened.
pub(super) struct Streams<'a> {
    members: &'a dyn Members,
    rules: Rules,
    /// By conversation.
    conversations: Vec<Option<Box<Conversation>>>,
    exceptions: Exceptions,
}

/// One conversation.
pub(super) struct Conversation {
    /// The devices of its members, ascending; a place in it stands for the device below.
    devices: Box<[DeviceIndex]>,
    /// Whose they are.
    users: Box<[UserIndex]>,
    /// By the place of the sender.
    streams: Box<[Option<Box<Stream>>]>,
    /// For groups, whose order must be the same everywhere.
    ring: Option<Ring>,
}

/// What one device sent into one conversation, and who heard it.
#[derive(Default)]
pub(super) struct Stream {
    pub(super) sent: CounterSet,
    pub(super) accepted: CounterSet,
    pub(super) rejected: CounterSet,
    /// By the place of the receiver.
    seen: Box<[Seen]>,
}

/// Whether a device gets a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Yes,
    Maybe,
    No,
}

/// What a device heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// Nobody could have sent it.
    Impossible,
    /// It should not have come here.
    Astray,
    /// It came where it may.
    Here(Arrival),
}

impl<'a> Streams<'a> {
    pub(super) fn new(members: &'a dyn Members, rules: Rules) -> Self {
        let conversations = (0..members.conversation_count()).map(|_| None).collect();
        Self { members, rules, conversations, exceptions: Exceptions::default() }
    }

    /// The stream a message belongs to; nothing when its sender is not in the conversation.
    pub(super) fn stream(&mut self, message: Message) -> Option<&mut Stream> {
        let conversation = self.conversation(message.conversation)?;
        let sender = conversation.place(message.from)?;
        Some(conversation.stream_mut(sender))
    }

    /// A device heard a message.
    pub(super) fn hear(&mut self, device: DeviceIndex, message: Message) -> Heard {
        let (members, rules) = (self.members, self.rules);
        let Some(slot) = self.conversations.get_mut(message.conversation.place()) else {
            return Heard::Impossible;
        };
        let conversation =
            slot.get_or_insert_with(|| Conversation::new(members, rules, message.conversation));
        let Some(sender) = conversation.place(message.from) else {
            return Heard::Impossible;
        };
        let Some(receiver) = conversation.place(device) else {
            return Heard::Astray;
        };
        if conversation.due(rules, sender, receiver) == Due::No {
            return Heard::Astray;
        }
        let seen = &mut conversation.stream_mut(sender).seen[receiver];
        let arrival = seen.hear(counter_of(message), &mut self.exceptions);
        if arrival != Arrival::Again
            && let Some(ring) = &mut conversation.ring
        {
            ring.hear(receiver, Some(sender), message);
        }
        Heard::Here(arrival)
    }

    /// Whether a device may hear a message, of a conversation in which something happened.
    pub(super) fn may_hear(&self, device: DeviceIndex, message: Message) -> bool {
        let conversation = self.conversations.get(message.conversation.place());
        conversation.and_then(Option::as_deref).is_some_and(|conversation| {
            let places = (conversation.place(message.from), conversation.place(device));
            let (Some(sender), Some(receiver)) = places else { return false };
            conversation.due(self.rules, sender, receiver) != Due::No
        })
    }

    fn conversation(&mut self, index: ConversationIndex) -> Option<&mut Conversation> {
        let (members, rules) = (self.members, self.rules);
        let slot = self.conversations.get_mut(index.place())?;
        Some(slot.get_or_insert_with(|| Conversation::new(members, rules, index)))
    }

    /// Every stream with what it is judged by, in the order of conversations and senders.
    pub(super) fn each(&self) -> impl Iterator<Item = StreamView<'_>> {
        self.conversations().flat_map(move |(index, conversation)| {
            let streams = conversation.streams.iter().enumerate();
            streams.filter_map(move |(sender, stream)| {
                let stream = stream.as_deref()?;
                let all = self;
                Some(StreamView { all, index, conversation, sender, stream })
            })
        })
    }

    /// How many pairs of devices were compared in groups, and those whose orders seem to differ.
    pub(super) fn unequal_groups(
        &self,
    ) -> (u64, Vec<(ConversationIndex, DeviceIndex, DeviceIndex)>) {
        let (mut compared, mut unequal) = (0, Vec::new());
        for (index, conversation) in self.conversations() {
            let Some(ring) = &conversation.ring else { continue };
            compared += ring.len();
            let devices = &conversation.devices;
            unequal.extend(ring.unequal().map(|(a, b)| (index, devices[a], devices[b])));
        }
        (compared, unequal)
    }

    fn conversations(&self) -> impl Iterator<Item = (ConversationIndex, &Conversation)> {
        self.conversations.iter().enumerate().filter_map(|(index, conversation)| {
            let index = u32::try_from(index).expect("conversations are numbered by 32 bits");
            Some((ConversationIndex(index), conversation.as_deref()?))
        })
    }
}

impl Conversation {
    fn new(members: &dyn Members, rules: Rules, index: ConversationIndex) -> Box<Self> {
        let devices: Box<[DeviceIndex]> = members.devices_in(index).into();
        assert!(devices.is_sorted(), "devices of a conversation ascend");
        let users = devices.iter().map(|device| members.user_of(*device)).collect();
        let streams = devices.iter().map(|_| None).collect();
        let ring = rules.group_order && members.is_group(index);
        let ring = ring.then(|| Ring::new(devices.len()));
        Box::new(Self { devices, users, streams, ring })
    }

    fn place(&self, device: DeviceIndex) -> Option<usize> {
        self.devices.binary_search(&device).ok()
    }

    fn stream_mut(&mut self, sender: usize) -> &mut Stream {
        let receivers = self.devices.len();
        self.streams[sender].get_or_insert_with(|| {
            let seen = vec![Seen::default(); receivers].into_boxed_slice();
            Box::new(Stream { seen, ..Stream::default() })
        })
    }

    fn due(&self, rules: Rules, sender: usize, receiver: usize) -> Due {
        if sender == receiver {
            return Due::No;
        }
        if self.users[sender] != self.users[receiver] {
            return Due::Yes;
        }
        match rules.own_copies {
            OwnCopies::Due => Due::Yes,
            OwnCopies::Allowed => Due::Maybe,
            OwnCopies::Forbidden => Due::No,
        }
    }
}

/// One stream, to be judged.
pub(super) struct StreamView<'a> {
    all: &'a Streams<'a>,
    index: ConversationIndex,
    conversation: &'a Conversation,
    sender: usize,
    pub(super) stream: &'a Stream,
}

impl<'a> StreamView<'a> {
    /// The message with this counter.
    pub(super) fn message(&self, counter: u32) -> Message {
        let from = self.conversation.devices[self.sender];
        Message { from, conversation: self.index, counter: u64::from(counter) }
    }

    /// Each device that may get it, whether it must, and what it heard.
    pub(super) fn receivers(&self) -> impl Iterator<Item = (DeviceIndex, Due, CounterSet)> + 'a {
        let Self { all, conversation, sender, stream, .. } = *self;
        stream.seen.iter().enumerate().filter_map(move |(receiver, seen)| {
            let due = conversation.due(all.rules, sender, receiver);
            let device = conversation.devices[receiver];
            (due != Due::No).then(|| (device, due, seen.set(&all.exceptions)))
        })
    }
}

/// The counter as the ledger holds it.
pub(super) fn counter_of(message: Message) -> u32 {
    u32::try_from(message.counter).expect("records hold counters of 32 bits")
}
