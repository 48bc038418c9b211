//! What it costs to turn frames into bytes and back.

use bytes::{Bytes, BytesMut};
use wire::{
    Address, ClientFrame, Counter, DeviceId, Item, MessageId, RunId, SendId, UserId,
    client_frame::Send,
    codec,
    item::Body,
    limits,
    record::{Delivery, MailRecord},
};

use crate::measure;

const FRAMES: u64 = 1024;

/// Prints the rates of the codec.
pub fn run(seconds: f64, payload: usize) {
    let send = |counter| {
        ClientFrame::Send(Send {
            id: SendId { run: RunId::new(7), counter: Counter::new(counter) },
            to: Address::User(UserId::from_bytes([2; 16])),
            previous: None,
            ttl_s: 0,
            body: Body::Message(Bytes::from(vec![0x5a; payload])),
        })
    };
    let frames: Vec<ClientFrame> = (1..=FRAMES).map(send).collect();
    let mut out = BytesMut::new();
    measure::report(
        "codec: encode a send",
        &measure::repeat(seconds, FRAMES, || {
            out.clear();
            frames.iter().for_each(|frame| frame.encode(&mut out));
        }),
    );
    let encoded = out.clone().freeze();
    measure::report(
        "codec: decode a send",
        &measure::repeat(seconds, FRAMES, || {
            let mut buffer = BytesMut::from(&encoded[..]);
            while let Some(frame) =
                codec::take_frame(&mut buffer, limits::CLIENT_FRAME_BYTES_MAX).expect("a frame")
            {
                ClientFrame::decode(frame).expect("a send");
            }
        }),
    );
    measure::report(
        "codec: item and record, both ways",
        &measure::repeat(seconds, FRAMES, || {
            (0..FRAMES).for_each(|counter| item_and_record(counter, payload));
        }),
    );
}

/// What the edge encodes and the worker decodes for one direct message.
fn item_and_record(counter: u64, payload: usize) {
    let item = Item {
        id: MessageId {
            user: UserId::from_bytes([1; 16]),
            device: DeviceId::from_bytes([1; 8]),
            send: SendId { run: RunId::new(7), counter: Counter::new(counter) },
        },
        to: Address::User(UserId::from_bytes([2; 16])),
        sent_ms: 1,
        ttl_s: 60,
        body: Body::Message(Bytes::from(vec![0x5a; payload])),
    };
    let delivery = Delivery {
        recipients: vec![UserId::from_bytes([2; 16])],
        sender_copy: None,
        item: item.encode(),
    };
    let record = MailRecord { source: None, deliveries: vec![delivery], device_change: None };
    let record = MailRecord::decode(record.encode()).expect("a record");
    Item::decode(record.deliveries[0].item.clone()).expect("an item");
}
