//! A reader of one lane.

use std::{collections::VecDeque, sync::Arc};

use ports::{
    BoxFuture,
    log::{Entry, ReadError, Reader},
};
use tokio::sync::watch;
use wire::{Offset, Seq};

use crate::{block::Block, log::Shared};

/// Bytes fetched from memory or disk at a time.
const FETCH_BYTES: usize = 1024 * 1024;

/// A reader of one lane.
pub(crate) struct LogReader {
    shared: Arc<Shared>,
    lane: usize,
    /// Which reader of the lane this is; none for control, which has many.
    number: Option<u64>,
    /// The offset to read next.
    next: u64,
    /// Everything below it was finished when this reader was opened.
    first_unfinished: u64,
    /// Blocks fetched, of which some or all records are not read yet.
    blocks: VecDeque<Arc<Block>>,
    changed: watch::Receiver<()>,
}

/// Where the next records are.
enum Place {
    /// Fetched.
    Here,
    /// On the disk, up to this offset.
    Disk(u64),
    /// There are none yet.
    Nowhere,
}

impl LogReader {
    /// A reader from the first unfinished record, or of control from the first kept one.
    pub(crate) fn open(shared: &Arc<Shared>, lane: usize) -> Self {
        let mut reader = Self::open_at(shared, lane, Offset::new(0));
        reader.next = reader.first_unfinished;
        reader
    }

    /// A reader from an offset, or from the first kept record above it.
    pub(crate) fn open_at(shared: &Arc<Shared>, lane: usize, from: Offset) -> Self {
        let state = &shared.lanes[lane];
        // Subscribed before anything is looked at, so that no change is missed.
        let changed = state.subscribe();
        let number = (!shared.layout.is_control(lane)).then(|| state.take_over());
        let first_unfinished = state.lock().finished;
        let (shared, blocks) = (Arc::clone(shared), VecDeque::new());
        Self { shared, lane, number, next: from.get(), first_unfinished, blocks, changed }
    }

    /// Fetches from memory what follows, or says where it is.
    fn fetch(&mut self) -> Result<Place, ReadError> {
        let state = self.shared.lanes[self.lane].lock();
        if self.number.is_some_and(|number| number != state.reader) {
            return Err(ReadError::Lost);
        }
        while self.blocks.front().is_some_and(|block| block.end() <= self.next) {
            self.blocks.pop_front();
        }
        if !self.blocks.is_empty() {
            return Ok(Place::Here);
        }
        if self.next >= state.end {
            return Ok(Place::Nowhere);
        }
        if self.next < state.tail_from {
            return Ok(Place::Disk(state.tail_from));
        }
        let first = state.tail.partition_point(|block| block.end() <= self.next);
        let mut bytes = 0;
        for block in state.tail.range(first..) {
            self.blocks.push_back(Arc::clone(block));
            bytes += block.memory_bytes();
            if bytes >= FETCH_BYTES {
                break;
            }
        }
        Ok(if self.blocks.is_empty() { Place::Nowhere } else { Place::Here })
    }

    /// Reads blocks below `up_to` from the disk. When there are none, nothing below it is kept, and
    /// reading goes on there.
    async fn fetch_from_disk(&mut self, up_to: u64) -> Result<(), ReadError> {
        let shared = Arc::clone(&self.shared);
        let (lane, from) = (self.lane, self.next);
        let read = move || shared.segments.read(lane, from, up_to, FETCH_BYTES);
        let blocks = tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| ReadError::Retry(error.to_string()))?
            .map_err(|error| ReadError::Stop(error.to_string()))?;
        if blocks.is_empty() {
            self.next = up_to;
        }
        self.blocks = blocks.into();
        Ok(())
    }

    /// The next records among the blocks fetched.
    fn entries(&mut self, records_max: usize, bytes_max: usize) -> Vec<Entry> {
        let epoch = self.shared.config.epoch;
        let available: usize = self.blocks.iter().map(|block| block.records.len()).sum();
        let mut entries = Vec::with_capacity(records_max.min(available));
        let mut bytes = 0;
        for block in &self.blocks {
            for offset in self.next.max(block.base)..block.end() {
                let entry = block.entry(epoch, offset);
                bytes += entry.record.len();
                let full = entries.len() == records_max || bytes > bytes_max;
                if full && !entries.is_empty() {
                    return entries;
                }
                self.next = offset + 1;
                entries.push(entry);
            }
        }
        entries
    }
}

impl Reader for LogReader {
    fn next_batch(
        &mut self,
        records_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, ReadError>> {
        Box::pin(async move {
            loop {
                // Marked as seen before looking: a change after the look ends the wait below.
                self.changed.borrow_and_update();
                match self.fetch()? {
                    Place::Here => return Ok(self.entries(records_max, bytes_max)),
                    Place::Disk(up_to) => self.fetch_from_disk(up_to).await?,
                    Place::Nowhere => self
                        .changed
                        .changed()
                        .await
                        .map_err(|_| ReadError::Retry("the log ended".into()))?,
                }
            }
        })
    }

    fn first_unfinished(&self) -> Offset {
        Offset::new(self.first_unfinished)
    }

    fn commit(&mut self, position: Seq) -> BoxFuture<'_, Result<(), ReadError>> {
        let result = self.finish(position);
        Box::pin(std::future::ready(result))
    }
}

impl LogReader {
    fn finish(&mut self, position: Seq) -> Result<(), ReadError> {
        let Some(number) = self.number else { return Ok(()) };
        let mut state = self.shared.lanes[self.lane].lock();
        if number != state.reader {
            return Err(ReadError::Lost);
        }
        let offset = position.offset().get();
        if position.epoch() != self.shared.config.epoch || offset >= state.end {
            return Err(ReadError::Stop(format!("{position:?} is not in this partition")));
        }
        state.finish(offset + 1);
        drop(state);
        self.shared.store.touch();
        Ok(())
    }
}
