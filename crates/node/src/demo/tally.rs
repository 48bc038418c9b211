//! The comparison of what every device received with what was accepted.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use wire::{MessageId, Seq};

use crate::demo::script::{Message, Script, Target};

/// Devices of a person; the first one sends.
pub const DEVICES: usize = 2;

/// A device of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Device {
    /// Whose, by the place in the script.
    pub person: usize,
    /// Which one, from 0.
    pub number: usize,
}

/// A message that the cluster accepted.
#[derive(Clone, Debug)]
pub struct Accepted {
    /// What it is called.
    pub id: MessageId,
    /// Its place in the script.
    pub message: usize,
    /// What was sent.
    pub payload: Bytes,
}

/// A message that a device was given.
#[derive(Clone, Debug)]
pub struct Received {
    /// Its place in the mailbox.
    pub seq: Seq,
    /// What it is called.
    pub id: MessageId,
    /// What came.
    pub payload: Bytes,
}

/// What went wrong, and how much went right.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Deliveries that were due and happened.
    pub delivered: usize,
    /// Deliveries that were due and did not happen.
    pub lost: usize,
    /// Deliveries of something the device had been given before.
    pub duplicated: usize,
    /// Deliveries that came after one they should have come before.
    pub reordered: usize,
    /// Deliveries with other bytes than were sent, or of something nobody sent to this device.
    pub corrupted: usize,
}

impl Tally {
    /// Nothing is lost, duplicated, reordered or corrupted.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        [self.lost, self.duplicated, self.reordered, self.corrupted] == [0; 4]
    }
}

/// Whether `device` is due to be given message `message`: everybody it is for, and the sender's
/// other devices. The sending device knows what it sent, except what it sent to its own user.
#[must_use]
pub fn is_due(script: &Script, message: usize, device: Device) -> bool {
    let message = &script.messages[message];
    let is_sender = message.from == device.person;
    if is_sender && device.number == 0 {
        return message.to == Target::Person(device.person);
    }
    is_sender
        || match message.to {
            Target::Person(person) => person == device.person,
            Target::Group(group) => script.groups[group].members.contains(&device.person),
        }
}

/// Compares. `received` is what each device was given, in the order in which it was given.
///
/// Order is broken when a device is given a lower place after a higher one, when two messages of
/// one sender in one conversation come in another order than they were sent, or when two devices
/// are given the messages of a group in different orders.
#[must_use]
pub fn compare(
    script: &Script,
    accepted: &[Accepted],
    received: &BTreeMap<Device, Vec<Received>>,
) -> Tally {
    let by_id: BTreeMap<[u8; MessageId::LEN], &Accepted> =
        accepted.iter().map(|one| (one.id.to_bytes(), one)).collect();
    let mut tally = Tally::default();
    let group_orders = GroupOrders::new(script, &by_id, received);
    for (device, items) in received {
        let mut seen = BTreeSet::new();
        let mut order = Order::default();
        for item in items {
            let known = by_id.get(&item.id.to_bytes());
            let Some(sent) = known.filter(|sent| is_due(script, sent.message, *device)) else {
                tally.corrupted += 1;
                continue;
            };
            if !seen.insert(sent.message) {
                tally.duplicated += 1;
                continue;
            }
            tally.delivered += 1;
            tally.corrupted += usize::from(sent.payload != item.payload);
            let rank = group_orders.rank.get(&sent.message).copied();
            let in_order = order.take(script, sent.message, item.seq, rank);
            tally.reordered += usize::from(!in_order);
        }
        let due = accepted.iter().filter(|sent| is_due(script, sent.message, *device));
        tally.lost += due.filter(|sent| !seen.contains(&sent.message)).count();
    }
    tally
}

/// The order at one device.
#[derive(Default)]
struct Order {
    last: Seq,
    last_of_sender: BTreeMap<(usize, Target), usize>,
    last_of_group: BTreeMap<Target, usize>,
}

impl Order {
    /// Whether `message` at `seq` may come now; `rank` is its place among those of its group.
    fn take(&mut self, script: &Script, message: usize, seq: Seq, rank: Option<usize>) -> bool {
        let Message { from, to, .. } = &script.messages[message];
        let (from, to) = (*from, *to);
        let grows = seq > self.last;
        self.last = self.last.max(seq);
        let follows = raise(&mut self.last_of_sender, (from, to), message);
        let agrees = rank.is_none_or(|rank| raise(&mut self.last_of_group, to, rank));
        grows && follows && agrees
    }
}

/// Whether `value` is not below the highest so far under `key`.
fn raise<K: Ord>(highest: &mut BTreeMap<K, usize>, key: K, value: usize) -> bool {
    let highest = highest.entry(key).or_insert(value);
    let is_not_below = *highest <= value;
    *highest = (*highest).max(value);
    is_not_below
}

/// The order of each group's messages: as the second device of its first member was given them,
/// which is due all of them. Other devices are held against it.
struct GroupOrders {
    rank: BTreeMap<usize, usize>,
}

impl GroupOrders {
    fn new(
        script: &Script,
        by_id: &BTreeMap<[u8; MessageId::LEN], &Accepted>,
        received: &BTreeMap<Device, Vec<Received>>,
    ) -> Self {
        let mut rank = BTreeMap::new();
        for (place, group) in script.groups.iter().enumerate() {
            let Some(person) = group.members.first() else { continue };
            let reference = Device { person: *person, number: DEVICES - 1 };
            let items = received.get(&reference).map_or(&[][..], Vec::as_slice);
            for (at, item) in items.iter().enumerate() {
                let Some(sent) = by_id.get(&item.id.to_bytes()) else { continue };
                if script.messages[sent.message].to == Target::Group(place) {
                    rank.entry(sent.message).or_insert(at);
                }
            }
        }
        Self { rank }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use wire::{Counter, DeviceId, RunId, SendId, UserId};

    use super::*;

    const SCRIPT: &str = r##"
        {"from":"a","to":"b","text":"0"}
        {"from":"a","to":"b","text":"1"}
        {"from":"b","to":"#g","text":"2"}
        {"from":"c","to":"#g","text":"3"}
        {"from":"a","to":"a","text":"4"}"##;
    const A: usize = 0;
    const B: usize = 1;
    const C: usize = 2;

    fn script() -> Script {
        let lines: Vec<_> = SCRIPT.lines().map(str::trim).collect();
        Script::parse("script", &lines.join("\n")).unwrap()
    }

    fn id(message: usize) -> MessageId {
        MessageId {
            user: UserId::from_bytes([1; 16]),
            device: DeviceId::from_bytes([1; 8]),
            send: SendId { run: RunId::new(1), counter: Counter::new(message as u64 + 1) },
        }
    }

    fn payload(message: usize) -> Bytes {
        Bytes::from(message.to_string())
    }

    /// What each device would be given if all went well.
    fn all_well() -> BTreeMap<Device, Vec<Received>> {
        let script = script();
        let devices = (0..3).flat_map(|person| [0, 1].map(|number| Device { person, number }));
        devices
            .map(|device| {
                let due = (0..script.messages.len()).filter(|one| is_due(&script, *one, device));
                let items = due.map(|one| Received {
                    seq: Seq::from_u64(one as u64 + 10),
                    id: id(one),
                    payload: payload(one),
                });
                (device, items.collect())
            })
            .collect()
    }

    /// Changes what one device was given, and compares.
    fn check(device: (usize, usize), change: impl FnOnce(&mut Vec<Received>), expected: Tally) {
        let accepted: Vec<_> = (0..5)
            .map(|one| Accepted { id: id(one), message: one, payload: payload(one) })
            .collect();
        let mut received = all_well();
        change(received.get_mut(&Device { person: device.0, number: device.1 }).unwrap());
        assert_eq!(compare(&script(), &accepted, &received), expected);
    }

    // a's devices: 4 | 0 1 4. b's devices: 0 1 3 | 0 1 2 3. c's devices: 2 | 2 3.
    const WELL: Tally = Tally { delivered: 14, lost: 0, duplicated: 0, reordered: 0, corrupted: 0 };

    #[test]
    fn when_all_goes_well_nothing_is_counted_as_wrong() {
        check((A, 0), |_| (), WELL);
        assert!(WELL.is_clean());
    }

    #[test]
    fn what_does_not_come_is_lost() {
        check((B, 1), |items| items.truncate(1), Tally { delivered: 11, lost: 3, ..WELL });
    }

    #[test]
    fn what_comes_again_is_duplicated() {
        check((A, 1), |items| items.push(items[0].clone()), Tally { duplicated: 1, ..WELL });
    }

    #[test]
    fn what_comes_with_other_bytes_or_was_never_sent_here_is_corrupted() {
        let change = |items: &mut Vec<Received>| items[0].payload = Bytes::from_static(b"x");
        check((C, 0), change, Tally { corrupted: 1, ..WELL });
        let change = |items: &mut Vec<Received>| items[0].id = id(77);
        check((C, 0), change, Tally { corrupted: 1, lost: 1, delivered: 13, ..WELL });
        let change = |items: &mut Vec<Received>| items[0].id = id(0);
        check((C, 0), change, Tally { corrupted: 1, lost: 1, delivered: 13, ..WELL });
    }

    #[test]
    fn messages_of_one_sender_in_another_order_are_reordered() {
        let change = |items: &mut Vec<Received>| {
            let (first, second) = (items[0].seq, items[1].seq);
            items.swap(0, 1);
            (items[0].seq, items[1].seq) = (first, second);
        };
        check((B, 0), change, Tally { reordered: 1, ..WELL });
    }

    #[test]
    fn a_place_below_the_last_one_is_reordered() {
        let change = |items: &mut Vec<Received>| items[2].seq = Seq::from_u64(1);
        check((B, 0), change, Tally { reordered: 1, ..WELL });
    }

    #[test]
    fn a_group_in_another_order_than_at_others_is_reordered() {
        let change = |items: &mut Vec<Received>| {
            let (first, second) = (items[0].seq, items[1].seq);
            items.swap(0, 1);
            (items[0].seq, items[1].seq) = (first, second);
        };
        check((C, 1), change, Tally { reordered: 1, ..WELL });
    }
}
