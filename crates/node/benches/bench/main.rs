//! How fast it is, and what a message costs: `cargo xtask bench`.
//!
//! Everything is compared in one run with the least that could do the same work: the log with a
//! bare append-only file, the whole path with a bare relay of the same frames.
#![allow(missing_docs, unreachable_pub, clippy::unwrap_used, clippy::disallowed_methods)]
#![allow(clippy::cast_precision_loss)]

mod cluster;
mod codec;
mod load;
mod log;
mod measure;
mod path;
mod relay;
mod session;

use clap::Parser;
use tokio::runtime;

/// As the program has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Measures rates and CPU time per message.
#[derive(Parser)]
struct Options {
    /// Only these: codec, session, log, path, cluster.
    only: Vec<String>,
    /// Seconds of one run.
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Bytes of a payload.
    #[arg(long, default_value_t = 256)]
    payload: usize,
    /// Messages of one sender that are on their way at a time; several are measured in turn.
    #[arg(long, default_values_t = [1, 64])]
    window: Vec<u64>,
    /// What `cargo bench` adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() {
    let options = Options::parse();
    let asked =
        |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let runtime = runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    if asked("codec") {
        codec::run(options.seconds, options.payload);
    }
    if asked("session") {
        session::run(options.seconds, options.payload);
    }
    if asked("log") {
        log::run(&runtime, options.seconds, options.payload);
    }
    if asked("path") {
        path::run(options.seconds, options.payload, &options.window);
    }
    if asked("cluster") {
        cluster::run(options.seconds, options.payload, &options.window);
    }
}
