//! Memory while nothing can be finished.

use std::time::Duration;

use crate::{
    engines::Restored,
    load::{Load, Shape},
    stage::Stage,
};

const ENGINES: [&str; 7] =
    ["kafka-1", "kafka-2", "kafka-3", "cassandra-1", "cassandra-2", "cassandra-3", "redis"];
const STOPPED_FOR: Duration = Duration::from_secs(60);
/// What an edge or a worker may take more than before; far above it something grows without bound.
const GROWTH_MAX: u64 = 256 * 1024 * 1024;

#[tokio::test(flavor = "multi_thread")]
async fn with_every_engine_stopped_for_a_minute_memory_is_bounded_and_nothing_is_lost() {
    let mut stage = Stage::open(2, 2).await;
    let shape = Shape { every: Duration::from_millis(100), ..Shape::default() };
    let load = Load::start(&stage.development, &stage.addresses(), shape).await;
    let before = memory(&stage);
    let restored = ENGINES.map(|name| Restored { engines: &stage.engines, name });
    for engine in &restored {
        stage.engines.pause(engine.name);
    }
    load.lasts(STOPPED_FOR).await;
    let after = memory(&stage);
    for engine in &restored {
        stage.engines.resume(engine.name);
    }
    drop(restored);
    for ((name, before), (_, after)) in before.into_iter().zip(after) {
        println!("{name}: {} MiB before, {} MiB after", before >> 20, after >> 20);
        assert!(after < before + GROWTH_MAX, "{name} grows");
    }
    load.well_again("after every engine stood still for a minute").await;
    for node in stage.edges.iter_mut().chain(&mut stage.workers) {
        assert!(node.runs(), "{} ended", node.name());
    }
    load.finish().await;
}

fn memory(stage: &Stage) -> Vec<(String, u64)> {
    let nodes = stage.edges.iter().chain(&stage.workers);
    nodes.map(|node| (node.name().to_owned(), node.memory())).collect()
}
