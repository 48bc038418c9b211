//! Every limit is enforced at its boundary, and what is allowed fits where it must.

#![allow(clippy::unwrap_used)]

mod sample;

use bytes::{Bytes, BytesMut};
use sample::{address, deliver, hello, item, send, seq, users};
use wire::{
    Address, ClientFrame, DecodeError, DeliveryFrame, GroupId, Item, Seq, ServerFrame,
    client_frame::{Hello, Read, Send},
    codec::take_frame,
    delivery_frame::Deliver,
    entity::{Device, Devices, Member, Roster},
    item::{Body, DeviceChange, GroupChange, Role},
    limits,
    mesh::{MeshFrame, MeshSignal, Origin, Push, SignalKind},
    record::{ControlRecord, Delivery, EpochMap, MailRecord},
    server_frame::Page,
    signal::{Datagram, Sighting, Signal, SignalFrom},
};

/// A protobuf field with bytes, as an encoder that keeps no limit writes it.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut len = bytes.len();
    while len >= 0x80 {
        field.push(u8::try_from(len & 0x7f).unwrap() | 0x80);
        len >>= 7;
    }
    field.push(u8::try_from(len).unwrap());
    field.extend_from_slice(bytes);
    field
}

fn encoded(frame: &ClientFrame) -> BytesMut {
    let mut out = BytesMut::new();
    frame.encode(&mut out);
    out
}

/// The frame as a peer reads it.
fn sent(frame: &ClientFrame) -> Result<ClientFrame, DecodeError> {
    let frame = take_frame(&mut encoded(frame), usize::MAX).unwrap().unwrap();
    ClientFrame::decode(frame)
}

fn sent_body(body: Body) -> Result<ClientFrame, DecodeError> {
    sent(&ClientFrame::Send(Send { body, ..send() }))
}

fn sent_hello(change: impl FnOnce(&mut Hello)) -> Result<ClientFrame, DecodeError> {
    let mut hello = hello();
    change(&mut hello);
    sent(&ClientFrame::Hello(hello))
}

#[test]
fn a_payload_has_64_kib() {
    let payload = |len| Body::Message(Bytes::from(vec![7; len]));
    assert!(sent_body(payload(65_536)).is_ok());
    assert_eq!(sent_body(payload(65_537)), Err(DecodeError::Length("message")));
    assert!(sent_body(payload(0)).is_ok(), "an empty message is a message");
}

#[test]
fn a_change_names_512_users() {
    let kinds = [GroupChange::Create, GroupChange::Add, GroupChange::Remove];
    for kind in kinds {
        assert!(sent_body(Body::GroupChange(kind(users(512)))).is_ok());
        let refused = sent_body(Body::GroupChange(kind(users(513))));
        assert_eq!(refused, Err(DecodeError::Length("group_change.users")));
    }
}

#[test]
fn hello_keeps_its_limits() {
    assert!(sent_hello(|hello| hello.versions = vec![u32::MAX; 8]).is_ok());
    let versions = Err(DecodeError::Length("hello.versions"));
    assert_eq!(sent_hello(|hello| hello.versions = vec![1; 9]), versions);
    assert_eq!(sent_hello(|hello| hello.versions = Vec::new()), versions);
    assert!(sent_hello(|hello| hello.agent = "a".repeat(64)).is_ok());
    let agent = Err(DecodeError::Length("agent"));
    assert_eq!(sent_hello(|hello| hello.agent = "a".repeat(65)), agent);
    assert_eq!(sent_hello(|hello| hello.agent = "é".repeat(33)), agent, "bytes count");
    let control = Err(DecodeError::Range("agent"));
    assert_eq!(sent_hello(|hello| hello.agent = "a\nb".to_owned()), control);
    assert!(sent_hello(|hello| hello.proof.token = "t".repeat(8192)).is_ok());
    let token = Err(DecodeError::Length("token"));
    assert_eq!(sent_hello(|hello| hello.proof.token = "t".repeat(8193)), token);
}

#[test]
fn keys_nonces_and_signatures_have_their_lengths() {
    let hello = |key: usize, nonce: usize, signature: usize| {
        let versions = field(1, &[1]);
        let rest =
            [field(4, &vec![1; key]), field(5, &vec![2; nonce]), field(6, &vec![3; signature])];
        let frame = field(1, &[versions, rest.concat()].concat());
        ClientFrame::decode(frame.into()).map(|_| ())
    };
    assert_eq!(hello(32, 16, 64), Ok(()));
    assert_eq!(hello(31, 16, 64), Err(DecodeError::Length("device_key")));
    assert_eq!(hello(33, 16, 64), Err(DecodeError::Length("device_key")));
    assert_eq!(hello(32, 15, 64), Err(DecodeError::Length("nonce")));
    assert_eq!(hello(32, 16, 65), Err(DecodeError::Length("signature")));
}

#[test]
fn a_counter_begins_at_1() {
    let mut zero = send();
    zero.id.counter = wire::Counter::new(0);
    let refused = sent(&ClientFrame::Send(zero));
    assert_eq!(refused, Err(DecodeError::Range("send.counter")));
}

#[test]
fn an_address_has_a_known_kind_and_17_bytes() {
    assert_eq!(Address::parse(&[3; 17], "to"), Err(DecodeError::Range("to")));
    assert_eq!(Address::parse(&[1; 16], "to"), Err(DecodeError::Length("to")));
    assert_eq!(Address::parse(&[2; 18], "to"), Err(DecodeError::Length("to")));
    assert_eq!(Address::parse(&[], "to"), Err(DecodeError::Length("to")));
}

#[test]
fn a_history_page_has_1_to_256_rows() {
    let read = |limit| sent(&ClientFrame::Read(Read { request: 1, before: None, limit }));
    assert!(read(1).is_ok());
    assert!(read(256).is_ok());
    assert_eq!(read(0), Err(DecodeError::Range("read.limit")));
    assert_eq!(read(257), Err(DecodeError::Range("read.limit")));
}

#[test]
fn an_epoch_is_at_most_100() {
    let last = Seq::from_u64((101 << 44) - 1);
    assert_eq!(sent(&ClientFrame::Ack(last)), Ok(ClientFrame::Ack(last)));
    let beyond = sent(&ClientFrame::Ack(Seq::from_u64(101 << 44)));
    assert_eq!(beyond, Err(DecodeError::Range("ack.seq")));
}

#[test]
fn the_position_before_a_row_is_below_it() {
    let delivered = |prev| {
        let mut out = BytesMut::new();
        DeliveryFrame::Deliver(Deliver { prev: Some(seq(prev)), ..deliver(7) }).encode(&mut out);
        DeliveryFrame::decode(take_frame(&mut out, usize::MAX).unwrap().unwrap()).map(|_| ())
    };
    assert_eq!(delivered(6), Ok(()));
    assert_eq!(delivered(7), Err(DecodeError::Range("deliver.prev")));
}

#[test]
fn a_roster_is_ordered_and_names_nobody_twice() {
    let roster = |order: &[usize]| {
        let all = users(3);
        let member =
            |index: &usize| Member { user: all[*index], role: Role::Member, joined: seq(1) };
        Roster::decode(Roster(order.iter().map(member).collect()).encode()).map(|_| ())
    };
    assert_eq!(roster(&[0, 1, 2]), Ok(()));
    assert_eq!(roster(&[1, 0]), Err(DecodeError::Range("group.members")));
    assert_eq!(roster(&[1, 1]), Err(DecodeError::Range("group.members")));
}

#[test]
fn an_unknown_alternative_is_refused_and_an_unknown_field_ignored() {
    let unknown = field(15, b"later");
    assert_eq!(
        ClientFrame::decode(unknown.clone().into()),
        Err(DecodeError::Missing("client_frame"))
    );
    assert_eq!(
        ServerFrame::decode(unknown.clone().into()),
        Err(DecodeError::Missing("server_frame"))
    );
    let known = [field(4, &[8, 5]), unknown].concat();
    assert_eq!(ClientFrame::decode(known.into()), Ok(ClientFrame::Ack(Seq::from_u64(5))));
}

#[test]
fn a_frame_announced_above_the_limit_is_refused_before_it_arrives() {
    let mut buffer = BytesMut::from(&[0x81, 0x80, 0x01][..]);
    let refused = take_frame(&mut buffer, 16_384);
    assert_eq!(refused, Err(DecodeError::FrameSize { announced: 16_385, limit: 16_384 }));
    let mut buffer = BytesMut::from(&[0x80, 0x80, 0x01][..]);
    assert_eq!(take_frame(&mut buffer, 16_384), Ok(None), "just at the limit");
    assert_eq!(buffer.len(), 3, "nothing is taken from a frame that is not whole");
}

#[test]
fn a_prefix_has_at_most_5_bytes() {
    for len in 0..5 {
        assert_eq!(take_frame(&mut BytesMut::from(&vec![0xff; len][..]), 16), Ok(None));
    }
    let endless = take_frame(&mut BytesMut::from(&[0xff; 5][..]), 16);
    assert_eq!(endless, Err(DecodeError::Malformed));
    let mut longest = BytesMut::from(&[0xff, 0xff, 0xff, 0xff, 0x7f][..]);
    let announced = (1 << 35) - 1;
    let refused = take_frame(&mut longest, 16);
    assert_eq!(refused, Err(DecodeError::FrameSize { announced, limit: 16 }));
}

#[test]
fn a_frame_comes_out_whole_however_it_arrived() {
    let whole = encoded(&ClientFrame::Send(send())).freeze();
    let mut buffer = BytesMut::new();
    for byte in &whole[..whole.len() - 1] {
        buffer.extend_from_slice(&[*byte]);
        assert_eq!(take_frame(&mut buffer, limits::CLIENT_FRAME_BYTES_MAX), Ok(None));
    }
    buffer.extend_from_slice(&whole[whole.len() - 1..]);
    buffer.extend_from_slice(&whole);
    for _ in 0..2 {
        let frame = take_frame(&mut buffer, limits::CLIENT_FRAME_BYTES_MAX).unwrap().unwrap();
        assert_eq!(ClientFrame::decode(frame), Ok(ClientFrame::Send(send())));
    }
    assert!(buffer.is_empty());
}

#[test]
fn a_payload_is_not_copied() {
    let mut buffer = encoded(&ClientFrame::Send(send()));
    let frame = take_frame(&mut buffer, usize::MAX).unwrap().unwrap();
    let memory = frame.as_ptr_range();
    let ClientFrame::Send(Send { body: Body::Message(payload), .. }) =
        ClientFrame::decode(frame).unwrap()
    else {
        panic!("a send with a message came in");
    };
    assert!(memory.contains(&payload.as_ptr()), "the payload shares the memory of the frame");
}

#[test]
fn the_largest_of_everything_fits() {
    let full = Body::Message(Bytes::from(vec![7; limits::PAYLOAD_BYTES_MAX]));
    let mut largest = send();
    largest.body = full.clone();
    largest.id.counter = wire::Counter::new(u64::MAX);
    largest.previous.as_mut().unwrap().id.counter = wire::Counter::new(u64::MAX);
    largest.ttl_s = u32::MAX;
    let frame = encoded(&ClientFrame::Send(largest));
    assert!(frame.len() <= limits::CLIENT_FRAME_BYTES_MAX);

    let mut hello = hello();
    hello.versions = vec![u32::MAX; limits::VERSIONS_MAX];
    hello.agent = "a".repeat(limits::AGENT_BYTES_MAX);
    hello.proof.token = "t".repeat(limits::TOKEN_BYTES_MAX);
    assert!(encoded(&ClientFrame::Hello(hello)).len() <= limits::HELLO_BYTES_MAX);

    let item = Item { sent_ms: u64::MAX, ttl_s: u32::MAX, body: full, ..item() }.encode();
    assert!(item.len() <= limits::ITEM_BYTES_MAX);
    assert!(Item::decode(item.clone()).is_ok());

    let told = Delivery { recipients: users(512), sender_copy: Some(users(1)[0]), item };
    let record = MailRecord { deliveries: vec![told], ..sample::derived() };
    assert!(record.encode().len() <= limits::RECORD_BYTES_MAX);
}

#[test]
fn the_largest_change_tells_the_members_before_and_after_it() {
    let change = Body::GroupChange(GroupChange::Add(users(512)));
    let item = Item { body: change, to: address(), ..item() }.encode();
    let told = |count| {
        let delivery = Delivery { recipients: users(count), sender_copy: None, item: item.clone() };
        let record = MailRecord { deliveries: vec![delivery], ..sample::derived() };
        MailRecord::decode(record.encode()).map(|_| ())
    };
    assert_eq!(told(1024), Ok(()));
    assert_eq!(told(1025), Err(DecodeError::Length("delivery.recipients")));
}

#[test]
fn the_largest_page_fits() {
    let large = Bytes::from(vec![7; limits::ITEM_BYTES_MAX]);
    let last = Seq::from_u64((101 << 44) - 1);
    let row = |item: Bytes| Deliver { seq: last, prev: None, log_time_ms: u64::MAX, item };
    let many = limits::PAGE_ROWS_MAX as usize - 1;
    let mut rows = vec![row(large.slice(..limits::PAGE_BYTES_MAX / many)); many];
    rows.push(row(large));
    let mut out = BytesMut::new();
    let page = ServerFrame::Page(Page { request: u32::MAX, rows, more: true });
    page.encode(&mut out);
    let frame = take_frame(&mut out, limits::SERVER_FRAME_BYTES_MAX).unwrap().unwrap();
    assert_eq!(ServerFrame::decode(frame), Ok(page));
}

#[test]
fn the_largest_answers_fit() {
    let device = Device {
        device_key: [7; 32],
        agent: "a".repeat(limits::AGENT_BYTES_MAX),
        registered: seq(1),
        registered_ms: u64::MAX,
        revoked: Some(seq(2)),
    };
    let devices = |count| Devices(vec![device.clone(); count]);
    let kept = devices(limits::DEVICES_REMEMBERED_MAX).encode();
    assert!(kept.len() <= limits::SERVER_FRAME_BYTES_MAX - 16);
    assert!(Devices::decode(kept).is_ok());
    let refused = Devices::decode(devices(limits::DEVICES_REMEMBERED_MAX + 1).encode());
    assert_eq!(refused, Err(DecodeError::Length("devices")));

    let member = |user| Member { user, role: Role::Admin, joined: seq(1) };
    let roster = |count| Roster(users(count).into_iter().map(member).collect());
    assert!(roster(512).encode().len() <= limits::SERVER_FRAME_BYTES_MAX - 16);
    assert!(Roster::decode(roster(512).encode()).is_ok());
    assert_eq!(Roster::decode(roster(513).encode()), Err(DecodeError::Length("group.members")));
}

#[test]
fn a_push_goes_to_the_devices_a_user_can_have() {
    let push = |count: u64| {
        let route = |index| (sample::device(), wire::Generation::new(index));
        let routes = (0..count).map(route).collect();
        let mut out = BytesMut::new();
        let push = Push { user: users(1)[0], routes, deliver: deliver(7) };
        MeshFrame { pushes: vec![push], ..MeshFrame::default() }.encode(&mut out);
        MeshFrame::decode(take_frame(&mut out, usize::MAX).unwrap().unwrap()).map(|_| ())
    };
    assert_eq!(push(64), Ok(()));
    assert_eq!(push(65), Err(DecodeError::Length("push.routes")));
}

#[test]
fn a_record_of_another_format_is_told_apart() {
    let record = sample::derived().encode();
    let with_format = |format: u8| {
        let mut bytes = BytesMut::from(&record[..]);
        bytes[0] = format;
        MailRecord::decode(bytes.freeze()).map(|_| ())
    };
    assert_eq!(with_format(1), Ok(()));
    assert_eq!(with_format(2), Err(DecodeError::NewerRecord(2)));
    assert_eq!(with_format(0), Err(DecodeError::Malformed));
    assert_eq!(MailRecord::decode(Bytes::new()), Err(DecodeError::Malformed));
}

#[test]
fn a_record_over_the_limit_is_refused_unless_its_format_is_newer() {
    let mut bytes = vec![0; limits::RECORD_BYTES_MAX + 1];
    bytes[0] = 1;
    let refused = MailRecord::decode(bytes.clone().into());
    assert_eq!(refused, Err(DecodeError::Length("record")));
    bytes[0] = 2;
    assert_eq!(MailRecord::decode(bytes.into()), Err(DecodeError::NewerRecord(2)));
}

#[test]
fn a_log_has_1_to_4096_partitions() {
    let map = |mail_partitions| {
        let map = EpochMap {
            epoch: wire::Epoch::new(1),
            mail_partitions,
            group_partitions: 1,
            mail_topic: None,
            group_topic: None,
        };
        ControlRecord::decode(ControlRecord::EpochMap(map).encode()).map(|_| ())
    };
    let refused = Err(DecodeError::Range("epoch_map.mail_partitions"));
    assert_eq!(map(0), refused);
    assert_eq!(map(1), Ok(()));
    assert_eq!(map(4096), Ok(()));
    assert_eq!(map(4097), refused);
}

#[test]
fn the_same_body_to_the_same_address_has_the_same_digest() {
    let message = |text: &'static str| Body::Message(Bytes::from_static(text.as_bytes()));
    let one = Item { body: message("a"), ..item() };
    assert_eq!(one.digest(), Item { sent_ms: 9, ttl_s: 9, ..one.clone() }.digest());
    assert_ne!(one.digest(), Item { body: message("b"), ..one.clone() }.digest());
    let elsewhere = Address::Group(GroupId::from_bytes([9; 16]));
    assert_ne!(one.digest(), Item { to: elsewhere, ..one.clone() }.digest());
    let revoke = Body::DeviceChange(DeviceChange::Revoke(sample::device()));
    assert_ne!(one.digest(), Item { body: revoke, ..one.clone() }.digest());
}

#[test]
fn a_token_never_shows_in_debug_output() {
    let mut hello = hello();
    hello.proof.token = "very-secret".to_owned();
    assert!(!format!("{:?}", ClientFrame::Hello(hello)).contains("very-secret"));
}

#[test]
fn a_signal_is_for_1_to_32_users_and_has_1_kib() {
    let signal = |to, len| {
        sent(&ClientFrame::Signal(Signal { to: users(to), body: Bytes::from(vec![7; len]) }))
    };
    assert!(signal(32, 1024).is_ok());
    assert_eq!(signal(33, 0), Err(DecodeError::Length("signal.to")));
    assert_eq!(signal(0, 0), Err(DecodeError::Length("signal.to")));
    assert_eq!(signal(1, 1025), Err(DecodeError::Length("signal.body")));
}

#[test]
fn a_connection_watches_and_shows_itself_to_256_users() {
    assert!(sent(&ClientFrame::Watch(users(256))).is_ok());
    assert!(sent(&ClientFrame::Show(users(256))).is_ok());
    let refused = Err(DecodeError::Length("watch.users"));
    assert_eq!(sent(&ClientFrame::Watch(users(257))), refused);
    let refused = Err(DecodeError::Length("show.users"));
    assert_eq!(sent(&ClientFrame::Show(users(257))), refused);
}

#[test]
fn the_largest_signal_fits_a_datagram() {
    let body = Bytes::from(vec![7; limits::SIGNAL_BYTES_MAX]);
    let signal = SignalFrom { user: users(1)[0], device: sample::device(), body };
    assert!(Datagram::Signal(signal).encode().len() <= limits::DATAGRAM_BYTES_MAX);
}

#[test]
fn a_signal_of_the_mesh_takes_no_more_than_it_says() {
    let all = u64::MAX;
    let generation = wire::Generation::new(all);
    let (user, device) = (users(1)[0], sample::device());
    let kinds = [
        SignalKind::Body(Bytes::from(vec![7; limits::SIGNAL_BYTES_MAX])),
        SignalKind::Online,
        SignalKind::Asks(wire::EdgeId::new(all)),
    ];
    for kind in kinds {
        let routes = vec![(device, generation); limits::DEVICES_REMEMBERED_MAX];
        let signal = MeshSignal { user, routes, from: Origin { user, device, generation }, kind };
        let bytes = signal.frame_bytes();
        let mut out = BytesMut::new();
        MeshFrame { signals: vec![signal], ..MeshFrame::default() }.encode(&mut out);
        assert!(out.len() <= bytes && bytes < limits::MESH_FRAME_BYTES_MAX);
    }
}

#[test]
fn presence_is_told_of_1_to_256_devices() {
    let told = |count| {
        let sighting = Sighting { user: users(1)[0], device: sample::device(), valid_ms: u32::MAX };
        let mut out = BytesMut::new();
        ServerFrame::Presence(vec![sighting; count]).encode(&mut out);
        ServerFrame::decode(take_frame(&mut out, limits::SERVER_FRAME_BYTES_MAX).unwrap().unwrap())
            .map(|_| ())
    };
    let refused = Err(DecodeError::Length("presence.sightings"));
    assert_eq!((told(0), told(1), told(256), told(257)), (refused, Ok(()), Ok(()), refused));
}
