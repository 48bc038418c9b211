//! What streams carry.

use bytes::Bytes;
use wire::{
    Address, ClientFrame, DeliveryFrame, EdgeId, Generation, Seq, ServerFrame,
    client_frame::{Hello, Previous, Read, Send},
    delivery_frame::Deliver,
    entity::Query,
    item::{Body, DeviceChange, GroupChange, Role},
    mesh::{MeshFrame, MeshSignal, Origin, Push, SignalKind},
    server_frame::{Answer, BusyReason, Page, QueryError, RejectReason, Welcome},
    signal::{Datagram, Sighting, Signal, SignalFrom},
};

use super::{Case, frame, record, records, snake};
use crate::sample::{
    address, deliver, device, group, hello, proof, send, send_id, seq, user, users,
};

pub(crate) fn add(cases: &mut Vec<Case>) {
    add_opening(cases);
    add_sends(cases);
    add_reading(cases);
    add_answers_to_sends(cases);
    add_server(cases);
    add_delivery(cases);
    add_mesh(cases);
    add_signals(cases);
}

fn client(name: &str, what: &str, value: ClientFrame) -> Case {
    let name = format!("client_{name}");
    frame(&name, &format!("ClientFrame: {what}"), value, ClientFrame::encode, ClientFrame::decode)
}

fn server(name: &str, what: &str, value: ServerFrame) -> Case {
    let name = format!("server_{name}");
    frame(&name, &format!("ServerFrame: {what}"), value, ServerFrame::encode, ServerFrame::decode)
}

fn delivery(name: &str, what: &str, value: DeliveryFrame) -> Case {
    let (name, what) = (format!("delivery_{name}"), format!("DeliveryFrame: {what}"));
    frame(&name, &what, value, DeliveryFrame::encode, DeliveryFrame::decode)
}

fn add_opening(cases: &mut Vec<Case>) {
    let resuming = Hello { versions: vec![1, 2], resume_after: Some(seq(1000)), ..hello() };
    let from_start = Hello { resume_after: Some(Seq::ZERO), ..hello() };
    cases.extend([
        client("hello", "a device without a cursor", ClientFrame::Hello(hello())),
        client("hello_resume", "two versions, resume at 1:1000", ClientFrame::Hello(resuming)),
        client(
            "hello_from_start",
            "resume at 0, which is not absent",
            ClientFrame::Hello(from_start),
        ),
        client("renew", "a fresh token", ClientFrame::Renew(proof())),
    ]);
}

fn add_sends(cases: &mut Vec<Case>) {
    let sending = |name: &str, what: &str, send| client(name, what, ClientFrame::Send(send));
    let first = Send { id: send_id(1), previous: None, ttl_s: 0, ..send() };
    let in_flight = Previous { id: send_id(2), accepted: false };
    let in_flight = Send { previous: Some(in_flight), ..send() };
    let empty = Send { body: Body::Message(Bytes::new()), ..send() };
    let to_group = Send { to: address(), ..send() };
    let revoke = Send {
        to: Address::User(user(0xaa)),
        body: Body::DeviceChange(DeviceChange::Revoke(device())),
        ..send()
    };
    cases.extend([
        sending("send", "a message whose predecessor is accepted", send()),
        sending("send_first", "the first message of a conversation, default time to live", first),
        sending("send_in_flight", "a message whose predecessor is in flight", in_flight),
        sending("send_empty", "a message without a byte", empty),
        sending("send_to_group", "a message to a group", to_group),
        sending("send_revoke", "the revocation of a device", revoke),
    ]);
    for (name, change) in changes() {
        let send = Send { to: address(), body: Body::GroupChange(change), ..send() };
        cases.push(sending(&format!("send_group_{name}"), "a change of a group", send));
    }
}

/// Every kind of change of a group, with a name.
pub(crate) fn changes() -> Vec<(&'static str, GroupChange)> {
    vec![
        ("create", GroupChange::Create(users(2))),
        ("create_alone", GroupChange::Create(Vec::new())),
        ("add", GroupChange::Add(users(3))),
        ("remove", GroupChange::Remove(users(1))),
        ("leave", GroupChange::Leave),
        ("set_role_admin", GroupChange::SetRole(user(0xbb), Role::Admin)),
        ("set_role_member", GroupChange::SetRole(user(0xbb), Role::Member)),
    ]
}

fn add_reading(cases: &mut Vec<Case>) {
    let newest = Read { request: 7, before: None, limit: 50 };
    let older = Read { request: 8, before: Some(seq(1000)), limit: 256 };
    cases.extend([
        client("ack", "up to 1:1000", ClientFrame::Ack(seq(1000))),
        client("resync", "from after 1:1000", ClientFrame::Resync(seq(1000))),
        client("resync_from_start", "from after 0", ClientFrame::Resync(Seq::ZERO)),
        client("read", "the newest 50 rows", ClientFrame::Read(newest)),
        client("read_older", "256 rows before 1:1000", ClientFrame::Read(older)),
        client("query_devices", "request 9", ClientFrame::Query(9, Query::Devices)),
        client("query_group", "request 10", ClientFrame::Query(10, Query::Group(group()))),
    ]);
}

fn add_answers_to_sends(cases: &mut Vec<Case>) {
    let id = send_id(3);
    cases.push(server("accepted", "send 3", ServerFrame::Accepted(id)));
    for reason in BusyReason::ALL {
        let busy = ServerFrame::Busy { id, after_ms: 250, reason: *reason };
        cases.push(server(&format!("busy_{}", snake(reason)), "send 3, 250 ms", busy));
    }
    cases.push(server("retry", "send 3, 1000 ms", ServerFrame::Retry { id, after_ms: 1000 }));
    for reason in RejectReason::ALL {
        let reject = ServerFrame::Reject { id, reason: *reason };
        cases.push(server(&format!("reject_{}", snake(reason)), "send 3", reject));
    }
}

fn add_server(cases: &mut Vec<Case>) {
    let welcome = Welcome {
        version: 1,
        user: user(0xaa),
        device: device(),
        resume_after: seq(1000),
        now_ms: 1_750_000_000_000,
        send_window: 256,
        delivery_window: 1024,
        token_expires_ms: 1_750_003_600_000,
        registered: false,
    };
    let registered = Welcome { resume_after: Seq::ZERO, registered: true, ..welcome };
    let row = |offset| Deliver { prev: None, ..deliver(offset) };
    let page = Page { request: 7, rows: vec![row(9), row(4)], more: true };
    let last = Page { request: 8, rows: Vec::new(), more: false };
    let drain = ServerFrame::Drain { deadline_ms: 30_000, jitter_ms: 5_000 };
    cases.extend([
        server("welcome", "a known device", ServerFrame::Welcome(welcome)),
        server("welcome_registered", "a new device", ServerFrame::Welcome(registered)),
        server("renewed", "the new end of the token", ServerFrame::Renewed(1_750_007_200_000)),
        server("page", "two rows, older exist", ServerFrame::Page(page)),
        server("page_empty", "no rows", ServerFrame::Page(last)),
        server("drain", "within 30 s", drain),
        server(
            "answer_devices",
            "two devices, one revoked",
            ServerFrame::Answer(9, Answer::Devices(records::devices())),
        ),
        server(
            "answer_group",
            "an admin and a member",
            ServerFrame::Answer(10, Answer::Group(records::roster())),
        ),
    ]);
    for error in QueryError::ALL {
        let answer = ServerFrame::Answer(11, Answer::Error(*error));
        cases.push(server(&format!("answer_error_{}", snake(error)), "no answer", answer));
    }
}

fn add_delivery(cases: &mut Vec<Case>) {
    let first = Deliver { prev: Some(Seq::ZERO), ..deliver(7) };
    let unknown = Deliver { prev: None, ..deliver(8) };
    cases.extend([
        delivery("deliver", "1:1000 after 1:999", DeliveryFrame::Deliver(deliver(1000))),
        delivery("deliver_first", "the first row of a mailbox", DeliveryFrame::Deliver(first)),
        delivery("deliver_prev_unknown", "1:8 after what is not known", {
            DeliveryFrame::Deliver(unknown)
        }),
        delivery(
            "caught_up",
            "up to 1:1000, from the start",
            DeliveryFrame::CaughtUp { head: seq(1000), prev: Seq::ZERO },
        ),
        delivery(
            "caught_up_after",
            "up to 1:1000, after 1:990",
            DeliveryFrame::CaughtUp { head: seq(1000), prev: seq(990) },
        ),
        delivery(
            "caught_up_empty",
            "a mailbox without a row",
            DeliveryFrame::CaughtUp { head: Seq::ZERO, prev: Seq::ZERO },
        ),
        delivery("truncated", "below 1:500", DeliveryFrame::Truncated(seq(500))),
    ]);
}

fn add_mesh(cases: &mut Vec<Case>) {
    let push = |byte, routes| Push { user: user(byte), routes, deliver: deliver(1000) };
    let pushes = vec![
        push(0xaa, vec![(device(), Generation::new(5)), (device(), Generation::new(6))]),
        push(0xbb, vec![(device(), Generation::new(u64::MAX))]),
    ];
    let mesh = |name, what, value| frame(name, what, value, MeshFrame::encode, MeshFrame::decode);
    let told = |pushes| MeshFrame { pushes, ..MeshFrame::default() };
    cases.extend([
        mesh("mesh", "MeshFrame: two pushes", told(pushes)),
        mesh("mesh_empty", "MeshFrame: no push", told(Vec::new())),
        mesh("mesh_lost", "MeshFrame: no push, some were lost", {
            MeshFrame { lost: true, ..MeshFrame::default() }
        }),
    ]);
}

fn add_signals(cases: &mut Vec<Case>) {
    let body = || Bytes::from_static(b"typing");
    let signal = Signal { to: users(2), body: body() };
    let datagram = SignalFrom { user: user(0xaa), device: device(), body: body() };
    let sighting = |byte, valid_ms| Sighting { user: user(byte), device: device(), valid_ms };
    let sightings = vec![sighting(0xbb, 90_000), sighting(0xcc, 0)];
    cases.extend([
        client("signal", "for two users", ClientFrame::Signal(signal)),
        client("watch", "three users", ClientFrame::Watch(users(3))),
        client("watch_nobody", "no user", ClientFrame::Watch(Vec::new())),
        client("show", "two users", ClientFrame::Show(users(2))),
        server(
            "presence",
            "one connected for 90 s, one not any more",
            ServerFrame::Presence(sightings),
        ),
        record(
            "datagram_signal",
            "Datagram: a signal, without a length",
            Datagram::Signal(datagram),
            Datagram::encode,
            Datagram::decode,
        ),
    ]);
    let from =
        Origin { user: user(0xaa), device: device(), generation: Generation::new(u64::MAX - 1) };
    let about = |kind| MeshSignal {
        user: user(0xbb),
        routes: vec![(device(), Generation::new(5))],
        from,
        kind,
    };
    let kinds = [
        SignalKind::Body(body()),
        SignalKind::Online,
        SignalKind::Offline,
        SignalKind::Asks(EdgeId::new(0x0102_0304_0506_0708)),
    ];
    let signals = kinds.map(about).to_vec();
    cases.push(frame(
        "mesh_signals",
        "MeshFrame: a signal of each kind",
        MeshFrame { signals, ..MeshFrame::default() },
        MeshFrame::encode,
        MeshFrame::decode,
    ));
}
