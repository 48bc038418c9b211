//! Records of the mail log, as far as the lane needs them.

use std::collections::HashSet;

use bytes::Bytes;
use ports::log::Entry;
use wire::{
    Address, DecodeError, Item, UserId,
    item::{Body, DeviceChange},
    record::{Delivery, MailRecord, Source},
};

/// What a record says.
#[derive(Debug)]
pub(crate) enum Parsed {
    /// Rows for mailboxes.
    Rows(Rows),
    /// A change of a user's devices.
    Change(Change),
    /// A newer program wrote it.
    Newer(DecodeError),
    /// No program reads it.
    Unreadable(String),
}

/// Rows for mailboxes.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Where a derived record comes from.
    pub(crate) source: Option<Source>,
    pub(crate) deliveries: Vec<Parcel>,
}

/// An item with whose mailboxes it goes into.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) recipients: Vec<UserId>,
    pub(crate) sender_copy: Option<UserId>,
    /// Whether that sender gets a row; the lane finds out.
    pub(crate) copy: Copy,
    pub(crate) item: Bytes,
    pub(crate) ttl_s: u32,
    /// The item of a direct message, to tell a repeat by; none for what is derived.
    pub(crate) direct: Option<Item>,
}

/// Whether the sender of something gets a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Copy {
    /// There is another device.
    Row,
    /// There is none.
    None,
    /// There is none now; at an earlier pass over this position there may have been.
    Unsure,
}

/// A change of a user's devices.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) user: UserId,
    pub(crate) change: DeviceChange,
    pub(crate) item: Item,
    pub(crate) bytes: Bytes,
}

/// Reads a record.
pub(crate) fn parse(entry: &Entry) -> Parsed {
    match MailRecord::decode(entry.record.clone()) {
        Err(error @ DecodeError::NewerRecord(_)) => Parsed::Newer(error),
        Err(
            error @ (DecodeError::Malformed
            | DecodeError::Missing(_)
            | DecodeError::Length(_)
            | DecodeError::Range(_)
            | DecodeError::FrameSize { .. }),
        ) => Parsed::Unreadable(error.to_string()),
        Ok(record) => {
            let parsed = match record.device_change.clone() {
                Some(bytes) => parse_change(&record, bytes).map(Parsed::Change),
                None => parse_rows(record).map(Parsed::Rows),
            };
            parsed.unwrap_or_else(Parsed::Unreadable)
        }
    }
}

fn parse_rows(record: MailRecord) -> Result<Rows, String> {
    if names_one_twice(&record.deliveries) {
        return Err("a user is named twice".to_owned());
    }
    let direct = record.source.is_none();
    let parcel = |delivery: Delivery| {
        let item = Item::decode(delivery.item.clone()).map_err(|error| error.to_string())?;
        Ok(Parcel {
            recipients: delivery.recipients,
            sender_copy: delivery.sender_copy,
            copy: Copy::None,
            item: delivery.item,
            ttl_s: item.ttl_s,
            direct: direct.then_some(item),
        })
    };
    let deliveries = record.deliveries.into_iter().map(parcel).collect::<Result<_, String>>()?;
    Ok(Rows { source: record.source, deliveries })
}

/// All rows of a record share its position, so nobody may be named twice.
fn names_one_twice(deliveries: &[Delivery]) -> bool {
    if let [delivery] = deliveries
        && delivery.recipients.is_sorted_by(|a, b| a < b)
        && delivery.sender_copy.is_none_or(|user| !delivery.recipients.contains(&user))
    {
        return false;
    }
    let mut named = HashSet::new();
    let mut users = deliveries
        .iter()
        .flat_map(|delivery| delivery.recipients.iter().chain(&delivery.sender_copy));
    users.any(|user| !named.insert(*user))
}

fn parse_change(record: &MailRecord, bytes: Bytes) -> Result<Change, String> {
    if record.source.is_some() || !record.deliveries.is_empty() {
        return Err("a change of devices shares its record".to_owned());
    }
    let item = Item::decode(bytes.clone()).map_err(|error| error.to_string())?;
    let (Address::User(user), Body::DeviceChange(change)) = (item.to, &item.body) else {
        return Err("not a change of the devices of a user".to_owned());
    };
    if item.id.user != user {
        return Err("a change of the devices of someone else".to_owned());
    }
    Ok(Change { user, change: change.clone(), item, bytes })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wire::{Counter, DeviceId, MessageId, RunId, SendId, Seq};

    use super::*;

    fn user(number: u8) -> UserId {
        UserId::from_bytes([number; 16])
    }

    fn item(to: u8, body: Body) -> Bytes {
        let send = SendId { run: RunId::new(1), counter: Counter::new(1) };
        let id = MessageId { user: user(1), device: DeviceId::from_bytes([1; 8]), send };
        Item { id, to: Address::User(user(to)), sent_ms: 0, ttl_s: 60, body }.encode()
    }

    fn delivery(recipients: &[u8], sender_copy: Option<u8>) -> Delivery {
        Delivery {
            recipients: recipients.iter().copied().map(user).collect(),
            sender_copy: sender_copy.map(user),
            item: item(2, Body::Message(Bytes::from_static(b"text"))),
        }
    }

    fn change(to: u8) -> Option<Bytes> {
        let revoke = DeviceChange::Revoke(DeviceId::from_bytes([1; 8]));
        Some(item(to, Body::DeviceChange(revoke)))
    }

    #[track_caller]
    fn check(deliveries: Vec<Delivery>, device_change: Option<Bytes>, expected: &str) {
        let record = MailRecord { source: None, deliveries, device_change }.encode();
        let entry = Entry { seq: Seq::from_u64(1), log_time_ms: 0, record };
        let parsed = match parse(&entry) {
            Parsed::Rows(rows) => format!("{} deliveries", rows.deliveries.len()),
            Parsed::Change(_) => "a change".to_owned(),
            Parsed::Newer(_) => "newer".to_owned(),
            Parsed::Unreadable(reason) => reason,
        };
        assert_eq!(parsed, expected);
    }

    #[test]
    fn a_user_is_named_once_in_a_record() {
        check(vec![delivery(&[1, 2], Some(3)), delivery(&[4], None)], None, "2 deliveries");
        check(vec![delivery(&[2, 1], None)], None, "1 deliveries");
        check(vec![delivery(&[1, 2, 1], None)], None, "a user is named twice");
        check(vec![delivery(&[1, 2], Some(2))], None, "a user is named twice");
        check(vec![delivery(&[1], None), delivery(&[1], None)], None, "a user is named twice");
    }

    #[test]
    fn a_change_of_devices_is_of_the_sender_and_alone() {
        check(vec![], change(1), "a change");
        check(vec![], change(2), "a change of the devices of someone else");
        check(vec![delivery(&[2], None)], change(1), "a change of devices shares its record");
        let message = item(1, Body::Message(Bytes::new()));
        check(vec![], Some(message), "not a change of the devices of a user");
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed(
            format in 0_u8..4,
            bytes in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let record = [&[format][..], &bytes].concat().into();
            let parsed = parse(&Entry { seq: Seq::from_u64(1), log_time_ms: 0, record });
            prop_assert_eq!(matches!(parsed, Parsed::Newer(_)), format > 1);
        }
    }
}
