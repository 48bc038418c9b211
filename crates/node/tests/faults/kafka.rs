//! Brokers that die, and topics that are not what they were.

use std::time::Duration;

use crate::{
    engines::Restored,
    load::{Load, Shape},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_broker_of_three_may_die() {
    let stage = Stage::open(2, 2).await;
    let load = Load::start(&stage.development, &stage.addresses(), Shape::default()).await;
    let _restored = Restored { engines: &stage.engines, name: "kafka-2" };
    stage.engines.kill("kafka-2");
    load.well_again("after kill -9 of one broker of three").await;
    stage.engines.start("kafka-2");
    load.well_again("after its return").await;
    load.finish().await;
}

/// Two of three brokers stand: nothing can be accepted. Nobody crashes, memory stays bounded,
/// clients are told, and everything goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_of_brokers_nothing_is_accepted_and_nothing_is_lost() {
    let mut stage = Stage::open(2, 2).await;
    let shape = Shape { every: Duration::from_millis(100), ..Shape::default() };
    let load = Load::start(&stage.development, &stage.addresses(), shape).await;
    let restored =
        ["kafka-1", "kafka-2", "kafka-3"].map(|name| Restored { engines: &stage.engines, name });
    for broker in &restored {
        stage.engines.pause(broker.name);
    }
    let reasons = stage.edges[0].not_ready().await;
    assert!(reasons.contains("kafka") || reasons.contains("control"), "{reasons}");
    for broker in &restored {
        stage.engines.resume(broker.name);
    }
    drop(restored);
    load.well_again("after all brokers stood still").await;
    for node in stage.edges.iter_mut().chain(&mut stage.workers) {
        assert!(node.runs(), "{} ended", node.name());
        node.ready().await;
    }
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_was_made_again_is_refused_not_skipped() {
    let stage = Stage::open(1, 1).await;
    let load = Load::start(&stage.development, &stage.addresses(), Shape::default()).await;
    load.finish().await;
    stage.engines.remake_topic(&stage.topic("mail"), 8);
    for node in [&stage.edges[0], &stage.workers[0]] {
        let reasons = node.not_ready().await;
        assert!(reasons.contains("topic"), "{reasons}");
    }
}
