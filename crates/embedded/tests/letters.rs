//! Dead letters: kept in order, numbered for good, read in pages.
#![allow(clippy::unwrap_used)]

use embedded::{Engine, EngineConfig};
use ports::log::{DeadLetter, Entry};
use wire::{Partition, Seq, Topic};

fn clock() -> u64 {
    1_700_000_000_000
}

fn open(directory: &tempfile::TempDir) -> Engine {
    let config = EngineConfig { maintain_every: None, ..EngineConfig::new(directory.path()) };
    Engine::open(config, clock).unwrap()
}

fn letter(position: u64) -> DeadLetter {
    let record = format!("record {position}").into();
    DeadLetter {
        topic: Topic::Group,
        partition: Partition::new(1),
        entry: Entry { seq: Seq::from_u64(position), log_time_ms: clock(), record },
        reason: "not a record".to_owned(),
    }
}

#[tokio::test]
async fn letters_keep_their_numbers_through_a_new_start() {
    let directory = tempfile::tempdir().unwrap();
    let engine = open(&directory);
    assert_eq!(engine.dead_letters(None, 10).unwrap(), []);
    for position in [9, 3, 9] {
        engine.engines().log.append_dead_letter(letter(position)).await.unwrap();
    }
    engine.close().unwrap();

    let engine = open(&directory);
    engine.engines().log.append_dead_letter(letter(4)).await.unwrap();
    let all = [(0, letter(9)), (1, letter(3)), (2, letter(9)), (3, letter(4))];
    assert_eq!(engine.dead_letters(None, 10).unwrap(), all);
    assert_eq!(engine.dead_letters(None, 2).unwrap(), all[..2]);
    assert_eq!(engine.dead_letters(Some(1), 1).unwrap(), all[2..3]);
    assert_eq!(engine.dead_letters(Some(3), 1).unwrap(), []);
    assert_eq!(engine.dead_letters(Some(u64::MAX), 1).unwrap(), []);
}
