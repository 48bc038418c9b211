//! The client's half by hand: what it sends again and when, what it shows and what it hides.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use session::{
    client::{
        ClientSession, EnqueueError, Event, Full, Greeting, Limits, Outcome, Restored, StoreChange,
    },
    close::CloseCode,
};
use wire::{
    Address, ClientFrame, Counter, DeliveryFrame, DeviceId, GroupId, Item, MessageId, RunId,
    SendId, Seq, ServerFrame, UserId,
    client_frame::{Previous, Proof, Send},
    codec,
    delivery_frame::Deliver,
    item::{Body, DeviceChange, GroupChange, Verdict},
    server_frame::{Answer, BusyReason, Page, QueryError, RejectReason, Welcome},
};

const ME: UserId = UserId::from_bytes([1; 16]);
const OTHER: UserId = UserId::from_bytes([2; 16]);
const DEVICE: DeviceId = DeviceId::from_bytes([1; 8]);
const BOB: Address = Address::User(OTHER);
const GROUP: Address = Address::Group(GroupId::from_bytes([3; 16]));
const NOW: Duration = Duration::from_secs(50);
/// Nothing more than the delay.
const NO_JITTER: u32 = 0;

fn seq(value: u64) -> Seq {
    Seq::from_u64(value)
}

fn id(counter: u64) -> SendId {
    SendId { run: RunId::new(9), counter: Counter::new(counter) }
}

fn text(text: &'static str) -> Body {
    Body::Message(Bytes::from_static(text.as_bytes()))
}

fn new(restored: Restored) -> ClientSession {
    ClientSession::new(DEVICE, RunId::new(9), Limits::default(), restored)
}

fn proof() -> Proof {
    Proof { token: "token".into(), nonce: [0; 16], signature: [0; 64] }
}

fn welcome(user: UserId) -> ServerFrame {
    ServerFrame::Welcome(Welcome {
        version: 1,
        user,
        device: DEVICE,
        resume_after: seq(10),
        now_ms: 1_000_000,
        send_window: 3,
        delivery_window: 8,
        token_expires_ms: 1_000_000 + 600_000,
        registered: false,
    })
}

fn connect(client: &mut ClientSession) -> ClientFrame {
    client.handle_connected(Greeting { agent: "test".into(), device_key: [0; 32], proof: proof() });
    let hello = sent(client).remove(0);
    client.handle_control(NOW, welcome(ME), NO_JITTER).unwrap();
    hello
}

fn connected() -> ClientSession {
    let mut client = new(Restored::default());
    connect(&mut client);
    events(&mut client);
    client
}

fn sent(client: &mut ClientSession) -> Vec<ClientFrame> {
    let mut out = BytesMut::new();
    client.poll_control(NOW, &mut out, 1 << 20);
    frames(&mut out)
}

fn frames(out: &mut BytesMut) -> Vec<ClientFrame> {
    std::iter::from_fn(|| codec::take_frame(out, 1 << 20).unwrap())
        .map(|frame| ClientFrame::decode(frame).unwrap())
        .collect()
}

/// Counter and predecessor of each send.
fn sends(client: &mut ClientSession) -> Vec<(u64, Option<(u64, bool)>)> {
    let send = |frame: ClientFrame| {
        let ClientFrame::Send(Send { id, previous, .. }) = frame else { panic!("{frame:?}") };
        let previous = previous.map(|Previous { id, accepted }| (id.counter.get(), accepted));
        (id.counter.get(), previous)
    };
    sent(client).into_iter().map(send).collect()
}

fn events(client: &mut ClientSession) -> Vec<Event> {
    std::iter::from_fn(|| client.poll_event()).collect()
}

fn take(client: &mut ClientSession, frame: ServerFrame) {
    client.handle_control(NOW, frame, NO_JITTER).unwrap();
}

fn busy(counter: u64, after_ms: u32) -> ServerFrame {
    ServerFrame::Busy { id: id(counter), after_ms, reason: BusyReason::Overload }
}

fn item(user: UserId, device: u8, counter: u64, to: Address, body: Body) -> Item {
    let id = MessageId { user, device: DeviceId::from_bytes([device; 8]), send: id(counter) };
    Item { id, to, sent_ms: 1, ttl_s: 60, body }
}

fn deliver(client: &mut ClientSession, at: u64, prev: u64, item: &Item) -> Vec<Event> {
    let row = Deliver { seq: seq(at), prev: Some(seq(prev)), log_time_ms: 1, item: item.encode() };
    client.handle_delivery(DeliveryFrame::Deliver(row));
    events(client)
}

#[test]
fn sends_are_pipelined_up_to_the_window_and_chained() {
    let mut client = connected();
    for _ in 0..3 {
        client.enqueue(BOB, 0, text("hello")).unwrap();
    }
    client.enqueue(GROUP, 0, text("hello")).unwrap();
    assert_eq!(sends(&mut client), [(1, None), (2, Some((1, false))), (3, Some((2, false)))]);
    take(&mut client, ServerFrame::Accepted(id(1)));
    assert_eq!(events(&mut client), [Event::Accepted(id(1))]);
    assert_eq!(sends(&mut client), [(4, None)]);
    take(&mut client, ServerFrame::Accepted(id(2)));
    take(&mut client, ServerFrame::Accepted(id(3)));
    client.enqueue(BOB, 0, text("hello")).unwrap();
    assert_eq!(sends(&mut client), [(5, Some((3, true)))]);
}

#[test]
fn busy_holds_back_its_conversation_in_order_and_no_other() {
    let mut client = connected();
    client.enqueue(BOB, 0, text("1")).unwrap();
    client.enqueue(BOB, 0, text("2")).unwrap();
    assert_eq!(sends(&mut client).len(), 2);
    let random = u32::MAX;
    client.handle_control(NOW, busy(1, 100), random).unwrap();
    client.enqueue(GROUP, 0, text("3")).unwrap();
    assert_eq!(sends(&mut client), [(3, None)]);
    let due = client.poll_timeout().unwrap();
    assert_eq!(due, NOW + Duration::from_millis(149), "half as much again at most");
    client.handle_timeout(due);
    assert_eq!(sends(&mut client), [], "while the second may still be accepted");
    take(&mut client, busy(2, 0));
    assert_eq!(sends(&mut client), [(1, None), (2, Some((1, false)))]);
}

#[test]
fn an_edge_that_does_not_answer_is_left() {
    let mut client = connected();
    client.enqueue(BOB, 0, text("1")).unwrap();
    sends(&mut client);
    let due = NOW + Duration::from_secs(20);
    assert_eq!(client.poll_timeout(), Some(due));
    client.handle_timeout(due);
    assert_eq!(events(&mut client), [Event::Unresponsive]);
    connect(&mut client);
    assert_eq!(sends(&mut client), [(1, None)]);
}

#[test]
fn a_rejected_send_leaves_the_chain() {
    let mut client = connected();
    for body in ["1", "2", "3"] {
        client.enqueue(BOB, 0, text(body)).unwrap();
    }
    assert_eq!(sends(&mut client).len(), 3);
    take(&mut client, ServerFrame::Accepted(id(1)));
    take(&mut client, ServerFrame::Reject { id: id(2), reason: RejectReason::Ttl });
    take(&mut client, busy(3, 0));
    assert_eq!(sends(&mut client), [(3, Some((1, true)))]);
    let rejected = Event::Rejected(id(2), RejectReason::Ttl);
    assert_eq!(events(&mut client), [Event::Accepted(id(1)), rejected]);
}

#[test]
fn what_is_unanswered_goes_again_on_the_next_connection_and_after_a_restart() {
    let mut client = connected();
    for body in ["1", "2", "3"] {
        client.enqueue(BOB, 0, text(body)).unwrap();
    }
    sends(&mut client);
    take(&mut client, ServerFrame::Accepted(id(1)));
    let mut store = Restored::default();
    client.poll_changes().into_iter().for_each(|change| store.apply(change));
    let again = [(2, Some((1, true))), (3, Some((2, false)))];
    connect(&mut client);
    assert_eq!(sends(&mut client), again);
    let mut restarted = ClientSession::new(DEVICE, RunId::new(77), Limits::default(), store);
    connect(&mut restarted);
    assert_eq!(sends(&mut restarted), again);
    restarted.enqueue(BOB, 0, text("4")).unwrap();
    let Some(ClientFrame::Send(send)) = sent(&mut restarted).pop() else { panic!("a send") };
    assert_eq!(send.id, SendId { run: RunId::new(77), counter: Counter::new(1) });
    assert_eq!(send.previous, Some(Previous { id: id(3), accepted: false }));
}

#[test]
fn a_full_outbox_says_so() {
    let limits = Limits { entries_max: 10, bytes_max: 1000 };
    let mut client = ClientSession::new(DEVICE, RunId::new(9), limits, Restored::default());
    let payload = |len| Body::Message(Bytes::from(vec![0; len]));
    client.enqueue(BOB, 0, payload(800)).unwrap();
    assert_eq!(client.enqueue(BOB, 0, payload(100)), Err(EnqueueError::Full(Full)));
    assert_eq!(client.enqueue(BOB, 0, payload(65 * 1024)), Err(EnqueueError::PayloadSize));
    connect(&mut client);
    sends(&mut client);
    take(&mut client, ServerFrame::Accepted(id(1)));
    for _ in 0..7 {
        client.enqueue(BOB, 0, payload(0)).unwrap();
    }
    assert_eq!(client.unanswered(), 7);
}

#[test]
fn own_items_are_hidden_except_notes_to_self_and_results() {
    let mut client = connected();
    let mut at = 10;
    let mut shown = |user, device, to, body| {
        at += 1;
        let item = item(user, device, at, to, body);
        let events = deliver(&mut client, at, at - 1, &item);
        events.into_iter().next()
    };
    let change = || Body::GroupChange(GroupChange::Leave);
    assert_eq!(shown(ME, 1, BOB, text("echo")), None);
    assert!(matches!(shown(ME, 1, Address::User(ME), text("note")), Some(Event::Item { .. })));
    assert!(matches!(shown(ME, 2, BOB, text("other device")), Some(Event::Item { .. })));
    let refused = shown(ME, 1, GROUP, Body::Verdict(Verdict::NotAMember));
    let outcome = Outcome::Refused(Verdict::NotAMember);
    assert_eq!(refused, Some(Event::Result { seq: seq(14), id: id(14), outcome }));
    assert_eq!(shown(ME, 2, GROUP, Body::Verdict(Verdict::NotAMember)), None);
    let outcome = Outcome::Happened(change());
    let happened = Event::Result { seq: seq(16), id: id(16), outcome };
    assert_eq!(shown(ME, 1, GROUP, change()), Some(happened));
    assert!(matches!(shown(OTHER, 5, GROUP, change()), Some(Event::Item { .. })));
    let register = DeviceChange::Register { device_key: [1; 32], agent: String::new() };
    assert_eq!(shown(ME, 1, Address::User(ME), Body::DeviceChange(register)), None);
}

#[test]
fn repeats_are_hidden_conflicts_told_and_what_is_unreadable_skipped() {
    let mut client = connected();
    let first = item(OTHER, 5, 1, Address::User(ME), text("one"));
    assert_eq!(deliver(&mut client, 11, 10, &first).len(), 1);
    assert_eq!(deliver(&mut client, 12, 11, &first), []);
    let second = item(OTHER, 5, 1, Address::User(ME), text("two"));
    let conflict = Event::Conflict { seq: seq(13), id: first.id };
    assert_eq!(deliver(&mut client, 13, 12, &second), [conflict]);
    let item = Bytes::from_static(b"?");
    let row = Deliver { seq: seq(14), prev: Some(seq(13)), log_time_ms: 1, item };
    client.handle_delivery(DeliveryFrame::Deliver(row));
    assert!(matches!(events(&mut client)[..], [Event::Undecodable { .. }]));
    client.acknowledge(seq(11));
    client.flush();
    assert_eq!(sent(&mut client), [ClientFrame::Ack(seq(14))], "nothing blocks");
}

#[test]
fn only_the_contiguous_prefix_is_acknowledged_and_stored() {
    let mut client = connected();
    client.poll_changes();
    for at in 11..14 {
        deliver(&mut client, at, at - 1, &item(OTHER, 5, at, Address::User(ME), text("hello")));
    }
    client.acknowledge(seq(12));
    client.acknowledge(seq(99));
    assert_eq!(client.poll_changes(), [StoreChange::ProcessedAhead(seq(12))]);
    assert_eq!(sent(&mut client), []);
    assert!(!client.acknowledge(seq(11)), "the driver looks by itself");
    let changes = client.poll_changes();
    assert_eq!(changes.last(), Some(&StoreChange::Cursor(seq(12))));
    assert_eq!(changes.len(), 3);
    client.flush();
    assert_eq!(sent(&mut client), [ClientFrame::Ack(seq(12))]);
}

#[test]
fn acknowledgements_are_stored_soon_and_told_later_or_with_other_frames() {
    let mut client = connected();
    let at_ms = |ms| NOW + Duration::from_millis(ms);
    let sent_at = |client: &mut ClientSession, now| {
        let mut out = BytesMut::new();
        client.poll_control(now, &mut out, 1 << 20);
        frames(&mut out)
    };
    let message = |at| item(OTHER, 5, at, Address::User(ME), text("hello"));
    for at in 11..15 {
        deliver(&mut client, at, at - 1, &message(at));
    }
    client.poll_changes();
    assert!(client.acknowledge(seq(11)), "the driver learns that it has to store");
    assert_eq!(client.poll_changes().last(), Some(&StoreChange::Cursor(seq(11))));
    assert_eq!(sent(&mut client), []);
    assert_eq!(client.poll_timeout(), Some(at_ms(25)));
    assert!(!client.acknowledge(seq(12)), "it looks by itself");
    assert_eq!(sent_at(&mut client, at_ms(25)), []);
    assert_eq!(client.poll_timeout(), Some(at_ms(50)), "as long as there is news");
    assert_eq!(sent_at(&mut client, at_ms(50)), []);
    assert_eq!(client.poll_timeout(), Some(at_ms(500)));
    assert_eq!(sent_at(&mut client, at_ms(500)), [ClientFrame::Ack(seq(12))]);
    client.acknowledge(seq(13));
    client.enqueue(BOB, 0, text("company")).unwrap();
    assert!(matches!(sent(&mut client)[..], [ClientFrame::Send(_), ClientFrame::Ack(_)]));
}

#[test]
fn much_to_acknowledge_is_told_at_once() {
    let mut client = connected();
    let message = |at| item(OTHER, 5, at, Address::User(ME), Body::Message(vec![0; 60_000].into()));
    for at in 11..15 {
        deliver(&mut client, at, at - 1, &message(at));
    }
    assert!(client.acknowledge(seq(11)));
    assert_eq!(sent(&mut client), []);
    assert!(!client.acknowledge(seq(12)));
    assert!(client.acknowledge(seq(13)), "more than an eighth of a delivery window");
    assert_eq!(sent(&mut client), [ClientFrame::Ack(seq(13))]);
}

#[test]
fn without_a_connection_every_acknowledgement_is_stored_at_once() {
    let mut client = connected();
    for at in 11..13 {
        deliver(&mut client, at, at - 1, &item(OTHER, 5, at, Address::User(ME), text("hello")));
    }
    client.handle_disconnected();
    client.poll_changes();
    assert!(client.acknowledge(seq(11)));
    assert_eq!(client.poll_changes().last(), Some(&StoreChange::Cursor(seq(11))));
    assert!(client.acknowledge(seq(12)));
    assert_eq!(client.poll_changes().last(), Some(&StoreChange::Cursor(seq(12))));
}

#[test]
fn a_gap_is_asked_for_once_and_never_jumped() {
    let mut client = connected();
    let message = |at| item(OTHER, 5, at, Address::User(ME), text("hello"));
    assert_eq!(deliver(&mut client, 13, 12, &message(13)), []);
    assert_eq!(deliver(&mut client, 14, 13, &message(14)), []);
    client.handle_delivery(DeliveryFrame::CaughtUp { head: seq(14), prev: seq(14) });
    assert_eq!(events(&mut client), []);
    assert_eq!(sent(&mut client), [ClientFrame::Resync(seq(10))]);
    assert_eq!(sent(&mut client), []);
    for at in 11..15 {
        assert_eq!(deliver(&mut client, at, at - 1, &message(at)).len(), 1);
    }
    client.handle_delivery(DeliveryFrame::CaughtUp { head: seq(20), prev: seq(14) });
    assert_eq!(events(&mut client), [Event::CaughtUp(seq(20))]);
    // Nothing is between 14 and 20: a row chained to 20 fits.
    assert_eq!(deliver(&mut client, 21, 20, &message(21)).len(), 1);
}

#[test]
fn a_gap_whose_rows_are_gone_ends_with_caught_up() {
    let mut client = connected();
    let message = |at| item(OTHER, 5, at, Address::User(ME), text("hello"));
    assert_eq!(deliver(&mut client, 13, 12, &message(13)), []);
    assert_eq!(sent(&mut client), [ClientFrame::Resync(seq(10))]);
    client.handle_delivery(DeliveryFrame::CaughtUp { head: seq(13), prev: seq(10) });
    assert_eq!(events(&mut client), [Event::CaughtUp(seq(13))]);
    assert_eq!(deliver(&mut client, 14, 13, &message(14)).len(), 1);
}

#[test]
fn a_resumed_client_names_its_cursor_and_acknowledges_only_what_came_again() {
    let mut client = connected();
    let message = |at| item(OTHER, 5, at, Address::User(ME), text("hello"));
    for at in 11..14 {
        deliver(&mut client, at, at - 1, &message(at));
    }
    let ClientFrame::Hello(hello) = connect(&mut client) else { panic!("Hello comes first") };
    assert_eq!(hello.resume_after, Some(seq(10)));
    events(&mut client);
    for at in 11..14 {
        client.acknowledge(seq(at));
    }
    assert_eq!(sent(&mut client), [], "the new connection has given nothing yet");
    assert_eq!(deliver(&mut client, 11, 10, &message(11)), [], "shown before");
    client.flush();
    assert_eq!(sent(&mut client), [ClientFrame::Ack(seq(11))]);
    assert_eq!(deliver(&mut client, 20, 15, &message(20)), []);
    assert_eq!(sent(&mut client), [ClientFrame::Resync(seq(11))], "not above what was given here");
}

#[test]
fn a_token_is_asked_for_before_it_ends_and_again_if_none_comes() {
    let mut client = connected();
    let due = client.poll_timeout().unwrap();
    assert_eq!(due, NOW + Duration::from_secs(540));
    client.handle_timeout(due);
    assert_eq!(events(&mut client), [Event::TokenNeeded]);
    let again = client.poll_timeout().unwrap();
    client.handle_timeout(again);
    assert_eq!(events(&mut client), [Event::TokenNeeded]);
    client.handle_token(proof());
    assert_eq!(sent(&mut client), [ClientFrame::Renew(proof())]);
    client.handle_control(again, ServerFrame::Renewed(9_000_000), 0).unwrap();
    assert!(client.poll_timeout().unwrap() > again + Duration::from_secs(3600));
}

#[test]
fn requests_go_two_at_a_time_and_again_after_a_cut() {
    let mut client = connected();
    let numbers: Vec<u32> = (0..3).map(|_| client.read_history(None, 999).unwrap()).collect();
    assert_eq!(sent(&mut client).len(), 2);
    take(&mut client, ServerFrame::Page(Page { request: numbers[0], rows: vec![], more: false }));
    assert!(matches!(events(&mut client)[..], [Event::Page(_)]));
    assert_eq!(sent(&mut client).len(), 1);
    connect(&mut client);
    events(&mut client);
    assert_eq!(sent(&mut client).len(), 2);
    let answer = ServerFrame::Answer(77, Answer::Error(QueryError::NotFound));
    take(&mut client, answer);
    assert_eq!(events(&mut client), [], "nobody asked");
}

#[test]
fn a_draining_edge_is_sent_nothing_more() {
    let mut client = connected();
    take(&mut client, ServerFrame::Drain { deadline_ms: 9000, jitter_ms: 500 });
    client.enqueue(BOB, 0, text("later")).unwrap();
    assert!(matches!(events(&mut client)[..], [Event::Drain { .. }]));
    assert_eq!(sends(&mut client), []);
    connect(&mut client);
    assert_eq!(sends(&mut client).len(), 1);
}

#[test]
fn a_store_serves_one_user_only() {
    let mut client = connected();
    client.handle_connected(Greeting { agent: "test".into(), device_key: [0; 32], proof: proof() });
    sent(&mut client);
    let violation = client.handle_control(NOW, welcome(OTHER), NO_JITTER).unwrap_err();
    assert_eq!(violation.code, CloseCode::Unauthenticated);
}
