//! Both halves by hand: signals are paced, presence is told to those who may know, and runs out.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use session::{
    client::{ClientSession, Event, Greeting, Limits, Restored, SignalError},
    edge::{Admitted, EdgeSession, Effect},
};
use wire::{
    ClientFrame, DeviceId, Generation, RunId, Seq, ServerFrame, UserId,
    client_frame::Proof,
    codec::take_frame,
    mesh::Origin,
    server_frame::Welcome,
    signal::{Datagram, Sighting, Signal, SignalFrom},
};

const START: Duration = Duration::from_secs(100);
const DEVICE: DeviceId = DeviceId::from_bytes([0; 8]);
const HOUR: Duration = Duration::from_secs(3600);

fn user(byte: u8) -> UserId {
    UserId::from_bytes([byte; 16])
}

fn users(count: u8) -> Vec<UserId> {
    (0..count).map(user).collect()
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A device of a user, on one of its connections.
fn origin(byte: u8, device: u8, generation: u64) -> Origin {
    let device = DeviceId::from_bytes([device; 8]);
    Origin { user: user(byte), device, generation: Generation::new(generation) }
}

fn signal_from(byte: u8) -> SignalFrom {
    let body = Bytes::from_static(b"typing");
    SignalFrom { user: user(byte), device: DEVICE, body }
}

fn welcome() -> Welcome {
    Welcome {
        version: 1,
        user: user(1),
        device: DEVICE,
        resume_after: Seq::ZERO,
        now_ms: 0,
        send_window: 256,
        delivery_window: 1024,
        token_expires_ms: 3_600_000,
        registered: false,
    }
}

/// A client and an edge that have met. The edge has nothing to do.
struct Pair {
    now: Duration,
    client: ClientSession,
    edge: EdgeSession,
}

impl Pair {
    fn new() -> Self {
        let client =
            ClientSession::new(DEVICE, RunId::new(9), Limits::default(), Restored::default());
        let mut pair = Self { now: START, client, edge: EdgeSession::new(START) };
        pair.connect();
        pair
    }

    fn connect(&mut self) {
        let proof = Proof { token: "token".into(), nonce: [0; 16], signature: [0; 64] };
        self.client.handle_connected(Greeting { agent: "test".into(), device_key: [0; 32], proof });
        self.edge = EdgeSession::new(self.now);
        self.pass();
        assert!(matches!(self.edge.poll_effect(), Some(Effect::Authenticate(_))));
        let token_expires = self.now + HOUR;
        let admitted = Admitted { welcome: welcome(), token_expires, truncated: None };
        self.edge.handle_admitted(self.now, admitted);
        assert!(matches!(self.edge.poll_effect(), Some(Effect::ReadMailbox { .. })));
        self.edge.handle_rows(self.now, Seq::ZERO, Vec::new(), false);
        assert!(matches!(self.edge.poll_effect(), Some(Effect::StoreCursor { .. })));
        self.pass();
        let events = self.events();
        assert!(matches!(events[..], [Event::Connected(_)]), "{events:?}");
    }

    /// Whatever either has to say on the control stream reaches the other.
    fn pass(&mut self) {
        let mut out = BytesMut::new();
        self.client.poll_control(self.now, &mut out, 16 * 1024);
        while let Some(frame) = take_frame(&mut out, 1 << 20).unwrap() {
            self.edge.handle_frame(self.now, ClientFrame::decode(frame).unwrap()).unwrap();
        }
        self.edge.poll_control(&mut out);
        while let Some(frame) = take_frame(&mut out, 1 << 20).unwrap() {
            let frame = ServerFrame::decode(frame).unwrap();
            self.client.handle_control(self.now, frame, 0).unwrap();
        }
    }

    /// What the edge has to do after so much time.
    fn effects_after(&mut self, wait: Duration) -> Vec<Effect> {
        self.now += wait;
        self.edge.handle_timeout(self.now);
        self.pass();
        std::iter::from_fn(|| self.edge.poll_effect()).collect()
    }

    fn effects(&mut self) -> Vec<Effect> {
        self.effects_after(Duration::ZERO)
    }

    fn events(&mut self) -> Vec<Event> {
        self.pass();
        std::iter::from_fn(|| self.client.poll_event()).collect()
    }

    /// What the client has to tell after so much time.
    fn events_after(&mut self, wait: Duration) -> Vec<Event> {
        self.now += wait;
        self.client.handle_timeout(self.now);
        self.events()
    }

    /// A connected client that watches users 2 and 3.
    fn watching() -> Self {
        let mut pair = Self::new();
        pair.client.watch(&[user(3), user(2)]).unwrap();
        assert_eq!(pair.effects(), [Effect::Watch([user(2), user(3)].into())]);
        pair
    }
}

#[test]
fn a_signal_goes_from_the_client_to_the_edge_and_names_each_user_once() {
    let mut pair = Pair::new();
    let body = Bytes::from_static(b"typing");
    pair.client.signal(&[user(3), user(2), user(3)], body.clone()).unwrap();
    let signal = Signal { to: vec![user(2), user(3)], body };
    assert_eq!(pair.effects(), [Effect::Signal(signal)]);
}

#[test]
fn a_signal_reaches_the_application_by_a_datagram() {
    let mut pair = Pair::new();
    pair.edge.handle_signal(START, signal_from(2));
    let effects = pair.effects();
    let [Effect::Datagram(datagram)] = &effects[..] else { panic!("{effects:?}") };
    pair.client.handle_datagram(datagram.clone());
    assert_eq!(pair.events(), [Event::Signal(signal_from(2))]);
}

#[test]
fn a_datagram_that_is_none_or_too_early_is_ignored() {
    let mut pair = Pair::new();
    pair.client.handle_datagram(Bytes::from_static(b"\xff\xff"));
    pair.client.handle_datagram(Bytes::new());
    pair.client.handle_disconnected();
    pair.client.handle_datagram(Datagram::Signal(signal_from(2)).encode());
    assert_eq!(pair.events(), []);
}

#[test]
fn a_client_refuses_what_no_edge_takes_and_keeps_nothing_for_later() {
    let mut pair = Pair::new();
    let signal =
        |pair: &mut Pair, to: &[UserId], len| pair.client.signal(to, Bytes::from(vec![7; len]));
    assert_eq!(signal(&mut pair, &[user(2)], 1025), Err(SignalError::Size));
    assert_eq!(signal(&mut pair, &[], 1), Err(SignalError::Users));
    assert_eq!(signal(&mut pair, &users(33), 1), Err(SignalError::Users));
    let many: Vec<UserId> = (0..=256_u16)
        .map(|n| [n.to_be_bytes(); 8].concat().try_into().unwrap())
        .map(UserId::from_bytes)
        .collect();
    assert_eq!(pair.client.watch(&many), Err(SignalError::Users));
    assert_eq!(pair.client.show(&many), Err(SignalError::Users));
    assert_eq!(pair.client.watch(&many[1..]), Ok(()));
    for _ in 0..16 {
        signal(&mut pair, &[user(2)], 1).unwrap();
    }
    assert_eq!(signal(&mut pair, &[user(2)], 1), Err(SignalError::NotNow));
    pair.client.handle_disconnected();
    assert_eq!(signal(&mut pair, &[user(2)], 1), Err(SignalError::NotNow));
    pair.connect();
    let effects = pair.effects();
    assert!(matches!(effects[..], [Effect::Watch(_)]), "{effects:?}");
}

#[test]
fn a_flood_of_signals_is_cut_to_20_users_a_second() {
    let mut pair = Pair::new();
    let flood = |pair: &mut Pair, count: u32| {
        for _ in 0..count {
            let signal = Signal { to: users(32), body: Bytes::new() };
            pair.edge.handle_frame(pair.now, ClientFrame::Signal(signal)).unwrap();
        }
        (pair.effects().len(), pair.edge.take_shed())
    };
    assert_eq!(flood(&mut pair, 10), (2, 8), "64 users at once");
    assert_eq!(flood(&mut pair, 1), (0, 1));
    pair.now += Duration::from_millis(1600);
    assert_eq!(flood(&mut pair, 2), (1, 1), "32 users in 1.6 s");
    pair.now += seconds(600);
    assert_eq!(flood(&mut pair, 3), (2, 1), "a pause earns no more than the burst");
}

#[test]
fn a_client_is_given_50_signals_a_second() {
    let mut pair = Pair::new();
    for _ in 0..1000 {
        pair.edge.handle_signal(START, signal_from(2));
    }
    assert_eq!((pair.effects().len(), pair.edge.take_shed()), (100, 900));
    pair.edge.handle_signal(START + Duration::from_millis(20), signal_from(2));
    assert_eq!(pair.effects().len(), 1);
}

#[test]
fn presence_of_a_watched_user_is_told_when_it_changes() {
    let mut pair = Pair::watching();
    pair.edge.handle_sighting(origin(2, 1, 5), true);
    assert_eq!(pair.events(), [Event::Online(user(2))]);
    pair.edge.handle_sighting(origin(2, 2, 6), true);
    pair.edge.handle_sighting(origin(2, 1, 5), true);
    assert_eq!(pair.events(), [], "another device, and the same again");
    pair.edge.handle_sighting(origin(2, 1, 5), false);
    assert_eq!(pair.events(), [], "one device is left");
    pair.edge.handle_sighting(origin(2, 2, 6), false);
    assert_eq!(pair.events(), [Event::Offline(user(2))]);
}

#[test]
fn the_end_of_an_earlier_connection_does_not_hide_the_later_one() {
    let mut pair = Pair::watching();
    pair.edge.handle_sighting(origin(2, 1, 6), true);
    pair.edge.handle_sighting(origin(2, 1, 5), false);
    assert_eq!(pair.events(), [Event::Online(user(2))]);
}

#[test]
fn nothing_is_told_about_somebody_who_is_not_watched() {
    let mut pair = Pair::watching();
    pair.edge.handle_sighting(origin(4, 1, 5), true);
    assert_eq!(pair.events(), []);
    pair.edge.handle_sighting(origin(2, 1, 5), true);
    pair.now += seconds(2);
    pair.client.watch(&[user(4)]).unwrap();
    assert_eq!(pair.effects(), [Effect::Watch([user(4)].into())]);
    pair.edge.handle_sighting(origin(2, 1, 5), false);
    assert_eq!(pair.events(), []);
}

#[test]
fn the_watched_are_asked_for_again_before_what_is_known_runs_out_twice_over() {
    let mut pair = Pair::watching();
    let due = pair.edge.poll_timeout().unwrap();
    assert_eq!(due, START + seconds(36));
    assert_eq!(pair.effects_after(seconds(36)), [Effect::Watch([user(2), user(3)].into())]);
    assert_eq!(pair.edge.poll_timeout(), Some(due + seconds(36)));
    pair.client.watch(&[]).unwrap();
    assert_eq!(pair.effects(), [Effect::Watch([].into())]);
    assert_eq!(pair.edge.poll_timeout(), Some(START + HOUR), "nobody is left to ask for");
}

#[test]
fn who_is_not_told_of_again_is_offline_after_90_seconds() {
    let mut pair = Pair::watching();
    pair.edge.handle_sighting(origin(2, 1, 5), true);
    pair.events();
    assert_eq!(pair.events_after(seconds(60)), []);
    pair.edge.handle_sighting(origin(2, 1, 5), true);
    pair.pass();
    assert_eq!(pair.events_after(seconds(60)), []);
    assert_eq!(
        pair.client.poll_timeout(),
        Some(START + seconds(60 + 60 + 90)).min(pair.client.poll_timeout())
    );
    assert_eq!(pair.events_after(seconds(29)), []);
    assert_eq!(pair.events_after(seconds(1)), [Event::Offline(user(2))]);
}

#[test]
fn a_short_reconnect_changes_nothing_and_a_long_one_ends_in_offline() {
    let mut pair = Pair::watching();
    pair.edge.handle_sighting(origin(2, 1, 5), true);
    assert_eq!(pair.events(), [Event::Online(user(2))]);
    pair.now += seconds(5);
    pair.connect();
    assert_eq!(pair.effects(), [Effect::Watch([user(2), user(3)].into())]);
    pair.edge.handle_sighting(origin(2, 1, 5), true);
    assert_eq!(pair.events(), []);
    pair.client.handle_disconnected();
    assert_eq!(pair.client.poll_timeout(), Some(START + seconds(95)));
    assert_eq!(pair.events_after(seconds(90)), [Event::Offline(user(2))]);
    assert_eq!(pair.client.poll_timeout(), None);
}

#[test]
fn lists_that_come_too_soon_wait_and_the_last_one_counts() {
    let mut pair = Pair::new();
    for count in 1..=100 {
        pair.client.show(&users(count)).unwrap();
        pair.pass();
    }
    assert_eq!(pair.effects(), [Effect::Show(users(1).into())]);
    assert_eq!(pair.edge.poll_timeout(), Some(START + seconds(2)));
    assert_eq!(pair.effects_after(seconds(2)), [Effect::Show(users(100).into())]);
    assert_eq!(pair.edge.take_shed(), 0);
}

#[test]
fn a_list_that_is_set_again_is_told_once() {
    let mut pair = Pair::watching();
    pair.client.watch(&[user(2), user(3)]).unwrap();
    assert_eq!(pair.effects_after(seconds(3)), []);
}

#[test]
fn devices_beyond_what_one_connection_follows_are_dropped_and_counted() {
    let mut pair = Pair::watching();
    for generation in 0..1100_u64 {
        let device = DeviceId::from_bytes(generation.to_be_bytes());
        let from = Origin { device, ..origin(2, 0, 1) };
        pair.edge.handle_sighting(from, true);
    }
    assert_eq!(pair.edge.take_shed(), 1100 - 1024);
    let mut out = BytesMut::new();
    pair.edge.poll_control(&mut out);
    assert!(out.len() < 64 * 1024, "{}", out.len());
}

#[test]
fn a_client_ignores_presence_it_did_not_ask_for() {
    let mut pair = Pair::watching();
    let sighting = Sighting { user: user(9), device: DEVICE, valid_ms: 90_000 };
    let frame = ServerFrame::Presence(vec![sighting]);
    pair.client.handle_control(pair.now, frame, 0).unwrap();
    assert_eq!(pair.events(), []);
}
