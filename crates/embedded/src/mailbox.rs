//! The mailboxes.

use std::{
    collections::{HashMap, hash_map::Entry as Slot},
    sync::Arc,
};

use bytes::Bytes;
use fjall::Guard;
use ports::{
    BoxFuture, Mailbox, StoreError,
    mailbox::{Batch, Cursor, Range, Row, Rows},
};
use wire::{DeviceId, Partition, Seq, UserId, record::Source};

use crate::{
    WallClock,
    segment::corrupt,
    store::{
        Store,
        kind::{CURSOR, HEAD, MARK},
        number, stop,
    },
};

/// A batch of more bytes than this is written on a thread made for blocking.
const INLINE_BYTES_MAX: usize = 512 * 1024;

/// Rows that an erasure removes in one batch.
const ERASE_ROWS: usize = 4096;

/// Bytes of a row's value before the item.
const ROW_HEADER_LEN: usize = 16;

/// Bytes that a row takes beside its item: keys and values of the row and the head.
const ROW_OVERHEAD: usize = 24 + ROW_HEADER_LEN + 17 + 16;

/// The mailboxes in the store.
///
/// Layouts, integers big-endian. Row: key user at 0, position at 16; value expiry at 0, log time at
/// 8, item at 16. Head: key `h`, user at 1; value head at 0, position erased up to at 8. Cursor:
/// key `c`, user at 1, device at 17; value position at 0, caught up at 8. Mark: key `k`, partition
/// at 1, source partition at 3; value position.
pub(crate) struct MailboxEngine {
    store: Arc<Store>,
    clock: WallClock,
}

/// The newest position of a mailbox, and up to where it was erased.
#[derive(Clone, Copy, Default)]
struct Head {
    newest: u64,
    erased: u64,
}

/// Which end of a range comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    OldestFirst,
    NewestFirst,
}

impl MailboxEngine {
    pub(crate) fn new(store: Arc<Store>, clock: WallClock) -> Self {
        Self { store, clock }
    }
}

impl Mailbox for MailboxEngine {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        let bytes: usize = batch.rows.iter().map(|row| row.item.len() + ROW_OVERHEAD).sum();
        if bytes <= INLINE_BYTES_MAX {
            let result = append(&self.store, &batch, bytes, (self.clock)());
            return Box::pin(std::future::ready(result));
        }
        let (store, now_ms) = (Arc::clone(&self.store), (self.clock)());
        blocking(move || append(&store, &batch, bytes, now_ms))
    }

    fn marks(&self, partition: Partition) -> BoxFuture<'_, Result<Vec<Source>, StoreError>> {
        let [a, b] = partition.get().to_be_bytes();
        let marks = self.store.state.prefix([MARK, a, b]).map(|guard| {
            let (key, value) = guard.into_inner()?;
            let source = key.get(3..5).and_then(|digits| digits.try_into().ok());
            let partition = source.map(u16::from_be_bytes).ok_or_else(corrupt)?;
            let seq = Seq::from_u64(number(&value, 0)?);
            Ok(Source { partition: Partition::new(partition), seq })
        });
        ready(marks.collect())
    }

    fn heads(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Seq>, StoreError>> {
        let head = |user: &UserId| Ok(Seq::from_u64(head(&self.store, *user)?.newest));
        ready(users.iter().map(head).collect())
    }

    fn read(&self, range: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
        let (store, now_ms) = (Arc::clone(&self.store), (self.clock)());
        blocking(move || read(&store, range, Order::OldestFirst, now_ms).map_err(stop))
    }

    fn read_back(&self, range: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
        let (store, now_ms) = (Arc::clone(&self.store), (self.clock)());
        blocking(move || read(&store, range, Order::NewestFirst, now_ms).map_err(stop))
    }

    fn cursor(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        ready(stored_cursor(&self.store, &cursor_key(user, device)))
    }

    fn store_cursors(
        &self,
        cursors: Vec<(UserId, DeviceId, Cursor)>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let store = &self.store;
        let result = store.write(|batch| {
            let mut newest: HashMap<[u8; 25], Cursor> = HashMap::new();
            for (user, device, cursor) in cursors {
                let key = cursor_key(user, device);
                let present = match newest.get(&key) {
                    Some(present) => Some(*present),
                    None => stored_cursor(store, &key)?,
                };
                let order = |cursor: &Cursor| (cursor.seq, cursor.caught_up_ms);
                if present.is_none_or(|present| order(&present) < order(&cursor)) {
                    newest.insert(key, cursor);
                }
            }
            for (key, cursor) in newest {
                let value = [cursor.seq.get().to_be_bytes(), cursor.caught_up_ms.to_be_bytes()];
                store.count(key.len() + 16);
                batch.insert(&store.state, key, value.concat());
            }
            Ok(())
        });
        Box::pin(std::future::ready(result))
    }

    fn erase(&self, user: UserId, up_to: Seq) -> BoxFuture<'_, Result<(), StoreError>> {
        let store = Arc::clone(&self.store);
        blocking(move || erase(&store, user, up_to.get()))
    }
}

/// Stores rows, heads and marks as one.
fn append(store: &Store, batch: &Batch, bytes: usize, now_ms: u64) -> Result<(), StoreError> {
    store.add(bytes, |writes| {
        let mut heads: HashMap<UserId, Head> = HashMap::with_capacity(batch.rows.len());
        for row in &batch.rows {
            let head = match heads.entry(row.user) {
                Slot::Occupied(known) => known.into_mut(),
                Slot::Vacant(unknown) => unknown.insert(head(store, row.user)?),
            };
            let seq = row.seq.get();
            head.newest = head.newest.max(seq);
            if seq > head.erased && row.expires_ms >= now_ms {
                let window = store.windows.at(row.log_time_ms)?;
                writes.insert(&window, row_key(row.user, seq), encode_row(row));
            }
        }
        // After the rows, as they are shown one by one: who sees the head sees what is below it.
        for (user, head) in heads {
            let value = [head.newest.to_be_bytes(), head.erased.to_be_bytes()];
            writes.insert(&store.state, head_key(user), value.concat());
        }
        for (partition, source) in &batch.marks {
            let [a, b] = partition.get().to_be_bytes();
            let [c, d] = source.partition.get().to_be_bytes();
            let key = [MARK, a, b, c, d];
            let present = store.state.get(key)?.map_or(Ok(0), |value| number(&value, 0))?;
            if source.seq.get() > present {
                writes.insert(&store.state, key, source.seq.get().to_be_bytes());
            }
        }
        Ok(())
    })
}

fn read(store: &Store, range: Range, order: Order, now_ms: u64) -> fjall::Result<Rows> {
    let mut page = Rows::default();
    let after = range.after.get().max(head(store, range.user)?.erased);
    let up_to = range.up_to.get();
    if after >= up_to {
        return Ok(page);
    }
    let keys = row_key(range.user, after + 1)..=row_key(range.user, up_to);
    let mut windows = store.windows.all();
    if order == Order::NewestFirst {
        windows.reverse();
    }
    let mut bytes = 0;
    for window in windows {
        let rows = window.range(keys.clone());
        let rows: &mut dyn Iterator<Item = Guard> = match order {
            Order::OldestFirst => &mut { rows },
            Order::NewestFirst => &mut rows.rev(),
        };
        for guard in rows {
            let (key, value) = guard.into_inner()?;
            let row = decode_row(range.user, &key, &value)?;
            if row.expires_ms < now_ms {
                continue;
            }
            bytes += row.item.len();
            let full = page.rows.len() >= range.rows_max || bytes > range.bytes_max;
            if full && !page.rows.is_empty() {
                page.more = true;
                return Ok(page);
            }
            page.rows.push(row);
        }
    }
    Ok(page)
}

/// Marks first, so that nothing erased is seen or written again, then removes.
fn erase(store: &Store, user: UserId, up_to: u64) -> Result<(), StoreError> {
    store.write(|batch| {
        let mut head = head(store, user)?;
        head.erased = head.erased.max(up_to);
        let value = [head.newest.to_be_bytes(), head.erased.to_be_bytes()];
        batch.insert(&store.state, head_key(user), value.concat());
        Ok(())
    })?;
    for window in store.windows.all() {
        let mut rows = window.range(row_key(user, 0)..=row_key(user, up_to)).peekable();
        while rows.peek().is_some() {
            let some = rows.by_ref().take(ERASE_ROWS);
            store.write(|batch| {
                for guard in some {
                    batch.remove(&window, guard.key()?);
                    store.count(24);
                }
                Ok(())
            })?;
        }
    }
    store.persist().map_err(stop)
}

fn head(store: &Store, user: UserId) -> fjall::Result<Head> {
    let Some(value) = store.state.get(head_key(user))? else { return Ok(Head::default()) };
    Ok(Head { newest: number(&value, 0)?, erased: number(&value, 8)? })
}

fn head_key(user: UserId) -> [u8; 17] {
    let mut key = [HEAD; 17];
    key[1..].copy_from_slice(user.as_bytes());
    key
}

fn row_key(user: UserId, seq: u64) -> [u8; 24] {
    let mut key = [0; 24];
    key[..16].copy_from_slice(user.as_bytes());
    key[16..].copy_from_slice(&seq.to_be_bytes());
    key
}

fn encode_row(row: &Row) -> Vec<u8> {
    let mut value = Vec::with_capacity(ROW_HEADER_LEN + row.item.len());
    value.extend_from_slice(&row.expires_ms.to_be_bytes());
    value.extend_from_slice(&row.log_time_ms.to_be_bytes());
    value.extend_from_slice(&row.item);
    value
}

fn decode_row(user: UserId, key: &[u8], value: &[u8]) -> fjall::Result<Row> {
    Ok(Row {
        user,
        seq: Seq::from_u64(number(key, 16)?),
        expires_ms: number(value, 0)?,
        log_time_ms: number(value, 8)?,
        item: Bytes::copy_from_slice(&value[ROW_HEADER_LEN..]),
    })
}

fn cursor_key(user: UserId, device: DeviceId) -> [u8; 25] {
    let mut key = [CURSOR; 25];
    key[1..17].copy_from_slice(user.as_bytes());
    key[17..].copy_from_slice(device.as_bytes());
    key
}

fn stored_cursor(store: &Store, key: &[u8; 25]) -> fjall::Result<Option<Cursor>> {
    let Some(value) = store.state.get(key)? else { return Ok(None) };
    let seq = Seq::from_u64(number(&value, 0)?);
    Ok(Some(Cursor { seq, caught_up_ms: number(&value, 8)? }))
}

fn ready<T: Send + 'static>(result: fjall::Result<T>) -> BoxFuture<'static, Result<T, StoreError>> {
    Box::pin(std::future::ready(result.map_err(stop)))
}

/// Runs on a thread made for blocking.
fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> BoxFuture<'static, Result<T, StoreError>> {
    let task = tokio::task::spawn_blocking(work);
    Box::pin(
        async move { task.await.unwrap_or_else(|error| Err(StoreError::Retry(error.to_string()))) },
    )
}
