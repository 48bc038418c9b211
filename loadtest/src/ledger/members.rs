//! What the judgement must know of a population: who is due which message.

use std::ops::Range;

use crate::population::{self, ConversationIndex, DeviceIndex, Population, UserIndex};

/// Who is in which conversation, with which devices. Besides a population, tests implement it.
pub trait Members {
    /// Tells one population from another; the ledger keeps it.
    fn digest(&self) -> u64;

    /// How many devices there are; their numbers are below.
    fn device_count(&self) -> usize;

    /// How many conversations there are; their numbers are below.
    fn conversation_count(&self) -> usize;

    /// Whose device it is.
    fn user_of(&self, device: DeviceIndex) -> UserIndex;

    /// The devices of a user: they follow each other.
    fn devices_of(&self, user: UserIndex) -> Range<DeviceIndex>;

    /// The devices of all members, ascending.
    fn devices_in(&self, conversation: ConversationIndex) -> Vec<DeviceIndex>;

    /// Whether its order must be the same at every member.
    fn is_group(&self, conversation: ConversationIndex) -> bool;
}

impl Members for Population {
    fn digest(&self) -> u64 {
        self.digest()
    }

    fn device_count(&self) -> usize {
        self.devices().len()
    }

    fn conversation_count(&self) -> usize {
        self.conversations().len()
    }

    fn user_of(&self, device: DeviceIndex) -> UserIndex {
        self.user_of(device)
    }

    fn devices_of(&self, user: UserIndex) -> Range<DeviceIndex> {
        let mut devices = self.devices_of(user);
        let count = u32::try_from(devices.len()).expect("a user has few devices");
        let first = devices.next().expect("a user has a device");
        first..DeviceIndex(first.0 + count)
    }

    fn devices_in(&self, conversation: ConversationIndex) -> Vec<DeviceIndex> {
        let members = self.members(conversation).iter();
        let mut devices: Vec<_> = members.flat_map(|user| self.devices_of(*user)).collect();
        devices.sort_unstable();
        devices
    }

    fn is_group(&self, conversation: ConversationIndex) -> bool {
        matches!(self.conversation(conversation), population::Conversation::Group { .. })
    }
}
