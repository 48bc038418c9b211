//! What is there after a crash: killed processes, and journals cut where a power cut might.
#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use bytes::Bytes;
use embedded::{Engine, EngineConfig};
use ports::{
    Engines,
    log::{Entry, Reader},
    mailbox::{Batch, Range, Row},
};
use wire::{Offset, Partition, Seq, Topic, UserId};

const DIRECTORY: &str = "POSTHORN_CRASH_DIRECTORY";
const ROUND: &str = "POSTHORN_CRASH_ROUND";
const PARTITIONS: u16 = 3;

/// A record that is only there so that a reader knows where it is.
const MARK: &[u8] = b"mark";

fn now_ms() -> u64 {
    1_700_000_000_000
}

fn config(directory: &Path) -> EngineConfig {
    EngineConfig {
        mail_partitions: PARTITIONS,
        maintain_every: None,
        // As often as a test can make it, so that crashes hit it.
        sync_every: Duration::from_millis(20),
        ..EngineConfig::new(directory)
    }
}

/// As [`config`], with segments that end and are flushed all the time.
fn rolling(directory: &Path) -> EngineConfig {
    EngineConfig {
        segment_bytes: 4000,
        maintain_every: Some(Duration::from_millis(30)),
        ..config(directory)
    }
}

fn open(config: &EngineConfig) -> (Engine, Engines) {
    let engine = Engine::open(config.clone(), now_ms).unwrap();
    let engines = engine.engines();
    (engine, engines)
}

/// The mailbox that holds all rows of a partition.
fn owner(partition: Partition) -> UserId {
    UserId::from_bytes([u8::try_from(partition.get()).unwrap(); 16])
}

fn row(partition: Partition, entry: &Entry) -> Row {
    Row {
        user: owner(partition),
        seq: entry.seq,
        log_time_ms: entry.log_time_ms,
        expires_ms: entry.log_time_ms + 1_000_000,
        item: entry.record.clone(),
    }
}

/// Stores what it reads as rows, and commits that.
async fn project(engines: &Engines, partition: Partition, reader: &mut dyn Reader) -> usize {
    let entries = reader.next_batch(20, usize::MAX).await.unwrap();
    let rows = entries.iter().map(|entry| row(partition, entry)).collect();
    engines.mailbox.append(Batch { rows, marks: Vec::new() }).await.unwrap();
    reader.commit(entries.last().unwrap().seq).await.unwrap();
    entries.len()
}

/// Appends a mark and reads up to it: everything a partition holds, without marks. Also says where
/// the mark is.
async fn everything(engines: &Engines, partition: Partition) -> (Vec<Entry>, Seq) {
    let records = vec![(partition, Bytes::from_static(MARK))];
    let mark = engines.log.try_append(Topic::Mail, records).unwrap().await.unwrap()[0];
    let mut reader = engines.log.open_at(Topic::Mail, partition, Offset::new(0)).await.unwrap();
    (drain(reader.as_mut(), mark).await, mark)
}

/// Everything a reader finds up to a mark, without marks.
async fn drain(reader: &mut dyn Reader, mark: Seq) -> Vec<Entry> {
    let mut entries: Vec<Entry> = Vec::new();
    while entries.last().is_none_or(|entry| entry.seq < mark) {
        entries.extend(reader.next_batch(1000, usize::MAX).await.unwrap());
    }
    entries.retain(|entry| entry.record != MARK);
    entries
}

/// Checks that nothing below the checkpoint is without its row: a reader opened now begins above
/// the checkpoint.
async fn check_projection(
    engines: &Engines,
    partition: Partition,
    all: &[Entry],
    mark: Seq,
) -> usize {
    let mut reader = engines.log.open(Topic::Mail, partition).await.unwrap();
    let unfinished = drain(reader.as_mut(), mark).await;
    let finished = &all[..all.len() - unfinished.len()];
    let up_to = finished.last().map_or(Seq::ZERO, |entry| entry.seq);
    let range = Range {
        user: owner(partition),
        after: Seq::ZERO,
        up_to,
        rows_max: usize::MAX,
        bytes_max: usize::MAX,
    };
    let mut rows = engines.mailbox.read(range).await.unwrap().rows;
    rows.retain(|row| row.item != MARK);
    let expected: Vec<_> = finished.iter().map(|entry| row(partition, entry)).collect();
    assert_eq!(rows.len(), expected.len(), "rows below the checkpoint of {partition}");
    assert!(rows == expected);
    let head = engines.mailbox.heads(vec![owner(partition)]).await.unwrap()[0];
    assert!(head >= up_to);
    finished.len()
}

/// The process that is killed: says on its output what was accepted, at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    let round: u32 = std::env::var(ROUND).unwrap().parse().unwrap();
    let (_engine, engines) = open(&rolling(Path::new(&directory)));
    let mut tasks = tokio::task::JoinSet::new();
    for partition in (0..PARTITIONS).map(Partition::new) {
        let of_reader = engines.clone();
        tasks.spawn(async move {
            let mut reader = of_reader.log.open(Topic::Mail, partition).await.unwrap();
            loop {
                project(&of_reader, partition, reader.as_mut()).await;
            }
        });
        let log = engines.log.clone();
        tasks.spawn(async move {
            for number in 0_u32.. {
                let records = (0..3)
                    .map(|part| (partition, Bytes::from(format!("{round} {number} {part}"))))
                    .collect();
                let positions = log.try_append(Topic::Mail, records).unwrap().await.unwrap();
                let mut said = String::new();
                for (part, seq) in positions.iter().enumerate() {
                    said += &format!("accepted {partition} {seq} {round} {number} {part}\n");
                }
                std::io::stdout().write_all(said.as_bytes()).unwrap();
            }
        });
    }
    tasks.join_next().await;
}

#[tokio::test]
async fn what_was_accepted_is_there_in_order_after_the_process_was_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut accepted: BTreeMap<(Partition, Seq), Bytes> = BTreeMap::new();
    let mut seen: BTreeMap<(Partition, Seq), Bytes> = BTreeMap::new();
    for (round, lines) in [40, 1, 333, 150, 700, 90].into_iter().enumerate() {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(DIRECTORY, directory.path())
            .env(ROUND, round.to_string())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = Vec::new();
        let mut line = String::new();
        while output.read_line(&mut line).unwrap() > 0 {
            if line.starts_with("accepted ") {
                said.push(std::mem::take(&mut line));
            }
            line.clear();
            if said.len() == lines {
                // SIGKILL, in the middle of whatever it does. What it said before is still read.
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(said.len() >= lines, "the child ended by itself");
        for line in said.iter().filter(|line| line.ends_with('\n')) {
            let words: Vec<_> = line.trim_end().splitn(4, ' ').collect();
            let partition = Partition::new(words[1].parse().unwrap());
            let position = Seq::from_u64(words[2].parse().unwrap());
            let text = Bytes::copy_from_slice(words[3].as_bytes());
            let before = accepted.insert((partition, position), text);
            assert_eq!(before, None, "a position was used twice");
        }

        let (engine, engines) = open(&rolling(directory.path()));
        for partition in (0..PARTITIONS).map(Partition::new) {
            let (all, mark) = everything(&engines, partition).await;
            check_order(&all);
            for entry in &all {
                let first = seen.entry((partition, entry.seq)).or_insert(entry.record.clone());
                assert_eq!(*first, entry.record, "a position was used twice");
            }
            check_projection(&engines, partition, &all, mark).await;
        }
        for (place, text) in &accepted {
            assert_eq!(seen.get(place), Some(text), "{place:?} was accepted");
        }
        drop((engines, engine));
    }
}

/// Positions grow, and each round's records are there without a gap, in order.
fn check_order(all: &[Entry]) {
    assert!(all.is_sorted_by(|a, b| a.seq < b.seq));
    let mut next: BTreeMap<u32, u32> = BTreeMap::new();
    let mut latest_round = 0;
    for entry in all {
        let text = std::str::from_utf8(&entry.record).unwrap();
        let numbers: Vec<u32> = text.split(' ').map(|word| word.parse().unwrap()).collect();
        let [round, number, part] = numbers[..] else { panic!("{text}") };
        assert!(round >= latest_round);
        latest_round = round;
        let expected = next.entry(round).or_default();
        assert_eq!(number * 3 + part, *expected, "round {round}");
        *expected += 1;
    }
}

/// The journal of a database and the bytes written to it, without the zeros after them.
fn journal(database: &Path) -> (PathBuf, Vec<u8>) {
    let journals: Vec<_> = std::fs::read_dir(database)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "jnl"))
        .collect();
    let [journal] = &journals[..] else { panic!("{journals:?}") };
    let mut bytes = std::fs::read(journal).unwrap();
    // By chunks first: it is 64 MiB of zeros, mostly.
    let zeros = [0; 4096];
    let used = bytes.chunks(4096).rposition(|chunk| *chunk != zeros[..chunk.len()]);
    bytes.truncate(used.map_or(0, |last| (last + 1) * 4096));
    let used = bytes.iter().rposition(|byte| *byte != 0);
    bytes.truncate(used.map_or(0, |last| last + 1));
    (journal.clone(), bytes)
}

/// Copies a directory; files are cut where only zeros follow.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else if entry.path().extension().is_none_or(|extension| extension != "jnl") {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Lengths to cut at: all over the bytes, and everywhere in the last part.
fn cuts(length: usize) -> Vec<usize> {
    (0..24).map(|step| length * step / 24).chain((0..12).map(|back| length - back * 7)).collect()
}

#[tokio::test]
async fn a_log_whose_end_is_torn_holds_a_prefix_and_uses_no_position_again() {
    let origin = tempfile::tempdir().unwrap();
    let partition = Partition::new(0);
    let (engine, engines) = open(&config(origin.path()));
    for number in 0..60 {
        let records = vec![(partition, Bytes::from(format!("0 {} {}", number / 3, number % 3)))];
        engines.log.try_append(Topic::Mail, records).unwrap().await.unwrap();
    }
    let (whole, last) = everything(&engines, partition).await;
    drop((engines, engine));
    assert_eq!(whole.len(), 60);

    let (path, bytes) = journal(&origin.path().join("log"));
    let mut lengths = Vec::new();
    for cut in cuts(bytes.len()) {
        let directory = tempfile::tempdir().unwrap();
        copy(origin.path(), directory.path());
        let store = journal(&origin.path().join("store"));
        write(&directory.path().join("store"), &store.0, &store.1, store.1.len());
        write(&directory.path().join("log"), &path, &bytes, cut);
        let (_engine, engines) = open(&config(directory.path()));
        let (found, next) = everything(&engines, partition).await;
        assert_eq!(found[..], whole[..found.len()], "cut at {cut}");
        assert!(next > last || found.is_empty(), "{next:?} may have been used, cut at {cut}");
        lengths.push(found.len());
    }
    assert!(lengths[..24].is_sorted());
    assert!(lengths[12] > 10 && lengths[24] == 60, "{lengths:?}");
}

#[tokio::test]
async fn a_store_whose_end_is_lost_has_no_checkpoint_ahead_of_its_rows() {
    let origin = tempfile::tempdir().unwrap();
    let (engine, engines) = open(&config(origin.path()));
    for number in 0..40 {
        for partition in (0..PARTITIONS).map(Partition::new) {
            let records =
                (0..3).map(|part| (partition, Bytes::from(format!("0 {number} {part}")))).collect();
            engines.log.try_append(Topic::Mail, records).unwrap().await.unwrap();
            let mut reader = engines.log.open(Topic::Mail, partition).await.unwrap();
            project(&engines, partition, reader.as_mut()).await;
        }
        if number % 3 == 0 {
            engine.sync();
        }
    }
    drop((engines, engine));

    let (path, bytes) = journal(&origin.path().join("store"));
    let log = journal(&origin.path().join("log"));
    let mut finished = Vec::new();
    for cut in cuts(bytes.len()) {
        let directory = tempfile::tempdir().unwrap();
        copy(origin.path(), directory.path());
        write(&directory.path().join("log"), &log.0, &log.1, log.1.len());
        write(&directory.path().join("store"), &path, &bytes, cut);
        let (_engine, engines) = open(&config(directory.path()));
        let mut sum = 0;
        for partition in (0..PARTITIONS).map(Partition::new) {
            let (all, mark) = everything(&engines, partition).await;
            assert_eq!(all.len(), 120);
            sum += check_projection(&engines, partition, &all, mark).await;
            // The rest comes again, and then everything is there once.
            let mut reader = engines.log.open(Topic::Mail, partition).await.unwrap();
            let mut left = drain(reader.as_mut(), mark).await;
            let rows = left.iter().map(|entry| row(partition, entry)).collect();
            engines.mailbox.append(Batch { rows, marks: Vec::new() }).await.unwrap();
            if let Some(last) = left.pop() {
                reader.commit(last.seq).await.unwrap();
            }
            assert_eq!(check_projection(&engines, partition, &all, mark).await, 120);
        }
        finished.push(sum);
    }
    assert!(finished[..24].is_sorted());
    assert!(finished[20] > 100, "{finished:?}");
}

/// Writes the first `cut` bytes of a journal, and the zeros a journal ends with.
fn write(database: &Path, name: &Path, bytes: &[u8], cut: usize) {
    let file = std::fs::File::create(database.join(name.file_name().unwrap())).unwrap();
    (&file).write_all(&bytes[..cut]).unwrap();
    file.set_len(64 * 1024 * 1024).unwrap();
}
