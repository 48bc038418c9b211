//! Database nodes that die or stand still.

use crate::{
    engines::Restored,
    load::{Load, Shape},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn one_database_node_of_three_may_die() {
    let stage = Stage::open(2, 2).await;
    let load = Load::start(&stage.development, &stage.addresses(), Shape::default()).await;
    let _restored = Restored { engines: &stage.engines, name: "cassandra-3" };
    stage.engines.kill("cassandra-3");
    load.well_again("after kill -9 of one database node of three").await;
    stage.engines.start("cassandra-3");
    load.well_again("after its return").await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_database_node_of_three_may_stand_still() {
    let stage = Stage::open(2, 2).await;
    let load = Load::start(&stage.development, &stage.addresses(), Shape::default()).await;
    let _restored = Restored { engines: &stage.engines, name: "cassandra-3" };
    stage.engines.pause("cassandra-3");
    load.well_again("while one database node of three stands still").await;
    stage.engines.resume("cassandra-3");
    load.well_again("when it goes on").await;
    load.finish().await;
}

/// Two of three nodes are gone: rows cannot be stored, messages are still accepted, and arrive when
/// the nodes are back.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_majority_of_database_nodes_messages_wait_in_the_log() {
    let stage = Stage::open(2, 2).await;
    let load = Load::start(&stage.development, &stage.addresses(), Shape::default()).await;
    let restored =
        ["cassandra-2", "cassandra-3"].map(|name| Restored { engines: &stage.engines, name });
    for node in &restored {
        stage.engines.pause(node.name);
    }
    load.goes_on(150).await;
    for node in &restored {
        stage.engines.resume(node.name);
    }
    drop(restored);
    load.well_again("after two of three database nodes stood still").await;
    load.finish().await;
}
