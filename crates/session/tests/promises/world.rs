//! Both halves of a connection, a log, a mailbox and an application, stepped by hand.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use session::{
    client::{ClientSession, Event, Greeting, Limits, Restored, StoreChange},
    edge::{Admitted, EdgeSession, Effect, Published},
};
use wire::{
    Address, ClientFrame, Counter, DeliveryFrame, DeviceId, GroupId, Item, MessageId, RunId,
    SendId, Seq, ServerFrame, UserId,
    client_frame::{Proof, Send},
    codec::take_frame,
    delivery_frame::Deliver,
    item::Body,
    server_frame::{BusyReason, RejectReason, Welcome},
};

pub(crate) const ME: UserId = UserId::from_bytes([1; 16]);
pub(crate) const DEVICE: DeviceId = DeviceId::from_bytes([1; 8]);
const FRAME_MAX: usize = 1 << 20;

/// What the log does with a send it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Append,
    Busy,
    Reject,
}

/// How an append ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Accepted,
    LandedButUnknown,
    /// It does not land, and with it nothing of this edge that is under way: no gaps.
    Lost,
}

/// One edge's appends under way, which outlive its connection.
#[derive(Default)]
pub(crate) struct Appends {
    under_way: VecDeque<Send>,
}

pub(crate) struct World {
    pub(crate) now: Duration,
    pub(crate) client: ClientSession,
    pub(crate) store: Restored,
    pub(crate) edge: Option<EdgeSession>,
    pub(crate) appends: Vec<Appends>,
    pub(crate) to_edge: BytesMut,
    pub(crate) to_client: BytesMut,
    pub(crate) to_client_delivery: BytesMut,
    edge_in: BytesMut,
    client_in: BytesMut,
    client_delivery_in: BytesMut,
    pub(crate) log: Vec<Send>,
    pub(crate) mailbox: BTreeMap<Seq, Bytes>,
    pub(crate) read: Option<(Seq, usize, usize)>,
    pub(crate) stored_cursor: Seq,
    pub(crate) fates: VecDeque<Fate>,
    pub(crate) queued: Vec<Send>,
    pub(crate) accepted: Vec<SendId>,
    pub(crate) rejected: Vec<SendId>,
    /// Shown in this life and not acknowledged.
    pub(crate) unacknowledged: Vec<(Seq, MessageId)>,
    pub(crate) shown_in_this_life: Vec<(Seq, MessageId)>,
    pub(crate) shown: BTreeSet<MessageId>,
    pub(crate) acknowledged: BTreeSet<MessageId>,
    acknowledging: BTreeSet<MessageId>,
    pub(crate) events: Vec<Event>,
    pub(crate) bytes_moved: usize,
    pub(crate) run: u64,
    pub(crate) windows: (u32, u32),
    is_unresponsive: bool,
    next_offset: u64,
}

impl World {
    pub(crate) fn new(send_window: u32, delivery_window: u32) -> Self {
        Self {
            now: Duration::ZERO,
            client: client(1, Restored::default()),
            store: Restored::default(),
            edge: None,
            appends: Vec::new(),
            to_edge: BytesMut::new(),
            to_client: BytesMut::new(),
            to_client_delivery: BytesMut::new(),
            edge_in: BytesMut::new(),
            client_in: BytesMut::new(),
            client_delivery_in: BytesMut::new(),
            log: Vec::new(),
            mailbox: BTreeMap::new(),
            read: None,
            stored_cursor: Seq::ZERO,
            fates: VecDeque::new(),
            queued: Vec::new(),
            accepted: Vec::new(),
            rejected: Vec::new(),
            unacknowledged: Vec::new(),
            shown_in_this_life: Vec::new(),
            shown: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            acknowledging: BTreeSet::new(),
            events: Vec::new(),
            bytes_moved: 0,
            run: 1,
            windows: (send_window, delivery_window),
            is_unresponsive: false,
            next_offset: 1,
        }
    }

    pub(crate) fn connect(&mut self) {
        self.cut();
        self.edge = Some(EdgeSession::new(self.now));
        self.appends.push(Appends::default());
        let proof = Proof { token: "token".into(), nonce: [0; 16], signature: [0; 64] };
        let greeting = Greeting { agent: "test".into(), device_key: [1; 32], proof };
        self.client.handle_connected(greeting);
    }

    pub(crate) fn cut(&mut self) {
        self.edge = None;
        self.read = None;
        self.client.handle_disconnected();
        for buffer in [
            &mut self.to_edge,
            &mut self.to_client,
            &mut self.to_client_delivery,
            &mut self.edge_in,
            &mut self.client_in,
            &mut self.client_delivery_in,
        ] {
            buffer.clear();
        }
    }

    /// The client's process ends, at once, and another begins with what was stored.
    pub(crate) fn restart(&mut self) {
        self.cut();
        self.run += 1;
        self.client = client(self.run, self.store.clone());
        self.unacknowledged.clear();
        self.shown_in_this_life.clear();
        self.acknowledging.clear();
    }

    pub(crate) fn enqueue(&mut self, conversation: u8) {
        let to = match conversation {
            0 => Address::User(UserId::from_bytes([7; 16])),
            n => Address::Group(GroupId::from_bytes([n; 16])),
        };
        let _ = self.client.enqueue(to, 0, Body::Message(Bytes::from_static(b"hello")));
    }

    /// A row appears in the mailbox; returns it as it would be pushed.
    pub(crate) fn arrive(&mut self, gap: u64, item: &Item) -> Deliver {
        self.next_offset += 1 + gap;
        let seq = Seq::from_u64(self.next_offset);
        let prev = self.mailbox.last_key_value().map_or(Seq::ZERO, |(seq, _)| *seq);
        let item = item.encode();
        self.mailbox.insert(seq, item.clone());
        Deliver { seq, prev: Some(prev), log_time_ms: 1, item }
    }

    /// What the client's driver does after every call.
    pub(crate) fn client_turn(&mut self, room: usize) {
        for change in self.client.poll_changes() {
            if let StoreChange::Queued(send) = &change {
                self.queued.push(send.clone());
            }
            self.store.apply(change);
        }
        self.acknowledged.append(&mut self.acknowledging);
        self.client.poll_control(self.now, &mut self.to_edge, room);
        while let Some(event) = self.client.poll_event() {
            self.handle_event(&event);
            self.events.push(event);
        }
        if std::mem::take(&mut self.is_unresponsive) {
            self.cut();
        }
    }

    fn handle_event(&mut self, event: &Event) {
        match event {
            Event::Accepted(id) => {
                assert!(!self.accepted.contains(id), "accepted is told once");
                assert!(self.log.iter().any(|send| send.id == *id), "accepted is on the log");
                self.accepted.push(*id);
            }
            Event::Rejected(id, _) => self.rejected.push(*id),
            Event::Item { seq, item, .. } => {
                let last = self.shown_in_this_life.last();
                assert!(last.is_none_or(|(last, _)| last < seq), "shown in order");
                let again = self.shown_in_this_life.iter().any(|(_, id)| *id == item.id);
                assert!(!again, "shown once in a life");
                assert!(!self.acknowledged.contains(&item.id), "acknowledged, then shown again");
                self.shown_in_this_life.push((*seq, item.id));
                self.unacknowledged.push((*seq, item.id));
                self.shown.insert(item.id);
            }
            Event::Truncated(_) | Event::Conflict { .. } | Event::Undecodable { .. } => {
                panic!("nothing was lost or changed: {event:?}")
            }
            Event::Signal(_) | Event::Online(_) | Event::Offline(_) => {
                panic!("nobody sent or watched: {event:?}")
            }
            Event::Connected(_)
            | Event::Result { .. }
            | Event::CaughtUp(_)
            | Event::Page(_)
            | Event::Answer(..)
            | Event::Drain { .. }
            | Event::TokenNeeded => {}
            Event::Unresponsive => self.is_unresponsive = true,
        }
    }

    /// The application acknowledges one of the items it was shown.
    pub(crate) fn acknowledge(&mut self, which: usize) {
        if self.unacknowledged.is_empty() {
            return;
        }
        let (seq, id) = self.unacknowledged.remove(which % self.unacknowledged.len());
        self.client.acknowledge(seq);
        self.acknowledging.insert(id);
    }

    pub(crate) fn move_to_edge(&mut self, bytes: usize) {
        let bytes = bytes.min(self.to_edge.len());
        self.bytes_moved += bytes;
        self.edge_in.unsplit(self.to_edge.split_to(bytes));
        while let Some(frame) = take_frame(&mut self.edge_in, FRAME_MAX).unwrap() {
            let frame = ClientFrame::decode(frame).unwrap();
            if let Some(edge) = &mut self.edge {
                edge.handle_frame(self.now, frame).expect("the client keeps the rules");
            }
        }
        self.edge_turn();
    }

    pub(crate) fn move_to_client(&mut self, bytes: usize, random: u32) {
        let bytes = bytes.min(self.to_client.len());
        self.bytes_moved += bytes;
        self.client_in.unsplit(self.to_client.split_to(bytes));
        while let Some(frame) = take_frame(&mut self.client_in, FRAME_MAX).unwrap() {
            let frame = ServerFrame::decode(frame).unwrap();
            self.client.handle_control(self.now, frame, random).expect("the edge keeps the rules");
        }
    }

    pub(crate) fn move_delivery(&mut self, bytes: usize) {
        if !self.client.is_open() {
            return;
        }
        let bytes = bytes.min(self.to_client_delivery.len());
        self.bytes_moved += bytes;
        self.client_delivery_in.unsplit(self.to_client_delivery.split_to(bytes));
        while let Some(frame) = take_frame(&mut self.client_delivery_in, FRAME_MAX).unwrap() {
            self.client.handle_delivery(DeliveryFrame::decode(frame).unwrap());
        }
    }

    /// What the edge's driver does after every call.
    pub(crate) fn edge_turn(&mut self) {
        while let Some(effect) = self.edge.as_mut().and_then(EdgeSession::poll_effect) {
            self.handle_effect(effect);
        }
        if let Some(edge) = &mut self.edge {
            edge.poll_control(&mut self.to_client);
            edge.poll_delivery(self.now, &mut self.to_client_delivery, 300);
        }
    }

    fn handle_effect(&mut self, effect: Effect) {
        let now = self.now;
        let (send_window, delivery_window) = self.windows;
        let edge = self.edge.as_mut().unwrap();
        match effect {
            Effect::Authenticate(hello) => edge.handle_admitted(
                now,
                Admitted {
                    welcome: Welcome {
                        version: 1,
                        user: ME,
                        device: DEVICE,
                        resume_after: hello.resume_after.unwrap_or(self.stored_cursor),
                        now_ms: 0,
                        send_window,
                        delivery_window,
                        token_expires_ms: u64::MAX,
                        registered: false,
                    },
                    token_expires: Duration::MAX,
                    truncated: None,
                },
            ),
            Effect::Publish(send) => {
                let id = send.id;
                let published = match self.fates.pop_front().unwrap_or(Fate::Append) {
                    Fate::Append => {
                        self.appends.last_mut().unwrap().under_way.push_back(send);
                        return;
                    }
                    Fate::Busy => Published::Busy { reason: BusyReason::Overload, after_ms: 100 },
                    // Whether a send is rejected is a property of the send.
                    Fate::Reject if id.counter.get().is_multiple_of(5) => {
                        let landed = |appends: &Appends| {
                            appends.under_way.iter().any(|under_way| under_way.id == id)
                        };
                        if self.log.iter().any(|sent| sent.id == id)
                            || self.appends.iter().any(landed)
                        {
                            Published::Unknown { after_ms: 10 }
                        } else {
                            Published::Reject(RejectReason::Ttl)
                        }
                    }
                    Fate::Reject => Published::Unknown { after_ms: 10 },
                };
                edge.handle_published(now, id, published);
            }
            Effect::ReadMailbox { after, rows_max, bytes_max } => {
                assert!(self.read.is_none(), "one read at a time");
                assert!(rows_max > 0 && bytes_max > 0);
                self.read = Some((after, rows_max, bytes_max));
            }
            Effect::StoreCursor { seq, .. } => {
                let processed = self.store.cursor.unwrap_or(Seq::ZERO);
                assert!(seq <= processed, "the edge never stores more than the client did");
                self.stored_cursor = self.stored_cursor.max(seq);
            }
            Effect::Renew(_)
            | Effect::History(_)
            | Effect::Query(..)
            | Effect::Signal(_)
            | Effect::Watch(_)
            | Effect::Show(_)
            | Effect::Datagram(_) => {}
            Effect::Close(code) => panic!("closed with {code:?}"),
        }
    }

    /// Answers the read under way, of the mailbox as it is now.
    pub(crate) fn answer_read(&mut self) {
        let (Some((after, rows_max, _)), Some(edge)) = (self.read.take(), &mut self.edge) else {
            return;
        };
        let head = self.mailbox.last_key_value().map_or(Seq::ZERO, |(seq, _)| *seq);
        let above = self.mailbox.range(Seq::from_u64(after.get() + 1)..);
        let deliver = |(seq, item): (&Seq, &Bytes)| Deliver {
            seq: *seq,
            prev: None,
            log_time_ms: 1,
            item: item.clone(),
        };
        let rows: Vec<Deliver> = above.take(rows_max.min(3)).map(deliver).collect();
        let more = rows.last().is_some_and(|last| last.seq < head);
        edge.handle_rows(self.now, head, rows, more);
        self.edge_turn();
    }

    pub(crate) fn fail_read(&mut self) {
        if let (Some(_), Some(edge)) = (self.read.take(), &mut self.edge) {
            edge.handle_read_failed(self.now);
        }
        self.edge_turn();
    }

    pub(crate) fn push(&mut self, deliver: Deliver) {
        if let Some(edge) = &mut self.edge {
            edge.handle_push(self.now, deliver);
        }
        self.edge_turn();
    }

    /// Ends the oldest append of an edge.
    pub(crate) fn end_append(&mut self, edge: usize, ending: Ending) {
        if self.appends.is_empty() {
            return;
        }
        let index = edge % self.appends.len();
        let is_connected = index + 1 == self.appends.len();
        let appends = &mut self.appends[index];
        let ended: Vec<Send> = match ending {
            Ending::Lost => appends.under_way.drain(..).collect(),
            Ending::Accepted | Ending::LandedButUnknown => {
                appends.under_way.pop_front().into_iter().collect()
            }
        };
        for send in ended {
            let id = send.id;
            let published = match ending {
                Ending::Accepted => Published::Accepted,
                Ending::LandedButUnknown | Ending::Lost => Published::Unknown { after_ms: 50 },
            };
            if ending != Ending::Lost {
                self.log.push(send);
            }
            if let (true, Some(edge)) = (is_connected, &mut self.edge) {
                edge.handle_published(self.now, id, published);
            }
        }
        self.edge_turn();
    }

    pub(crate) fn advance(&mut self, by: Duration) {
        self.now += by;
        self.client.handle_timeout(self.now);
        if let Some(edge) = &mut self.edge {
            edge.handle_timeout(self.now);
        }
        self.edge_turn();
    }

    /// Everything goes well until nothing is left to do.
    pub(crate) fn settle(&mut self) {
        self.fates.clear();
        for _ in 0..10_000 {
            if self.edge.is_none() {
                self.connect();
            }
            self.client_turn(1 << 16);
            self.move_to_edge(usize::MAX);
            for edge in 0..self.appends.len() {
                self.end_append(edge, Ending::Accepted);
            }
            self.answer_read();
            self.edge_turn();
            self.move_to_client(usize::MAX, 0);
            self.move_delivery(usize::MAX);
            self.client_turn(1 << 16);
            while !self.unacknowledged.is_empty() {
                self.acknowledge(0);
            }
            let head = self.mailbox.last_key_value().map_or(Seq::ZERO, |(seq, _)| *seq);
            let done = self.client.unanswered() == 0 && self.client.cursor() >= Some(head);
            if done && self.stored_cursor >= head {
                self.client_turn(1 << 16);
                return;
            }
            self.edge.as_mut().unwrap().handle_head(self.now, head);
            self.advance(Duration::from_millis(500));
        }
        panic!("it does not settle: {:?} {:?}", self.client, self.edge);
    }

    /// Everything queued is on the log, first seen in the order of sending; everything in the
    /// mailbox was shown.
    pub(crate) fn check(&self) {
        let mut first: BTreeMap<Address, Vec<SendId>> = BTreeMap::new();
        for send in &self.log {
            let ids = first.entry(send.to).or_default();
            if !ids.contains(&send.id) {
                ids.push(send.id);
            }
        }
        let mut wanted: BTreeMap<Address, Vec<SendId>> = BTreeMap::new();
        for send in &self.queued {
            if !self.rejected.contains(&send.id) {
                wanted.entry(send.to).or_default().push(send.id);
            }
        }
        assert_eq!(first, wanted, "per conversation the log has the order of sending");
        assert_eq!(self.accepted.len() + self.rejected.len(), self.queued.len());
        for item in self.mailbox.values() {
            let id = Item::decode(item.clone()).unwrap().id;
            assert!(self.shown.contains(&id) || id.device == DEVICE, "shown: {id:?}");
        }
    }
}

fn client(run: u64, restored: Restored) -> ClientSession {
    ClientSession::new(DEVICE, RunId::new(run), Limits::default(), restored)
}

/// A message of another device to this user.
pub(crate) fn message(sender: u8, counter: u64) -> Item {
    let send = SendId { run: RunId::new(1), counter: Counter::new(counter) };
    let id = MessageId {
        user: UserId::from_bytes([sender; 16]),
        device: DeviceId::from_bytes([sender; 8]),
        send,
    };
    let body = Body::Message(Bytes::from(format!("{sender} {counter}")));
    Item { id, to: Address::User(ME), sent_ms: 1, ttl_s: 60, body }
}
