//! Who there is: users, devices, contacts and groups, drawn from a seed.
//!
//! A [`Population`] does not change during a run. [`Sends`] says who sends what to whom next, and
//! [`Payloads`] holds the bytes.

mod draw;
mod index;
mod payloads;
mod sends;
mod weights;

use std::ops::Range;

use xxhash_rust::xxh3::Xxh3;

pub use index::{ConversationIndex, DeviceIndex, UserIndex};
pub use payloads::{Body, PayloadError, Payloads};
pub use sends::{Send, Sends, Shares};

use crate::scenario;

/// Everybody who takes part in a run. The same seed gives the same one.
#[derive(Debug, PartialEq, Eq)]
pub struct Population {
    /// The devices of user `u` are those from `first_device[u]` to below `first_device[u + 1]`.
    first_device: Vec<u32>,
    owner: Vec<UserIndex>,
    online: Vec<bool>,
    pairs: Vec<[UserIndex; 2]>,
    groups: Lists<UserIndex>,
    direct_of: Lists<ConversationIndex>,
    groups_of: Lists<ConversationIndex>,
    largest_group: Option<ConversationIndex>,
    most_contacted: UserIndex,
    /// How often users send, each with all devices together; never 0.
    activity: Vec<u64>,
}

/// Who talks to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Conversation<'a> {
    /// Two users.
    Direct {
        /// One.
        a: UserIndex,
        /// The other.
        b: UserIndex,
    },
    /// A group.
    Group {
        /// All of them, the one who creates it first.
        members: &'a [UserIndex],
    },
}

/// Many short lists in one piece of memory.
#[derive(Debug, PartialEq, Eq)]
struct Lists<T> {
    ends: Vec<u32>,
    items: Vec<T>,
}

impl Population {
    /// Draws one. What the scenario says was checked when it was read.
    ///
    /// # Panics
    /// When it was not: a bound beyond its range, or more members than users.
    #[must_use]
    pub fn draw(population: &scenario::Population, traffic: &scenario::Traffic, seed: u64) -> Self {
        draw::draw(population, traffic, seed)
    }

    /// All users.
    pub fn users(&self) -> impl ExactSizeIterator<Item = UserIndex> + use<> {
        (0..self.user_count()).map(UserIndex)
    }

    /// How many users there are.
    #[must_use]
    pub fn user_count(&self) -> u32 {
        count(self.first_device.len() - 1)
    }

    /// All devices.
    pub fn devices(&self) -> impl ExactSizeIterator<Item = DeviceIndex> + use<> {
        (0..self.device_count()).map(DeviceIndex)
    }

    /// How many devices there are.
    #[must_use]
    pub fn device_count(&self) -> u32 {
        count(self.owner.len())
    }

    /// The devices of a user, at least one.
    pub fn devices_of(
        &self,
        user: UserIndex,
    ) -> impl ExactSizeIterator<Item = DeviceIndex> + Clone + use<> {
        self.device_range(user).map(DeviceIndex)
    }

    fn device_range(&self, user: UserIndex) -> Range<u32> {
        self.first_device[user.place()]..self.first_device[user.place() + 1]
    }

    /// Whose a device is.
    #[must_use]
    pub fn user_of(&self, device: DeviceIndex) -> UserIndex {
        self.owner[device.place()]
    }

    /// Which of its user's devices a device is, from 0.
    #[must_use]
    pub fn number_of(&self, device: DeviceIndex) -> u32 {
        device.0 - self.device_range(self.user_of(device)).start
    }

    /// Whether a device is connected when the load begins.
    #[must_use]
    pub fn is_online(&self, device: DeviceIndex) -> bool {
        self.online[device.place()]
    }

    /// How many devices are connected when the load begins.
    #[must_use]
    pub fn online_count(&self) -> u32 {
        count(self.online.iter().filter(|is| **is).count())
    }

    /// All conversations: those of two, then the groups.
    pub fn conversations(&self) -> impl ExactSizeIterator<Item = ConversationIndex> + use<> {
        (0..self.conversation_count()).map(ConversationIndex)
    }

    /// How many conversations there are.
    #[must_use]
    pub fn conversation_count(&self) -> u32 {
        self.direct_count() + self.group_count()
    }

    /// How many conversations of two there are.
    #[must_use]
    pub fn direct_count(&self) -> u32 {
        count(self.pairs.len())
    }

    /// The groups.
    pub fn groups(&self) -> impl ExactSizeIterator<Item = ConversationIndex> + use<> {
        (self.direct_count()..self.conversation_count()).map(ConversationIndex)
    }

    /// How many groups there are.
    #[must_use]
    pub fn group_count(&self) -> u32 {
        self.groups.count()
    }

    /// Who is in a conversation.
    #[must_use]
    pub fn conversation(&self, conversation: ConversationIndex) -> Conversation<'_> {
        match self.pairs.get(conversation.place()) {
            Some([a, b]) => Conversation::Direct { a: *a, b: *b },
            None => Conversation::Group { members: self.members(conversation) },
        }
    }

    /// Who is in a conversation, each once.
    #[must_use]
    pub fn members(&self, conversation: ConversationIndex) -> &[UserIndex] {
        match self.pairs.get(conversation.place()) {
            Some(pair) => pair,
            None => self.groups.get(conversation.place() - self.pairs.len()),
        }
    }

    /// The devices a message reaches: all of all members but the one that sends it.
    pub fn recipients(
        &self,
        conversation: ConversationIndex,
        from: DeviceIndex,
    ) -> impl Iterator<Item = DeviceIndex> + Clone {
        let devices = self.members(conversation).iter().flat_map(|user| self.devices_of(*user));
        devices.filter(move |device| *device != from)
    }

    /// Whether a message of this device in this conversation goes to that device.
    #[must_use]
    pub fn is_recipient(
        &self,
        conversation: ConversationIndex,
        from: DeviceIndex,
        device: DeviceIndex,
    ) -> bool {
        device != from && self.members(conversation).contains(&self.user_of(device))
    }

    /// The conversations of two a user is in.
    #[must_use]
    pub fn direct_of(&self, user: UserIndex) -> &[ConversationIndex] {
        self.direct_of.get(user.place())
    }

    /// The groups a user is in.
    #[must_use]
    pub fn groups_of(&self, user: UserIndex) -> &[ConversationIndex] {
        self.groups_of.get(user.place())
    }

    /// The group with the most members, the first of them when there are several.
    #[must_use]
    pub fn largest_group(&self) -> Option<ConversationIndex> {
        self.largest_group
    }

    /// The user with the most contacts, the first of them when there are several.
    #[must_use]
    pub fn most_contacted(&self) -> UserIndex {
        self.most_contacted
    }

    /// How often a user sends, relative to others; never 0.
    #[must_use]
    pub fn activity(&self, user: UserIndex) -> u64 {
        self.activity[user.place()]
    }

    /// A fingerprint: equal populations have equal ones.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut hasher = Xxh3::new();
        let mut add = |tag: &[u8], numbers: &mut dyn Iterator<Item = u64>| {
            hasher.update(tag);
            numbers.for_each(|number| hasher.update(&number.to_le_bytes()));
        };
        add(b"devices", &mut self.first_device.iter().map(|first| u64::from(*first)));
        add(b"online", &mut self.online.iter().map(|is| u64::from(*is)));
        let pair = |[a, b]: &[UserIndex; 2]| u64::from(a.0) << 32 | u64::from(b.0);
        add(b"pairs", &mut self.pairs.iter().map(pair));
        add(b"groups", &mut self.groups.ends.iter().map(|end| u64::from(*end)));
        add(b"members", &mut self.groups.items.iter().map(|user| u64::from(user.0)));
        add(b"activity", &mut self.activity.iter().copied());
        hasher.digest()
    }
}

impl<T: Copy> Lists<T> {
    fn from_lists(lists: &[Vec<T>]) -> Self {
        let mut all = Self {
            ends: Vec::with_capacity(lists.len()),
            items: Vec::with_capacity(lists.iter().map(Vec::len).sum()),
        };
        lists.iter().for_each(|list| all.push(list));
        all
    }

    fn push(&mut self, list: &[T]) {
        self.items.extend_from_slice(list);
        self.ends.push(count(self.items.len()));
    }

    fn count(&self) -> u32 {
        count(self.ends.len())
    }

    fn get(&self, place: usize) -> &[T] {
        let start = place.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.items[start as usize..self.ends[place] as usize]
    }
}

/// A length as it is kept. What a scenario may ask for stays far below 2^32.
fn count(len: usize) -> u32 {
    u32::try_from(len).expect("a scenario's numbers were checked")
}

#[cfg(test)]
mod tests;
