//! The log as roles see it.

use std::{
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use bytes::Bytes;
use fjall::{Database, Keyspace, KeyspaceCreateOptions, PersistMode};
use ports::{
    BoxFuture, Log,
    log::{AppendError, DeadLetter, ReadError, Reader, Refused},
};
use tokio::sync::oneshot;
use wire::{Epoch, Offset, Partition, Seq, Topic};

use crate::{
    WallClock,
    committer::{Committer, first_offset},
    config::{EngineConfig, millis},
    journal::{self, Later},
    lane::{Lane, Layout},
    letters::Letters,
    queue::{Append, Fate, OFFSETS_AT_RISK, Origin, Queue, Work},
    reader::LogReader,
    segment::{Last, Segment, Segments, corrupt},
    store::Store,
};

/// Name of the keyspace with the little that is not blocks.
const META: &str = "meta";
/// Present when the log was closed cleanly; removed before the first append.
const KEY_CLEAN: &[u8] = b"clean";
/// Followed by the name of a lane: the offset after its last record and that record's log time, as
/// of the last trimming. Layout: offset at 0, log time at 8, big-endian.
const KEY_END: &[u8] = b"end/";

/// The log and its committer thread.
pub(crate) struct LogEngine {
    shared: Arc<Shared>,
    committer: Mutex<Option<JoinHandle<()>>>,
}

/// What readers and the log share.
pub(crate) struct Shared {
    db: Database,
    meta: Keyspace,
    pub(crate) letters: Arc<Letters>,
    pub(crate) segments: Arc<Segments>,
    pub(crate) lanes: Arc<[Lane]>,
    pub(crate) layout: Layout,
    pub(crate) config: EngineConfig,
    pub(crate) store: Arc<Store>,
    queue: Arc<Queue>,
}

impl LogEngine {
    /// Opens the log below the directory and starts its committer.
    pub(crate) fn open(
        config: &EngineConfig,
        clock: WallClock,
        store: Arc<Store>,
    ) -> fjall::Result<Arc<Self>> {
        let directory = config.directory.join("log");
        journal::cut_torn_end(&directory, Later::Damage)?;
        let db = Database::builder(directory)
            .cache_size(8 * 1024 * 1024)
            .worker_threads(1)
            .max_journaling_size(256 * 1024 * 1024)
            .open()?;
        let meta = db.keyspace(META, KeyspaceCreateOptions::default)?;
        let letters = Arc::new(Letters::open(&db)?);
        let layout = Layout { mail: config.mail_partitions, group: config.group_partitions };
        let segments = Arc::new(Segments::open(&db, layout)?);
        let clean = meta.contains_key(KEY_CLEAN)?;
        let next = next_positions(&meta, &segments, layout, config.epoch, clean)?;
        mark(&db, &meta, Mark::Unclean)?;

        let lanes: Arc<[Lane]> = next
            .iter()
            .enumerate()
            .map(|(lane, next)| {
                let finished = store.checkpoint(layout.name(lane))?;
                let backlog = if layout.is_control(lane) {
                    0
                } else {
                    unfinished(&segments, layout, lane, finished)
                };
                Ok(Lane::new(next.end, finished, backlog))
            })
            .collect::<fjall::Result<_>>()?;
        let queue = Arc::new(Queue::new(config));
        let committer = Committer {
            db: db.clone(),
            letters: Arc::clone(&letters),
            segments: Arc::clone(&segments),
            lanes: Arc::clone(&lanes),
            layout,
            queue: Arc::clone(&queue),
            config: config.clone(),
            clock,
            next,
        };
        let thread = std::thread::Builder::new()
            .name("posthorn-log".into())
            .spawn(move || committer.run())?;
        let config = config.clone();
        let shared = Shared { db, meta, letters, segments, lanes, layout, config, store, queue };
        Ok(Arc::new(Self { shared: Arc::new(shared), committer: Mutex::new(Some(thread)) }))
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Refuses appends, commits what is queued, and ends the committer; whether all went well.
    pub(crate) fn stop(&self) -> bool {
        self.shared.queue.close();
        let thread = self.committer.lock().expect("no holder of this lock panics").take();
        thread.is_none_or(|thread| thread.join().is_ok())
    }

    /// Takes records when there is room for their bytes.
    fn append(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
        origin: Origin,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused> {
        let shared = &self.shared;
        let bytes = records.iter().map(|(_, record)| record.len()).sum();
        let index = |(partition, record)| (shared.layout.index(topic, partition), record);
        let records: Vec<_> = records.into_iter().map(index).collect();
        let queue = shared.queue.lock();
        shared.queue.check(&queue, origin, records.len(), bytes)?;
        if shared.config.faults.refuses() {
            return Err(Refused::Overload);
        }
        let space = &shared.store.space;
        let has_room = match origin {
            Origin::Client => space.take_append(bytes as u64),
            Origin::Owed => space.take_owed(bytes as u64),
        };
        if !has_room {
            return Err(Refused::Storage);
        }
        let fate = if records.iter().any(|(lane, _)| shared.lanes[*lane].has_untold()) {
            Fate::Follows
        } else if shared.config.faults.takes_append() {
            Fate::FailsAfterEffect
        } else {
            Fate::Succeeds
        };
        let (reply, outcome) = oneshot::channel();
        shared.queue.push(queue, Work::Append(Append { records, bytes, reply, fate }));
        Ok(Box::pin(async move {
            match outcome.await {
                Ok(Ok(positions)) => Ok(positions),
                // Told from here on: what holds the lanes is dropped now.
                Ok(Err((error, _untold))) => Err(error),
                Err(_) => Err(ended()),
            }
        }))
    }

    /// Notes durably that everything there is has been seen: positions go on without a gap.
    pub(crate) fn mark_clean(&self) -> fjall::Result<()> {
        mark(&self.shared.db, &self.shared.meta, Mark::Clean)
    }
}

/// An engine that is dropped without being closed ends as a crash does: what is queued is not
/// appended.
impl Drop for LogEngine {
    fn drop(&mut self) {
        self.shared.queue.abandon();
        self.stop();
    }
}

impl Log for LogEngine {
    fn partition_count(&self, topic: Topic) -> u16 {
        self.shared.layout.count(topic)
    }

    fn epoch(&self) -> Epoch {
        self.shared.config.epoch
    }

    fn try_append(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused> {
        self.append(topic, records, Origin::Client)
    }

    fn try_append_owed(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused> {
        self.append(topic, records, Origin::Owed)
    }

    fn open(
        &self,
        topic: Topic,
        partition: Partition,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        let reader = LogReader::open(&self.shared, self.shared.layout.index(topic, partition));
        Box::pin(std::future::ready(Ok(Box::new(reader) as Box<dyn Reader>)))
    }

    fn open_at(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        let lane = self.shared.layout.index(topic, partition);
        let reader = LogReader::open_at(&self.shared, lane, from);
        Box::pin(std::future::ready(Ok(Box::new(reader) as Box<dyn Reader>)))
    }

    fn append_dead_letter(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), AppendError>> {
        let (reply, outcome) = oneshot::channel();
        let queue = self.shared.queue.lock();
        if !self.shared.queue.is_closed(&queue) {
            self.shared.queue.push(queue, Work::DeadLetter(letter, reply));
        }
        Box::pin(async move { outcome.await.unwrap_or_else(|_| Err(ended())) })
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        let (reply, done) = oneshot::channel();
        let queue = self.shared.queue.lock();
        if !self.shared.queue.is_closed(&queue) {
            self.shared.queue.push(queue, Work::Barrier(reply));
        }
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            // Not answered when the committer ended, which has put everything on the disk then.
            let _ = done.await;
            let _ = tokio::task::spawn_blocking(move || shared.sync_store()).await;
        })
    }
}

impl Shared {
    /// Syncs the store, then notes how far the readers of the log were before that; by the next
    /// call the note is on the disk itself and the log may be trimmed below it.
    pub(crate) fn sync_store(&self) {
        let finished: Vec<u64> = self.lanes.iter().map(|lane| lane.lock().finished).collect();
        match self.store.sync(&finished, self.layout) {
            Ok(Some(synced)) => {
                for (lane, synced) in self.lanes.iter().zip(synced) {
                    lane.lock().finished_synced = synced;
                }
            }
            Ok(None) => {}
            Err(error) => {
                (self.config.on_fatal)(&format!("the store could not be synced: {error}"));
            }
        }
    }

    /// Bytes of records that are not finished.
    pub(crate) fn backlog_bytes(&self) -> u64 {
        self.lanes.iter().map(Lane::backlog_bytes).sum()
    }

    /// Bytes of the database on the disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.db.disk_space().unwrap_or(0)
    }

    /// Drops segments whose records are finished and older than they must be kept; a segment that
    /// is old is ended first.
    pub(crate) fn trim(&self, now_ms: u64) -> fjall::Result<()> {
        let control = &self.lanes[self.layout.lanes() - 1];
        control.lock().forget_before(now_ms.saturating_sub(millis(self.config.control_keep)));
        self.segments.prepare()?;
        self.release_journals()?;
        loop {
            let segments = self.segments.all();
            let [oldest, _, ..] = segments.as_slice() else { return Ok(()) };
            if !self.may_drop(oldest, now_ms) {
                return Ok(());
            }
            self.keep_ends(oldest)?;
            drop(segments);
            self.segments.drop_oldest()?;
        }
    }

    /// Flushes what holds journals of the database: ended segments, and the small keyspaces when
    /// there is more than one journal. Without that, memtables that never fill would hold them all.
    fn release_journals(&self) -> fjall::Result<()> {
        let segments = self.segments.all();
        let ended = &segments[..segments.len() - 1];
        ended.iter().try_for_each(|segment| segment.flush())?;
        if self.db.journal_count() > 1 {
            self.meta.rotate_memtable()?;
            self.letters.rotate()?;
        }
        Ok(())
    }

    fn may_drop(&self, segment: &Segment, now_ms: u64) -> bool {
        let Some((_, newest_ms)) = segment.time_ms() else { return true };
        // A record from the future was logged while the clock was wrong: when is not known, and
        // waiting for that time might fill the disk.
        let age_ms = now_ms.abs_diff(newest_ms);
        let finished = (0..self.layout.lanes()).all(|lane| {
            let Some(end) = segment.end(lane) else { return true };
            if self.layout.is_control(lane) {
                age_ms >= millis(self.config.control_keep)
            } else {
                end <= self.lanes[lane].lock().finished_synced
            }
        });
        finished && age_ms >= millis(self.config.log_keep)
    }

    /// Remembers where lanes go on whose last record is about to go.
    fn keep_ends(&self, segment: &Segment) -> fjall::Result<()> {
        let mut batch = self.db.batch().durability(Some(PersistMode::SyncData));
        for lane in 0..self.layout.lanes() {
            if let (Some(end), Some((_, newest_ms))) = (segment.end(lane), segment.time_ms()) {
                let mut value = end.to_be_bytes().to_vec();
                value.extend_from_slice(&newest_ms.to_be_bytes());
                batch.insert(&self.meta, end_key(self.layout.name(lane)), value);
            }
        }
        batch.commit()
    }
}

/// Where each lane goes on: after its last record, and after an unclean end above everything that a
/// torn commit may have used.
fn next_positions(
    meta: &Keyspace,
    segments: &Segments,
    layout: Layout,
    epoch: Epoch,
    clean: bool,
) -> fjall::Result<Vec<Last>> {
    let mut next = Vec::with_capacity(layout.lanes());
    for lane in 0..layout.lanes() {
        let mut last = segments.last(lane)?;
        if let Some(kept) = meta.get(end_key(layout.name(lane)))? {
            let number = |at: usize| {
                let digits = kept.get(at..at + 8).and_then(|digits| digits.try_into().ok());
                digits.map(u64::from_be_bytes).ok_or_else(corrupt)
            };
            last.end = last.end.max(number(0)?);
            last.log_time_ms = last.log_time_ms.max(number(8)?);
        }
        last.end = last.end.max(first_offset(epoch));
        let used = last.end > first_offset(epoch);
        if !clean && used {
            last.end = (last.end + OFFSETS_AT_RISK).next_multiple_of(OFFSETS_AT_RISK);
        }
        next.push(last);
    }
    Ok(next)
}

/// Bytes on the disk that may be unfinished records of a lane: its share, as if lanes were alike.
fn unfinished(segments: &Segments, layout: Layout, lane: usize, finished: u64) -> u64 {
    let share = |segment: &Arc<Segment>| {
        let used = (0..layout.lanes()).filter(|lane| segment.end(*lane).is_some()).count();
        let holds = segment.end(lane).is_some_and(|end| end > finished);
        if holds { segment.bytes() / used.max(1) as u64 } else { 0 }
    };
    segments.all().iter().map(share).sum()
}

fn end_key(name: [u8; 3]) -> Vec<u8> {
    [KEY_END, &name].concat()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mark {
    Clean,
    Unclean,
}

fn mark(db: &Database, meta: &Keyspace, mark: Mark) -> fjall::Result<()> {
    let mut batch = db.batch().durability(Some(PersistMode::SyncData));
    match mark {
        Mark::Clean => batch.insert(meta, KEY_CLEAN, []),
        Mark::Unclean => batch.remove(meta, KEY_CLEAN),
    }
    batch.commit()
}

fn ended() -> AppendError {
    AppendError("the log ended before it was known".into())
}
