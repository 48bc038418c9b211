//! Prints how fast the log takes appends, beside a bare file, and what storing a row costs.
//!
//! `cargo run --release -p embedded --example rates [directory]`

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use bytes::Bytes;
use embedded::{Engine, EngineConfig};
use ports::{
    Engines,
    mailbox::{Batch, Row},
};
use tokio::{task::JoinSet, time::Instant};
use wire::{Partition, Seq, Topic, UserId};

const RECORD_BYTES: usize = 300;
const RUN: Duration = Duration::from_secs(3);

fn now_ms() -> u64 {
    1_700_000_000_000
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> std::io::Result<()> {
    let directory = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let directory = directory.join(format!("posthorn-rates-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    for writers in [1, 16, 256] {
        let bare = bare_file(&directory, writers).await?;
        let log = appends(&directory, writers).await;
        println!("{writers:4} writers: bare file {bare:8.0}/s, log {log:8.0}/s, {:.2}", log / bare);
    }
    rows(&directory).await;
    std::fs::remove_dir_all(&directory)
}

fn open(directory: &Path, name: &str) -> (Engine, Engines) {
    let engine = Engine::open(EngineConfig::new(directory.join(name)), now_ms);
    let engine = engine.unwrap_or_else(|error| panic!("{error}"));
    let engines = engine.engines();
    (engine, engines)
}

/// Appends a second, each writer waiting for its own.
async fn appends(directory: &Path, writers: u16) -> f64 {
    let (_engine, engines) = open(directory, &format!("log-{writers}"));
    let record = Bytes::from(vec![b'x'; RECORD_BYTES]);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for writer in 0..writers {
        let (log, record) = (engines.log.clone(), record.clone());
        tasks.spawn(async move {
            let mut count = 0_u32;
            while start.elapsed() < RUN {
                let records = vec![(Partition::new(writer % 4), record.clone())];
                let Ok(taken) = log.try_append(Topic::Mail, records) else { continue };
                count += u32::from(taken.await.is_ok());
            }
            count
        });
    }
    let count: u32 = tasks.join_all().await.into_iter().sum();
    f64::from(count) / start.elapsed().as_secs_f64()
}

/// What waits for the thread that writes the bare file.
type Waiting = (Mutex<(Vec<tokio::sync::oneshot::Sender<()>>, bool)>, Condvar);

/// The same bytes to a file that is synced for everybody at once.
async fn bare_file(directory: &Path, writers: u16) -> std::io::Result<f64> {
    let file = File::create(directory.join(format!("bare-{writers}")))?;
    file.set_len(64 << 20)?;
    file.sync_all()?;
    let waiting: Arc<Waiting> = Arc::default();
    let of_thread = Arc::clone(&waiting);
    let thread = std::thread::spawn(move || write_bare(file, &of_thread));
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..writers {
        let waiting = Arc::clone(&waiting);
        tasks.spawn(async move {
            let mut count = 0_u32;
            while start.elapsed() < RUN {
                let (done, synced) = tokio::sync::oneshot::channel();
                if let Ok(mut waiting) = waiting.0.lock() {
                    waiting.0.push(done);
                }
                waiting.1.notify_one();
                count += u32::from(synced.await.is_ok());
            }
            count
        });
    }
    let count: u32 = tasks.join_all().await.into_iter().sum();
    let rate = f64::from(count) / start.elapsed().as_secs_f64();
    if let Ok(mut waiting) = waiting.0.lock() {
        waiting.1 = true;
    }
    waiting.1.notify_one();
    thread.join().map_err(|_| std::io::Error::other("the writer panicked"))??;
    Ok(rate)
}

fn write_bare(mut file: File, waiting: &Waiting) -> std::io::Result<()> {
    let record = [b'x'; RECORD_BYTES];
    loop {
        let Ok(mut guard) = waiting.0.lock() else { return Ok(()) };
        while guard.0.is_empty() {
            if guard.1 {
                return Ok(());
            }
            let Ok(woken) = waiting.1.wait(guard) else { return Ok(()) };
            guard = woken;
        }
        let batch = std::mem::take(&mut guard.0);
        drop(guard);
        let mut bytes = Vec::with_capacity(batch.len() * RECORD_BYTES);
        batch.iter().for_each(|_| bytes.extend_from_slice(&record));
        file.write_all(&bytes)?;
        file.sync_data()?;
        batch.into_iter().for_each(|done| {
            let _ = done.send(());
        });
    }
}

/// Microseconds to store a row, in batches.
async fn rows(directory: &Path) {
    let (_engine, engines) = open(directory, "rows");
    let item = Bytes::from(vec![b'x'; RECORD_BYTES]);
    for rows_in_batch in [1_u64, 16, 256] {
        let batches = 100_000 / rows_in_batch;
        let start = Instant::now();
        for batch in 0..batches {
            let row = |number| Row {
                user: UserId::from_bytes([u8::try_from(number * 7 % 200).unwrap_or(0); 16]),
                seq: Seq::from_u64(batch * 256 + number),
                log_time_ms: now_ms(),
                expires_ms: now_ms() + 1000,
                item: item.clone(),
            };
            let rows = (0..rows_in_batch).map(row).collect();
            if let Err(error) = engines.mailbox.append(Batch { rows, marks: Vec::new() }).await {
                println!("{error}");
            }
        }
        let micros = start.elapsed().as_secs_f64() * 1e6 / (batches * rows_in_batch) as f64;
        println!("{rows_in_batch:4} rows in a batch: {micros:.2} us a row");
    }
    let start = Instant::now();
    for number in 0..20_000_u32 {
        let user = UserId::from_bytes([u8::try_from(number % 200).unwrap_or(0); 16]);
        let _ = engines.mailbox.heads(vec![user]).await;
    }
    println!("a head: {:.2} us", start.elapsed().as_secs_f64() * 1e6 / 20_000.0);
    let start = Instant::now();
    for number in 0..2_000_u32 {
        let user = UserId::from_bytes([u8::try_from(number * 7 % 200).unwrap_or(0); 16]);
        let (after, up_to) = (Seq::ZERO, Seq::from_u64(u64::MAX));
        let range = ports::mailbox::Range { user, after, up_to, rows_max: 16, bytes_max: 1 << 20 };
        let _ = engines.mailbox.read(range).await;
    }
    println!("a page of 16 rows: {:.2} us", start.elapsed().as_secs_f64() * 1e6 / 2_000.0);
}
