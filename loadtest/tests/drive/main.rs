//! The driver for Posthorn and the local cluster, against a real server.
#![allow(clippy::unwrap_used, clippy::wildcard_enum_match_arm)]

mod stage;
#[path = "../trio/mod.rs"]
mod trio;

use std::{ops::Range, sync::mpsc, time::Duration};

use loadtest::{
    clock::RunClock,
    cluster::{self, Act, LocalCluster, Sampler, Settings, State, Watched},
    driver::{Ability, Outcome},
    scenario::{self, ClusterKind},
};
use stage::Stage;

fn numbers(range: Range<u64>) -> Vec<u64> {
    range.collect()
}

#[tokio::test]
async fn what_is_accepted_reaches_every_device_but_the_one_that_sent_it() {
    let stage = Stage::open(64).await;
    let all = stage.connect_all().await;
    all[0].send(stage.pair(0, 2), 0..20);
    all[3].send(stage.group(), 20..40);
    stage.heard.delivered(0, 20).await;
    for device in [1, 4, 5] {
        stage.heard.delivered(device, 40).await;
    }
    stage.heard.delivered(2, 20).await;
    stage.heard.answered(0, 20).await;
    stage.heard.answered(3, 20).await;
    let accepted: Vec<(u64, Outcome)> = (20..40).map(|n| (n, Outcome::Accepted)).collect();
    assert_eq!(stage.heard.outcomes(3), accepted);
    assert_eq!(stage.heard.numbers(0), numbers(20..40), "and not its own");
    let mut direct = stage.heard.numbers(5);
    direct.retain(|number| *number < 20);
    assert_eq!(direct, numbers(0..20), "in order");
    assert_eq!(stage.heard.alarms(), [""; 0]);
    for device in all {
        device.disconnect().await;
    }
    stage.driver.close().await;
    stage.cluster.end().await.unwrap();
}

#[tokio::test]
async fn a_device_that_was_away_gets_what_it_missed_and_nothing_twice() {
    let stage = Stage::open(64).await;
    let mut all = stage.connect_all().await;
    let pair = stage.pair(0, 1);
    all[0].send(pair, 0..50);
    stage.heard.delivered(2, 50).await;
    all.remove(2).disconnect().await;
    all[0].send(pair, 50..100);
    stage.heard.answered(0, 100).await;
    let back = stage.connect(2).await;
    stage.heard.delivered(2, 100).await;
    all[0].send(pair, 100..110);
    stage.heard.delivered(2, 110).await;
    assert_eq!(stage.heard.numbers(2), numbers(0..110));
    assert_eq!(stage.heard.ups_and_downs(2), (2, 0));
    back.disconnect().await;
}

#[tokio::test]
async fn a_second_connection_of_a_device_is_refused_here() {
    let stage = Stage::open(64).await;
    let _first = stage.connect(0).await;
    let sink = stage.heard.clone();
    let second = stage.driver.connect(loadtest::population::DeviceIndex(0), sink).await;
    assert!(second.is_err_and(|error| error.to_string().contains("connected already")));
}

#[tokio::test]
async fn a_device_with_a_socket_of_its_own_changes_its_port() {
    let stage = Stage::open(1).await;
    assert_eq!(stage.driver.abilities().migration, Ability::Yes);
    let all = stage.connect_all().await;
    let pair = stage.pair(0, 1);
    for round in 0..2 {
        all[0].device.rebind().unwrap();
        all[2].device.rebind().unwrap();
        all[0].send(pair, round * 10..(round + 1) * 10);
        stage.heard.delivered(2, (round as usize + 1) * 10).await;
    }
    assert_eq!(stage.heard.numbers(2), numbers(0..20));
    assert_eq!(stage.heard.ups_and_downs(2), (1, 0), "the connection goes on");
}

#[tokio::test]
async fn devices_that_share_a_socket_do_not_move_alone() {
    let stage = Stage::open(2).await;
    let device = stage.connect(0).await;
    assert!(device.device.rebind().unwrap_err().to_string().contains("shares its socket"));
    assert!(matches!(stage.driver.abilities().migration, Ability::Unset(_)));
}

#[tokio::test]
async fn a_server_that_is_killed_and_started_again_loses_nothing() {
    let stage = Stage::open(3).await;
    let all = stage.connect_all().await;
    let pair = stage.pair(0, 1);
    all[0].send(pair, 0..200);
    stage.heard.answered(0, 50).await;
    stage.cluster.act("server", Act::Kill).await.unwrap();
    let server = stage.cluster.process("server").unwrap();
    assert_eq!(server.state(), State::Ended);
    all[0].send(pair, 200..220);
    stage.cluster.act("server", Act::Start).await.unwrap();
    stage.heard.answered(0, 220).await;
    for device in [1, 2, 3] {
        stage.heard.delivered(device, 220).await;
        assert_eq!(stage.heard.numbers(device), numbers(0..220));
    }
    let (ups, downs) = stage.heard.ups_and_downs(0);
    assert!(ups >= 2 && downs == ups - 1, "{ups} ups, {downs} downs");
}

#[tokio::test]
async fn what_was_not_answered_is_told_when_the_device_is_back_or_never_known() {
    let stage = Stage::open(64).await;
    let mut all = stage.connect_all().await;
    let pair = stage.pair(0, 1);
    stage.cluster.act("server", Act::Stop).await.unwrap();
    all[0].send(pair, 0..5);
    all.remove(0).disconnect().await;
    assert_eq!(stage.heard.outcomes(0), []);
    stage.cluster.act("server", Act::Cont).await.unwrap();
    let back = stage.connect(0).await;
    stage.heard.answered(0, 5).await;
    stage.heard.delivered(2, 5).await;
    let accepted = |(_, outcome)| outcome == Outcome::Accepted;
    assert!(stage.heard.outcomes(0).into_iter().all(accepted));
    stage.cluster.act("server", Act::Stop).await.unwrap();
    back.send(pair, 5..8);
    back.disconnect().await;
    stage.driver.close().await;
    let unknown: Vec<(u64, Outcome)> = (5..8).map(|ticket| (ticket, Outcome::Unknown)).collect();
    assert_eq!(stage.heard.outcomes(0)[5..], unknown);
}

#[tokio::test]
async fn a_slow_reader_takes_its_time() {
    let stage = Stage::open(64).await;
    let all = stage.connect_all().await;
    all[2].device.read_slowly(Duration::from_millis(50));
    let began = RunClock::start();
    all[0].send(stage.pair(0, 1), 0..10);
    stage.heard.delivered(2, 10).await;
    assert!(began.now_ns() >= 9 * 50_000_000, "nine pauses lie between ten deliveries");
    assert_eq!(stage.heard.numbers(2), numbers(0..10));
}

#[tokio::test]
async fn a_drained_server_ends_in_order_and_is_started_again() {
    let stage = Stage::open(64).await;
    let all = stage.connect_all().await;
    stage.cluster.act("server", Act::Drain).await.unwrap();
    assert_eq!(stage.cluster.process("server").unwrap().state(), State::Running);
    all[0].send(stage.pair(0, 1), 0..3);
    stage.heard.delivered(2, 3).await;
    stage.cluster.act("server", Act::Terminate).await.unwrap();
    assert_eq!(stage.cluster.process("server").unwrap().state(), State::Ended);
    let missing = stage.cluster.act("edge-1", Act::Kill).await.unwrap_err();
    assert!(missing.to_string().contains("it has server"), "{missing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sampler_sees_what_a_server_uses_and_that_it_is_gone() {
    let stage = Stage::open(64).await;
    let _all = stage.connect_all().await;
    let server = stage.cluster.process("server").unwrap();
    let (tell, told) = mpsc::sync_channel(64);
    let watched = vec![Watched::Own, Watched::Process(server.clone())];
    let sampler = Sampler::start(watched, RunClock::start(), move |sample| {
        tell.try_send(sample).ok();
    });
    let next = || tokio::task::block_in_place(|| told.recv().unwrap());
    let sample = next();
    let server = &sample.processes[1];
    assert_eq!((server.name.as_str(), server.is_up), ("server", true));
    assert!(server.rss_bytes.unwrap() > 1_000_000 && server.threads.unwrap() > 1);
    let connections = server.figures.iter().find(|figure| figure.name == "connections");
    assert_eq!(connections.unwrap().value, 6.0);
    stage.cluster.act("server", Act::Kill).await.unwrap();
    let gone = std::iter::repeat_with(next).find(|sample| !sample.processes[1].is_up).unwrap();
    assert!(gone.processes[1].figures.is_empty() && gone.processes[0].is_up);
    sampler.unwrap().end();
}

#[tokio::test]
async fn a_cluster_that_does_not_start_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let base = folder.path().join("base.toml");
    let nowhere = "[\"127.0.0.1:9\"]";
    let engines = format!(
        "[kafka]\nbrokers = {nowhere}\n[cql]\nnodes = {nowhere}\n[redis]\nnodes = {nowhere}\n"
    );
    std::fs::write(&base, engines).unwrap();
    let on_engines = ClusterKind::Engines { edges: 1, workers: 1 };
    for (kind, engines, set, why) in [
        (ClusterKind::OneMachine, None, "edge.connections_max=0", "connections_max"),
        (on_engines, None, "telemetry.level=info", "cargo xtask engines up"),
        (on_engines, Some(base), "telemetry.level=info", "Kafka did not answer"),
    ] {
        let cluster = scenario::Cluster { kind, set: vec![set.to_owned()] };
        let posthorn = cluster::posthorn(None).unwrap();
        let folder = folder.path().to_owned();
        let settings = Settings { posthorn, folder, cluster, engines };
        let problem = format!("{:#}", LocalCluster::start(&settings).await.unwrap_err());
        assert!(problem.contains(why), "{problem}");
    }
}
