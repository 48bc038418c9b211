//! Appends to the embedded log, beside a bare append-only file that does no more than it must.

use std::{
    fs::File,
    io::Write,
    path::Path,
    sync::{Arc, mpsc},
};

use bytes::Bytes;
use ports::Log;
use tokio::{runtime::Runtime, sync::oneshot, task::JoinSet};
use wire::{Partition, Topic};

use crate::measure::{self, Meter, Run};

/// Rounds of each, in turn, so that both meet the same noise.
const ROUNDS: usize = 3;
/// What the embedded log is to reach of the bare file at 256 writers.
const AIM: f64 = 0.5;

/// Prints the rates of the log with 1, 16 and 256 writers.
pub fn run(runtime: &Runtime, seconds: f64, payload: usize) {
    for writers in [1, 16, 256] {
        let (mut logs, mut files) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            files.push(runtime.block_on(bare_file(writers, seconds, payload)));
            logs.push(runtime.block_on(embedded_log(writers, seconds, payload)));
        }
        let (log, file) = (measure::median(&logs), measure::median(&files));
        measure::report(&format!("log: bare file, {writers} writers"), &file);
        measure::report(&format!("log: embedded, {writers} writers"), &log);
        if writers == 256 {
            measure::report_ratio("log: embedded of bare file", &logs, &files, AIM);
        }
    }
}

async fn embedded_log(writers: usize, seconds: f64, payload: usize) -> Run {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = embedded::EngineConfig::new(folder.path());
    let engine =
        embedded::Engine::open(config, node::clock::wall_clock_ms).expect("open the engine");
    let log = engine.engines().log;
    let partitions = log.partition_count(Topic::Mail);
    let run = with_writers(writers, seconds, move |writer| {
        let log: Arc<dyn Log> = log.clone();
        let partition = Partition::new(u16::try_from(writer).expect("few writers") % partitions);
        async move {
            let record = Bytes::from(vec![0x5a; payload]);
            let appending = log.try_append(Topic::Mail, vec![(partition, record)]).expect("room");
            appending.await.expect("appended");
        }
    })
    .await;
    engine.close().expect("a clean end");
    run
}

/// Group commit and nothing else: one thread writes what waits and calls `fdatasync` once for all.
async fn bare_file(writers: usize, seconds: f64, payload: usize) -> Run {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (queue, waiting) = mpsc::sync_channel::<(Bytes, oneshot::Sender<()>)>(1024);
    let committer = commit_thread(folder.path(), waiting);
    let run = with_writers(writers, seconds, {
        let queue = queue.clone();
        move |_| {
            let queue = queue.clone();
            async move {
                let (done, durable) = oneshot::channel();
                queue.try_send((Bytes::from(vec![0x5a; payload]), done)).expect("room");
                durable.await.expect("synced");
            }
        }
    })
    .await;
    drop(queue);
    committer.join().expect("the committer ends");
    run
}

fn commit_thread(
    folder: &Path,
    waiting: mpsc::Receiver<(Bytes, oneshot::Sender<()>)>,
) -> std::thread::JoinHandle<()> {
    let mut file = File::create(folder.join("bare")).expect("create a file");
    std::thread::spawn(move || {
        while let Ok(first) = waiting.recv() {
            let batch: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
            let bytes: Vec<u8> =
                batch.iter().flat_map(|(record, _)| record.iter().copied()).collect();
            file.write_all(&bytes).expect("write");
            file.sync_data().expect("fdatasync");
            batch.into_iter().for_each(|(_, done)| {
                let _ = done.send(());
            });
        }
    })
}

/// Runs `writers` tasks that each append one record after the other.
async fn with_writers<F>(
    writers: usize,
    seconds: f64,
    append: impl Fn(usize) -> F + Clone + Send + 'static,
) -> Run
where
    F: Future<Output = ()> + Send,
{
    let meter = Meter::start();
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let append = append.clone();
        tasks.spawn(async move {
            let meter = Meter::start();
            let mut appended = 0_u64;
            while meter.elapsed().as_secs_f64() < seconds {
                append(writer).await;
                appended += 1;
            }
            appended
        });
    }
    let appended = tasks.join_all().await.into_iter().sum();
    meter.stop(appended)
}
