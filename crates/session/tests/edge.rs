//! The edge's half by hand: what it refuses, what it waits for, what it answers in time.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use session::{
    close::CloseCode,
    edge::{Admitted, EdgeSession, Effect, Published, Violation},
};
use wire::{
    Address, ClientFrame, Counter, DeliveryFrame, DeviceId, RunId, SendId, Seq, ServerFrame,
    UserId,
    client_frame::{Hello, Previous, Proof, Read, Send},
    codec,
    delivery_frame::Deliver,
    item::Body,
    limits::{DELIVERY_WINDOW_BYTES, SEND_WINDOW},
    server_frame::{BusyReason, Page, RejectReason, Welcome},
};

const START: Duration = Duration::from_secs(100);
const USER: UserId = UserId::from_bytes([1; 16]);

fn seq(value: u64) -> Seq {
    Seq::from_u64(value)
}

fn id(counter: u64) -> SendId {
    SendId { run: RunId::new(1), counter: Counter::new(counter) }
}

fn send(counter: u64, previous: Option<(u64, bool)>) -> ClientFrame {
    ClientFrame::Send(Send {
        id: id(counter),
        to: Address::User(USER),
        previous: previous.map(|(counter, accepted)| Previous { id: id(counter), accepted }),
        ttl_s: 0,
        body: Body::Message(Bytes::from_static(b"hello")),
    })
}

fn proof() -> Proof {
    Proof { token: "token".into(), nonce: [0; 16], signature: [0; 64] }
}

fn hello(versions: Vec<u32>) -> ClientFrame {
    ClientFrame::Hello(Hello {
        versions,
        agent: "test".into(),
        device_key: [0; 32],
        proof: proof(),
        resume_after: None,
    })
}

fn row(at: u64, prev: Option<u64>, len: usize) -> Deliver {
    Deliver { seq: seq(at), prev: prev.map(seq), log_time_ms: 1, item: Bytes::from(vec![7; len]) }
}

/// An admitted edge that has just read an empty mailbox up to position 10.
fn open(delivery_window: u32, truncated: Option<Seq>) -> EdgeSession {
    let mut edge = EdgeSession::new(START);
    edge.handle_frame(START, hello(vec![7, 1])).unwrap();
    assert!(matches!(edge.poll_effect(), Some(Effect::Authenticate(_))));
    let welcome = Welcome {
        version: 1,
        user: USER,
        device: DeviceId::from_bytes([1; 8]),
        resume_after: seq(10),
        now_ms: 0,
        send_window: SEND_WINDOW,
        delivery_window,
        token_expires_ms: 0,
        registered: false,
    };
    let token_expires = START + Duration::from_secs(3600);
    edge.handle_admitted(START, Admitted { welcome, token_expires, truncated });
    let read = edge.poll_effect();
    assert!(matches!(read, Some(Effect::ReadMailbox { after, .. }) if after == seq(10)));
    edge.handle_rows(START, seq(10), Vec::new(), false);
    let stored = Some(Effect::StoreCursor { seq: seq(10), caught_up: true });
    assert_eq!(edge.poll_effect(), stored);
    assert_eq!(control(&mut edge).len(), 1);
    edge
}

fn control(edge: &mut EdgeSession) -> Vec<ServerFrame> {
    let mut out = BytesMut::new();
    edge.poll_control(&mut out);
    let frames = std::iter::from_fn(|| codec::take_frame(&mut out, 1 << 24).unwrap());
    frames.map(|frame| ServerFrame::decode(frame).unwrap()).collect()
}

fn delivered(edge: &mut EdgeSession) -> Vec<DeliveryFrame> {
    let mut out = BytesMut::new();
    edge.poll_delivery(START, &mut out, 1 << 30);
    let frames = std::iter::from_fn(|| codec::take_frame(&mut out, 1 << 24).unwrap());
    frames.map(|frame| DeliveryFrame::decode(frame).unwrap()).collect()
}

fn positions(frames: &[DeliveryFrame]) -> Vec<u64> {
    let position = |frame: &DeliveryFrame| match frame {
        DeliveryFrame::Deliver(row) => Some(row.seq.get()),
        DeliveryFrame::CaughtUp { .. } | DeliveryFrame::Truncated(_) => None,
    };
    frames.iter().filter_map(position).collect()
}

fn code(outcome: Result<(), Violation>) -> CloseCode {
    outcome.unwrap_err().code
}

#[test]
fn only_hello_comes_first_with_a_known_version_and_in_time() {
    let first = |frame| code(EdgeSession::new(START).handle_frame(START, frame));
    assert_eq!(first(ClientFrame::Ack(seq(1))), CloseCode::ProtocolError);
    assert_eq!(first(hello(vec![2, 3])), CloseCode::Version);
    let mut edge = EdgeSession::new(START);
    edge.handle_frame(START, hello(vec![1])).unwrap();
    let early = edge.handle_frame(START, send(1, None));
    assert_eq!(code(early), CloseCode::ProtocolError);
    let mut edge = EdgeSession::new(START);
    let due = edge.poll_timeout().unwrap();
    edge.handle_timeout(due);
    assert_eq!(edge.poll_effect(), Some(Effect::Close(CloseCode::Unauthenticated)));
    assert_eq!(edge.poll_timeout(), None);
}

#[test]
fn a_hello_that_the_edge_cannot_decide_in_time_is_not_the_clients_fault() {
    let mut edge = EdgeSession::new(START);
    edge.handle_frame(START, hello(vec![1])).unwrap();
    assert!(matches!(edge.poll_effect(), Some(Effect::Authenticate(_))));
    let due = edge.poll_timeout().unwrap();
    edge.handle_timeout(due);
    assert_eq!(edge.poll_effect(), Some(Effect::Close(CloseCode::Unavailable)));
}

#[test]
fn one_send_more_than_the_window_is_a_violation() {
    let mut edge = open(8, None);
    for counter in 1..=u64::from(SEND_WINDOW) {
        edge.handle_frame(START, send(counter, None)).unwrap();
    }
    assert_eq!(edge.sends_in_flight(), SEND_WINDOW as usize);
    let over = edge.handle_frame(START, send(999, None));
    assert_eq!(code(over), CloseCode::ProtocolError);
}

#[test]
fn a_send_follows_only_an_accepted_or_unanswered_one() {
    let mut edge = open(8, None);
    let busy =
        |counter| ServerFrame::Busy { id: id(counter), after_ms: 0, reason: BusyReason::Previous };
    edge.handle_frame(START, send(2, Some((1, false)))).unwrap();
    assert_eq!(control(&mut edge), [busy(2)]);
    assert_eq!(edge.poll_effect(), None);
    edge.handle_frame(START, send(2, Some((1, true)))).unwrap();
    edge.handle_frame(START, send(3, Some((2, false)))).unwrap();
    edge.handle_frame(START, send(4, Some((3, false)))).unwrap();
    assert!(matches!(edge.poll_effect(), Some(Effect::Publish(send)) if send.id == id(2)));
    // Refused before its followers were given out: they never are.
    edge.handle_published(START, id(2), Published::Reject(RejectReason::Ttl));
    let rejected = ServerFrame::Reject { id: id(2), reason: RejectReason::Ttl };
    assert_eq!(control(&mut edge), [rejected, busy(3), busy(4)]);
    assert_eq!(edge.poll_effect(), None);
    edge.handle_frame(START, send(3, None)).unwrap();
    assert!(edge.poll_effect().is_some());
    edge.handle_published(START, id(3), Published::Accepted);
    edge.handle_frame(START, send(4, Some((3, false)))).unwrap();
    assert!(matches!(edge.poll_effect(), Some(Effect::Publish(send)) if send.id == id(4)));
}

#[test]
fn a_send_without_an_answer_is_answered_after_fourteen_seconds() {
    let mut edge = open(8, None);
    edge.handle_frame(START, send(1, None)).unwrap();
    assert!(edge.poll_effect().is_some());
    let due = START + Duration::from_secs(14);
    assert_eq!(edge.poll_timeout(), Some(due));
    edge.handle_timeout(due - Duration::from_millis(1));
    assert_eq!(control(&mut edge), []);
    edge.handle_timeout(due);
    assert_eq!(control(&mut edge), [ServerFrame::Retry { id: id(1), after_ms: 1000 }]);
    edge.handle_published(due, id(1), Published::Accepted);
    assert_eq!(control(&mut edge), []);
    assert_eq!(edge.sends_in_flight(), 0);
}

#[test]
fn an_ack_above_what_was_delivered_is_a_violation_and_one_below_is_nothing() {
    let mut edge = open(8, None);
    assert_eq!(delivered(&mut edge), [DeliveryFrame::CaughtUp { head: seq(10), prev: seq(10) }]);
    edge.handle_push(START, row(20, Some(10), 5));
    edge.handle_push(START, row(30, Some(20), 5));
    assert_eq!(positions(&delivered(&mut edge)), [20, 30]);
    edge.handle_push(START, row(40, Some(30), 5));
    edge.handle_frame(START, ClientFrame::Ack(seq(30))).unwrap();
    let stored = Effect::StoreCursor { seq: seq(30), caught_up: false };
    assert_eq!(edge.poll_effect(), Some(stored));
    edge.handle_frame(START, ClientFrame::Ack(seq(20))).unwrap();
    assert_eq!(edge.poll_effect(), None);
    assert_eq!(edge.cursor(), Some((seq(30), false)));
    let above = edge.handle_frame(START, ClientFrame::Ack(seq(40)));
    assert_eq!(code(above), CloseCode::ProtocolError);
}

#[test]
fn delivery_waits_for_acknowledgements() {
    let mut edge = open(3, None);
    for at in 11..21 {
        edge.handle_push(START, row(at, Some(at - 1), 5));
    }
    assert_eq!(positions(&delivered(&mut edge)), [11, 12, 13]);
    assert_eq!(positions(&delivered(&mut edge)), []);
    edge.handle_frame(START, ClientFrame::Ack(seq(12))).unwrap();
    assert_eq!(positions(&delivered(&mut edge)), [14, 15]);
}

#[test]
fn delivery_waits_at_its_bytes_and_reads_only_what_there_is_room_for() {
    const LEN: usize = 60_000;
    let mut edge = open(1024, None);
    edge.handle_behind(START);
    let (mut at, mut given) = (11, 0);
    while let Some(effect) = edge.poll_effect() {
        let Effect::ReadMailbox { bytes_max, .. } = effect else { continue };
        let rows: Vec<Deliver> =
            (at..).take(bytes_max.div_ceil(LEN)).map(|at| row(at, None, LEN)).collect();
        at += rows.len() as u64;
        edge.handle_rows(START, seq(1000), rows, true);
        given += positions(&delivered(&mut edge)).len();
    }
    assert_eq!(given, DELIVERY_WINDOW_BYTES / LEN);
    edge.handle_frame(START, ClientFrame::Ack(seq(20))).unwrap();
    given = positions(&delivered(&mut edge)).len();
    assert!(given > 0);
    assert!(
        std::iter::from_fn(|| edge.poll_effect())
            .any(|effect| matches!(effect, Effect::ReadMailbox { .. }))
    );
}

#[test]
fn a_push_that_does_not_fit_makes_the_mailbox_be_read() {
    for deliver in [row(30, Some(20), 5), row(30, None, 5)] {
        let mut edge = open(8, None);
        edge.handle_push(START, deliver);
        assert_eq!(positions(&delivered(&mut edge)), []);
        assert!(matches!(edge.poll_effect(), Some(Effect::ReadMailbox { after, .. })
            if after == seq(10)));
        edge.handle_push(START, row(40, Some(30), 5));
        edge.handle_rows(START, seq(30), vec![row(20, None, 5), row(30, None, 5)], false);
        // The push that came during the read may have been missed by it.
        let again = Effect::ReadMailbox { after: seq(30), rows_max: 6, bytes_max: 128 * 1024 };
        assert_eq!(edge.poll_effect(), Some(again));
        edge.handle_rows(START, seq(40), vec![row(40, None, 5)], false);
        edge.handle_push(START, row(40, Some(30), 5));
        let frames = delivered(&mut edge);
        assert_eq!(positions(&frames), [20, 30, 40]);
        assert_eq!(frames.last(), Some(&DeliveryFrame::CaughtUp { head: seq(40), prev: seq(40) }));
    }
}

#[test]
fn a_read_that_fails_is_repeated_ever_more_slowly() {
    let mut edge = open(8, None);
    edge.handle_behind(START);
    let (mut now, mut waits) = (START, Vec::new());
    for _ in 0..8 {
        assert!(matches!(edge.poll_effect(), Some(Effect::ReadMailbox { .. })));
        edge.handle_read_failed(now);
        assert_eq!(edge.poll_effect(), None);
        let due = edge.poll_timeout().unwrap();
        waits.push((due - now).as_millis());
        now = due;
        edge.handle_timeout(now);
    }
    assert_eq!(waits, [100, 200, 400, 800, 1600, 3200, 5000, 5000]);
}

#[test]
fn a_resync_gives_again_what_is_not_acknowledged() {
    let mut edge = open(8, None);
    for at in 11..14 {
        edge.handle_push(START, row(at, Some(at - 1), 5));
    }
    assert_eq!(positions(&delivered(&mut edge)), [11, 12, 13]);
    edge.handle_frame(START, ClientFrame::Resync(seq(11))).unwrap();
    assert!(matches!(edge.poll_effect(), Some(Effect::ReadMailbox { after, .. })
        if after == seq(11)));
    edge.handle_rows(START, seq(13), vec![row(12, None, 5), row(13, None, 5)], false);
    let frames = delivered(&mut edge);
    assert_eq!(positions(&frames), [12, 13]);
    assert!(matches!(&frames[0], DeliveryFrame::Deliver(row) if row.prev == Some(seq(11))));
    let above = edge.handle_frame(START, ClientFrame::Resync(seq(99)));
    assert_eq!(code(above), CloseCode::ProtocolError);
}

#[test]
fn a_truncated_device_is_told_before_anything_else() {
    let mut edge = open(8, Some(seq(50)));
    edge.handle_push(START, row(60, Some(10), 5));
    assert_eq!(delivered(&mut edge)[0], DeliveryFrame::Truncated(seq(50)));
}

#[test]
fn a_draining_edge_answers_what_it_has_and_takes_no_more() {
    let mut edge = open(8, None);
    edge.handle_frame(START, send(1, None)).unwrap();
    assert!(edge.poll_effect().is_some());
    edge.handle_drain(START, 9000, 500);
    edge.handle_drain(START, 9000, 500);
    edge.handle_frame(START, send(2, Some((1, false)))).unwrap();
    edge.handle_published(START, id(1), Published::Accepted);
    let frames = control(&mut edge);
    assert_eq!(frames[0], ServerFrame::Drain { deadline_ms: 9000, jitter_ms: 500 });
    assert!(matches!(frames[1], ServerFrame::Busy { reason: BusyReason::Draining, .. }));
    assert_eq!(frames[2..], [ServerFrame::Accepted(id(1))]);
    assert_eq!(edge.sends_in_flight(), 0);
}

#[test]
fn a_connection_ends_with_its_token_unless_a_fresh_one_comes() {
    let mut edge = open(8, None);
    edge.handle_frame(START, ClientFrame::Renew(proof())).unwrap();
    assert!(matches!(edge.poll_effect(), Some(Effect::Renew(_))));
    let later = START + Duration::from_secs(7200);
    edge.handle_renewed(START, later, 5);
    assert_eq!(control(&mut edge), [ServerFrame::Renewed(5)]);
    edge.handle_timeout(START + Duration::from_secs(3600));
    assert_eq!(edge.poll_effect(), None);
    edge.handle_timeout(later);
    assert_eq!(edge.poll_effect(), Some(Effect::Close(CloseCode::TokenExpired)));
}

#[test]
fn a_third_request_at_once_is_a_violation() {
    let mut edge = open(8, None);
    let read = |request| ClientFrame::Read(Read { request, before: None, limit: 1 });
    edge.handle_frame(START, read(1)).unwrap();
    edge.handle_frame(START, read(2)).unwrap();
    edge.handle_page(Page { request: 1, rows: Vec::new(), more: false });
    control(&mut edge);
    edge.handle_frame(START, read(3)).unwrap();
    assert_eq!(code(edge.handle_frame(START, read(4))), CloseCode::ProtocolError);
}
