//! The drivers for MQTT and NATS, against the servers of others.
//!
//! `LOADTEST_RMQTTD` and `LOADTEST_NATS_SERVER` name their programs; `peers/README.md` says where
//! they come from.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod heard;
mod servers;

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use heard::Heard;
use loadtest::{
    clock::RunClock,
    driver::{Device, Driver, Outcome, Sink},
    ledger::content,
    population::{ConversationIndex, DeviceIndex, Population},
    scenario::Scenario,
};
use servers::{Peer, Server};

/// Three users with two devices each; everybody knows everybody, and all are in the one group.
const SCENARIO: &str = r#"
name = "peers"
about = "Three users."
[cluster]
kind = "one-machine"
[population]
users = 3
devices_per_user = { weights = [0.0, 1.0] }
contacts = { per_user = { min = 2, max = 2 } }
groups = { count = 1, members = { min = 3, max = 3 } }
[traffic]
payload = { fixed = 64 }
[[phase]]
name = "load"
duration = "1s"
rate = 1.0
"#;

struct Stage {
    server: Server,
    driver: Box<dyn Driver>,
    population: Arc<Population>,
    heard: Arc<Heard>,
}

impl Stage {
    async fn open(peer: Peer) -> Self {
        let scenario = Scenario::parse(SCENARIO, "peers", std::path::Path::new("")).unwrap();
        let population = Arc::new(Population::draw(&scenario.population, &scenario.traffic, 1));
        let server = Server::start(peer).await;
        let driver = server.driver(Arc::clone(&population));
        Self { server, driver, population, heard: Arc::default() }
    }

    async fn connect(&self, device: u32) -> Box<dyn Device> {
        let sink = Arc::clone(&self.heard) as Sink;
        self.driver.connect(DeviceIndex(device), sink).await.unwrap()
    }

    async fn connect_all(&self) -> Vec<Box<dyn Device>> {
        let mut all = Vec::new();
        for device in self.population.devices() {
            all.push(self.connect(device.0).await);
        }
        self.driver
            .prepare(DeviceIndex(0)..DeviceIndex(self.population.device_count()))
            .await
            .unwrap();
        all
    }

    /// The conversation of two users.
    fn pair(&self, one: u32, other: u32) -> ConversationIndex {
        let is = |conversation: &ConversationIndex| {
            let mut members: Vec<u32> =
                self.population.members(*conversation).iter().map(|user| user.0).collect();
            members.sort_unstable();
            members == [one.min(other), one.max(other)]
        };
        self.population.conversations().find(is).unwrap()
    }

    fn group(&self) -> ConversationIndex {
        self.population.groups().next().unwrap()
    }

    /// Sends messages that carry their numbers, which are their tickets, too.
    fn send(
        &self,
        device: &dyn Device,
        from: u32,
        to: ConversationIndex,
        numbers: std::ops::Range<u64>,
    ) {
        for counter in numbers {
            let header = content::Header {
                run: 7,
                from: DeviceIndex(from),
                conversation: to,
                counter,
                intended_ns: 0,
            };
            let mut payload = BytesMut::new();
            content::write(&header, b"body", &mut payload);
            device.send(counter, to, payload.freeze()).unwrap();
        }
    }

    async fn end(self, devices: Vec<Box<dyn Device>>) {
        for device in devices {
            device.disconnect().await;
        }
        self.driver.close().await;
        self.server.end();
    }
}

async fn reaches_everybody_else(peer: Peer) {
    let stage = Stage::open(peer).await;
    let all = stage.connect_all().await;
    stage.send(&*all[0], 0, stage.pair(0, 2), 0..200);
    stage.send(&*all[3], 3, stage.group(), 200..400);
    for device in [1, 4, 5] {
        stage.heard.delivered(device, 400).await;
    }
    stage.heard.delivered(0, 200).await;
    stage.heard.delivered(2, 200).await;
    stage.heard.answered(0, 200).await;
    stage.heard.answered(3, 200).await;
    let accepted = |(_, outcome): &(u64, Outcome)| *outcome == Outcome::Accepted;
    assert!(stage.heard.outcomes(0).iter().chain(&stage.heard.outcomes(3)).all(accepted));
    assert_eq!(stage.heard.numbers(0), (200..400).collect::<Vec<_>>(), "and not its own");
    assert_eq!(stage.heard.numbers(3), Vec::<u64>::new(), "and not its own");
    let direct = |number: &u64| *number < 200;
    let at_peer: Vec<u64> = stage.heard.numbers(5).into_iter().filter(direct).collect();
    assert_eq!(at_peer, (0..200).collect::<Vec<_>>(), "in order");
    stage.end(all).await;
}

async fn gets_what_it_missed_once(peer: Peer) {
    let stage = Stage::open(peer).await;
    let mut all = stage.connect_all().await;
    let pair = stage.pair(0, 1);
    stage.heard.caught_up(2, 1).await;
    stage.send(&*all[0], 0, pair, 0..100);
    stage.heard.delivered(2, 100).await;
    all.remove(2).disconnect().await;
    assert_eq!(stage.heard.ups_and_downs(2), (1, 0), "leaving is no loss");
    stage.send(&*all[0], 0, pair, 100..1100);
    stage.heard.answered(0, 1100).await;
    all.push(stage.connect(2).await);
    stage.heard.caught_up(2, 2).await;
    assert_eq!(stage.heard.numbers(2), (0..1100).collect::<Vec<_>>(), "told when all was there");
    stage.send(&*all[0], 0, pair, 1100..1110);
    stage.heard.delivered(2, 1110).await;
    assert_eq!(stage.heard.numbers(2), (0..1110).collect::<Vec<_>>());
    stage.end(all).await;
}

async fn slow_reader_takes_its_time(peer: Peer) {
    let stage = Stage::open(peer).await;
    let all = stage.connect_all().await;
    all[2].read_slowly(Duration::from_millis(30));
    let began = RunClock::start();
    stage.send(&*all[0], 0, stage.pair(0, 1), 0..10);
    stage.heard.delivered(2, 10).await;
    assert!(began.now_ns() >= 9 * 30_000_000, "nine pauses lie between ten deliveries");
    assert_eq!(stage.heard.numbers(2), (0..10).collect::<Vec<_>>());
    stage.end(all).await;
}

async fn connections_come_back_after_a_restart(peer: Peer) {
    let mut stage = Stage::open(peer).await;
    let all = stage.connect_all().await;
    let pair = stage.pair(0, 1);
    stage.send(&*all[0], 0, pair, 0..50);
    stage.heard.delivered(2, 50).await;
    stage.server.restart().await;
    for device in 0..6 {
        stage.heard.up(device, 2).await;
    }
    stage.send(&*all[0], 0, pair, 50..60);
    for device in 1..4 {
        stage.heard.delivered(device, 60).await;
    }
    stage.end(all).await;
}

macro_rules! for_each_peer {
    ($($claim:ident => $check:ident),* $(,)?) => {
        mod mqtt_over_tcp { $(
            #[tokio::test]
            async fn $claim() { super::$check(super::Peer::MqttTcp).await; }
        )* }
        mod mqtt_over_quic { $(
            #[tokio::test]
            async fn $claim() { super::$check(super::Peer::MqttQuic).await; }
        )* }
        mod nats { $(
            #[tokio::test]
            async fn $claim() { super::$check(super::Peer::Nats).await; }
        )* }
    };
}

for_each_peer! {
    what_is_accepted_reaches_every_device_but_the_one_that_sent_it => reaches_everybody_else,
    a_device_that_was_away_gets_what_it_missed_and_nothing_twice => gets_what_it_missed_once,
    a_slow_reader_takes_its_time => slow_reader_takes_its_time,
    connections_come_back_after_a_restart => connections_come_back_after_a_restart,
}

#[tokio::test]
async fn a_device_on_quic_changes_its_port() {
    let stage = Stage::open(Peer::MqttQuic).await;
    let all = stage.connect_all().await;
    let pair = stage.pair(0, 1);
    for round in 0..2 {
        all[0].rebind().unwrap();
        all[2].rebind().unwrap();
        stage.send(&*all[0], 0, pair, round * 10..(round + 1) * 10);
        stage.heard.delivered(2, (round as usize + 1) * 10).await;
    }
    assert_eq!(stage.heard.ups_and_downs(2), (1, 0), "the connection goes on");
    stage.end(all).await;
}
