//! Records of the mail log, as far as the lane needs them.

use std::collections::HashSet;

use bytes::Bytes;
use ports::log::Entry;
use wire::{
    Address, DecodeError, Item, MessageId, UserId,
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
    /// What tells a repeat of a direct message; none for what is derived.
    pub(crate) identity: Option<(MessageId, [u8; 16])>,
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
            identity: direct.then(|| (item.id, item.digest())),
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
