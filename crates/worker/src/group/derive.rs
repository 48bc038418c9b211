//! Records of the mail log that follow from a position of the group log.

use std::collections::BTreeMap;

use bytes::Bytes;
use wire::{
    Partition, UserId,
    record::{Delivery, MailRecord, Source},
};

/// Users by the partition of the mail log they live in, each list ordered by user.
pub(crate) type ByPartition = BTreeMap<Partition, Vec<UserId>>;

/// The users by partition. `users` are ordered and none is named twice.
pub(crate) fn by_partition(
    users: impl IntoIterator<Item = UserId>,
    partition_of: impl Fn(UserId) -> Partition,
) -> ByPartition {
    let mut parts = ByPartition::new();
    for user in users {
        parts.entry(partition_of(user)).or_default().push(user);
    }
    parts
}

/// One record for each partition with users in it. `sender` gets a row only for other devices, when
/// among the users.
pub(crate) fn derive(
    source: Source,
    users: &ByPartition,
    sender: Option<UserId>,
    item: &Bytes,
) -> Vec<(Partition, Bytes)> {
    let record = |users: &Vec<UserId>| {
        let sender_copy = sender.filter(|sender| users.binary_search(sender).is_ok());
        let recipients = users.iter().copied().filter(|user| Some(*user) != sender_copy).collect();
        let delivery = Delivery { recipients, sender_copy, item: item.clone() };
        MailRecord { source: Some(source), deliveries: vec![delivery], device_change: None }
    };
    users.iter().map(|(partition, users)| (*partition, record(users).encode())).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use wire::Seq;

    use super::*;

    fn user(number: u8) -> UserId {
        UserId::from_bytes([number; 16])
    }

    #[test]
    fn everybody_is_in_one_record_and_the_sender_is_a_copy() {
        let partition_of = |user: UserId| Partition::new(u16::from(user.as_bytes()[0] % 3));
        let users = by_partition((0..10).map(user), partition_of);
        let source = Source { partition: Partition::new(5), seq: Seq::from_u64(9) };
        let item = Bytes::from_static(b"item");
        let mut recipients = Vec::new();
        for (partition, record) in derive(source, &users, Some(user(4)), &item) {
            let record = MailRecord::decode(record).unwrap();
            assert_eq!(record.source, Some(source));
            let [delivery] = &record.deliveries[..] else { panic!("one delivery") };
            assert_eq!(delivery.item, item);
            let copy = (partition == Partition::new(1)).then_some(user(4));
            assert_eq!(delivery.sender_copy, copy);
            let all = delivery.recipients.iter().chain(&delivery.sender_copy);
            assert!(all.clone().all(|user| partition_of(*user) == partition));
            recipients.extend(all.copied());
        }
        recipients.sort_unstable();
        assert_eq!(recipients, (0..10).map(user).collect::<Vec<_>>());
    }
}
