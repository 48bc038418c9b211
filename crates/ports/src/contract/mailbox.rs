//! What every [`crate::Mailbox`] must do.

use std::time::Duration;

use bytes::Bytes;
use wire::{Partition, Seq, UserId, limits::TTL_MAX, record::Source};

use super::{Harness, device, seq, soon, user};
use crate::{
    Mailbox,
    mailbox::{Batch, Cursor, Range, Row},
};

/// A row that lives a day.
fn row(harness: &impl Harness, of: u8, position: u64) -> Row {
    row_for(harness, of, position, Duration::from_secs(24 * 3600))
}

fn row_for(harness: &impl Harness, of: u8, position: u64, ttl: Duration) -> Row {
    let log_time_ms = harness.now_ms();
    Row {
        user: user(of),
        seq: seq(position),
        log_time_ms,
        expires_ms: log_time_ms + u64::try_from(ttl.as_millis()).unwrap(),
        item: Bytes::from(format!("{of}/{position}")),
    }
}

async fn append(mailbox: &dyn Mailbox, rows: &[Row]) {
    soon(mailbox.append(batch(rows))).await.unwrap();
}

fn batch(rows: &[Row]) -> Batch {
    Batch { rows: rows.to_vec(), marks: Vec::new() }
}

async fn head(mailbox: &dyn Mailbox, of: u8) -> Seq {
    soon(mailbox.heads(vec![user(of)])).await.unwrap()[0]
}

fn range(of: u8, after: u64, up_to: u64) -> Range {
    let (after, up_to) = (seq(after), seq(up_to));
    Range { user: user(of), after, up_to, rows_max: 1000, bytes_max: 1 << 20 }
}

/// All rows of a mailbox.
async fn all(mailbox: &dyn Mailbox, of: u8) -> Vec<Row> {
    let page = soon(mailbox.read(range(of, 0, u64::MAX))).await.unwrap();
    assert!(!page.more);
    page.rows
}

fn positions(rows: &[Row]) -> Vec<u64> {
    rows.iter().map(|row| row.seq.get()).collect()
}

/// Of several mailboxes in one batch, whole, and within bounds.
pub async fn rows_are_read_in_the_order_of_their_positions<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    let rows: Vec<_> =
        [3, 5, 9].iter().flat_map(|at| [row(&harness, 1, *at), row(&harness, 2, *at)]).collect();
    append(mailbox.as_ref(), &rows[..4]).await;
    append(mailbox.as_ref(), &rows[4..]).await;
    let of_one: Vec<_> = rows.iter().filter(|row| row.user == user(1)).cloned().collect();
    assert_eq!(all(mailbox.as_ref(), 1).await, of_one);
    assert_eq!(positions(&all(mailbox.as_ref(), 2).await), [3, 5, 9]);
    for (after, up_to, expected) in
        [(3, 9, &[5, 9][..]), (2, 5, &[3, 5]), (5, 8, &[]), (9, 9, &[]), (9, 3, &[])]
    {
        let forward = soon(mailbox.read(range(1, after, up_to))).await.unwrap();
        assert_eq!(positions(&forward.rows), expected, "({after}, {up_to}]");
        let mut back = soon(mailbox.read_back(range(1, after, up_to))).await.unwrap();
        back.rows.reverse();
        assert_eq!(forward.rows, back.rows);
    }
    let heads = soon(mailbox.heads(vec![user(2), user(3), user(1)])).await.unwrap();
    assert_eq!(heads, [seq(9), Seq::ZERO, seq(9)]);
}

/// And no rows.
pub async fn a_mailbox_without_rows_has_head_zero<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    assert_eq!(head(mailbox.as_ref(), 1).await, Seq::ZERO);
    assert_eq!(all(mailbox.as_ref(), 1).await, []);
    assert_eq!(soon(mailbox.heads(Vec::new())).await.unwrap(), []);
}

/// A writer and a reader at the same time. Who looks at the head and then reads up to it has
/// everything below it.
pub async fn nothing_appears_below_a_head_that_was_seen<H: Harness>(partitions: u16) {
    const LAST: u64 = 400;
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    let rows: Vec<_> = (1..=LAST).map(|at| row(&harness, 1, at)).collect();
    let writer = async {
        for rows in rows.chunks(3) {
            append(mailbox.as_ref(), rows).await;
            tokio::task::yield_now().await;
        }
    };
    let reader = async {
        let mut cursor = 0;
        let mut seen = Vec::new();
        while cursor < LAST {
            let head = head(mailbox.as_ref(), 1).await.get();
            assert!(head >= cursor, "a head never moves back");
            let page = soon(mailbox.read(range(1, cursor, head))).await.unwrap();
            assert!(!page.more);
            seen.extend(positions(&page.rows));
            cursor = head;
            tokio::task::yield_now().await;
        }
        seen
    };
    let ((), seen) = tokio::join!(writer, reader);
    assert_eq!(seen, (1..=LAST).collect::<Vec<_>>());
}

/// As a replay of the log does.
pub async fn a_batch_again_changes_nothing<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    let rows: Vec<_> = (1..=6).map(|at| row(&harness, 1, at)).collect();
    append(mailbox.as_ref(), &rows).await;
    append(mailbox.as_ref(), &rows).await;
    append(mailbox.as_ref(), &rows[2..4]).await;
    assert_eq!(all(mailbox.as_ref(), 1).await, rows);
    assert_eq!(head(mailbox.as_ref(), 1).await, seq(6));
}

/// Which writes rows that are there, after newer ones of the writer that took over.
pub async fn a_late_batch_of_a_stale_writer_changes_nothing<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    let rows: Vec<_> = (1..=9).map(|at| row(&harness, 1, at)).collect();
    let mut new = batch(&rows);
    new.marks = vec![mark(0, 50)];
    let mut stale = batch(&rows[..3]);
    stale.marks = vec![mark(0, 20)];
    soon(mailbox.append(new)).await.unwrap();
    soon(mailbox.append(stale)).await.unwrap();
    assert_eq!(all(mailbox.as_ref(), 1).await, rows);
    assert_eq!(head(mailbox.as_ref(), 1).await, seq(9));
    assert_eq!(soon(mailbox.marks(Partition::new(0))).await.unwrap(), [mark(0, 50).1]);
}

/// Needs [`Harness::fail_next_store`].
pub async fn a_failed_store_may_be_repeated<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    if !harness.fail_next_store() {
        return;
    }
    let rows: Vec<_> = (1..=3).map(|at| row(&harness, 1, at)).collect();
    assert!(soon(mailbox.append(batch(&rows))).await.is_err());
    append(mailbox.as_ref(), &rows).await;
    assert_eq!(all(mailbox.as_ref(), 1).await, rows);
    assert!(harness.fail_next_store());
    let cursor = Cursor { seq: seq(2), caught_up_ms: 1 };
    let store = || mailbox.store_cursors(vec![(user(1), device(1), cursor)]);
    assert!(soon(store()).await.is_err());
    soon(store()).await.unwrap();
    assert_eq!(soon(mailbox.cursor(user(1), device(1))).await.unwrap(), Some(cursor));
}

/// By rows, by bytes, and a row larger than the limit.
pub async fn pages_forward_keep_their_limits_and_miss_nothing<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    let rows = rows_of_many_sizes(&harness);
    append(mailbox.as_ref(), &rows).await;
    for (rows_max, bytes_max) in LIMITS {
        let mut found = Vec::new();
        let mut range = Range { rows_max, bytes_max, ..range(1, 0, 1000) };
        loop {
            let page = soon(mailbox.read(range)).await.unwrap();
            check_page(&page.rows, range);
            range.after = page.rows.last().map_or(range.after, |row| row.seq);
            found.extend(page.rows);
            if !page.more {
                break;
            }
        }
        assert_eq!(found, rows, "{rows_max} rows, {bytes_max} bytes");
    }
}

/// As forward, newest first.
pub async fn pages_back_keep_their_limits_and_miss_nothing<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    let mut rows = rows_of_many_sizes(&harness);
    append(mailbox.as_ref(), &rows).await;
    rows.reverse();
    for (rows_max, bytes_max) in LIMITS {
        let mut found = Vec::new();
        let mut range = Range { rows_max, bytes_max, ..range(1, 0, 1000) };
        loop {
            let page = soon(mailbox.read_back(range)).await.unwrap();
            check_page(&page.rows, range);
            range.up_to = page.rows.last().map_or(Seq::ZERO, |row| seq(row.seq.get() - 1));
            found.extend(page.rows);
            if !page.more {
                break;
            }
        }
        assert_eq!(found, rows, "{rows_max} rows, {bytes_max} bytes");
    }
}

const LIMITS: [(usize, usize); 5] =
    [(1, 1 << 20), (3, 1 << 20), (1000, 1 << 20), (1000, 300), (1000, 1)];

fn rows_of_many_sizes(harness: &impl Harness) -> Vec<Row> {
    let sized = |at: u64| {
        let item = Bytes::from(vec![b'x'; usize::try_from(at * 37 % 500).unwrap() + 1]);
        Row { item, ..row(harness, 1, at * 2) }
    };
    (1..=50).map(sized).collect()
}

fn check_page(rows: &[Row], range: Range) {
    let bytes: usize = rows.iter().map(|row| row.item.len()).sum();
    assert!(rows.len() <= range.rows_max);
    // "About": what a store adds to a row may be counted, and the row that fills a page be on it.
    assert!(rows.len() <= 1 || bytes <= range.bytes_max + 512, "{bytes} of {}", range.bytes_max);
    assert!(rows.iter().all(|row| range.after < row.seq && row.seq <= range.up_to));
}

/// Needs [`Harness::advance`].
pub async fn expired_rows_are_not_shown_and_the_head_stays<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    let short = Duration::from_secs(60);
    let rows = [
        row(&harness, 1, 1),
        row_for(&harness, 1, 2, short),
        row(&harness, 1, 3),
        row_for(&harness, 1, 4, short),
    ];
    append(mailbox.as_ref(), &rows).await;
    assert_eq!(positions(&all(mailbox.as_ref(), 1).await), [1, 2, 3, 4]);
    if !harness.advance(short + Duration::from_secs(1)) {
        return;
    }
    assert_eq!(positions(&all(mailbox.as_ref(), 1).await), [1, 3]);
    let back = soon(mailbox.read_back(range(1, 0, 1000))).await.unwrap();
    assert_eq!(positions(&back.rows), [3, 1]);
    assert_eq!(head(mailbox.as_ref(), 1).await, seq(4));
}

/// Needs [`Harness::advance`]. The head and cursors stay; new rows come.
pub async fn everything_is_gone_after_the_longest_time_to_live<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    append(mailbox.as_ref(), &[row_for(&harness, 1, 1, TTL_MAX), row_for(&harness, 1, 2, TTL_MAX)])
        .await;
    let cursor = Cursor { seq: seq(1), caught_up_ms: harness.now_ms() };
    soon(mailbox.store_cursors(vec![(user(1), device(1), cursor)])).await.unwrap();
    if !harness.advance(TTL_MAX + Duration::from_secs(1)) {
        return;
    }
    assert_eq!(all(mailbox.as_ref(), 1).await, []);
    assert_eq!(head(mailbox.as_ref(), 1).await, seq(2));
    assert_eq!(soon(mailbox.cursor(user(1), device(1))).await.unwrap(), Some(cursor));
    harness.advance(TTL_MAX);
    append(mailbox.as_ref(), &[row(&harness, 1, 3)]).await;
    assert_eq!(positions(&all(mailbox.as_ref(), 1).await), [3]);
}

/// Also when the log is replayed.
pub async fn erased_rows_stay_away_and_later_ones_come<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    let rows: Vec<_> = (1..=6).map(|at| row(&harness, 1, at)).collect();
    append(mailbox.as_ref(), &rows[..5]).await;
    append(mailbox.as_ref(), &[row(&harness, 2, 1)]).await;
    soon(mailbox.erase(user(1), seq(3))).await.unwrap();
    assert_eq!(positions(&all(mailbox.as_ref(), 1).await), [4, 5]);
    assert_eq!(head(mailbox.as_ref(), 1).await, seq(5));
    append(mailbox.as_ref(), &rows).await;
    assert_eq!(positions(&all(mailbox.as_ref(), 1).await), [4, 5, 6]);
    soon(mailbox.erase(user(1), seq(100))).await.unwrap();
    assert_eq!(all(mailbox.as_ref(), 1).await, []);
    assert_eq!(head(mailbox.as_ref(), 1).await, seq(6));
    append(mailbox.as_ref(), &[row(&harness, 1, 101)]).await;
    assert_eq!(positions(&all(mailbox.as_ref(), 1).await), [101]);
    assert_eq!(positions(&all(mailbox.as_ref(), 2).await), [1]);
}

/// Whichever comes last, also within one call; with equal positions the later time.
pub async fn the_cursor_with_the_higher_position_stays<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    assert_eq!(soon(mailbox.cursor(user(1), device(1))).await.unwrap(), None);
    let cursor = |at, caught_up_ms| Cursor { seq: seq(at), caught_up_ms };
    for (stored, kept) in [
        (vec![cursor(5, 100)], cursor(5, 100)),
        (vec![cursor(4, 200)], cursor(5, 100)),
        (vec![cursor(5, 300)], cursor(5, 300)),
        (vec![cursor(5, 50)], cursor(5, 300)),
        (vec![cursor(7, 10), cursor(6, 400)], cursor(7, 10)),
    ] {
        let stored = stored.into_iter().map(|cursor| (user(1), device(1), cursor)).collect();
        soon(mailbox.store_cursors(stored)).await.unwrap();
        let found = soon(mailbox.cursor(user(1), device(1))).await.unwrap();
        assert_eq!(found, Some(kept));
    }
    assert_eq!(soon(mailbox.cursor(user(1), device(2))).await.unwrap(), None);
    assert_eq!(soon(mailbox.cursor(user(2), device(1))).await.unwrap(), None);
}

/// A mark for partition 0 of the mail log, or another.
fn mark(source: u16, position: u64) -> (Partition, Source) {
    (Partition::new(0), Source { partition: Partition::new(source), seq: seq(position) })
}

/// Also without rows, and after reopening.
pub async fn marks_are_kept_for_each_partition_and_never_move_back<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    let other = (Partition::new(1), mark(0, 7).1);
    for marks in [vec![mark(0, 5), mark(3, 6)], vec![mark(0, 9), other], vec![mark(0, 8)]] {
        soon(mailbox.append(Batch { rows: Vec::new(), marks })).await.unwrap();
    }
    drop(mailbox);
    let harness = harness.reopen().await;
    let mailbox = harness.mailbox();
    let mut marks = soon(mailbox.marks(Partition::new(0))).await.unwrap();
    marks.sort();
    assert_eq!(marks, [mark(0, 9).1, mark(3, 6).1]);
    assert_eq!(soon(mailbox.marks(Partition::new(1))).await.unwrap(), [other.1]);
    assert_eq!(soon(mailbox.marks(Partition::new(2))).await.unwrap(), []);
}

/// After a clean end.
pub async fn rows_and_cursors_are_there_after_reopening<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let mailbox = harness.mailbox();
    let rows: Vec<_> = (1..=6).map(|at| row(&harness, 1, at)).collect();
    append(mailbox.as_ref(), &rows).await;
    let cursor = Cursor { seq: seq(2), caught_up_ms: 9 };
    soon(mailbox.store_cursors(vec![(user(1), device(1), cursor)])).await.unwrap();
    soon(mailbox.erase(user(1), seq(1))).await.unwrap();
    drop(mailbox);
    let harness = harness.reopen().await;
    let mailbox = harness.mailbox();
    assert_eq!(all(mailbox.as_ref(), 1).await, rows[1..]);
    assert_eq!(head(mailbox.as_ref(), 1).await, seq(6));
    assert_eq!(soon(mailbox.cursor(user(1), device(1))).await.unwrap(), Some(cursor));
    let other: UserId = user(2);
    assert_eq!(soon(mailbox.heads(vec![other])).await.unwrap(), [Seq::ZERO]);
}
