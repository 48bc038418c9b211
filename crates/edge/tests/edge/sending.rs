//! What becomes of sends and questions.

use std::collections::BTreeSet;

use bytes::BytesMut;
use edge::EdgeConfig;
use session::close::CloseCode;
use wire::{
    Address, ClientFrame, GroupId, Seq, ServerFrame,
    client_frame::{Read, Send},
    entity::{Member, Query, Roster},
    item::Role,
    limits::SEND_WINDOW,
    server_frame::{Answer, BusyReason, QueryError, RejectReason},
};

use crate::{
    client::{Cluster, Key, user},
    world::item,
};

#[tokio::test]
async fn a_send_is_accepted_and_in_the_mailbox() {
    let cluster = Cluster::start().await;
    let mut alice = cluster.connect("alice", &Key::new()).await;
    let send = alice.message(user("bob"), "hello");
    let id = send.id;
    alice.say(ClientFrame::Send(send)).await;
    assert_eq!(alice.answer().await, ServerFrame::Accepted(id));
    let mut bob = cluster.connect("bob", &Key::new()).await;
    assert!(matches!(bob.delivered().await, wire::DeliveryFrame::Deliver(_)));
}

#[tokio::test]
async fn a_whole_window_at_once_is_answered_send_by_send() {
    let cluster = Cluster::start().await;
    let mut alice = cluster.connect("alice", &Key::new()).await;
    let mut out = BytesMut::new();
    let mut waiting = BTreeSet::new();
    for n in 0..SEND_WINDOW {
        let send = alice.message(user("bob"), &n.to_string());
        waiting.insert(send.id);
        ClientFrame::Send(send).encode(&mut out);
    }
    alice.write(out).await;
    while !waiting.is_empty() {
        let answer = alice.answer().await;
        let ServerFrame::Accepted(id) = answer else { panic!("not accepted: {answer:?}") };
        assert!(waiting.remove(&id));
    }
}

#[tokio::test]
async fn one_send_beyond_the_window_ends_the_connection() {
    let cluster = Cluster::start().await;
    let mut alice = cluster.connect("alice", &Key::new()).await;
    cluster.world.hold_appends(true);
    let mut out = BytesMut::new();
    for _ in 0..=SEND_WINDOW {
        ClientFrame::Send(alice.message(user("bob"), "x")).encode(&mut out);
    }
    alice.write(out).await;
    assert_eq!(alice.closed().await, CloseCode::ProtocolError);
}

#[tokio::test]
async fn what_can_never_be_sent_is_rejected_and_the_connection_goes_on() {
    let cluster = Cluster::start().await;
    let mut alice = cluster.connect("alice", &Key::new()).await;
    let long = Send { ttl_s: u32::MAX, ..alice.message(user("bob"), "for ever") };
    let (id, reason) = (long.id, RejectReason::Ttl);
    alice.say(ClientFrame::Send(long)).await;
    assert_eq!(alice.answer().await, ServerFrame::Reject { id, reason });
    let send = alice.message(user("bob"), "hello");
    let id = send.id;
    alice.say(ClientFrame::Send(send)).await;
    assert_eq!(alice.answer().await, ServerFrame::Accepted(id));
}

#[tokio::test]
async fn a_device_that_sends_too_much_is_busy() {
    let config =
        EdgeConfig { send_bytes_per_s: 1_024, send_bytes_burst: 70_000, ..EdgeConfig::default() };
    let cluster = Cluster::start_with(config).await;
    let mut alice = cluster.connect("alice", &Key::new()).await;
    let text = "x".repeat(40_000);
    let mut answers = Vec::new();
    for _ in 0..3 {
        let send = alice.message(user("bob"), &text);
        alice.say(ClientFrame::Send(send)).await;
        answers.push(alice.answer().await);
    }
    assert!(matches!(answers[..2], [ServerFrame::Accepted(_), ServerFrame::Accepted(_)]));
    assert!(matches!(answers[2], ServerFrame::Busy { reason: BusyReason::Rate, .. }));
}

#[tokio::test]
async fn malformed_bytes_end_the_connection() {
    let cluster = Cluster::start().await;
    for bytes in [&b"\x05hello"[..], b"\xff\xff\xff\xff\x0f", b"\xff\xff\xff\xff\xff\xff"] {
        let mut alice = cluster.connect("alice", &Key::new()).await;
        alice.write(BytesMut::from(bytes)).await;
        assert_eq!(alice.closed().await, CloseCode::ProtocolError);
    }
}

#[tokio::test]
async fn a_roster_is_shown_to_members_only() {
    let cluster = Cluster::start().await;
    let group = GroupId::from_bytes([5; 16]);
    let member = Member { user: user("alice"), role: Role::Admin, joined: Seq::from_u64(1) };
    let roster = Roster(vec![member]);
    cluster.world.put_roster(group, &roster);
    let ask = async |subject: &str, group| {
        let mut client = cluster.connect(subject, &Key::new()).await;
        client.say(ClientFrame::Query(9, Query::Group(group))).await;
        client.answer().await
    };
    let (not_found, missing) = (Answer::Error(QueryError::NotFound), GroupId::from_bytes([6; 16]));
    assert_eq!(ask("alice", group).await, ServerFrame::Answer(9, Answer::Group(roster)));
    assert_eq!(ask("bob", group).await, ServerFrame::Answer(9, not_found.clone()));
    assert_eq!(ask("bob", missing).await, ServerFrame::Answer(9, not_found));
}

#[tokio::test]
async fn a_user_sees_the_own_devices() {
    let cluster = Cluster::start().await;
    let key = Key::new();
    let mut alice = cluster.connect("alice", &key).await;
    alice.say(ClientFrame::Query(3, Query::Devices)).await;
    let ServerFrame::Answer(3, Answer::Devices(devices)) = alice.answer().await else {
        panic!("devices");
    };
    assert_eq!(devices.0.len(), 1);
    assert_eq!(devices.0[0].id(), key.device());
}

#[tokio::test]
async fn history_comes_newest_first_and_page_by_page() {
    let cluster = Cluster::start().await;
    let bob = user("bob");
    let rows: Vec<Seq> =
        (0..5).map(|n| cluster.world.put_row(bob, item(bob, &n.to_string()))).collect();
    let mut client = cluster.connect("bob", &Key::new()).await;
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        client.say(ClientFrame::Read(Read { request: 1, before, limit: 2 })).await;
        let ServerFrame::Page(page) = client.answer().await else { panic!("a page") };
        seen.extend(page.rows.iter().map(|row| row.seq));
        before = seen.last().copied();
        if !page.more {
            break;
        }
    }
    let newest_first: Vec<Seq> = rows.into_iter().rev().collect();
    assert_eq!(seen, newest_first);
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answers_is_closed() {
    // Long enough to ask for everything below on a busy machine.
    let config = EdgeConfig { slow_reader_ms: 4_000, ..EdgeConfig::default() };
    let cluster = Cluster::start_with(config).await;
    let bob = user("bob");
    let large = "x".repeat(60_000);
    for _ in 0..3 {
        cluster.world.put_row(bob, item(bob, &large));
    }
    let mut client = cluster.connect("bob", &Key::new()).await;
    // More than both ends keep on the way, each asked for when the one before was read.
    for request in 1..=8 {
        client.say(ClientFrame::Read(Read { request, before: None, limit: 3 })).await;
        cluster.until(|| cluster.world.pages_read() == request as usize).await;
    }
    assert_eq!(client.closed().await, CloseCode::SlowReader);
}

#[tokio::test]
async fn more_questions_at_once_than_allowed_end_the_connection() {
    let cluster = Cluster::start().await;
    let mut alice = cluster.connect("alice", &Key::new()).await;
    let mut out = BytesMut::new();
    for request in 0..3 {
        ClientFrame::Query(request, Query::Devices).encode(&mut out);
    }
    alice.write(out).await;
    assert_eq!(alice.closed().await, CloseCode::ProtocolError);
}

#[tokio::test]
async fn a_group_send_is_accepted_in_order_also_while_its_size_is_unknown() {
    let cluster = Cluster::start().await;
    let mut alice = cluster.connect("alice", &Key::new()).await;
    for _ in 0..3 {
        let to = Address::Group(GroupId::from_bytes([5; 16]));
        let send = Send { to, ..alice.message(user("bob"), "to all") };
        let id = send.id;
        alice.say(ClientFrame::Send(send)).await;
        assert_eq!(alice.answer().await, ServerFrame::Accepted(id));
    }
}
