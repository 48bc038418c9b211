//! Both halves of a session, stepped by hand.
#![allow(clippy::wildcard_enum_match_arm)]

use super::*;

/// A session and the server's half of it.
struct Both {
    session: Session,
    out: BytesMut,
    told: Vec<Told>,
}

impl Both {
    fn new() -> Self {
        let identity = Identity {
            client_id: "lt-1-7".to_owned(),
            credentials: None,
            filters: vec!["u/3".to_owned(), "g/9".to_owned()],
            marker: "m/7".to_owned(),
        };
        Self { session: Session::new(identity), out: BytesMut::new(), told: Vec::new() }
    }

    /// One that has just connected for the first time.
    fn live() -> Self {
        let mut both = Self::new();
        both.session.connect(&mut both.out);
        both.sent();
        both.hear(Packet::ConnAck(ConnAckPacket::new(false, ReasonCode::Success)));
        both.hear(granted(1, 3));
        both.sent();
        both.told.clear();
        both
    }

    fn hear(&mut self, packet: Packet) {
        self.try_hear(packet).expect("the connection goes on");
    }

    fn try_hear(&mut self, packet: Packet) -> Result<(), Ended> {
        self.session.handle(packet, &mut self.out, &mut self.told)
    }

    fn publish(&mut self, ticket: u64, parts: u8, topic: &str) {
        let part =
            Part { ticket, parts, topic: topic.to_owned(), payload: Bytes::from_static(b"text") };
        self.session.publish(part, &mut self.out);
    }

    /// The connection breaks, and another begins.
    fn connect_again(&mut self, session_present: bool) {
        self.session.lost();
        self.out.clear();
        self.session.connect(&mut self.out);
        self.sent();
        self.hear(Packet::ConnAck(ConnAckPacket::new(session_present, ReasonCode::Success)));
    }

    /// What was sent since the last time, in short.
    fn sent(&mut self) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some(packet) = frame::take(&mut self.out).expect("whole packets") {
            sent.push(match packet {
                Packet::Publish(message) => {
                    let again = if message.dup { " again" } else { "" };
                    format!("{} {}{again}", message.packet_id.unwrap_or(0), message.topic_name)
                }
                Packet::Subscribe(packet) => {
                    let filters = packet.filters.iter().map(|filter| {
                        let quiet = if filter.options.no_local { "!" } else { "" };
                        format!("{quiet}{}", filter.filter)
                    });
                    format!(
                        "{} subscribe {}",
                        packet.packet_id,
                        filters.collect::<Vec<_>>().join(" ")
                    )
                }
                Packet::PubAck(packet) => format!("ack {}", packet.packet_id),
                other => other.packet_type_name().to_owned(),
            });
        }
        sent
    }

    /// What was told since the last time, in short.
    fn told(&mut self) -> Vec<String> {
        let told = self.told.drain(..);
        told.map(|told| match told {
            Told::Outcome { ticket, outcome } => format!("{ticket} {outcome:?}"),
            Told::Delivery(payload) => format!("delivery {}", String::from_utf8_lossy(&payload)),
            other => format!("{other:?}"),
        })
        .collect()
    }
}

fn granted(id: u16, filters: u8) -> Packet {
    let ack =
        (0..filters).fold(SubAckPacket::new(id), |ack, _| ack.add_granted_qos(QoS::AtLeastOnce));
    Packet::SubAck(ack)
}

fn ack(id: u16) -> Packet {
    Packet::PubAck(PubAckPacket::new(id))
}

fn refused(id: u16, why: ReasonCode) -> Packet {
    Packet::PubAck(PubAckPacket::new_with_reason(id, why))
}

fn delivery(id: u16, topic: &str, payload: &[u8]) -> Packet {
    let message = PublishPacket::new(topic, Bytes::copy_from_slice(payload), QoS::AtLeastOnce);
    Packet::Publish(message.with_packet_id(id))
}

#[test]
fn the_first_connection_subscribes_before_it_is_up() {
    let mut both = Both::new();
    both.session.connect(&mut both.out);
    assert_eq!(both.sent(), ["CONNECT"]);
    both.hear(Packet::ConnAck(ConnAckPacket::new(false, ReasonCode::Success)));
    assert_eq!(both.sent(), ["1 subscribe !u/3 !g/9 m/7"]);
    assert!(both.told().is_empty() && !both.session.is_live());
    both.hear(granted(1, 3));
    assert_eq!(both.told(), ["Up"]);
    assert_eq!(both.sent(), ["2 m/7"]);
}

#[test]
fn caught_up_is_told_when_the_marker_of_this_connection_is_back() {
    let mut both = Both::live();
    both.hear(ack(2));
    both.connect_again(true);
    assert_eq!(both.told(), ["Up"]);
    both.sent();
    both.hear(delivery(1, "m/7", &1_u64.to_be_bytes()));
    both.hear(delivery(2, "u/3", b"waited"));
    both.hear(delivery(3, "m/7", &2_u64.to_be_bytes()));
    assert_eq!(both.told(), ["delivery waited", "CaughtUp"]);
    assert_eq!(both.sent(), ["ack 1", "ack 2", "ack 3"]);
}

#[test]
fn a_message_is_accepted_when_all_its_parts_are() {
    let mut both = Both::live();
    both.publish(70, 2, "u/4");
    both.publish(70, 2, "u/3");
    both.publish(71, 1, "g/9");
    assert_eq!(both.sent(), ["3 u/4", "4 u/3", "5 g/9"]);
    both.hear(ack(3));
    both.hear(ack(5));
    assert_eq!(both.told(), ["71 Accepted"]);
    both.hear(ack(4));
    assert_eq!(both.told(), ["70 Accepted"]);
    both.hear(ack(2));
    assert!(both.session.is_settled());
}

#[test]
fn what_the_server_refuses_is_rejected_with_its_reason() {
    let mut both = Both::live();
    both.publish(1, 1, "u/4");
    both.publish(2, 1, "u/5");
    both.hear(refused(3, ReasonCode::QuotaExceeded));
    both.hear(refused(4, ReasonCode::NoMatchingSubscribers));
    assert_eq!(
        both.told(),
        ["1 Rejected(\"QuotaExceeded\")", "2 Rejected(\"NoMatchingSubscribers\")"]
    );
}

#[test]
fn what_was_not_acknowledged_is_sent_again_in_order() {
    let mut both = Both::live();
    for ticket in 1..=3 {
        both.publish(ticket, 1, &format!("u/{ticket}"));
    }
    both.sent();
    both.hear(ack(4));
    both.connect_again(true);
    assert_eq!(both.sent(), ["3 u/1 again", "5 u/3 again", "6 m/7"]);
    both.hear(ack(5));
    both.hear(ack(3));
    assert_eq!(both.told(), ["2 Accepted", "Up", "3 Accepted", "1 Accepted"]);
}

#[test]
fn a_session_the_server_forgot_is_said_to_be_truncated() {
    let mut both = Both::live();
    both.publish(1, 1, "u/4");
    both.sent();
    both.connect_again(false);
    assert_eq!(both.told(), ["1 Unknown", "Truncated"]);
    assert_eq!(both.sent(), ["4 subscribe !u/3 !g/9 m/7"]);
    both.hear(granted(4, 3));
    assert_eq!(both.told(), ["Up"]);
}

#[test]
fn what_was_published_meanwhile_goes_out_with_the_next_connection() {
    let mut both = Both::live();
    both.session.lost();
    both.publish(5, 1, "u/4");
    assert!(both.sent().is_empty());
    both.connect_again(true);
    assert_eq!(both.sent(), ["3 m/7", "4 u/4"]);
}

#[test]
fn no_more_wait_than_the_server_takes() {
    let mut both = Both::new();
    both.session.connect(&mut both.out);
    let welcome = ConnAckPacket::new(false, ReasonCode::Success).with_receive_maximum(2);
    both.hear(Packet::ConnAck(welcome));
    both.hear(granted(1, 3));
    both.sent();
    for ticket in 1..=3 {
        both.publish(ticket, 1, "u/4");
    }
    assert_eq!(both.sent(), ["3 u/4"], "the marker is the other one");
    both.hear(ack(2));
    assert_eq!(both.sent(), ["4 u/4"]);
    both.hear(ack(3));
    assert_eq!(both.sent(), ["5 u/4"]);
    assert!(both.session.queue.is_empty());
}

#[test]
fn no_more_are_taken_than_may_wait_for_the_server() {
    let mut both = Both::new();
    for ticket in 0..QUEUE_LEN_MAX as u64 {
        assert!(both.session.has_room());
        both.publish(ticket, 1, "u/4");
    }
    assert!(!both.session.has_room());
}

#[test]
fn refusals_that_will_be_repeated_are_told_from_others() {
    for (code, is_final) in [
        (ReasonCode::NotAuthorized, true),
        (ReasonCode::BadUsernameOrPassword, true),
        (ReasonCode::ServerBusy, false),
        (ReasonCode::QuotaExceeded, false),
    ] {
        let mut both = Both::new();
        both.session.connect(&mut both.out);
        let refusal = Packet::ConnAck(ConnAckPacket::new(false, code));
        let ended = both.try_hear(refusal).expect_err("refused");
        assert_eq!(matches!(ended, Ended::Refused(_)), is_final, "{code:?}");
    }
}

#[test]
fn a_subscription_below_qos_1_is_refused() {
    let mut both = Both::new();
    both.session.connect(&mut both.out);
    both.hear(Packet::ConnAck(ConnAckPacket::new(false, ReasonCode::Success)));
    let answer = SubAckPacket::new(1)
        .add_granted_qos(QoS::AtLeastOnce)
        .add_reason_code(SubAckReasonCode::QuotaExceeded)
        .add_granted_qos(QoS::AtLeastOnce);
    let ended = both.try_hear(Packet::SubAck(answer)).expect_err("not all were granted");
    assert!(format!("{ended:?}").contains("QuotaExceeded"), "{ended:?}");
}

#[test]
fn what_a_server_never_says_ends_the_connection() {
    let mut both = Both::live();
    for packet in [Packet::PingReq, Packet::ConnAck(ConnAckPacket::new(true, ReasonCode::Success))]
    {
        assert!(matches!(both.try_hear(packet), Err(Ended::Broken(_))));
    }
    let mut unsubscribed = Both::new();
    assert!(unsubscribed.try_hear(delivery(1, "u/3", b"early")).is_err());
    both.hear(Packet::PingResp);
}

#[test]
fn what_is_never_answered_is_unknown_and_what_was_never_sent_rejected() {
    let mut both = Both::live();
    both.publish(1, 2, "u/4");
    both.publish(1, 2, "u/3");
    both.session.lost();
    both.publish(2, 1, "u/4");
    both.session.give_up(&mut both.told);
    assert_eq!(
        both.told(),
        ["1 Unknown", "2 Rejected(\"the device was ended before it was sent\")"]
    );
    assert!(both.session.is_settled());
}
