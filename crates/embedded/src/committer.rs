//! The committer: the one thread that appends to the log.
//!
//! It takes what is queued, gives offsets and log times, writes one block for each lane in one
//! batch, syncs once, shows the blocks to readers and answers the appends. What comes meanwhile
//! shares the next sync, which under load waits for more of it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fjall::{Database, PersistMode};
use ports::log::{AppendError, DeadLetter};
use tokio::sync::oneshot;
use wire::{Epoch, Offset, Seq};

use crate::{
    block::Block,
    config::{EngineConfig, millis},
    lane::{Counts, Lane, Layout, Untold},
    letters::Letters,
    queue::{Append, Fate, Outcome, Queue, Work},
    segment::{self, Last, Segments},
};

/// Appends that met in one commit, from which on the next one gathers. Below, appends come so
/// seldom that waiting for others would cost each of them more than it saves.
const COMPANY: usize = 4;

/// Between two commits when the second gathers, and not enough come earlier; with the sync, some
/// 2 ms from one to the next. A sync, and waking those who wait for it, costs as much for one
/// append as for twenty: at 10,000 appends/s this saves a sixth of the CPU of all.
const GATHER: Duration = Duration::from_micros(1_700);

/// What the committer owns and shares.
pub(crate) struct Committer {
    pub(crate) db: Database,
    pub(crate) letters: Arc<Letters>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) lanes: Arc<[Lane]>,
    pub(crate) layout: Layout,
    pub(crate) queue: Arc<Queue>,
    pub(crate) config: EngineConfig,
    pub(crate) clock: crate::WallClock,
    /// By lane: where the next record goes, and the log time it cannot be below.
    pub(crate) next: Vec<Last>,
}

/// Answers that wait for the sync.
#[derive(Default)]
struct Replies {
    appended: Vec<(oneshot::Sender<Outcome>, Vec<Seq>)>,
    failed: Vec<(oneshot::Sender<Outcome>, Untold)>,
    dead_letters: Vec<oneshot::Sender<Result<(), AppendError>>>,
    barriers: Vec<oneshot::Sender<()>>,
}

impl Committer {
    /// Runs until the queue is closed and empty, or a commit failed.
    pub(crate) fn run(mut self) {
        let mut work = Vec::new();
        let mut gather = Duration::ZERO;
        while self.queue.take(&mut work, gather) {
            gather = gather_after(work.len());
            self.commit(&mut work);
        }
    }

    /// Commits one batch of work and empties it.
    fn commit(&mut self, work: &mut Vec<Work>) {
        let mut replies = Replies::default();
        let mut added: Vec<Vec<Bytes>> = vec![Vec::new(); self.layout.lanes()];
        let mut letters = Vec::new();
        for work in work.drain(..) {
            match work {
                Work::Append(append) => self.place(append, &mut added, &mut replies),
                Work::DeadLetter(letter, reply) => {
                    letters.push(letter);
                    replies.dead_letters.push(reply);
                }
                Work::Barrier(reply) => replies.barriers.push(reply),
            }
        }
        let blocks = self.blocks(added);
        if let Err(error) = self.write(&blocks, letters) {
            // Before anybody is told anything, which dropping the replies does.
            (self.config.on_fatal)(&format!("the log could not be written: {error}"));
            self.queue.abandon();
            return;
        }
        self.publish(blocks);
        self.answer(replies);
    }

    /// Gives an append its positions, or fails it when a test wants that.
    fn place(&self, append: Append, added: &mut [Vec<Bytes>], replies: &mut Replies) {
        let lanes: Vec<usize> = append.records.iter().map(|(lane, _)| *lane).collect();
        let follows = lanes.iter().any(|lane| self.lanes[*lane].has_untold());
        let fate = if follows { Fate::Follows } else { append.fate };
        let mut positions = Vec::with_capacity(append.records.len());
        if fate != Fate::Follows {
            for (lane, record) in append.records {
                let offset = self.next[lane].end + added[lane].len() as u64;
                positions.push(Seq::new(self.config.epoch, Offset::new(offset)));
                added[lane].push(record);
            }
        }
        match fate {
            Fate::Succeeds => replies.appended.push((append.reply, positions)),
            Fate::FailsAfterEffect | Fate::Follows => {
                let untold = Untold::new(&self.lanes, lanes);
                replies.failed.push((append.reply, untold));
            }
        }
    }

    /// The records of each lane as a block.
    fn blocks(&mut self, added: Vec<Vec<Bytes>>) -> Vec<(usize, Block)> {
        let now_ms = (self.clock)();
        let mut blocks = Vec::new();
        for (lane, records) in added.into_iter().enumerate() {
            if records.is_empty() {
                continue;
            }
            let next = &mut self.next[lane];
            next.log_time_ms = next.log_time_ms.max(now_ms);
            let block = Block { base: next.end, log_time_ms: next.log_time_ms, records };
            next.end = block.end();
            blocks.push((lane, block));
        }
        blocks
    }

    /// Writes and syncs.
    fn write(&self, blocks: &[(usize, Block)], letters: Vec<DeadLetter>) -> fjall::Result<()> {
        if blocks.is_empty() && letters.is_empty() {
            return Ok(());
        }
        self.roll_when_full()?;
        let segment = self.segments.newest();
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for (lane, block) in blocks {
            let value = block.encode();
            let bytes = value.len() as u64;
            let key = segment::key(self.layout.name(*lane), block.base);
            let time_ms = (block.log_time_ms, block.log_time_ms);
            segment.note(*lane, (block.base, block.end()), time_ms, bytes);
            batch.insert(&segment.keyspace, key, value);
        }
        for letter in &letters {
            self.letters.add(&mut batch, letter);
        }
        if !self.config.faults.before_sync() {
            return Err(fjall::Error::Io(std::io::Error::other("a test wants the sync to fail")));
        }
        batch.commit()
    }

    fn roll_when_full(&self) -> fjall::Result<()> {
        let segment = self.segments.newest();
        let age_ms = millis(self.config.segment_age);
        let old = segment
            .time_ms()
            .is_some_and(|(first_ms, _)| (self.clock)().saturating_sub(first_ms) >= age_ms);
        if segment.bytes() >= self.config.segment_bytes || old {
            self.segments.roll()?;
        }
        Ok(())
    }

    /// Shows durable blocks to readers.
    fn publish(&self, blocks: Vec<(usize, Block)>) {
        let tail_bytes_max = self.config.tail_bytes_max / self.layout.lanes();
        for (lane, block) in blocks {
            let counts =
                if self.layout.is_control(lane) { Counts::Nothing } else { Counts::Backlog };
            self.lanes[lane].publish(block, tail_bytes_max, counts);
        }
    }

    /// Answers, in order. A caller that went away does not want its answer.
    fn answer(&self, replies: Replies) {
        for (_, untold) in &replies.failed {
            self.queue.fail_waiting(untold.lanes());
        }
        for (reply, untold) in replies.failed {
            let _ = reply.send(Err((AppendError("a test wants this".into()), untold)));
        }
        for (reply, positions) in replies.appended {
            let _ = reply.send(Ok(positions));
        }
        for reply in replies.dead_letters {
            let _ = reply.send(Ok(()));
        }
        for reply in replies.barriers {
            let _ = reply.send(());
        }
    }
}

/// How long the next commit gathers after one of so many appends.
const fn gather_after(appends: usize) -> Duration {
    if appends < COMPANY { Duration::ZERO } else { GATHER }
}

/// The position before every record of an epoch starts at this offset: zero means *nothing read
/// yet*.
pub(crate) fn first_offset(epoch: Epoch) -> u64 {
    u64::from(epoch.get() == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_waits_for_company_only_after_one_that_had_some() {
        assert_eq!(gather_after(1), Duration::ZERO);
        assert_eq!(gather_after(COMPANY - 1), Duration::ZERO);
        assert_eq!(gather_after(COMPANY), GATHER);
    }
}
