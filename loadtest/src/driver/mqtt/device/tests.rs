//! A device against a broker that says what the test wants.
#![allow(clippy::wildcard_enum_match_arm)]

use std::{path::Path, sync::Mutex as Lock};

use bytes::BytesMut;
use mqtt5_protocol::{
    Packet, QoS, ReasonCode,
    packet::{MqttPacket, connack::ConnAckPacket, puback::PubAckPacket, suback::SubAckPacket},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

use super::*;
use crate::{
    driver::{
        Driver as _, Hear,
        mqtt::{Mqtt, Settings},
    },
    scenario::Scenario,
};

const DEVICE: DeviceIndex = DeviceIndex(0);

#[derive(Default)]
struct Heard {
    told: Lock<Vec<String>>,
    changed: Notify,
}

impl Hear for Heard {
    fn hear(&self, _: DeviceIndex, told: Told) {
        let told = match told {
            Told::Down(_) => "Down".to_owned(),
            Told::Outcome { ticket, outcome } => format!("{ticket} {outcome:?}"),
            told => format!("{told:?}"),
        };
        self.told.lock().expect("no panic").push(told);
        self.changed.notify_one();
    }
}

impl Heard {
    /// Waits until so many things were told, and gives them.
    async fn told(&self, count: usize) -> Vec<String> {
        loop {
            let told = self.told.lock().expect("no panic").clone();
            if told.len() >= count {
                return told;
            }
            self.changed.notified().await;
        }
    }
}

/// The broker's side of a connection.
struct Side {
    stream: TcpStream,
    input: BytesMut,
}

impl Side {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.expect("a connection");
        Self { stream, input: BytesMut::new() }
    }

    async fn next(&mut self) -> Packet {
        loop {
            if let Some(packet) = frame::take(&mut self.input).expect("whole packets") {
                return packet;
            }
            let read = self.stream.read_buf(&mut self.input).await.expect("the device is there");
            assert_ne!(read, 0, "the device hung up");
        }
    }

    async fn say(&mut self, packet: &impl MqttPacket) {
        let mut bytes = BytesMut::new();
        frame::put(packet, &mut bytes);
        self.stream.write_all(&bytes).await.expect("the device is there");
    }

    /// Welcomes a device, and takes its marker.
    async fn welcome(&mut self, session_present: bool) {
        assert!(matches!(self.next().await, Packet::Connect(packet) if !packet.clean_start));
        self.say(&ConnAckPacket::new(session_present, ReasonCode::Success)).await;
        if !session_present {
            let Packet::Subscribe(packet) = self.next().await else { panic!("no subscription") };
            let granted =
                packet.filters.iter().fold(SubAckPacket::new(packet.packet_id), |ack, _| {
                    ack.add_granted_qos(QoS::AtLeastOnce)
                });
            self.say(&granted).await;
        }
    }

    /// The next message that is no marker: its identifier, and whether it is sent again.
    async fn message(&mut self) -> (u16, bool) {
        loop {
            let Packet::Publish(packet) = self.next().await else { continue };
            let id = packet.packet_id.expect("QoS 1");
            if packet.topic_name.contains("/m/") {
                self.say(&PubAckPacket::new(id)).await;
            } else {
                return (id, packet.dup);
            }
        }
    }
}

struct Stage {
    listener: TcpListener,
    driver: Mqtt,
    heard: Arc<Heard>,
    to: ConversationIndex,
}

impl Stage {
    async fn open() -> Self {
        let text = include_str!("../../../../scenarios/smoke.toml");
        let scenario = Scenario::parse(text, "smoke", Path::new("")).expect("it ships");
        let population = Population::draw(&scenario.population, &scenario.traffic, 1);
        let user = population.user_of(DEVICE);
        let in_one_part = |group: &ConversationIndex| population.members(*group).contains(&user);
        let to = population.groups().find(in_one_part).expect("a group of the first user");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("bound").port();
        let settings = Settings::new(format!("mqtt://127.0.0.1:{port}"), None, 1);
        let driver = Mqtt::new(settings, Arc::new(population)).expect("a target");
        Self { listener, driver, heard: Arc::default(), to }
    }

    async fn connect(&self, session_present: bool) -> (Box<dyn Device>, Side) {
        let sink = Arc::clone(&self.heard) as Sink;
        let welcome = async {
            let mut side = Side::accept(&self.listener).await;
            side.welcome(session_present).await;
            side
        };
        let (device, side) = tokio::join!(self.driver.connect(DEVICE, sink), welcome);
        (device.expect("connected"), side)
    }
}

#[tokio::test]
async fn a_broken_connection_is_told_and_what_it_left_unanswered_is_sent_again() {
    let stage = Stage::open().await;
    let (device, mut side) = stage.connect(false).await;
    device.send(7, stage.to, Bytes::from_static(b"text")).expect("taken");
    let (id, _) = side.message().await;
    drop(side);
    let mut side = Side::accept(&stage.listener).await;
    side.welcome(true).await;
    assert_eq!(side.message().await, (id, true));
    side.say(&PubAckPacket::new(id)).await;
    assert_eq!(stage.heard.told(4).await, ["Up", "Down", "Up", "7 Accepted"]);
}

#[tokio::test]
async fn a_device_leaves_when_it_has_its_answers_and_says_so() {
    let stage = Stage::open().await;
    let (device, mut side) = stage.connect(false).await;
    device.send(7, stage.to, Bytes::from_static(b"text")).expect("taken");
    let answer = async {
        let (id, _) = side.message().await;
        side.say(&PubAckPacket::new(id)).await;
        assert!(matches!(side.next().await, Packet::Disconnect(_)));
        drop(side);
    };
    tokio::join!(device.disconnect(), answer);
    assert_eq!(stage.heard.told(2).await, ["Up", "7 Accepted"], "leaving is no loss");
}

#[tokio::test]
async fn a_dropped_device_goes_on_where_it_was() {
    let stage = Stage::open().await;
    let (device, mut side) = stage.connect(false).await;
    device.send(7, stage.to, Bytes::from_static(b"text")).expect("taken");
    let (id, _) = side.message().await;
    drop(device);
    let (device, mut side) = stage.connect(true).await;
    assert_eq!(side.message().await, (id, true));
    drop(device);
    stage.driver.close().await;
    assert_eq!(stage.heard.told(3).await, ["Up", "Up", "7 Unknown"]);
}

#[tokio::test]
async fn a_second_connection_of_a_device_is_refused() {
    let stage = Stage::open().await;
    let (_first, _side) = stage.connect(false).await;
    tokio::time::pause();
    let second = stage.driver.connect(DEVICE, Arc::clone(&stage.heard) as Sink).await;
    let error = second.err().expect("refused").to_string();
    assert!(error.contains("connected already"), "{error}");
}

#[tokio::test]
async fn a_broker_that_refuses_is_not_asked_again() {
    let stage = Stage::open().await;
    let refuse = async {
        let mut side = Side::accept(&stage.listener).await;
        side.next().await;
        side.say(&ConnAckPacket::new(false, ReasonCode::NotAuthorized)).await;
    };
    let connecting = stage.driver.connect(DEVICE, Arc::clone(&stage.heard) as Sink);
    let (refused, ()) = tokio::join!(connecting, refuse);
    let error = refused.err().expect("refused");
    assert!(matches!(&error, ConnectError::Refused(why) if why.contains("NotAuthorized")));
}
