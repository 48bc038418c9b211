//! Edges that die, drain and come back.

use crate::{
    load::{Load, Shape},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_edge_loses_nothing_and_its_clients_go_on_at_the_other() {
    let mut stage = Stage::open(2, 1).await;
    let load = Load::start(&stage.development, &stage.addresses(), Shape::default()).await;
    stage.edges[0].kill();
    load.well_again("after kill -9 of an edge").await;
    stage.edges[0].start();
    stage.edges[0].ready().await;
    load.well_again("after its return").await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_edge_sends_its_clients_to_the_other() {
    let mut stage = Stage::open(2, 1).await;
    let load = Load::start(&stage.development, &stage.addresses(), Shape::default()).await;
    let took = stage.edges[0].terminate();
    println!("drained in {:.1} s", took.as_secs_f64());
    load.well_again("after a drain").await;
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edge_that_stood_still_goes_on_where_it_was() {
    let stage = Stage::open(2, 1).await;
    let load = Load::start(&stage.development, &stage.addresses(), Shape::default()).await;
    stage.edges[0].pause();
    // Its lease is over long before.
    load.well_again("while an edge stands still").await;
    stage.edges[0].resume();
    load.well_again("when it goes on").await;
    load.finish().await;
}
