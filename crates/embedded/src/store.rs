//! The database of the projection: what is in it, how it is written, and when it is synced.

use std::{
    any::Any,
    fs::File,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
};

use fjall::{
    AbstractTree as _, Database, Keyspace, KeyspaceCreateOptions, OwnedWriteBatch as WriteBatch,
    PersistMode,
};
use ports::StoreError;

use crate::{
    background,
    config::EngineConfig,
    faults::Faults,
    journal::{self, Later},
    lane::Layout,
    segment::corrupt,
    space::Space,
    window::Windows,
};

/// Written bytes after which memtables are flushed.
const FLUSH_BYTES: u64 = 64 * 1024 * 1024;

/// Written bytes that wait for a flush at most; beyond it writers are told to come back.
const UNFLUSHED_BYTES_MAX: u64 = 4 * FLUSH_BYTES;

/// No memtable reaches this: [`Store::sync`] alone flushes them, right after a sync. `fjall` by
/// itself may flush a memtable whose journal is not synced, and a power cut could then leave the
/// head of a mailbox without the rows below it.
const MEMTABLE_BYTES: u64 = 4 * UNFLUSHED_BYTES_MAX;

/// First bytes of the keys of [`Store::state`], by what they lead to.
pub(crate) mod kind {
    pub(crate) const HEAD: u8 = b'h';
    pub(crate) const CURSOR: u8 = b'c';
    pub(crate) const MARK: u8 = b'k';
    pub(crate) const SNAPSHOT: u8 = b's';
    pub(crate) const DECISION: u8 = b'd';
    pub(crate) const MESSAGE: u8 = b'm';
    pub(crate) const MEMBERSHIP: u8 = b'g';
    pub(crate) const DUE: u8 = b't';
    pub(super) const CHECKPOINT: u8 = b'l';
}

/// The projection.
///
/// Every write goes through [`Store::write`], one at a time, and is at once with the operating
/// system: it survives the process. [`Store::sync`] makes it survive a power cut.
pub(crate) struct Store {
    db: Database,
    directory: PathBuf,
    /// Room on the disk, for the log too.
    pub(crate) space: Space,
    /// Keyspaces of rows, by time.
    pub(crate) windows: Windows,
    /// Everything else, by the [`kind`] of key. One keyspace, as each one costs a flush four syncs
    /// of its manifest, during which neither reads nor writes of it go on.
    pub(crate) state: Keyspace,
    writing: Mutex<()>,
    /// Checkpoints written last, durable after the next sync.
    noted: Mutex<Vec<u64>>,
    dirty: AtomicBool,
    unflushed_bytes: AtomicU64,
    flushed: Mutex<Vec<Memtable>>,
    faults: Faults,
}

/// Held so that it is not freed yet.
type Memtable = Arc<dyn Any + Send + Sync>;

impl Store {
    pub(crate) fn open(config: &EngineConfig) -> fjall::Result<Self> {
        let directory = config.directory.join("store");
        journal::cut_torn_end(&directory, Later::Unsynced)?;
        let db = Database::builder(&directory)
            .cache_size(64 * 1024 * 1024)
            .worker_threads(1)
            .max_journaling_size(1024 * 1024 * 1024)
            .open()?;
        let state = db.keyspace("state", options)?;
        let layout = Layout { mail: config.mail_partitions, group: config.group_partitions };
        let noted = (0..layout.lanes())
            .map(|lane| checkpoint(&state, layout.name(lane)))
            .collect::<fjall::Result<_>>()?;
        Ok(Self {
            windows: Windows::open(&db, config.window)?,
            state,
            writing: Mutex::default(),
            noted: Mutex::new(noted),
            // What was found may have been with the operating system only: the first sync syncs it.
            dirty: AtomicBool::new(true),
            unflushed_bytes: AtomicU64::new(0),
            flushed: Mutex::default(),
            space: Space::new(config),
            faults: config.faults.clone(),
            directory,
            db,
        })
    }

    /// Fills a batch and writes it, all or nothing. What `fill` reads is not changed meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Retry`] when too much waits to be flushed, and after effect when a test wants
    /// that; [`StoreError::Stop`] when the disk failed.
    pub(crate) fn write<T>(
        &self,
        fill: impl FnOnce(&mut WriteBatch) -> fjall::Result<T>,
    ) -> Result<T, StoreError> {
        let filled = self.write_unfailed(fill)?;
        if self.faults.takes_store() {
            return Err(StoreError::Retry("a test wants this".into()));
        }
        Ok(filled)
    }

    fn write_unfailed<T>(
        &self,
        fill: impl FnOnce(&mut WriteBatch) -> fjall::Result<T>,
    ) -> Result<T, StoreError> {
        if self.unflushed_bytes.load(SeqCst) > UNFLUSHED_BYTES_MAX {
            return Err(StoreError::Retry("the disk is behind".into()));
        }
        let _alone = self.writing.lock().expect("no holder of this lock panics");
        let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
        let filled = fill(&mut batch).map_err(stop)?;
        if !batch.is_empty() {
            batch.commit().map_err(stop)?;
            self.touch();
        }
        Ok(filled)
    }

    /// As [`Store::write`], for what adds to the disk: so many bytes.
    ///
    /// # Errors
    /// As [`Store::write`], and [`StoreError::Retry`] when the disk has no room.
    pub(crate) fn add<T>(
        &self,
        bytes: usize,
        fill: impl FnOnce(&mut WriteBatch) -> fjall::Result<T>,
    ) -> Result<T, StoreError> {
        if !self.space.take_store(bytes as u64) {
            return Err(StoreError::Retry("the disk has no room".into()));
        }
        self.count(bytes);
        self.write(fill)
    }

    /// Counts bytes that a batch adds, so that memtables are flushed in time.
    pub(crate) fn count(&self, bytes: usize) {
        self.unflushed_bytes.fetch_add(bytes as u64, SeqCst);
    }

    /// Something changed that the next sync takes along.
    pub(crate) fn touch(&self) {
        self.dirty.store(true, SeqCst);
    }

    /// Whether so much was written that it should be synced and flushed now.
    pub(crate) fn is_full(&self) -> bool {
        self.unflushed_bytes.load(SeqCst) > FLUSH_BYTES
    }

    /// The offset after the last finished record of a lane, as noted.
    pub(crate) fn checkpoint(&self, name: [u8; 3]) -> fjall::Result<u64> {
        checkpoint(&self.state, name)
    }

    /// Puts everything written so far on the disk, and then notes `finished`, by lane, which the
    /// caller read before. Returns the notes that are on the disk now: those of the previous call.
    /// None when there was nothing to do.
    ///
    /// A note is written only after the sync of everything before it. So it is never ahead of the
    /// rows, whatever the database flushes in which order.
    pub(crate) fn sync(&self, finished: &[u64], layout: Layout) -> fjall::Result<Option<Vec<u64>>> {
        let mut noted = self.noted.lock().expect("no holder of this lock panics");
        // Something may have been finished after the caller looked: the next call notes it.
        if !self.dirty.swap(false, SeqCst) && *noted == finished {
            return Ok(None);
        }
        self.persist()?;
        let synced = std::mem::replace(&mut *noted, finished.to_vec());
        if *noted != synced {
            let _alone = self.writing.lock().expect("no holder of this lock panics");
            let mut batch = self.db.batch().durability(Some(PersistMode::Buffer));
            for (lane, finished) in finished.iter().enumerate() {
                if synced[lane] != *finished {
                    let key = checkpoint_key(layout.name(lane));
                    batch.insert(&self.state, key, finished.to_be_bytes());
                }
            }
            batch.commit()?;
            self.touch();
        }
        if self.is_full() && self.db.outstanding_flushes() == 0 {
            self.flush()?;
        }
        Ok(Some(synced))
    }

    /// Puts everything written so far on the disk.
    pub(crate) fn persist(&self) -> fjall::Result<()> {
        self.sync_ahead()?;
        self.db.persist(PersistMode::SyncData)
    }

    /// Syncs the journals through descriptors of our own. The database holds its journal's lock
    /// during its own sync, which then finds little left to do, so that writers hardly wait.
    fn sync_ahead(&self) -> fjall::Result<()> {
        for entry in std::fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "jnl") {
                match File::open(&path) {
                    Ok(journal) => journal.sync_data()?,
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(())
    }

    /// Syncs and starts flushing every memtable, with no write between.
    ///
    /// The database lets go of the memtables of the flush before, under a lock that readers need.
    /// To free them takes a third of a second, so that is done here when nobody waits for a lock.
    fn flush(&self) -> fjall::Result<()> {
        background::stand_back();
        let mut keyspaces = self.windows.all();
        keyspaces.push(self.state.clone());
        let alone = self.writing.lock().expect("no holder of this lock panics");
        self.db.persist(PersistMode::SyncData)?;
        let memtable = |keyspace: &Keyspace| keyspace.tree.active_memtable() as Memtable;
        let now_flushed = keyspaces.iter().map(memtable).collect();
        for keyspace in &keyspaces {
            keyspace.rotate_memtable()?;
        }
        self.unflushed_bytes.store(0, SeqCst);
        drop(alone);
        let mut flushed = self.flushed.lock().expect("no holder of this lock panics");
        *flushed = now_flushed;
        Ok(())
    }

    /// Bytes on the disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        self.db.disk_space().unwrap_or(0)
    }
}

/// Options of every keyspace of the store.
pub(crate) fn options() -> KeyspaceCreateOptions {
    KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES)
}

fn checkpoint(state: &Keyspace, name: [u8; 3]) -> fjall::Result<u64> {
    state.get(checkpoint_key(name))?.map_or(Ok(0), |value| number(&value, 0))
}

/// Layout, 4 bytes: `l` at 0, the name of the lane at 1. The value is the offset.
fn checkpoint_key(name: [u8; 3]) -> [u8; 4] {
    [kind::CHECKPOINT, name[0], name[1], name[2]]
}

/// The big-endian number at a place of a value.
pub(crate) fn number(value: &[u8], at: usize) -> fjall::Result<u64> {
    let digits = value.get(at..at + 8).and_then(|digits| digits.try_into().ok());
    digits.map(u64::from_be_bytes).ok_or_else(corrupt)
}

/// The disk failed: nothing that is asked again will go better.
pub(crate) fn stop(error: fjall::Error) -> StoreError {
    StoreError::Stop(error.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A reader may finish something after the caller looked and before `sync` does.
    #[test]
    fn what_was_finished_during_a_sync_is_noted_by_the_next_one() {
        let directory = tempfile::tempdir().unwrap();
        let config = EngineConfig::new(directory.path());
        let store = Store::open(&config).unwrap();
        let layout = Layout { mail: config.mail_partitions, group: config.group_partitions };
        let mut finished = vec![0; layout.lanes()];
        store.touch();
        store.sync(&finished, layout).unwrap();
        finished[0] = 7;
        store.sync(&finished, layout).unwrap();
        assert_eq!(store.checkpoint(layout.name(0)).unwrap(), 7);
    }
}
