//! Redis, all of which can be lost.

use crate::{
    engines::Restored,
    load::{Load, Shape},
    stage::Stage,
};

#[tokio::test(flavor = "multi_thread")]
async fn redis_may_be_flushed_killed_and_started_empty() {
    let stage = Stage::open_with(2, 2, &["edge.head_check=5s"]).await;
    let load = Load::start(&stage.development, &stage.addresses(), Shape::default()).await;
    let _restored = Restored { engines: &stage.engines, name: "redis" };
    stage.engines.flush_redis();
    load.well_again("after Redis forgot everything").await;
    stage.engines.kill("redis");
    load.goes_on(150).await;
    stage.engines.start("redis");
    load.well_again("after kill -9 of Redis and its return, empty").await;
    load.finish().await;
}
