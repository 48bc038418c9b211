//! Workers that die, stand still, come and go.

use crate::{
    load::{Load, Shape},
    stage::Stage,
};

/// Sums what was committed by all of these.
const LANES: &str = "posthorn_worker_lanes";

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_worker_is_replaced_by_the_others() {
    let mut stage = Stage::open(2, 2).await;
    let load = Load::start(&stage.development, &stage.addresses(), Shape::default()).await;
    stage.workers[0].kill();
    load.well_again("after kill -9 of a worker").await;
    stage.workers[0].start();
    stage.workers[0].ready().await;
    load.well_again("after its return").await;
    load.finish().await;
}

/// It stands still for longer than its session, others take its partitions over and go further;
/// then it wakes in the middle of what it was doing and writes late.
#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_that_wakes_up_changes_nothing() {
    let stage = Stage::open(2, 2).await;
    let load = Load::start(&stage.development, &stage.addresses(), Shape::default()).await;
    for round in ["once", "again"] {
        stage.workers[0].pause();
        load.well_again(&format!("while a worker stands still, {round}")).await;
        stage.workers[0].resume();
        load.well_again(&format!("when it wakes up, {round}")).await;
    }
    load.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_worker_takes_half_of_the_partitions() {
    let mut stage = Stage::prepare(1, 2, &[]);
    stage.admin("admin topics apply --yes");
    stage.admin("admin schema apply --yes");
    stage.edges[0].start();
    stage.workers[0].start();
    stage.edges[0].ready().await;
    stage.workers[0].ready().await;
    let load = Load::start(&stage.development, &stage.addresses(), Shape::default()).await;
    let lanes = |worker: usize, stage: &Stage| stage.workers[worker].running_lanes();
    assert_eq!(lanes(0, &stage), 16.0);
    stage.workers[1].start();
    let asked = tokio::time::Instant::now();
    stage.workers[1].until("given half", |worker| worker.running_lanes() == 8.0).await;
    println!("half of the partitions moved in {:.1} s", asked.elapsed().as_secs_f64());
    load.well_again("after a second worker came").await;
    assert_eq!(lanes(0, &stage), 8.0);
    let took = stage.workers[1].terminate();
    println!("a worker drained in {:.1} s", took.as_secs_f64());
    load.well_again("after it went").await;
    load.finish().await;
}

impl crate::stage::Node {
    /// Partitions it works on.
    fn running_lanes(&self) -> f64 {
        self.metric(LANES, "state=\"running\"").unwrap_or(0.0)
    }
}
