//! Which messages a device has seen, so that a repeat is not shown twice.

use std::{collections::BTreeMap, fmt};

use wire::{Address, Counter, DeviceId, MessageId, RunId, UserId};

/// Counters remembered of one device, run and conversation; the lowest is forgotten and becomes
/// the floor.
pub const COUNTERS_MAX: usize = 256;
/// Devices, runs and conversations remembered; the one unused for longest is forgotten.
pub const STREAMS_MAX: usize = 65_536;
/// Messages remembered in all, beyond which likewise: about 16 MiB.
pub const MESSAGES_MAX: usize = 262_144;

/// What makes two items with one id the same: [`wire::Item::digest`].
pub type Digest = [u8; 16];

/// Bounded memory of messages.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Repeats {
    streams: BTreeMap<Key, Stream>,
    by_use: BTreeMap<u64, Key>,
    uses: u64,
    messages: usize,
}

type Key = (UserId, DeviceId, RunId, Address);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Stream {
    seen: BTreeMap<Counter, Digest>,
    last_use: u64,
}

/// What is known of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// Not seen before.
    New,
    /// Seen.
    Repeat,
    /// Another body was seen under this id.
    Conflict,
}

impl Repeats {
    /// What is known of a message.
    ///
    /// Messages of one stream come first in the order of their counters, so one below all
    /// of a full memory was seen before: it is a repeat.
    #[must_use]
    pub fn check(&self, id: &MessageId, to: Address, digest: &Digest) -> Sighting {
        let Some(stream) = self.streams.get(&key(id, to)) else { return Sighting::New };
        match stream.seen.get(&id.send.counter) {
            Some(seen) if seen == digest => Sighting::Repeat,
            Some(_) => Sighting::Conflict,
            None if stream.is_full_above(id.send.counter) => Sighting::Repeat,
            None => Sighting::New,
        }
    }

    /// Remembers a message.
    pub fn insert(&mut self, id: &MessageId, to: Address, digest: Digest) {
        let key = key(id, to);
        let stream = self.streams.entry(key).or_default();
        if stream.seen.insert(id.send.counter, digest).is_none() {
            self.messages += 1;
        }
        if stream.seen.len() > COUNTERS_MAX {
            stream.seen.pop_first();
            self.messages -= 1;
        }
        self.by_use.remove(&stream.last_use);
        self.uses += 1;
        stream.last_use = self.uses;
        self.by_use.insert(self.uses, key);
        while self.streams.len() > STREAMS_MAX || self.messages > MESSAGES_MAX {
            let Some((_, oldest)) = self.by_use.pop_first() else { return };
            let forgotten = self.streams.remove(&oldest).map_or(0, |stream| stream.seen.len());
            self.messages -= forgotten;
        }
    }

    /// Everything remembered, in an order that rebuilds the same memory by [`Self::insert`].
    pub fn iter(&self) -> impl Iterator<Item = (MessageId, Address, Digest)> {
        self.by_use.values().flat_map(|key| {
            let seen = self.streams.get(key).map(|stream| &stream.seen);
            seen.into_iter().flatten().map(|(counter, digest)| {
                let (user, device, run, to) = *key;
                let send = wire::SendId { run, counter: *counter };
                (MessageId { user, device, send }, to, *digest)
            })
        })
    }

    /// Messages remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.messages
    }

    /// Nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages == 0
    }
}

/// How many, not which: there may be hundreds of thousands.
impl fmt::Debug for Repeats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repeats({} messages of {} streams)", self.messages, self.streams.len())
    }
}

impl Stream {
    fn is_full_above(&self, counter: Counter) -> bool {
        self.seen.len() >= COUNTERS_MAX
            && self.seen.first_key_value().is_some_and(|(lowest, _)| counter < *lowest)
    }
}

fn key(id: &MessageId, to: Address) -> Key {
    (id.user, id.device, id.send.run, to)
}

#[cfg(test)]
mod tests {
    use wire::SendId;

    use super::*;

    const TO: Address = Address::User(UserId::from_bytes([9; 16]));

    fn id(run: u64, counter: u64) -> MessageId {
        let send = SendId { run: RunId::new(run), counter: Counter::new(counter) };
        MessageId { user: UserId::from_bytes([1; 16]), device: DeviceId::from_bytes([2; 8]), send }
    }

    #[test]
    fn a_second_sighting_is_a_repeat_and_another_body_a_conflict() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.check(&id(1, 1), TO, &[1; 16]), Sighting::New);
        repeats.insert(&id(1, 1), TO, [1; 16]);
        assert_eq!(repeats.check(&id(1, 1), TO, &[1; 16]), Sighting::Repeat);
        assert_eq!(repeats.check(&id(1, 1), TO, &[2; 16]), Sighting::Conflict);
        assert_eq!(repeats.check(&id(2, 1), TO, &[1; 16]), Sighting::New);
    }

    #[test]
    fn below_the_floor_of_a_full_memory_is_a_repeat_and_gaps_in_it_are_new() {
        let mut repeats = Repeats::default();
        for counter in 0..=COUNTERS_MAX as u64 {
            repeats.insert(&id(1, 10 + 2 * counter), TO, [1; 16]);
        }
        assert_eq!(repeats.len(), COUNTERS_MAX);
        assert_eq!(repeats.check(&id(1, 9), TO, &[1; 16]), Sighting::Repeat);
        assert_eq!(repeats.check(&id(1, 10), TO, &[1; 16]), Sighting::Repeat);
        assert_eq!(repeats.check(&id(1, 13), TO, &[1; 16]), Sighting::New);
    }

    #[test]
    fn the_stream_unused_for_longest_is_forgotten() {
        let mut repeats = Repeats::default();
        for run in 0..STREAMS_MAX as u64 {
            repeats.insert(&id(run, 1), TO, [1; 16]);
        }
        repeats.insert(&id(0, 2), TO, [1; 16]);
        repeats.insert(&id(u64::MAX, 1), TO, [1; 16]);
        assert_eq!(repeats.check(&id(0, 1), TO, &[1; 16]), Sighting::Repeat);
        assert_eq!(repeats.check(&id(1, 1), TO, &[1; 16]), Sighting::New);
    }

    #[test]
    fn what_is_listed_rebuilds_the_same_memory() {
        let mut repeats = Repeats::default();
        for counter in 1..600 {
            repeats.insert(&id(counter % 3, counter), TO, [1; 16]);
        }
        let mut rebuilt = Repeats::default();
        for (id, to, digest) in repeats.iter() {
            rebuilt.insert(&id, to, digest);
        }
        assert!(rebuilt.iter().eq(repeats.iter()));
    }
}
