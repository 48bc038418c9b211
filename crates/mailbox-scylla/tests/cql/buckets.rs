//! What the contract does not look at: many buckets, rows of one mailbox together, clocks.

use bytes::Bytes;
use ports::{
    Mailbox, StoreError,
    mailbox::{Batch, Range, Row},
};
use wire::{Epoch, Offset, Seq, UserId};

use crate::world;

const HOUR_MS: u64 = 3_600_000;

/// A user no other test has.
fn new_user() -> UserId {
    let mut bytes = [0xbb; 16];
    bytes[..8].copy_from_slice(&world::next_number().to_be_bytes());
    UserId::from_bytes(bytes)
}

fn row(user: UserId, seq: Seq, item: Bytes) -> Row {
    let log_time_ms = world::now_ms();
    Row { user, seq, log_time_ms, expires_ms: log_time_ms + HOUR_MS, item }
}

fn everything(user: UserId) -> Range {
    let (after, up_to) = (Seq::ZERO, Seq::from_u64(u64::MAX));
    Range { user, after, up_to, rows_max: 10_000, bytes_max: usize::MAX }
}

async fn append(mailbox: &dyn Mailbox, rows: &[Row]) {
    mailbox.append(Batch { rows: rows.to_vec(), marks: Vec::new() }).await.unwrap();
}

#[tokio::test]
async fn a_mailbox_is_read_over_buckets_and_epochs_both_ways() {
    let store = world::open().await;
    let mailbox = store.mailbox();
    let user = new_user();
    let places = [(1, 5), (1, (1 << 30) - 1), (1, 1 << 30), (1, 7 << 30), (2, 0), (100, 9)];
    let rows: Vec<Row> = places
        .iter()
        .map(|(epoch, offset)| Seq::new(Epoch::new(*epoch), Offset::new(*offset)))
        .map(|seq| row(user, seq, Bytes::from(seq.to_string())))
        .collect();
    append(&*mailbox, &rows[..2]).await;
    append(&*mailbox, &rows[2..]).await;
    assert_eq!(mailbox.heads(vec![user]).await.unwrap(), [rows[5].seq]);
    for rows_max in [1, 2, 3, 4, 100] {
        let mut found = Vec::new();
        let mut range = Range { rows_max, ..everything(user) };
        loop {
            let page = mailbox.read(range).await.unwrap();
            range.after = page.rows.last().unwrap().seq;
            found.extend(page.rows);
            if !page.more {
                break;
            }
        }
        assert_eq!(found, rows, "{rows_max} rows at a time");
    }
    let mut back = mailbox.read_back(everything(user)).await.unwrap().rows;
    back.reverse();
    assert_eq!(back, rows);
    let between = Range { after: rows[0].seq, up_to: rows[3].seq, ..everything(user) };
    assert_eq!(mailbox.read(between).await.unwrap().rows, rows[1..4]);

    mailbox.erase(user, rows[3].seq).await.unwrap();
    append(&*mailbox, &rows).await;
    assert_eq!(mailbox.read(everything(user)).await.unwrap().rows, rows[4..]);
    assert_eq!(mailbox.heads(vec![user]).await.unwrap(), [rows[5].seq]);
}

#[tokio::test]
async fn rows_of_one_mailbox_are_stored_in_few_requests_of_bounded_size() {
    let store = world::open().await;
    let mailbox = store.mailbox();
    let user = new_user();
    let before = store.stats().requests;
    let small: Vec<Row> =
        (1..=100).map(|at| row(user, Seq::from_u64(at), Bytes::from_static(b"small"))).collect();
    append(&*mailbox, &small).await;
    assert_eq!(store.stats().requests - before, 2, "the rows, and the head");
    let large = |at| row(user, Seq::from_u64(at), vec![7; 60_000].into());
    let large: Vec<Row> = (101..=110).map(large).collect();
    append(&*mailbox, &large).await;
    assert_eq!(store.stats().requests - before, 13, "one for each row, and the head");
    let stored = mailbox.read(everything(user)).await.unwrap();
    assert_eq!(stored.rows, [small, large].concat());
    assert_eq!(store.stats().rows_written, 110);
}

#[tokio::test]
async fn rows_that_expired_in_the_log_move_the_head_and_are_not_stored() {
    let store = world::open().await;
    let mailbox = store.mailbox();
    let user = new_user();
    let mut late = row(user, Seq::from_u64(1), Bytes::from_static(b"late"));
    late.expires_ms = world::now_ms();
    append(&*mailbox, &[late]).await;
    assert_eq!(mailbox.heads(vec![user]).await.unwrap(), [Seq::from_u64(1)]);
    assert_eq!(mailbox.read(everything(user)).await.unwrap().rows, []);
}

#[tokio::test]
async fn a_log_time_far_ahead_is_refused_before_the_database_is_asked() {
    let store = world::open().await;
    let user = new_user();
    let mut ahead = row(user, Seq::from_u64(1), Bytes::from_static(b"ahead"));
    ahead.log_time_ms += 49 * HOUR_MS;
    ahead.expires_ms = ahead.log_time_ms + HOUR_MS;
    let refused = store.mailbox().append(Batch { rows: vec![ahead], marks: Vec::new() }).await;
    assert!(matches!(refused, Err(StoreError::Stop(why)) if why.contains("hours ahead")));
    assert_eq!(store.stats().requests, 0);
}
