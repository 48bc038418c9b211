//! Requests and answers that are lost, between a store and a real database.

use std::time::Duration;

use bytes::Bytes;
use mailbox_scylla::CqlStore;
use ports::{
    EntityId, StoreError,
    entities::Change,
    mailbox::{Batch, Range, Row},
};
use wire::{
    Counter, DeviceId, MessageId, RunId, SendId, Seq, UserId, entity::Decision, item::Verdict,
};

use crate::{
    relay::{BATCH, EXECUTE, Fault, Relay},
    world,
};

async fn start() -> (Relay, CqlStore) {
    let relay = Relay::start(world::nodes()).await;
    let store = world::open_through(&relay).await;
    (relay, store)
}

fn new_user() -> UserId {
    let mut bytes = [0xfa; 16];
    bytes[..8].copy_from_slice(&world::next_number().to_be_bytes());
    UserId::from_bytes(bytes)
}

fn rows(user: UserId) -> Vec<Row> {
    let log_time_ms = world::now_ms();
    let row = |at| Row {
        user,
        seq: Seq::from_u64(at),
        log_time_ms,
        expires_ms: log_time_ms + 3_600_000,
        item: Bytes::from(format!("row {at}")),
    };
    (1..=3).map(row).collect()
}

fn everything(user: UserId) -> Range {
    let (after, up_to) = (Seq::ZERO, Seq::from_u64(100));
    Range { user, after, up_to, rows_max: 100, bytes_max: 1 << 20 }
}

async fn append(store: &CqlStore, rows: &[Row]) -> Result<(), StoreError> {
    store.mailbox().append(Batch { rows: rows.to_vec(), marks: Vec::new() }).await
}

/// One fault costs a retry and nothing else.
async fn check_one(fault: Fault, opcodes: &'static [u8]) {
    let (relay, store) = start().await;
    let user = new_user();
    relay.fail(fault, opcodes, 1);
    append(&store, &rows(user)).await.unwrap();
    let stats = store.stats();
    // With several nodes the driver may have asked another one before that.
    assert!(stats.retries > 0 || world::nodes().len() > 1, "{fault:?}: {stats:?}");
    assert_eq!((stats.failures, stats.in_flight), (0, 0), "{fault:?}");
    assert_eq!(store.mailbox().read(everything(user)).await.unwrap().rows, rows(user), "{fault:?}");
    assert_eq!(store.mailbox().heads(vec![user]).await.unwrap(), [Seq::from_u64(3)], "{fault:?}");
    assert_eq!(store.trouble(), None, "{fault:?}");
    store.close().await;
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_done_again() {
    check_one(Fault::LoseAnswer, &[BATCH]).await;
    check_one(Fault::LoseAnswer, &[EXECUTE]).await;
}

#[tokio::test]
async fn a_write_that_is_lost_is_done_again() {
    check_one(Fault::LoseRequest, &[BATCH]).await;
}

#[tokio::test]
async fn a_write_that_timed_out_and_happened_is_done_again() {
    check_one(Fault::AnswerTimeout, &[BATCH]).await;
    check_one(Fault::AnswerTimeout, &[EXECUTE]).await;
}

#[tokio::test]
async fn a_write_whose_connection_breaks_is_done_again() {
    check_one(Fault::Cut, &[BATCH]).await;
}

#[tokio::test]
async fn a_head_is_never_shown_before_its_rows() {
    let (relay, store) = start().await;
    let user = new_user();
    // Of three rows, so a batch; the head would go by itself.
    relay.fail(Fault::LoseRequest, &[BATCH], usize::MAX);
    assert!(matches!(append(&store, &rows(user)).await, Err(StoreError::Retry(_))));
    relay.heal();
    assert_eq!(store.mailbox().heads(vec![user]).await.unwrap(), [Seq::ZERO]);
    append(&store, &rows(user)).await.unwrap();
    assert_eq!(store.mailbox().heads(vec![user]).await.unwrap(), [Seq::from_u64(3)]);
}

#[tokio::test]
async fn a_decision_counts_when_its_snapshot_is_stored() {
    let (relay, store) = start().await;
    let entities = store.entities();
    let user = new_user();
    let send = SendId { run: RunId::new(1), counter: Counter::new(1) };
    let id = MessageId { user, device: DeviceId::from_bytes([1; 8]), send };
    let entity = EntityId::User(user);
    let change = Change {
        entity,
        position: Seq::from_u64(7),
        log_time_ms: world::now_ms(),
        state: Bytes::from_static(b"state"),
        decision: Decision { id, verdict: Verdict::Done, told: vec![user] },
        memberships: Vec::new(),
    };
    // What was decided goes as a batch; the snapshot by itself.
    relay.fail(Fault::LoseRequest, &[EXECUTE], usize::MAX);
    assert!(matches!(entities.decide(change.clone()).await, Err(StoreError::Retry(_))));
    relay.heal();
    assert_eq!(entities.snapshot(entity).await.unwrap(), None);
    assert_eq!(entities.decided_about(entity, id).await.unwrap(), None);
    entities.decide(change.clone()).await.unwrap();
    let about = entities.decided_about(entity, id).await.unwrap();
    assert_eq!(about, Some((change.position, change.decision)));
}

#[tokio::test]
async fn a_store_without_a_node_says_so_and_gives_up_in_time() {
    let (mut relay, store) = start().await;
    assert_eq!(store.trouble(), None);
    relay.stop().await;
    let user = new_user();
    let began = tokio::time::Instant::now();
    assert!(matches!(append(&store, &rows(user)).await, Err(StoreError::Retry(_))));
    assert!(began.elapsed() < Duration::from_secs(8));
    assert!(store.stats().failures > 0);
    // The driver notices a broken connection by itself, at its own time.
    let noticed = async {
        while store.trouble().is_none() {
            let asking = store.mailbox();
            let asked = asking.heads(vec![user]);
            let _ = tokio::time::timeout(Duration::from_millis(50), asked).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), noticed).await.unwrap();
}

#[tokio::test]
async fn requests_of_a_closed_store_fail() {
    let store = world::open().await;
    let mailbox = store.mailbox();
    store.close().await;
    assert!(matches!(mailbox.heads(vec![new_user()]).await, Err(StoreError::Retry(_))));
}
