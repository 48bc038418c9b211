//! Segments: where blocks lie on the disk, one keyspace each, dropped whole.

use std::sync::{
    Arc, Mutex, RwLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use fjall::{Database, Keyspace, KeyspaceCreateOptions, config::BlockSizePolicy};

use crate::{
    block::{self, Block},
    lane::Layout,
};

/// Keyspaces of segments are named with this and the number of the segment.
const NAME: &str = "segment-";

/// A memtable of a segment is flushed at this size, so that it is not in memory in full.
const MEMTABLE_BYTES: u64 = 32 * 1024 * 1024;

/// Blocks of all lanes, from one time to another.
pub(crate) struct Segment {
    pub(crate) number: u64,
    pub(crate) keyspace: Keyspace,
    spans: Mutex<Spans>,
    /// It has ended, and its memtable was flushed.
    flushed: AtomicBool,
}

/// What a segment holds.
#[derive(Clone, Debug)]
struct Spans {
    bytes: u64,
    /// Log time of the first and of the last record of all, milliseconds since 1970.
    time_ms: Option<(u64, u64)>,
    /// By lane: first offset and the offset after the last, none without records.
    lanes: Vec<Option<(u64, u64)>>,
}

/// All segments, oldest first; the last is written to.
pub(crate) struct Segments {
    db: Database,
    layout: Layout,
    list: RwLock<Vec<Arc<Segment>>>,
    /// Made ahead, so that no commit waits for the disk to make one.
    spare: Mutex<Option<Arc<Segment>>>,
}

/// The last record of a lane, as found on the disk.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Last {
    /// The offset after it.
    pub(crate) end: u64,
    /// Its log time.
    pub(crate) log_time_ms: u64,
}

impl Segments {
    /// The segments in a database, at least one.
    pub(crate) fn open(db: &Database, layout: Layout) -> fjall::Result<Self> {
        let mut numbers: Vec<u64> = db
            .list_keyspace_names()
            .iter()
            .filter_map(|name| name.strip_prefix(NAME)?.parse().ok())
            .collect();
        numbers.sort_unstable();
        if numbers.is_empty() {
            numbers.push(0);
        }
        let open = |number| Segment::open(db, layout, number).map(Arc::new);
        let list = numbers.into_iter().map(open).collect::<fjall::Result<Vec<_>>>()?;
        Ok(Self { db: db.clone(), layout, list: RwLock::new(list), spare: Mutex::default() })
    }

    /// The segment that is written to.
    pub(crate) fn newest(&self) -> Arc<Segment> {
        let list = self.list.read().expect("no holder of this lock panics");
        Arc::clone(list.last().expect("there is always a segment"))
    }

    /// All segments, oldest first.
    pub(crate) fn all(&self) -> Vec<Arc<Segment>> {
        self.list.read().expect("no holder of this lock panics").clone()
    }

    /// Log time of the first record that is kept.
    pub(crate) fn begin_ms(&self) -> Option<u64> {
        let times = self.all().into_iter().filter_map(|segment| segment.time_ms());
        times.map(|(first_ms, _)| first_ms).min()
    }

    /// Begins a new segment.
    pub(crate) fn roll(&self) -> fjall::Result<()> {
        // Held to the end, so that nobody makes the same segment meanwhile.
        let mut spare = self.spare.lock().expect("no holder of this lock panics");
        let next = match spare.take() {
            Some(spare) => spare,
            None => Arc::new(Segment::open(&self.db, self.layout, self.newest().number + 1)?),
        };
        self.list.write().expect("no holder of this lock panics").push(next);
        Ok(())
    }

    /// Makes the next segment ahead of its use.
    pub(crate) fn prepare(&self) -> fjall::Result<()> {
        let mut spare = self.spare.lock().expect("no holder of this lock panics");
        if spare.is_none() {
            let number = self.newest().number + 1;
            *spare = Some(Arc::new(Segment::open(&self.db, self.layout, number)?));
        }
        Ok(())
    }

    /// Drops the oldest segment. Its disk space is free when the last reader lets go of it.
    pub(crate) fn drop_oldest(&self) -> fjall::Result<()> {
        let oldest = {
            let mut list = self.list.write().expect("no holder of this lock panics");
            assert!(list.len() > 1, "the segment that is written to stays");
            list.remove(0)
        };
        self.db.delete_keyspace(oldest.keyspace.clone())
    }

    /// The last record of a lane, by default before all.
    pub(crate) fn last(&self, lane: usize) -> fjall::Result<Last> {
        for segment in self.all().iter().rev() {
            if let Some((base, value)) = segment.last_block(self.layout.name(lane))? {
                let (log_time_ms, count) = block::header(&value).ok_or_else(corrupt)?;
                return Ok(Last { end: base + count as u64, log_time_ms });
            }
        }
        Ok(Last::default())
    }

    /// Blocks with records at or above `from` and below `up_to`, in order: at least one when there
    /// is any, about `bytes_max` bytes.
    pub(crate) fn read(
        &self,
        lane: usize,
        from: u64,
        up_to: u64,
        bytes_max: usize,
    ) -> fjall::Result<Vec<Arc<Block>>> {
        let mut blocks = Vec::new();
        let mut bytes = 0;
        for segment in self.all() {
            let span = segment.spans().lanes[lane];
            if span.is_none_or(|(_, end)| end <= from) {
                continue;
            }
            let start = segment.start(self.layout.name(lane), from)?;
            let name = self.layout.name(lane);
            for guard in segment.keyspace.range(key(name, start)..key(name, up_to)) {
                let (key, value) = guard.into_inner()?;
                let block = Block::decode(base(&key)?, &value).ok_or_else(corrupt)?;
                if block.end() <= from {
                    continue;
                }
                bytes += block.memory_bytes();
                blocks.push(Arc::new(block));
                if bytes >= bytes_max {
                    return Ok(blocks);
                }
            }
        }
        Ok(blocks)
    }
}

impl Segment {
    fn open(db: &Database, layout: Layout, number: u64) -> fjall::Result<Self> {
        let keyspace = db.keyspace(&format!("{NAME}{number:012}"), || {
            // Values are blocks of many records already: nothing is gained by packing them.
            KeyspaceCreateOptions::default()
                .max_memtable_size(MEMTABLE_BYTES)
                .data_block_size_policy(BlockSizePolicy::all(64 * 1024))
        })?;
        let segment = Self {
            number,
            keyspace,
            spans: Mutex::new(Spans { bytes: 0, time_ms: None, lanes: vec![None; layout.lanes()] }),
            flushed: AtomicBool::new(false),
        };
        for lane in 0..layout.lanes() {
            segment.measure(lane, layout.name(lane))?;
        }
        segment.spans.lock().expect("nobody else has it").bytes = segment.keyspace.disk_space();
        Ok(segment)
    }

    /// Learns from the disk what the segment holds of a lane.
    fn measure(&self, lane: usize, name: [u8; 3]) -> fjall::Result<()> {
        let Some(first) = self.keyspace.prefix(name).next() else { return Ok(()) };
        let (first_key, first_value) = first.into_inner()?;
        let Some((last, last_value)) = self.last_block(name)? else { return Ok(()) };
        let (first_ms, _) = block::header(&first_value).ok_or_else(corrupt)?;
        let (last_ms, count) = block::header(&last_value).ok_or_else(corrupt)?;
        let first = base(&first_key)?;
        self.note(lane, (first, last + count as u64), (first_ms, last_ms), 0);
        Ok(())
    }

    /// Notes that blocks were added.
    pub(crate) fn note(&self, lane: usize, span: (u64, u64), time_ms: (u64, u64), bytes: u64) {
        let mut spans = self.spans.lock().expect("no holder of this lock panics");
        let (first, _) = spans.lanes[lane].unwrap_or(span);
        spans.lanes[lane] = Some((first, span.1));
        let (oldest_ms, newest_ms) = spans.time_ms.unwrap_or(time_ms);
        spans.time_ms = Some((oldest_ms.min(time_ms.0), newest_ms.max(time_ms.1)));
        spans.bytes += bytes;
    }

    /// Bytes of blocks, roughly.
    pub(crate) fn bytes(&self) -> u64 {
        self.spans.lock().expect("no holder of this lock panics").bytes
    }

    /// Log time of the first and of the last record.
    pub(crate) fn time_ms(&self) -> Option<(u64, u64)> {
        self.spans.lock().expect("no holder of this lock panics").time_ms
    }

    /// The offset after the last record of a lane in this segment.
    pub(crate) fn end(&self, lane: usize) -> Option<u64> {
        self.spans().lanes[lane].map(|(_, end)| end)
    }

    /// Moves an ended segment from the journal into tables, once.
    pub(crate) fn flush(&self) -> fjall::Result<()> {
        if !self.flushed.swap(true, Relaxed) {
            self.keyspace.rotate_memtable()?;
        }
        Ok(())
    }

    fn spans(&self) -> std::sync::MutexGuard<'_, Spans> {
        self.spans.lock().expect("no holder of this lock panics")
    }

    fn last_block(&self, name: [u8; 3]) -> fjall::Result<Option<(u64, fjall::UserValue)>> {
        let Some(last) = self.keyspace.prefix(name).next_back() else { return Ok(None) };
        let (key, value) = last.into_inner()?;
        Ok(Some((base(&key)?, value)))
    }

    /// The base of the block that may hold `from`.
    fn start(&self, name: [u8; 3], from: u64) -> fjall::Result<u64> {
        match self.keyspace.range(key(name, 0)..=key(name, from)).next_back() {
            Some(guard) => base(&guard.key()?),
            None => Ok(from),
        }
    }
}

/// The key of a block.
///
/// Layout, 11 bytes: name of the lane at 0, base offset (big-endian) at 3.
pub(crate) fn key(name: [u8; 3], base: u64) -> [u8; 11] {
    let mut key = [0; 11];
    key[..3].copy_from_slice(&name);
    key[3..].copy_from_slice(&base.to_be_bytes());
    key
}

fn base(key: &[u8]) -> fjall::Result<u64> {
    let digits = key.get(3..).and_then(|digits| digits.try_into().ok());
    digits.map(u64::from_be_bytes).ok_or_else(corrupt)
}

/// Something on the disk that this program did not write.
pub(crate) fn corrupt() -> fjall::Error {
    fjall::Error::Io(std::io::Error::new(
        std::io::ErrorKind::InvalidData,
        "a block of the log is damaged",
    ))
}
