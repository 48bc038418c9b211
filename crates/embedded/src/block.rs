//! A block: the records one commit added to one partition.

use bytes::{Buf, BufMut, Bytes};
use ports::log::Entry;
use wire::{Epoch, Offset, Seq};

/// First byte of every block on disk.
const FORMAT: u8 = 1;
/// Bytes before the lengths.
const HEADER_LEN: usize = 1 + 8 + 4;
/// Bytes of one length.
const LENGTH_LEN: usize = 4;

/// Records of one partition with positions that follow each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block {
    /// Offset of the first record.
    pub(crate) base: u64,
    /// When the log took them, milliseconds since 1970.
    pub(crate) log_time_ms: u64,
    /// At least one.
    pub(crate) records: Vec<Bytes>,
}

impl Block {
    /// The offset after the last record.
    pub(crate) fn end(&self) -> u64 {
        self.base + self.records.len() as u64
    }

    /// Bytes of the records and what keeping them takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.records.iter().map(|record| record.len() + size_of::<Bytes>()).sum()
    }

    /// The record at `offset`, which must be in the block.
    pub(crate) fn entry(&self, epoch: Epoch, offset: u64) -> Entry {
        let index = usize::try_from(offset - self.base).expect("an index into memory");
        Entry {
            seq: Seq::new(epoch, Offset::new(offset)),
            log_time_ms: self.log_time_ms,
            record: self.records[index].clone(),
        }
    }

    /// The value on disk; the base is in the key.
    ///
    /// Layout, integers big-endian: format at 0, log time at 1, number of records `n` at 9, their
    /// lengths (4 bytes each) at 13, the records one after the other at `13 + 4 n`.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let payload: usize = self.records.iter().map(Bytes::len).sum();
        let mut value = Vec::with_capacity(HEADER_LEN + LENGTH_LEN * self.records.len() + payload);
        value.put_u8(FORMAT);
        value.put_u64(self.log_time_ms);
        value.put_u32(u32::try_from(self.records.len()).expect("a batch is bounded"));
        for record in &self.records {
            value.put_u32(u32::try_from(record.len()).expect("a record is bounded"));
        }
        self.records.iter().for_each(|record| value.put_slice(record));
        value
    }

    /// The block in a value; none when it is not one.
    pub(crate) fn decode(base: u64, value: &[u8]) -> Option<Self> {
        let (log_time_ms, count) = header(value)?;
        let mut lengths = value.get(HEADER_LEN..)?;
        let mut payload = Bytes::copy_from_slice(lengths.get(LENGTH_LEN.checked_mul(count)?..)?);
        let mut records = Vec::with_capacity(count);
        for _ in 0..count {
            let length = lengths.get_u32() as usize;
            if length > payload.len() {
                return None;
            }
            records.push(payload.split_to(length));
        }
        (payload.is_empty() && count > 0).then_some(Self { base, log_time_ms, records })
    }
}

/// Log time and number of records of an encoded block.
pub(crate) fn header(mut value: &[u8]) -> Option<(u64, usize)> {
    if value.len() < HEADER_LEN || value.get_u8() != FORMAT {
        return None;
    }
    let log_time_ms = value.get_u64();
    Some((log_time_ms, value.get_u32() as usize))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_block_comes_back_as_it_was(
            base in 0_u64..1 << 44,
            log_time_ms: u64,
            records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..20),
        ) {
            let records = records.into_iter().map(Bytes::from).collect();
            let block = Block { base, log_time_ms, records };
            prop_assert_eq!(Block::decode(base, &block.encode()).unwrap(), block);
        }

        #[test]
        fn any_bytes_decode_or_not_without_a_panic(
            value in prop::collection::vec(any::<u8>(), 0..64),
        ) {
            let _ = Block::decode(0, &value);
        }
    }

    #[test]
    fn a_cut_block_is_no_block() {
        let records = vec![Bytes::from_static(b"one"), Bytes::from_static(b"three")];
        let value = Block { base: 7, log_time_ms: 9, records }.encode();
        for length in 0..value.len() {
            assert_eq!(Block::decode(7, &value[..length]), None, "{length} bytes");
        }
    }
}
