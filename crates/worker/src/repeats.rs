//! The messages a lane has seen of late, to drop those that come again.

use wire::{Item, MessageId};

use crate::recent::Recent;

/// What tells one message from all others: its id, and the digest of addressee, kind and body, so
/// that a second body under one id is not taken for a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(MessageId, [u8; 16]);

/// A bounded window of messages. What it forgets, the device drops.
pub(crate) struct Repeats(Recent<Key, ()>);

impl Key {
    pub(crate) fn of(item: &Item) -> Self {
        Self(item.id, item.digest())
    }
}

impl Repeats {
    pub(crate) fn new(remembered: usize) -> Self {
        // The map remembers at least half of its capacity.
        Self(Recent::new(2 * remembered))
    }

    /// Remembers the item. Whether it is one that was here before.
    pub(crate) fn is_repeat(&mut self, item: &Item) -> bool {
        self.remember(Key::of(item))
    }

    /// Remembers a message. Whether it was here before.
    pub(crate) fn remember(&mut self, key: Key) -> bool {
        self.0.insert(key, ()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire::{Address, Counter, DeviceId, RunId, SendId, UserId, item::Body};

    use super::*;

    fn item(counter: u64, text: &'static str, to: u8) -> Item {
        let send = SendId { run: RunId::new(1), counter: Counter::new(counter) };
        let (user, device) = (UserId::from_bytes([1; 16]), DeviceId::from_bytes([1; 8]));
        Item {
            id: MessageId { user, device, send },
            to: Address::User(UserId::from_bytes([to; 16])),
            sent_ms: 0,
            ttl_s: 60,
            body: Body::Message(Bytes::from_static(text.as_bytes())),
        }
    }

    #[test]
    fn the_same_id_addressee_and_body_again_is_a_repeat() {
        let mut repeats = Repeats::new(16);
        assert!(!repeats.is_repeat(&item(1, "a", 2)));
        assert!(repeats.is_repeat(&item(1, "a", 2)));
        assert!(repeats.is_repeat(&Item { sent_ms: 9, ..item(1, "a", 2) }));
    }

    #[test]
    fn another_id_addressee_or_body_is_not() {
        let mut repeats = Repeats::new(16);
        assert!(!repeats.is_repeat(&item(1, "a", 2)));
        assert!(!repeats.is_repeat(&item(2, "a", 2)));
        assert!(!repeats.is_repeat(&item(1, "b", 2)));
        assert!(!repeats.is_repeat(&item(1, "a", 3)));
    }

    #[test]
    fn at_least_the_promised_number_is_remembered_and_a_bounded_one() {
        let mut repeats = Repeats::new(16);
        for counter in 0..100 {
            assert!(!repeats.is_repeat(&item(counter, "a", 2)));
        }
        for counter in 84..100 {
            assert!(repeats.is_repeat(&item(counter, "a", 2)), "{counter}");
        }
        assert!(!repeats.is_repeat(&item(0, "a", 2)));
    }
}
