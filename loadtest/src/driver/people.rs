//! Who is in which conversation, as a driver looks it up for every message.

use std::ops::Range;

use crate::population::{ConversationIndex, DeviceIndex, UserIndex};

/// Whose devices are whose, and who is in which conversation.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// By device.
    users: Vec<UserIndex>,
    /// By user.
    devices: Vec<Range<u32>>,
    /// By conversation.
    conversations: Vec<Conversation>,
}

/// Who is in a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conversation {
    /// These two.
    Direct([UserIndex; 2]),
    /// All of these.
    Group(Vec<UserIndex>),
}

impl Conversation {
    /// All of them.
    #[must_use]
    pub fn members(&self) -> &[UserIndex] {
        match self {
            Self::Direct(two) => two,
            Self::Group(members) => members,
        }
    }
}

impl People {
    /// Users with so many devices each, and their conversations.
    #[must_use]
    pub fn new(devices: impl IntoIterator<Item = u32>, conversations: Vec<Conversation>) -> Self {
        let mut people = Self { conversations, ..Self::default() };
        for (user, count) in (0..).zip(devices) {
            let first = people.device_count();
            people.devices.push(first..first + count);
            people.users.extend((0..count).map(|_| UserIndex(user)));
        }
        people
    }

    /// All devices there are.
    #[must_use]
    pub fn device_count(&self) -> u32 {
        u32::try_from(self.users.len()).expect("devices are numbered by 32 bits")
    }

    /// All users there are.
    #[must_use]
    pub fn user_count(&self) -> u32 {
        u32::try_from(self.devices.len()).expect("users are numbered by 32 bits")
    }

    /// Whose device it is.
    #[must_use]
    pub fn user_of(&self, device: DeviceIndex) -> UserIndex {
        self.users[device.place()]
    }

    /// The devices of a user.
    pub fn devices_of(&self, user: UserIndex) -> impl Iterator<Item = DeviceIndex> + use<> {
        self.devices[user.place()].clone().map(DeviceIndex)
    }

    /// Who is in a conversation.
    #[must_use]
    pub fn conversation(&self, index: ConversationIndex) -> &Conversation {
        &self.conversations[index.place()]
    }

    /// The conversations of more than two.
    pub fn groups(&self) -> impl Iterator<Item = ConversationIndex> {
        (0..).zip(&self.conversations).filter_map(|(index, conversation)| match conversation {
            Conversation::Direct(_) => None,
            Conversation::Group(_) => Some(ConversationIndex(index)),
        })
    }

    /// Every device that gets what this one sends there.
    pub fn recipients(
        &self,
        index: ConversationIndex,
        sender: DeviceIndex,
    ) -> impl Iterator<Item = DeviceIndex> {
        let members = self.conversation(index).members().iter();
        members.flat_map(|user| self.devices_of(*user)).filter(move |device| *device != sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_in_a_conversation_gets_a_message_but_the_device_that_sent_it() {
        let (a, b, c) = (UserIndex(0), UserIndex(1), UserIndex(2));
        let conversations = vec![Conversation::Direct([a, c]), Conversation::Group(vec![a, b, c])];
        let people = People::new([2, 1, 1], conversations);
        let recipients = |conversation, sender| -> Vec<u32> {
            let all = people.recipients(ConversationIndex(conversation), DeviceIndex(sender));
            all.map(|device| device.0).collect()
        };
        assert_eq!(recipients(0, 0), [1, 3]);
        assert_eq!(recipients(0, 3), [0, 1]);
        assert_eq!(recipients(1, 2), [0, 1, 3]);
        assert_eq!(people.user_of(DeviceIndex(2)), b);
        assert_eq!((people.device_count(), people.user_count()), (4, 3));
        assert_eq!(people.groups().count(), 1);
    }
}
