//! Values the tests of this crate begin with; golden vectors rest on them, so they never change.

#![allow(dead_code, reason = "each test program uses some of them")]

use bytes::Bytes;
use wire::{
    Address, Counter, DeviceId, Epoch, GroupId, Item, MessageId, Offset, Partition, RunId, SendId,
    Seq, UserId,
    client_frame::{Hello, Previous, Proof, Send},
    delivery_frame::Deliver,
    item::Body,
    record::{Delivery, MailRecord, Source},
};

/// The user whose bytes are all this one.
pub(crate) fn user(byte: u8) -> UserId {
    UserId::from_bytes([byte; 16])
}

/// Different users, in order.
pub(crate) fn users(count: u16) -> Vec<UserId> {
    let user = |number: u16| {
        let mut bytes = [0xee; 16];
        bytes[..2].copy_from_slice(&number.to_be_bytes());
        UserId::from_bytes(bytes)
    };
    (0..count).map(user).collect()
}

pub(crate) fn device() -> DeviceId {
    DeviceId::from_bytes([0xd1; 8])
}

pub(crate) fn group() -> GroupId {
    GroupId::from_bytes([0x99; 16])
}

/// The address of a group.
pub(crate) fn address() -> Address {
    Address::Group(group())
}

/// A position in epoch 1.
pub(crate) fn seq(offset: u64) -> Seq {
    Seq::new(Epoch::new(1), Offset::new(offset))
}

pub(crate) fn send_id(counter: u64) -> SendId {
    SendId { run: RunId::new(0x0102_0304_0506_0708), counter: Counter::new(counter) }
}

pub(crate) fn message_id() -> MessageId {
    MessageId { user: user(0xaa), device: device(), send: send_id(3) }
}

pub(crate) fn proof() -> Proof {
    Proof { token: "header.payload.signature".to_owned(), nonce: [0x40; 16], signature: [0x51; 64] }
}

pub(crate) fn hello() -> Hello {
    Hello {
        versions: vec![1],
        agent: "sample/1.0".to_owned(),
        device_key: [0x4b; 32],
        proof: proof(),
        resume_after: None,
    }
}

/// The third message to a user, its predecessor accepted.
pub(crate) fn send() -> Send {
    Send {
        id: send_id(3),
        to: Address::User(user(0xbb)),
        previous: Some(Previous { id: send_id(2), accepted: true }),
        ttl_s: 3600,
        body: Body::Message(Bytes::from_static(b"hello")),
    }
}

/// The item an edge makes of [`send`].
pub(crate) fn item() -> Item {
    Item {
        id: message_id(),
        to: Address::User(user(0xbb)),
        sent_ms: 1_750_000_000_123,
        ttl_s: 3600,
        body: Body::Message(Bytes::from_static(b"hello")),
    }
}

/// A row at this offset, the one before it right below.
pub(crate) fn deliver(offset: u64) -> Deliver {
    Deliver {
        seq: seq(offset),
        prev: Some(seq(offset - 1)),
        log_time_ms: 1_750_000_000_200,
        item: item().encode(),
    }
}

/// A record a group worker appends.
pub(crate) fn derived() -> MailRecord {
    let delivery =
        Delivery { recipients: users(3), sender_copy: Some(user(0xaa)), item: item().encode() };
    MailRecord {
        source: Some(Source { partition: Partition::new(3), seq: seq(77) }),
        deliveries: vec![delivery],
        device_change: None,
    }
}
