//! The drivers for MQTT and NATS, against the servers of others.
//!
//! `LOADTEST_RMQTTD` and `LOADTEST_NATS_SERVER` name their programs; `peers/README.md` says where
//! they come from.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod servers;
#[path = "../trio/mod.rs"]
mod trio;

use std::{ops::Deref, time::Duration};

use loadtest::{clock::RunClock, driver::Outcome};
use servers::{Peer, Server};
use trio::{Member, Trio};

struct Stage {
    server: Server,
    trio: Trio,
}

impl Stage {
    async fn open(peer: Peer) -> Self {
        let server = Server::start(peer).await;
        let trio = Trio::new(|population| server.driver(population));
        Self { server, trio }
    }

    async fn end(self, devices: Vec<Member>) {
        for device in devices {
            device.disconnect().await;
        }
        self.driver.close().await;
        self.server.end();
    }
}

impl Deref for Stage {
    type Target = Trio;

    fn deref(&self) -> &Trio {
        &self.trio
    }
}

async fn reaches_everybody_else(peer: Peer) {
    let stage = Stage::open(peer).await;
    let all = stage.connect_all().await;
    all[0].send(stage.pair(0, 2), 0..200);
    all[3].send(stage.group(), 200..400);
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
    all[0].send(pair, 0..100);
    stage.heard.delivered(2, 100).await;
    all.remove(2).disconnect().await;
    assert_eq!(stage.heard.ups_and_downs(2), (1, 0), "leaving is no loss");
    all[0].send(pair, 100..1100);
    stage.heard.answered(0, 1100).await;
    all.push(stage.connect(2).await);
    stage.heard.caught_up(2, 2).await;
    assert_eq!(stage.heard.numbers(2), (0..1100).collect::<Vec<_>>(), "told when all was there");
    all[0].send(pair, 1100..1110);
    stage.heard.delivered(2, 1110).await;
    assert_eq!(stage.heard.numbers(2), (0..1110).collect::<Vec<_>>());
    stage.end(all).await;
}

async fn slow_reader_takes_its_time(peer: Peer) {
    let stage = Stage::open(peer).await;
    let all = stage.connect_all().await;
    all[2].device.read_slowly(Duration::from_millis(30));
    let began = RunClock::start();
    all[0].send(stage.pair(0, 1), 0..10);
    stage.heard.delivered(2, 10).await;
    assert!(began.now_ns() >= 9 * 30_000_000, "nine pauses lie between ten deliveries");
    assert_eq!(stage.heard.numbers(2), (0..10).collect::<Vec<_>>());
    stage.end(all).await;
}

async fn connections_come_back_after_a_restart(peer: Peer) {
    let mut stage = Stage::open(peer).await;
    let all = stage.connect_all().await;
    let pair = stage.pair(0, 1);
    all[0].send(pair, 0..50);
    stage.heard.delivered(2, 50).await;
    stage.server.restart().await;
    for device in 0..6 {
        stage.heard.up(device, 2).await;
    }
    all[0].send(pair, 50..60);
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
        all[0].device.rebind().unwrap();
        all[2].device.rebind().unwrap();
        all[0].send(pair, round * 10..(round + 1) * 10);
        stage.heard.delivered(2, (round as usize + 1) * 10).await;
    }
    assert_eq!(stage.heard.ups_and_downs(2), (1, 0), "the connection goes on");
    stage.end(all).await;
}
