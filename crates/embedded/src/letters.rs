//! Dead letters: records that no version of the program can read, kept apart from the log.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch as WriteBatch};
use ports::log::{DeadLetter, Entry};
use wire::{Partition, Seq, Topic};

use crate::segment::corrupt;

/// Bytes of a letter before its reason.
const HEADER_LEN: usize = 23;

/// The dead letters of a log, numbered from 0 in the order in which they were kept.
///
/// Key, 8 bytes: the number. Value: topic at 0 (0 = mail, 1 = group, 2 = control), partition at 1,
/// position at 3, log time at 11, length `n` of the reason (4 bytes) at 19, the reason at 23, the
/// record at `23 + n`. Integers are big-endian.
pub(crate) struct Letters {
    keyspace: Keyspace,
    /// The number of the next one.
    next: AtomicU64,
}

impl Letters {
    pub(crate) fn open(db: &Database) -> fjall::Result<Self> {
        let keyspace = db.keyspace("dead-letters", KeyspaceCreateOptions::default)?;
        let next = match keyspace.last_key_value() {
            Some(last) => number(&last.key()?)? + 1,
            None => 0,
        };
        Ok(Self { keyspace, next: AtomicU64::new(next) })
    }

    /// Numbers a letter and puts it into a batch; for the committer alone.
    pub(crate) fn add(&self, batch: &mut WriteBatch, letter: &DeadLetter) {
        let number = self.next.fetch_add(1, SeqCst);
        batch.insert(&self.keyspace, number.to_be_bytes(), encode(letter));
    }

    /// The letters with numbers above `after`, all when it is none, and at most `max`.
    pub(crate) fn list(
        &self,
        after: Option<u64>,
        max: usize,
    ) -> fjall::Result<Vec<(u64, DeadLetter)>> {
        let Some(first) = after.map_or(Some(0), |after| after.checked_add(1)) else {
            return Ok(Vec::new());
        };
        let found = self.keyspace.range(first.to_be_bytes()..).take(max);
        let letter = |guard: fjall::Guard| {
            let (key, value) = guard.into_inner()?;
            Ok((number(&key)?, decode(&value).ok_or_else(corrupt)?))
        };
        found.map(letter).collect()
    }

    /// Frees the journal that holds the newest ones.
    pub(crate) fn rotate(&self) -> fjall::Result<()> {
        self.keyspace.rotate_memtable().map(|_| ())
    }
}

fn number(key: &[u8]) -> fjall::Result<u64> {
    key.try_into().map(u64::from_be_bytes).map_err(|_| corrupt())
}

fn encode(letter: &DeadLetter) -> Vec<u8> {
    let topic = match letter.topic {
        Topic::Mail => 0,
        Topic::Group => 1,
        Topic::Control => 2,
    };
    let reason = letter.reason.as_bytes();
    let reason_len = u32::try_from(reason.len()).expect("a reason is a sentence");
    let mut value = Vec::with_capacity(HEADER_LEN + reason.len() + letter.entry.record.len());
    value.push(topic);
    value.extend_from_slice(&letter.partition.get().to_be_bytes());
    value.extend_from_slice(&letter.entry.seq.get().to_be_bytes());
    value.extend_from_slice(&letter.entry.log_time_ms.to_be_bytes());
    value.extend_from_slice(&reason_len.to_be_bytes());
    value.extend_from_slice(reason);
    value.extend_from_slice(&letter.entry.record);
    value
}

fn decode(value: &[u8]) -> Option<DeadLetter> {
    let (topic, rest) = value.split_first()?;
    let topic = match topic {
        0 => Topic::Mail,
        1 => Topic::Group,
        2 => Topic::Control,
        _ => return None,
    };
    let (partition, rest) = rest.split_first_chunk()?;
    let (seq, rest) = rest.split_first_chunk()?;
    let (log_time_ms, rest) = rest.split_first_chunk()?;
    let (reason_len, rest) = rest.split_first_chunk()?;
    let reason_len = usize::try_from(u32::from_be_bytes(*reason_len)).ok()?;
    let (reason, record) = rest.split_at_checked(reason_len)?;
    Some(DeadLetter {
        topic,
        partition: Partition::new(u16::from_be_bytes(*partition)),
        entry: Entry {
            seq: Seq::from_u64(u64::from_be_bytes(*seq)),
            log_time_ms: u64::from_be_bytes(*log_time_ms),
            record: bytes::Bytes::copy_from_slice(record),
        },
        reason: String::from_utf8(reason.to_vec()).ok()?,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn letter(topic: Topic, reason: &str, record: &'static [u8]) -> DeadLetter {
        let entry =
            Entry { seq: Seq::from_u64(77), log_time_ms: 1_700_000_000_000, record: record.into() };
        DeadLetter { topic, partition: Partition::new(258), entry, reason: reason.to_owned() }
    }

    #[test]
    fn a_letter_is_read_as_it_was_written() {
        for letter in [
            letter(Topic::Mail, "not a record", b"\x00\xff"),
            letter(Topic::Group, "", b""),
            letter(Topic::Control, "zu früh", b"x"),
        ] {
            assert_eq!(decode(&encode(&letter)), Some(letter));
        }
    }

    #[test]
    fn the_layout_is_as_documented() {
        let value = encode(&letter(Topic::Group, "no", b"\xAA\xBB"));
        let expected = [
            &[1, 1, 2][..],
            &77_u64.to_be_bytes(),
            &1_700_000_000_000_u64.to_be_bytes(),
            &[0, 0, 0, 2],
            b"no",
            &[0xAA, 0xBB],
        ];
        assert_eq!(value, expected.concat());
    }

    #[test]
    fn what_is_cut_or_foreign_is_not_a_letter() {
        let value = encode(&letter(Topic::Mail, "no", b""));
        for len in 0..value.len() {
            assert_eq!(decode(&value[..len]), None, "{len} bytes");
        }
        let mut foreign = value.clone();
        foreign[0] = 3;
        assert_eq!(decode(&foreign), None);
    }
}
