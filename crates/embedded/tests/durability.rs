//! What the embedded engines promise beyond the contract: order of syncs, bounded disk, refusals.
#![allow(clippy::unwrap_used)]

use std::{
    cell::Cell,
    future::Future,
    os::unix::fs::MetadataExt,
    path::Path,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    task::Poll,
    time::Duration,
};

use bytes::Bytes;
use embedded::{Engine, EngineConfig, OpenError, faults::Faults};
use ports::{
    Engines, EntityId, Log, StoreError,
    entities::Change,
    log::{Entry, Reader, Refused},
    mailbox::{Batch, Range, Row},
};
use tempfile::TempDir;
use wire::{
    Counter, DeviceId, GroupId, MessageId, Partition, RunId, SendId, Seq, Topic, UserId,
    entity::{Decision, Membership},
    item::Verdict,
};

const FIRST: Partition = Partition::new(0);
const DAY_MS: u64 = 24 * 3600 * 1000;

thread_local! {
    static NOW_MS: Cell<u64> = const { Cell::new(1_700_000_000_000) };
}

fn now_ms() -> u64 {
    NOW_MS.get()
}

fn config(directory: &TempDir) -> EngineConfig {
    EngineConfig { maintain_every: None, ..EngineConfig::new(directory.path()) }
}

fn open(config: &EngineConfig) -> (Engine, Engines) {
    let engine = Engine::open(config.clone(), now_ms).unwrap();
    let engines = engine.engines();
    (engine, engines)
}

async fn append(log: &dyn Log, partition: Partition, record: impl Into<Bytes>) -> Seq {
    let taken = log.try_append(Topic::Mail, vec![(partition, record.into())]).unwrap();
    taken.await.unwrap()[0]
}

async fn read(reader: &mut dyn Reader, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        entries.extend(reader.next_batch(count - entries.len(), usize::MAX).await.unwrap());
    }
    entries
}

async fn is_pending<F: Future>(future: F) -> bool {
    let mut future = pin!(future);
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

/// Bytes a directory takes on the disk, holes not counted. The database may delete files meanwhile.
fn disk_bytes(path: &Path) -> u64 {
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return 0 };
    let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
    let inside: u64 = entries.map(|entry| disk_bytes(&entry.path())).sum();
    metadata.blocks() * 512 + inside
}

#[tokio::test]
async fn readers_see_nothing_before_it_is_synced() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::new();
    let config = EngineConfig { faults: faults.clone(), ..config(&directory) };
    let (_engine, engines) = open(&config);
    let mut reader = engines.log.open(Topic::Mail, FIRST).await.unwrap();
    faults.hold_syncs(true);
    let taken = engines.log.try_append(Topic::Mail, vec![(FIRST, "a".into())]).unwrap();
    let mut taken = pin!(taken);
    for _ in 0..100 {
        assert!(is_pending(reader.next_batch(1, 1)).await);
        assert!(is_pending(&mut taken).await);
        tokio::task::yield_now().await;
    }
    faults.hold_syncs(false);
    let position = taken.await.unwrap()[0];
    assert_eq!(read(reader.as_mut(), 1).await[0].seq, position);
}

#[tokio::test]
async fn a_full_queue_refuses_and_forgets_nothing_it_took() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::new();
    let config =
        EngineConfig { faults: faults.clone(), queue_records_max: 4, ..config(&directory) };
    let (_engine, engines) = open(&config);
    faults.hold_syncs(true);
    let mut taken = Vec::new();
    loop {
        match engines.log.try_append(Topic::Mail, vec![(FIRST, "a".into()), (FIRST, "b".into())]) {
            Ok(answer) => taken.push(answer),
            Err(refused) => {
                assert_eq!(refused, Refused::Overload);
                break;
            }
        }
    }
    let owed = engines.log.try_append_owed(Topic::Mail, vec![(FIRST, "a".into()); 2]);
    taken.push(owed.expect("clients cannot keep workers out"));
    assert!((2..=6).contains(&taken.len()), "{} taken", taken.len());
    faults.hold_syncs(false);
    let count = taken.len() * 2;
    for answer in taken {
        answer.await.unwrap();
    }
    let mut reader = engines.log.open(Topic::Mail, FIRST).await.unwrap();
    read(reader.as_mut(), count).await;
    assert!(is_pending(reader.next_batch(1, 1)).await);
}

#[tokio::test]
async fn a_failed_sync_ends_the_process_and_accepts_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::new();
    let ended = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&ended);
    let config = EngineConfig {
        faults: faults.clone(),
        on_fatal: Arc::new(move |_| {
            count.fetch_add(1, SeqCst);
        }),
        ..config(&directory)
    };
    let (_engine, engines) = open(&config);
    faults.fail_sync();
    let taken = engines.log.try_append(Topic::Mail, vec![(FIRST, "a".into())]).unwrap();
    assert!(taken.await.is_err());
    assert_eq!(ended.load(SeqCst), 1);
    let later = engines.log.try_append(Topic::Mail, vec![(FIRST, "b".into())]);
    assert!(matches!(later, Err(Refused::Closing)));
}

#[tokio::test]
async fn appends_are_refused_while_the_disk_has_no_room() {
    let directory = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(0));
    let measured = Arc::clone(&free);
    let config = EngineConfig {
        disk_reserve_bytes: 1000,
        disk_factor: 4,
        free_space: Arc::new(move |_| Ok(measured.load(SeqCst))),
        ..config(&directory)
    };
    let (engine, engines) = open(&config);
    let taken = |bytes: usize| {
        engines.log.try_append(Topic::Mail, vec![(FIRST, Bytes::from(vec![0; bytes]))])
    };
    assert!(matches!(taken(1), Err(Refused::Storage)));
    free.store(1000 + 4 * 100, SeqCst);
    engine.maintain(now_ms()).unwrap();
    assert!(matches!(taken(101), Err(Refused::Storage)));
    taken(60).unwrap().await.unwrap();
    assert!(matches!(taken(60), Err(Refused::Storage)), "what is accepted counts at once");
    engine.maintain(now_ms()).unwrap();
    assert!(matches!(taken(60), Err(Refused::Storage)), "and as long as it is not finished");
    let mut reader = engines.log.open(Topic::Mail, FIRST).await.unwrap();
    let entry = read(reader.as_mut(), 1).await.remove(0);
    reader.commit(entry.seq).await.unwrap();
    engine.maintain(now_ms()).unwrap();
    taken(60).unwrap().await.unwrap();
}

#[tokio::test]
async fn what_follows_from_accepted_records_is_appended_while_clients_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(4000));
    let measured = Arc::clone(&free);
    let config = EngineConfig {
        disk_reserve_bytes: 4000,
        free_space: Arc::new(move |_| Ok(measured.load(SeqCst))),
        ..config(&directory)
    };
    let (engine, engines) = open(&config);
    let records = || vec![(FIRST, Bytes::from(vec![0; 100]))];
    let refused = engines.log.try_append(Topic::Mail, records());
    assert!(matches!(refused, Err(Refused::Storage)));
    engines.log.try_append_owed(Topic::Mail, records()).unwrap().await.unwrap();
    free.store(1000, SeqCst);
    engine.maintain(now_ms()).unwrap();
    let refused = engines.log.try_append_owed(Topic::Mail, records());
    assert!(matches!(refused, Err(Refused::Storage)), "the last of the disk is never used");
}

#[tokio::test]
async fn stores_wait_while_the_disk_has_no_room_and_erasing_does_not() {
    let directory = tempfile::tempdir().unwrap();
    let free = Arc::new(AtomicU64::new(1 << 20));
    let measured = Arc::clone(&free);
    let config = EngineConfig {
        disk_reserve_bytes: 4000,
        free_space: Arc::new(move |_| Ok(measured.load(SeqCst))),
        ..config(&directory)
    };
    let (engine, engines) = open(&config);
    let user = UserId::from_bytes([1; 16]);
    let store = |position| {
        let rows = vec![row(user, position, 1000)];
        engines.mailbox.append(Batch { rows, marks: Vec::new() })
    };
    store(1).await.unwrap();
    free.store(3000, SeqCst);
    engine.maintain(now_ms()).unwrap();
    assert!(matches!(store(2).await, Err(StoreError::Retry(_))));
    engines.mailbox.erase(user, Seq::from_u64(1)).await.unwrap();
    free.store(5000, SeqCst);
    engine.maintain(now_ms()).unwrap();
    store(2).await.unwrap();
}

#[tokio::test]
async fn a_directory_is_open_once_and_keeps_its_shape() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, engines) = open(&config(&directory));
    let again = Engine::open(config(&directory), now_ms);
    assert!(matches!(again.err(), Some(OpenError::InUse(_))));
    drop(engine);
    let again = Engine::open(config(&directory), now_ms);
    assert!(matches!(again.err(), Some(OpenError::InUse(_))), "a clone is alive");
    drop(engines);
    let other = EngineConfig { mail_partitions: 8, ..config(&directory) };
    let error = Engine::open(other, now_ms).err().unwrap();
    assert!(matches!(error, OpenError::Mismatch { .. }), "{error}");
    assert!(error.to_string().contains("4 mail partitions"), "{error}");
    open(&config(&directory));
}

#[tokio::test]
async fn positions_go_on_after_a_clean_end_and_from_a_fresh_block_after_an_unclean_one() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, engines) = open(&config(&directory));
    assert_eq!(append(engines.log.as_ref(), FIRST, "a").await.get(), 1);
    drop(engines);
    engine.close().unwrap();
    let (engine, engines) = open(&config(&directory));
    assert_eq!(append(engines.log.as_ref(), FIRST, "b").await.get(), 2);
    drop((engines, engine));
    let (engine, engines) = open(&config(&directory));
    assert_eq!(append(engines.log.as_ref(), FIRST, "c").await.get(), 2 << 16);
    let other = append(engines.log.as_ref(), Partition::new(1), "d").await;
    assert_eq!(other.get(), 1, "nothing was ever there");
    let mut reader = engines.log.open(Topic::Mail, FIRST).await.unwrap();
    let entries = read(reader.as_mut(), 3).await;
    let positions: Vec<_> = entries.iter().map(|entry| entry.seq.get()).collect();
    assert_eq!(positions, [1, 2, 2 << 16]);
    drop((reader, engines, engine));
}

#[tokio::test]
async fn records_that_are_not_in_memory_are_read_from_the_disk_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let config = EngineConfig { tail_bytes_max: 0, segment_bytes: 2000, ..config(&directory) };
    let (engine, engines) = open(&config);
    let mut expected = Vec::new();
    for number in 0..100 {
        let record = format!("{number:0>100}");
        let other = (Partition::new(1), Bytes::from_static(b"other"));
        let records = vec![(FIRST, record.clone().into()), other, (FIRST, record.into())];
        let positions = engines.log.try_append(Topic::Mail, records).unwrap().await.unwrap();
        expected.extend([positions[0], positions[2]]);
    }
    let mut reader = engines.log.open(Topic::Mail, FIRST).await.unwrap();
    for chunk in expected.chunks(7) {
        let entries = read(reader.as_mut(), chunk.len()).await;
        assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), chunk);
    }
    assert!(is_pending(reader.next_batch(1, 1)).await);
    drop((reader, engines, engine));
    let (_engine, engines) = open(&config);
    for from in [0, 1, 77, 199] {
        let start = expected[from].offset();
        let mut reader = engines.log.open_at(Topic::Mail, FIRST, start).await.unwrap();
        let entries = read(reader.as_mut(), 200 - from).await;
        assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), expected[from..]);
    }
}

/// Small segments, nothing kept longer than needed.
fn tiny(directory: &TempDir) -> EngineConfig {
    EngineConfig {
        segment_bytes: 1 << 20,
        log_keep: Duration::ZERO,
        control_keep: Duration::ZERO,
        tail_bytes_max: 1 << 20,
        sync_every: Duration::from_secs(3600),
        ..config(directory)
    }
}

#[tokio::test]
async fn the_disk_use_of_the_log_stays_bounded_when_readers_finish() {
    const MEBIBYTE: u64 = 1 << 20;
    const ROUNDS: u64 = 65;
    let directory = tempfile::tempdir().unwrap();
    let (engine, engines) = open(&tiny(&directory));
    let mut reader = engines.log.open(Topic::Mail, FIRST).await.unwrap();
    let record = Bytes::from(vec![b'x'; 60_000]);
    let mut most = 0;
    for _ in 0..ROUNDS {
        let records = vec![(FIRST, record.clone()); 70];
        engines.log.try_append(Topic::Mail, records).unwrap().await.unwrap();
        let last = read(reader.as_mut(), 70).await.pop().unwrap();
        reader.commit(last.seq).await.unwrap();
        engine.sync();
        engine.sync();
        engine.maintain(now_ms()).unwrap();
        most = most.max(disk_bytes(&directory.path().join("log")));
    }
    let written = ROUNDS * 70 * 60_000;
    assert!(written > 250 * MEBIBYTE);
    println!("at most {} MiB", most / MEBIBYTE);
    assert!(most < 200 * MEBIBYTE, "{} MiB", most / MEBIBYTE);
}

/// Appends 400 records, which take several segments.
async fn fill(engines: &Engines) {
    let record = Bytes::from(vec![b'x'; 60_000]);
    for _ in 0..10 {
        let records = vec![(FIRST, record.clone()); 40];
        engines.log.try_append(Topic::Mail, records).unwrap().await.unwrap();
    }
}

/// Reads those 400 and finishes them.
async fn finish(engines: &Engines) -> Box<dyn Reader> {
    let mut reader = engines.log.open(Topic::Mail, FIRST).await.unwrap();
    let last = read(reader.as_mut(), 400).await.pop().unwrap();
    reader.commit(last.seq).await.unwrap();
    reader
}

/// The first position that is kept.
async fn oldest(engines: &Engines) -> u64 {
    let from = wire::Offset::new(0);
    let mut reader = engines.log.open_at(Topic::Mail, FIRST, from).await.unwrap();
    read(reader.as_mut(), 1).await[0].seq.get()
}

#[tokio::test]
async fn the_log_is_not_trimmed_above_a_checkpoint_that_is_on_the_disk() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, engines) = open(&tiny(&directory));
    fill(&engines).await;
    let lone = append(engines.log.as_ref(), Partition::new(3), "lone").await;
    engine.maintain(now_ms()).unwrap();
    assert_eq!(oldest(&engines).await, 1, "nothing is finished");
    let _reader = finish(&engines).await;
    engine.sync();
    engine.maintain(now_ms()).unwrap();
    assert_eq!(oldest(&engines).await, 1, "the checkpoint is written and not synced");
    engine.sync();
    engine.maintain(now_ms()).unwrap();
    assert!(oldest(&engines).await > 300, "all but the last segment is gone");
    let mut reader = engines.log.open(Topic::Mail, Partition::new(3)).await.unwrap();
    assert_eq!(read(reader.as_mut(), 1).await[0].seq, lone);
}

#[tokio::test]
async fn after_a_crash_the_log_is_not_trimmed_before_the_checkpoint_is_synced_again() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, engines) = open(&tiny(&directory));
    fill(&engines).await;
    let reader = finish(&engines).await;
    engine.sync();
    // The checkpoint is with the operating system only.
    drop((reader, engines, engine));
    let (engine, engines) = open(&tiny(&directory));
    engine.maintain(now_ms()).unwrap();
    assert_eq!(oldest(&engines).await, 1, "a power cut now takes the checkpoint and its rows back");
    engine.sync();
    engine.maintain(now_ms()).unwrap();
    assert!(oldest(&engines).await > 300, "all but the last segment is gone");
}

#[tokio::test]
async fn the_log_is_trimmed_also_after_the_clock_was_a_year_ahead() {
    let directory = tempfile::tempdir().unwrap();
    let hour = Duration::from_secs(3600);
    let config = EngineConfig { log_keep: hour, control_keep: hour, ..tiny(&directory) };
    // One that the thread of the log sees too.
    static CLOCK_MS: AtomicU64 = AtomicU64::new(0);
    let right_ms = now_ms();
    CLOCK_MS.store(right_ms + 365 * DAY_MS, SeqCst);
    let engine = Engine::open(config, || CLOCK_MS.load(SeqCst)).unwrap();
    let engines = engine.engines();
    let record = Bytes::from(vec![b'x'; 60_000]);
    let mut reader = engines.log.open(Topic::Mail, FIRST).await.unwrap();
    for _ in 0..10 {
        let records = vec![(FIRST, record.clone()); 40];
        engines.log.try_append(Topic::Mail, records).unwrap().await.unwrap();
        let last = read(reader.as_mut(), 40).await.pop().unwrap();
        assert!(last.log_time_ms > right_ms + 364 * DAY_MS);
        reader.commit(last.seq).await.unwrap();
    }
    CLOCK_MS.store(right_ms, SeqCst);
    engine.sync();
    engine.sync();
    engine.maintain(right_ms).unwrap();
    let from = wire::Offset::new(0);
    let mut reader = engines.log.open_at(Topic::Mail, FIRST, from).await.unwrap();
    assert!(read(reader.as_mut(), 1).await[0].seq.get() > 300, "all but the last segment is gone");
}

#[tokio::test]
async fn a_partition_goes_on_above_its_last_record_also_when_that_was_trimmed() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, engines) = open(&tiny(&directory));
    for _ in 0..9 {
        append(engines.log.as_ref(), Partition::new(3), "gone soon").await;
    }
    let mut reader = engines.log.open(Topic::Mail, Partition::new(3)).await.unwrap();
    let last = read(reader.as_mut(), 9).await.pop().unwrap();
    reader.commit(last.seq).await.unwrap();
    let record = Bytes::from(vec![b'x'; 60_000]);
    let mut filler = engines.log.open(Topic::Mail, FIRST).await.unwrap();
    for _ in 0..4 {
        let records = vec![(FIRST, record.clone()); 40];
        engines.log.try_append(Topic::Mail, records).unwrap().await.unwrap();
        let last = read(filler.as_mut(), 40).await.pop().unwrap();
        filler.commit(last.seq).await.unwrap();
    }
    engine.sync();
    engine.sync();
    engine.maintain(now_ms()).unwrap();
    let start = wire::Offset::new(0);
    let mut again = engines.log.open_at(Topic::Mail, FIRST, start).await.unwrap();
    assert!(read(again.as_mut(), 1).await[0].seq.get() > 1, "the first segment is gone");
    drop((reader, filler, again, engines));
    engine.close().unwrap();
    let (_engine, engines) = open(&tiny(&directory));
    assert_eq!(append(engines.log.as_ref(), Partition::new(3), "next").await.get(), 10);
}

fn row(user: UserId, position: u64, bytes: usize) -> Row {
    Row {
        user,
        seq: Seq::from_u64(position),
        log_time_ms: now_ms(),
        expires_ms: now_ms() + 30 * DAY_MS,
        item: Bytes::from(vec![b'x'; bytes]),
    }
}

#[tokio::test]
async fn the_disk_use_of_mailboxes_stays_bounded_as_rows_expire() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, engines) = open(&config(&directory));
    let user = UserId::from_bytes([1; 16]);
    let mut windows = 0;
    for day in 0..100 {
        NOW_MS.set(now_ms() + DAY_MS);
        let rows = (1..=5).map(|number| row(user, day * 100 + number, 1000)).collect();
        engines.mailbox.append(Batch { rows, marks: Vec::new() }).await.unwrap();
        engine.sync();
        engine.maintain(now_ms()).unwrap();
        let keyspaces = directory.path().join("store/keyspaces");
        windows = windows.max(std::fs::read_dir(keyspaces).unwrap().count());
    }
    assert!(windows < 45, "{windows} keyspaces");
    let up_to = engines.mailbox.heads(vec![user]).await.unwrap()[0];
    let range = Range { user, after: Seq::ZERO, up_to, rows_max: 1000, bytes_max: 1 << 20 };
    let rows = engines.mailbox.read(range).await.unwrap().rows;
    let oldest = rows.first().unwrap().seq.get();
    assert_eq!(oldest, 69 * 100 + 1, "30 days are kept");
    assert_eq!(rows.len(), 31 * 5);
    assert!(rows.is_sorted_by_key(|row| row.seq));
}

#[tokio::test]
async fn decisions_and_ended_memberships_go_after_retention_and_snapshots_stay() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, engines) = open(&config(&directory));
    let group = GroupId::from_bytes([9; 16]);
    let user = |number| UserId::from_bytes([number; 16]);
    let entity = EntityId::Group(group);
    let send = SendId { run: RunId::new(1), counter: Counter::new(1) };
    let id = MessageId { user: user(1), device: DeviceId::from_bytes([1; 8]), send };
    let position = Seq::from_u64(5);
    let lasting = (user(1), Membership { joined: position, ended: None });
    let ended = Membership { joined: Seq::from_u64(2), ended: Some((position, now_ms())) };
    let change = Change {
        entity,
        position,
        log_time_ms: now_ms(),
        state: Bytes::from_static(b"state"),
        decision: Decision { id, verdict: Verdict::Done, told: Vec::new() },
        memberships: vec![lasting, (user(2), ended)],
    };
    engines.entities.decide(change).await.unwrap();
    engine.maintain(now_ms() + 30 * DAY_MS).unwrap();
    assert!(engines.entities.decided_at(entity, position).await.unwrap().is_some());
    assert_eq!(engines.entities.memberships(group).await.unwrap().len(), 2);
    engine.maintain(now_ms() + 30 * DAY_MS + 1).unwrap();
    assert_eq!(engines.entities.decided_at(entity, position).await.unwrap(), None);
    assert_eq!(engines.entities.decided_about(entity, id).await.unwrap(), None);
    assert_eq!(engines.entities.memberships(group).await.unwrap(), [lasting]);
    assert!(engines.entities.snapshot(entity).await.unwrap().is_some());
}

#[tokio::test]
async fn lookups_find_nothing_when_a_test_wants_pushes_lost() {
    let directory = tempfile::tempdir().unwrap();
    let faults = Faults::new();
    let config = EngineConfig { faults: faults.clone(), ..config(&directory) };
    let (_engine, engines) = open(&config);
    let user = UserId::from_bytes([1; 16]);
    let edge = wire::EdgeId::new(1);
    let lease = ports::presence::Lease { edge, address: "edge".into() };
    engines.presence.renew_lease(lease, Duration::from_secs(10)).await.unwrap();
    let device = DeviceId::from_bytes([1; 8]);
    let generation = wire::Generation::new(1);
    let route = ports::presence::Route { user, device, edge, generation };
    engines.presence.attach(vec![route]).await.unwrap();
    faults.drop_lookups(true);
    assert_eq!(engines.presence.lookup(vec![user]).await.unwrap(), []);
    faults.drop_lookups(false);
    assert_eq!(engines.presence.lookup(vec![user]).await.unwrap(), [route]);
}

#[tokio::test]
async fn decisions_are_kept_as_long_as_their_records_may_be_read_again() {
    let directory = tempfile::tempdir().unwrap();
    let (engine, engines) = open(&tiny(&directory));
    let log = engines.log.as_ref();
    let position = append(log, FIRST, "a change").await;
    let send = SendId { run: RunId::new(1), counter: Counter::new(1) };
    let user = UserId::from_bytes([1; 16]);
    let id = MessageId { user, device: DeviceId::from_bytes([1; 8]), send };
    let entity = EntityId::User(user);
    let change = Change {
        entity,
        position,
        log_time_ms: now_ms(),
        state: Bytes::from_static(b"state"),
        decision: Decision { id, verdict: Verdict::Done, told: Vec::new() },
        memberships: Vec::new(),
    };
    engines.entities.decide(change).await.unwrap();
    let late_ms = now_ms() + 31 * DAY_MS;
    engine.maintain(late_ms).unwrap();
    let decided = engines.entities.decided_at(entity, position).await.unwrap();
    assert!(decided.is_some(), "the record is not finished: it is read again");
}
