//! The whole path: real clients over real QUIC through edge, log, workers and mailboxes and back,
//! everything in this process, beside the bare relay.

use std::path::Path;

use node::{
    assemble::Cluster,
    config::{self, Config},
    development::Development,
};

use crate::{
    load,
    measure::{self, Run, Shape},
    relay,
};

/// Rounds of each, in turn, so that both meet the same noise.
const ROUNDS: usize = 3;
/// What the path is to reach of the bare relay.
const AIM: f64 = 0.4;
const PAIRS: usize = 200;
const GROUP_LEN: usize = 8;

/// Prints the rates of the path, direct and in groups.
///
/// With one message of a sender on its way at a time, each costs its own packets, as between
/// people. With many, packets and wake-ups are shared, by the relay most of all, which has nothing
/// else to wait for.
pub fn run(seconds: f64, payload: usize, windows: &[u64]) {
    for window in windows.iter().copied() {
        let direct = Shape { senders: PAIRS, fan_out: 1, window };
        let group = Shape { senders: PAIRS / GROUP_LEN, fan_out: GROUP_LEN, window };
        for (name, shape) in [("direct", direct), ("groups of 8", group)] {
            let name = format!("{name}, window {window}");
            let (mut paths, mut relays) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                relays.push(relay::run(shape, seconds, payload));
                measure::progress(&format!("bare relay, {name}"), &relays[relays.len() - 1]);
                paths.push(path(shape, seconds, payload));
                measure::progress(&format!("whole path, {name}"), &paths[paths.len() - 1]);
            }
            measure::report(&format!("bare relay, {name}"), &measure::median(&relays));
            measure::report(&format!("whole path, {name}"), &measure::median(&paths));
            measure::report_ratio(&format!("path of relay, {name}"), &paths, &relays, AIM);
        }
    }
}

/// Runs one shape through a cluster; counts deliveries.
fn path(shape: Shape, seconds: f64, payload: usize) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let development = load::development(folder.path());
    let config = config(folder.path(), &development);
    let runtime = load::runtime("cluster");
    let cluster = runtime.block_on(Cluster::start(&config)).unwrap();
    let address = cluster.address().unwrap().to_string();
    let run = load::run(&development, &address, shape, seconds, payload);
    runtime.block_on(cluster.drain()).unwrap();
    run
}

fn config(folder: &Path, development: &Development) -> Config {
    let settings = [
        format!("node.data={}", folder.display()),
        "listen.address=127.0.0.1:0".to_owned(),
        "node.drain_within=2s".to_owned(),
        "edge.drain_jitter=0s".to_owned(),
        // All clients come from one address, and a device sends as much as it can.
        "edge.connections_per_ip_max=100000".to_owned(),
        "edge.send_rate=1 GiB".to_owned(),
        "edge.send_burst=1 GiB".to_owned(),
    ];
    let mut config = config::load(None, &settings).unwrap().config;
    node::command::dev::use_development(&mut config, development);
    config
}
