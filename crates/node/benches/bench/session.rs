//! What the two halves of a session cost, stepped by hand: no socket, no log.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use session::{
    client::{ClientSession, Greeting, Limits, Restored},
    edge::{Admitted, EdgeSession, Effect, Published},
};
use wire::{
    Address, ClientFrame, Counter, DeliveryFrame, DeviceId, Item, MessageId, RunId, SendId, Seq,
    ServerFrame, UserId,
    client_frame::Proof,
    codec::take_frame,
    delivery_frame::Deliver,
    item::Body,
    limits::{DELIVERY_WINDOW, SEND_WINDOW, SERVER_FRAME_BYTES_MAX},
    server_frame::Welcome,
    version,
};

use crate::measure;

const NOW: Duration = Duration::from_secs(1);
const ME: UserId = UserId::from_bytes([1; 16]);
const DEVICE: DeviceId = DeviceId::from_bytes([1; 8]);
const OTHER: Address = Address::User(UserId::from_bytes([2; 16]));
/// Messages that go together, well below both windows.
const BATCH: u64 = 64;

/// Prints the rates of sending and of receiving.
pub fn run(seconds: f64, payload: usize) {
    let (mut client, mut edge) = connected();
    let payload = Bytes::from(vec![0x5a; payload]);
    measure::report(
        "session: a send and its answer, both halves",
        &measure::repeat(seconds, BATCH, || send(&mut client, &mut edge, &payload)),
    );
    let mut last = 0;
    measure::report(
        "session: a delivery and its ack, both halves",
        &measure::repeat(seconds, BATCH, || {
            receive(&mut client, &mut edge, &payload, last);
            last += BATCH;
        }),
    );
}

fn connected() -> (ClientSession, EdgeSession) {
    let mut client =
        ClientSession::new(DEVICE, RunId::new(1), Limits::default(), Restored::default());
    let mut edge = EdgeSession::new(NOW);
    let proof = Proof { token: String::new(), nonce: [0; 16], signature: [0; 64] };
    client.handle_connected(Greeting { agent: "bench".into(), device_key: [0; 32], proof });
    to_edge(&mut client, &mut edge);
    let welcome = Welcome {
        version: version::PROTOCOL,
        user: ME,
        device: DEVICE,
        resume_after: Seq::ZERO,
        now_ms: 1,
        send_window: SEND_WINDOW,
        delivery_window: DELIVERY_WINDOW,
        token_expires_ms: u64::MAX / 2,
        registered: false,
    };
    edge.poll_effect().expect("the edge authenticates");
    let token_expires = Duration::from_secs(1 << 40);
    edge.handle_admitted(NOW, Admitted { welcome, token_expires, truncated: None });
    to_client(&mut client, &mut edge);
    // The mailbox is empty.
    edge.poll_effect().expect("the edge reads the mailbox");
    edge.handle_rows(NOW, Seq::ZERO, Vec::new(), false);
    (client, edge)
}

fn send(client: &mut ClientSession, edge: &mut EdgeSession, payload: &Bytes) {
    for _ in 0..BATCH {
        client.enqueue(OTHER, 0, Body::Message(payload.clone())).expect("room");
    }
    client.poll_changes();
    to_edge(client, edge);
    while let Some(effect) = edge.poll_effect() {
        if let Effect::Publish(send) = effect {
            edge.handle_published(NOW, send.id, Published::Accepted);
        }
    }
    to_client(client, edge);
    client.poll_changes();
    while client.poll_event().is_some() {}
}

fn receive(client: &mut ClientSession, edge: &mut EdgeSession, payload: &Bytes, last: u64) {
    for at in last + 1..=last + BATCH {
        let send = SendId { run: RunId::new(2), counter: Counter::new(at) };
        let id = MessageId { user: UserId::from_bytes([2; 16]), device: DEVICE, send };
        let (to, body) = (Address::User(ME), Body::Message(payload.clone()));
        let item = Item { id, to, sent_ms: 1, ttl_s: 60, body }.encode();
        let (seq, prev) = (Seq::from_u64(at), Some(Seq::from_u64(at - 1)));
        edge.handle_push(NOW, Deliver { seq, prev, log_time_ms: 1, item });
    }
    let mut bytes = BytesMut::new();
    edge.poll_delivery(NOW, &mut bytes, usize::MAX);
    while let Some(frame) = take_frame(&mut bytes, SERVER_FRAME_BYTES_MAX).expect("a frame") {
        client.handle_delivery(DeliveryFrame::decode(frame).expect("a frame"));
    }
    while client.poll_event().is_some() {}
    for at in last + 1..=last + BATCH {
        client.acknowledge(Seq::from_u64(at));
    }
    client.flush();
    client.poll_changes();
    to_edge(client, edge);
    while edge.poll_effect().is_some() {}
}

fn to_edge(client: &mut ClientSession, edge: &mut EdgeSession) {
    let mut bytes = BytesMut::new();
    client.poll_control(NOW, &mut bytes, usize::MAX);
    while let Some(frame) = take_frame(&mut bytes, SERVER_FRAME_BYTES_MAX).expect("a frame") {
        let frame = ClientFrame::decode(frame).expect("a frame");
        edge.handle_frame(NOW, frame).expect("no rule is broken");
    }
}

fn to_client(client: &mut ClientSession, edge: &mut EdgeSession) {
    let mut bytes = BytesMut::new();
    edge.poll_control(&mut bytes);
    while let Some(frame) = take_frame(&mut bytes, SERVER_FRAME_BYTES_MAX).expect("a frame") {
        let frame = ServerFrame::decode(frame).expect("a frame");
        client.handle_control(NOW, frame, 0).expect("no rule is broken");
    }
}
