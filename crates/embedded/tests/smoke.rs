//! The happy path once, through the whole engine.
#![allow(clippy::unwrap_used)]

use std::time::Duration;

use bytes::Bytes;
use embedded::{Engine, EngineConfig};
use ports::mailbox::{Batch, Range, Row};
use wire::{Partition, Seq, Topic, UserId};

fn clock() -> u64 {
    1_700_000_000_000
}

fn config(directory: &tempfile::TempDir) -> EngineConfig {
    EngineConfig { maintain_every: None, ..EngineConfig::new(directory.path()) }
}

#[tokio::test]
async fn what_is_appended_is_read_stored_and_there_after_a_clean_end() {
    let directory = tempfile::tempdir().unwrap();
    let user = UserId::from_bytes([7; 16]);
    let partition = Partition::new(2);
    let engine = Engine::open(config(&directory), clock).unwrap();
    let engines = engine.engines();
    let records = vec![(partition, Bytes::from_static(b"one")), (partition, "two".into())];
    let positions = engines.log.try_append(Topic::Mail, records).unwrap().await.unwrap();
    assert_eq!(positions, [Seq::from_u64(1), Seq::from_u64(2)]);

    let mut reader = engines.log.open(Topic::Mail, partition).await.unwrap();
    let entries = reader.next_batch(10, 1 << 20).await.unwrap();
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), positions);
    let row = |entry: &ports::log::Entry| Row {
        user,
        seq: entry.seq,
        log_time_ms: entry.log_time_ms,
        expires_ms: entry.log_time_ms + 1000,
        item: entry.record.clone(),
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    engines.mailbox.append(Batch { rows: rows.clone(), marks: vec![] }).await.unwrap();
    reader.commit(positions[1]).await.unwrap();
    drop((reader, engines));
    engine.close().unwrap();

    let engine = Engine::open(config(&directory), clock).unwrap();
    let engines = engine.engines();
    assert_eq!(engines.mailbox.heads(vec![user]).await.unwrap(), [positions[1]]);
    let range =
        Range { user, after: Seq::ZERO, up_to: positions[1], rows_max: 10, bytes_max: 1 << 20 };
    assert_eq!(engines.mailbox.read(range).await.unwrap().rows, rows);
    let mut reader = engines.log.open(Topic::Mail, partition).await.unwrap();
    let waiting = tokio::time::timeout(Duration::ZERO, reader.next_batch(1, 1)).await;
    assert!(waiting.is_err(), "everything is finished");
    let next = engines.log.try_append(Topic::Mail, vec![(partition, "three".into())]);
    assert_eq!(next.unwrap().await.unwrap(), [Seq::from_u64(3)]);
}
