//! What a device and a server agree on, which outlives their connections.
//!
//! Nothing here waits or asks the time: packets go in, packets and what happened come out.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use mqtt5_protocol::{
    ConnectOptions, Packet, QoS, ReasonCode,
    packet::{
        connack::ConnAckPacket,
        connect::ConnectPacket,
        disconnect::DisconnectPacket,
        puback::PubAckPacket,
        publish::PublishPacket,
        suback::{SubAckPacket, SubAckReasonCode},
        subscribe::{SubscribePacket, SubscriptionOptions, TopicFilter},
    },
};

use super::{
    frame::{self, Again},
    window::Window,
};
use crate::driver::{Outcome, Told, answers::Answers, outbox::NEVER_SENT};

/// The server keeps a session for this after its connection ended: two hours.
const SESSION_EXPIRY_S: u32 = 7200;
/// The server hears of a device at least this often, or takes it for gone.
pub(super) const KEEP_ALIVE: std::time::Duration = std::time::Duration::from_secs(60);
/// As many messages wait for room at the server before no more are taken.
const QUEUE_LEN_MAX: usize = 256;

/// Who a device is at the server.
#[derive(Clone, Debug)]
pub(super) struct Identity {
    pub(super) client_id: String,
    pub(super) credentials: Option<Credentials>,
    /// What it listens to.
    pub(super) filters: Vec<String>,
    /// A topic only it listens to: a message it sends itself there comes back after everything
    /// that had waited, since a session's queue keeps its order.
    pub(super) marker: String,
}

/// How devices prove who they are.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) user: String,
    pub(super) password: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

/// A message, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Part {
    pub(super) ticket: u64,
    /// How many the message has.
    pub(super) parts: u8,
    pub(super) topic: String,
    pub(super) payload: Bytes,
}

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// Another one may do better.
    Broken(String),
    /// No other one will.
    Refused(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Apart,
    Connecting,
    Subscribing,
    Live,
}

#[derive(Debug)]
enum Waiting {
    Part(Part),
    Subscription,
    Marker,
}

/// One device's session: a state machine.
#[derive(Debug)]
pub(super) struct Session {
    identity: Identity,
    stage: Stage,
    /// The server has confirmed the subscriptions, in this connection or an earlier one.
    is_subscribed: bool,
    /// As many messages may wait for the server's acknowledgement.
    receive_max: u16,
    window: Window<Waiting>,
    /// Messages the server has no room for yet; no more than [`QUEUE_LEN_MAX`] are taken.
    queue: VecDeque<Part>,
    answers: Answers,
    /// Counts connections, to tell this one's marker from earlier ones.
    marker: u64,
}

impl Session {
    pub(super) fn new(identity: Identity) -> Self {
        Self {
            identity,
            stage: Stage::Apart,
            is_subscribed: false,
            receive_max: u16::MAX,
            window: Window::default(),
            queue: VecDeque::new(),
            answers: Answers::default(),
            marker: 0,
        }
    }

    /// Whether another message may be published.
    pub(super) fn has_room(&self) -> bool {
        self.queue.len() < QUEUE_LEN_MAX
    }

    /// Whether everything sent was answered.
    pub(super) fn is_settled(&self) -> bool {
        self.queue.is_empty() && self.window.is_empty()
    }

    /// Whether messages can be sent and come.
    pub(super) fn is_live(&self) -> bool {
        self.stage == Stage::Live
    }

    /// The connection is gone, if there was one.
    pub(super) fn lost(&mut self) {
        self.stage = Stage::Apart;
        self.window.retain(|waiting| matches!(waiting, Waiting::Part(_)));
    }

    /// Nobody will ask for answers any more: everything not answered is unknown, or never was sent.
    pub(super) fn give_up(&mut self, told: &mut Vec<Told>) {
        self.forget_sent(told);
        for part in std::mem::take(&mut self.queue) {
            self.settle(&part, Outcome::Rejected(NEVER_SENT.to_owned()), told);
        }
    }

    /// Begins on a new connection.
    pub(super) fn connect(&mut self, out: &mut BytesMut) {
        assert_eq!(self.stage, Stage::Apart, "one connection at a time");
        let mut options = ConnectOptions::new(self.identity.client_id.clone());
        options.clean_start = false;
        options.keep_alive = KEEP_ALIVE;
        options.properties.session_expiry_interval = Some(SESSION_EXPIRY_S);
        if let Some(Credentials { user, password }) = &self.identity.credentials {
            options.username = Some(user.clone());
            options.password = Some(password.clone().into_bytes());
        }
        frame::put(&ConnectPacket::new(options), out);
        self.stage = Stage::Connecting;
    }

    /// Ends the connection in order; the session stays at the server.
    pub(super) fn disconnect(&mut self, out: &mut BytesMut) {
        frame::put(&DisconnectPacket::normal(), out);
    }

    /// Sends a message, or a part of one, as soon as the server has room.
    pub(super) fn publish(&mut self, part: Part, out: &mut BytesMut) {
        self.queue.push_back(part);
        self.send_queued(out);
    }

    /// Takes what the server says.
    ///
    /// # Errors
    /// When the connection cannot go on.
    pub(super) fn handle(
        &mut self,
        packet: Packet,
        out: &mut BytesMut,
        told: &mut Vec<Told>,
    ) -> Result<(), Ended> {
        match (packet, self.stage) {
            (Packet::ConnAck(packet), Stage::Connecting) => self.connected(&packet, out, told),
            (Packet::SubAck(packet), Stage::Subscribing) => self.subscribed(&packet, out, told),
            (Packet::Publish(packet), Stage::Subscribing | Stage::Live) => {
                self.delivered(packet, out, told)
            }
            (Packet::PubAck(packet), Stage::Subscribing | Stage::Live) => {
                self.answered(&packet, out, told);
                Ok(())
            }
            (Packet::PingResp, _) => Ok(()),
            (Packet::Disconnect(packet), _) => {
                Err(Ended::Broken(format!("the server ended it: {:?}", packet.reason_code)))
            }
            (packet, stage) => Err(Ended::Broken(format!(
                "{} from the server while {stage:?}",
                packet.packet_type_name()
            ))),
        }
    }

    fn connected(
        &mut self,
        packet: &ConnAckPacket,
        out: &mut BytesMut,
        told: &mut Vec<Told>,
    ) -> Result<(), Ended> {
        if packet.reason_code != ReasonCode::Success {
            let why = format!("the server refuses the connection: {:?}", packet.reason_code);
            return Err(if is_final(packet.reason_code) {
                Ended::Refused(why)
            } else {
                Ended::Broken(why)
            });
        }
        self.receive_max = packet.receive_maximum().unwrap_or(u16::MAX);
        if !packet.session_present {
            // Whatever this side knows of the old session is to be forgotten with it.
            self.forget_sent(told);
            if std::mem::take(&mut self.is_subscribed) {
                told.push(Told::Truncated);
            }
        }
        if self.is_subscribed {
            self.go_live(out, told);
        } else {
            self.subscribe(out);
        }
        Ok(())
    }

    fn subscribe(&mut self, out: &mut BytesMut) {
        let mut packet = SubscribePacket::new(self.window.push(Waiting::Subscription));
        let quiet =
            SubscriptionOptions { no_local: true, ..SubscriptionOptions::new(QoS::AtLeastOnce) };
        for filter in &self.identity.filters {
            packet = packet.add_filter_with_options(TopicFilter::with_options(filter, quiet));
        }
        packet = packet.add_filter(&self.identity.marker, QoS::AtLeastOnce);
        frame::put(&packet, out);
        self.stage = Stage::Subscribing;
    }

    fn subscribed(
        &mut self,
        packet: &SubAckPacket,
        out: &mut BytesMut,
        told: &mut Vec<Told>,
    ) -> Result<(), Ended> {
        let Some(Waiting::Subscription) = self.window.take(packet.packet_id) else {
            return Err(Ended::Broken("SUBACK for nothing that was asked".to_owned()));
        };
        let is_poor = |code: &SubAckReasonCode| code.granted_qos() != Some(QoS::AtLeastOnce);
        if let Some(code) = packet.reason_codes.iter().find(|code| is_poor(code)) {
            return Err(Ended::Refused(format!("a subscription at QoS 1 was answered {code:?}")));
        }
        self.is_subscribed = true;
        self.go_live(out, told);
        Ok(())
    }

    fn go_live(&mut self, out: &mut BytesMut, told: &mut Vec<Told>) {
        self.stage = Stage::Live;
        told.push(Told::Up);
        for (id, waiting) in self.window.iter() {
            if let Waiting::Part(part) = waiting {
                frame::put_message(&part.topic, &part.payload, id, Again::Yes, out);
            }
        }
        self.marker += 1;
        let number = Bytes::copy_from_slice(&self.marker.to_be_bytes());
        let id = self.window.push(Waiting::Marker);
        frame::put_message(&self.identity.marker, &number, id, Again::No, out);
        self.send_queued(out);
    }

    fn send_queued(&mut self, out: &mut BytesMut) {
        while self.is_live() && self.window.has_room(self.receive_max) {
            let Some(part) = self.queue.pop_front() else { return };
            let (topic, payload) = (part.topic.clone(), part.payload.clone());
            let id = self.window.push(Waiting::Part(part));
            frame::put_message(&topic, &payload, id, Again::No, out);
        }
    }

    fn delivered(
        &mut self,
        packet: PublishPacket,
        out: &mut BytesMut,
        told: &mut Vec<Told>,
    ) -> Result<(), Ended> {
        match (packet.qos, packet.packet_id) {
            (QoS::AtMostOnce, _) => {}
            (QoS::AtLeastOnce, Some(id)) => frame::put(&PubAckPacket::new(id), out),
            (QoS::AtLeastOnce | QoS::ExactlyOnce, _) => {
                return Err(Ended::Broken(format!("a message at {:?}", packet.qos)));
            }
        }
        if packet.topic_name != self.identity.marker {
            told.push(Told::Delivery(packet.payload));
        } else if packet.payload[..] == self.marker.to_be_bytes() {
            told.push(Told::CaughtUp);
        }
        Ok(())
    }

    fn answered(&mut self, packet: &PubAckPacket, out: &mut BytesMut, told: &mut Vec<Told>) {
        // An identifier of nothing: the answer to a marker of the connection before.
        if let Some(Waiting::Part(part)) = self.window.take(packet.packet_id) {
            let outcome = if packet.reason_code == ReasonCode::Success {
                Outcome::Accepted
            } else {
                Outcome::Rejected(format!("{:?}", packet.reason_code))
            };
            self.settle(&part, outcome, told);
        }
        self.send_queued(out);
    }

    fn forget_sent(&mut self, told: &mut Vec<Told>) {
        for waiting in self.window.drain() {
            if let Waiting::Part(part) = waiting {
                self.settle(&part, Outcome::Unknown, told);
            }
        }
    }

    fn settle(&mut self, part: &Part, outcome: Outcome, told: &mut Vec<Told>) {
        let ticket = part.ticket;
        if let Some(outcome) = self.answers.part(ticket, part.parts, outcome) {
            told.push(Told::Outcome { ticket, outcome });
        }
    }
}

/// Whether a refusal will be repeated however often one asks.
fn is_final(code: ReasonCode) -> bool {
    matches!(
        code,
        ReasonCode::BadUsernameOrPassword
            | ReasonCode::NotAuthorized
            | ReasonCode::Banned
            | ReasonCode::BadAuthenticationMethod
            | ReasonCode::ClientIdentifierNotValid
            | ReasonCode::UnsupportedProtocolVersion
    )
}

#[cfg(test)]
mod tests;
