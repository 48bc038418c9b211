//! Whether two devices heard the same messages in the same order.
//!
//! Devices that must agree form a ring: each is compared with the next. Both keep a fingerprint of
//! what they heard, in order, leaving out what one of the two sent, since a device does not hear
//! its own. Equal fingerprints mean equal orders. Unequal ones may also mean that something is
//! missing at one of them; then the two are compared message by message, in a pass of their own.

use std::collections::HashMap;

use super::{findings::Finding, record::Message, verdict::Kind};
use crate::population::{ConversationIndex, DeviceIndex};

/// How many messages are kept to compare devices one by one: 16 bytes each, 128 MiB.
const KEPT_MAX: usize = 8 << 20;

/// The fingerprints of devices that must agree.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    /// By pair: of a place and of the next one.
    pairs: Box<[(u64, u64)]>,
    devices: usize,
}

impl Ring {
    /// A ring of so many devices.
    pub(super) fn new(devices: usize) -> Self {
        // Two make one pair, not two.
        let pairs = if devices > 2 { devices } else { devices.saturating_sub(1) };
        Self { pairs: vec![(0, 0); pairs].into(), devices }
    }

    /// How many pairs are compared.
    pub(super) fn len(&self) -> u64 {
        self.pairs.len() as u64
    }

    /// The device at a place heard a message for the first time. `sender` is the sender's place, if
    /// it has one.
    pub(super) fn hear(&mut self, place: usize, sender: Option<usize>, message: Message) {
        let next = (place + 1) % self.devices;
        let previous = (place + self.devices - 1) % self.devices;
        if let Some((mine, _)) = self.pairs.get_mut(place)
            && sender != Some(next)
        {
            mix(mine, message);
        }
        if let Some((_, mine)) = self.pairs.get_mut(previous)
            && sender != Some(previous)
        {
            mix(mine, message);
        }
    }

    /// The pairs whose fingerprints differ.
    pub(super) fn unequal(&self) -> impl Iterator<Item = (usize, usize)> {
        let pairs = self.pairs.iter().enumerate();
        let unequal = pairs.filter(|(_, (first, second))| first != second);
        unequal.map(|(place, _)| (place, (place + 1) % self.devices))
    }
}

/// Takes a message into a fingerprint; the order matters.
fn mix(fingerprint: &mut u64, message: Message) {
    // Odd numbers with many bits, from the golden ratio and from xxHash.
    const ONE: u64 = 0x9E37_79B9_7F4A_7C15;
    const TWO: u64 = 0xC2B2_AE3D_27D4_EB4F;
    let name = u64::from(message.from.0) << 32 | u64::from(message.conversation.0);
    for word in [name, message.counter] {
        *fingerprint = (fingerprint.rotate_left(29) ^ word.wrapping_mul(TWO)).wrapping_mul(ONE);
        *fingerprint ^= *fingerprint >> 32;
    }
}

/// Pairs of devices to compare message by message.
#[derive(Default)]
pub(super) struct Suspects {
    pairs: Vec<Pair>,
    /// The places in `pairs` a device takes part in.
    of_device: HashMap<DeviceIndex, Vec<usize>>,
    /// Messages kept in all of them.
    kept: usize,
    /// Pairs given up, because too much would have to be kept.
    pub(super) given_up: u64,
}

struct Pair {
    /// The group; nothing for two devices of one user.
    group: Option<ConversationIndex>,
    devices: [DeviceIndex; 2],
    heard: [Vec<Message>; 2],
}

impl Suspects {
    pub(super) fn add(
        &mut self,
        group: Option<ConversationIndex>,
        first: DeviceIndex,
        second: DeviceIndex,
    ) {
        for device in [first, second] {
            self.of_device.entry(device).or_default().push(self.pairs.len());
        }
        let heard = [Vec::new(), Vec::new()];
        self.pairs.push(Pair { group, devices: [first, second], heard });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// A device heard a message where it may: the second pass.
    pub(super) fn take(&mut self, device: DeviceIndex, message: Message) {
        let Some(places) = self.of_device.get(&device) else { return };
        for place in places {
            // A pair that was given up is not there any more.
            let Some(pair) = self.pairs.get_mut(*place) else { continue };
            self.kept += usize::from(pair.take(device, message));
        }
        while self.kept > KEPT_MAX {
            let pair = self.pairs.pop().expect("what is kept belongs to a pair");
            self.kept -= pair.heard[0].len() + pair.heard[1].len();
            self.given_up += 1;
        }
    }

    /// The pairs that disagree, each with the first message that shows it.
    pub(super) fn judge(&self) -> impl Iterator<Item = Finding> {
        self.pairs.iter().filter_map(Pair::judge)
    }
}

impl Pair {
    /// Whether the message was kept.
    fn take(&mut self, device: DeviceIndex, message: Message) -> bool {
        let elsewhere = self.group.is_some_and(|group| group != message.conversation);
        if elsewhere || self.devices.contains(&message.from) {
            return false;
        }
        let side = usize::from(device != self.devices[0]);
        self.heard[side].push(message);
        true
    }

    fn judge(&self) -> Option<Finding> {
        let mut places: HashMap<Message, usize> = HashMap::with_capacity(self.heard[0].len());
        for (place, message) in self.heard[0].iter().enumerate() {
            places.entry(*message).or_insert(place);
        }
        let mut before: Option<(usize, Message)> = None;
        for message in &self.heard[1] {
            // Removed, so that it counts where it first arrived.
            let Some(place) = places.remove(message) else { continue };
            match before {
                Some((higher, other)) if higher > place => {
                    let group = self.group.is_some();
                    let kind = if group { Kind::GroupDisordered } else { Kind::MailboxDisordered };
                    return Some(Finding {
                        device: Some(self.devices[1]),
                        peer: Some(self.devices[0]),
                        message: Some(*message),
                        other: Some(other),
                        ..Finding::of(kind)
                    });
                }
                Some(_) | None => before = Some((place, *message)),
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(from: u32, counter: u64) -> Message {
        Message { from: DeviceIndex(from), conversation: ConversationIndex(0), counter }
    }

    /// Four devices hear what all of them send, in one order, but for what `change` does to that
    /// of the third.
    fn unequal(devices: usize, change: impl Fn(&mut Vec<Message>)) -> Vec<(usize, usize)> {
        let mut ring = Ring::new(devices);
        let senders = u32::try_from(devices).expect("few");
        let order: Vec<Message> =
            (0..40).map(|number| message(number % senders, u64::from(number / senders))).collect();
        for place in 0..devices {
            let mut heard = order.clone();
            heard.retain(|message| message.from.place() != place);
            if place == 2 {
                change(&mut heard);
            }
            for message in heard {
                ring.hear(place, Some(message.from.place()), message);
            }
        }
        ring.unequal().collect()
    }

    #[test]
    fn one_order_for_all_is_equal_though_nobody_hears_his_own() {
        for devices in 2..6 {
            assert_eq!(unequal(devices, |_| ()), []);
        }
    }

    #[test]
    fn another_order_at_one_differs_from_its_neighbours() {
        // Senders 4 and 0, whom both neighbours hear.
        assert_eq!(unequal(5, |heard| heard.swap(3, 4)), [(1, 2), (2, 3)]);
        // Senders 0 and 1: the neighbour 1 does not hear its own.
        assert_eq!(unequal(5, |heard| heard.swap(4, 5)), [(2, 3)]);
        // Of three devices only 1 hears what 0 sends, too.
        assert_eq!(unequal(3, |heard| heard.swap(8, 10)), [(1, 2)]);
    }

    #[test]
    fn a_message_missing_at_one_is_no_other_order() {
        let mut suspects = Suspects::default();
        suspects.add(None, DeviceIndex(0), DeviceIndex(1));
        for (device, counter) in [(0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (1, 2), (1, 3), (1, 1)] {
            suspects.take(DeviceIndex(device), message(7, counter));
        }
        assert_eq!(suspects.judge().count(), 0);
        suspects.take(DeviceIndex(1), message(7, 0));
        let found: Vec<Finding> = suspects.judge().collect();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].kind, Kind::MailboxDisordered);
        assert_eq!(found[0].message, Some(message(7, 0)));
        assert_eq!(found[0].other, Some(message(7, 2)));
    }

    #[test]
    fn two_devices_are_one_pair() {
        let mut ring = Ring::new(2);
        assert_eq!(ring.len(), 1);
        ring.hear(0, None, message(7, 0));
        assert_eq!(ring.unequal().collect::<Vec<_>>(), [(0, 1)]);
        ring.hear(1, None, message(7, 0));
        assert_eq!(ring.unequal().collect::<Vec<_>>(), []);
    }

    #[test]
    fn one_device_alone_agrees_with_itself() {
        let mut ring = Ring::new(1);
        ring.hear(0, None, message(7, 0));
        assert_eq!((ring.len(), ring.unequal().count()), (0, 0));
    }
}
