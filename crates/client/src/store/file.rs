//! A store in a folder: a key, a lock, and a journal that is synced at every commit.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use bytes::BytesMut;
use session::client::{Restored, StoreChange};

use super::{Loaded, Store, StoreError, journal};
use crate::key::DeviceKey;

/// A journal is rewritten when it has this and is four times what it was when last rewritten.
const REWRITE_BYTES_MIN: u64 = 1024 * 1024;
/// Changes in one record of a rewritten journal.
const REWRITE_CHANGES: usize = 1024;
/// Only the owner may read what is here.
const PRIVATE: u32 = 0o600;

/// A store in a folder. A commit is one record of the journal and one `fdatasync`; a record torn
/// by a crash is dropped at the next start. One process at a time.
#[derive(Debug)]
pub struct FileStore {
    folder: PathBuf,
    key: DeviceKey,
    /// Locked while this store lives.
    _lock: File,
    journal: Mutex<Journal>,
}

#[derive(Debug)]
struct Journal {
    file: File,
    len: u64,
    rewrite_at: u64,
    state: Restored,
    failed: bool,
}

impl FileStore {
    /// Opens the store in `folder`, or begins one there with a new device.
    ///
    /// # Errors
    /// When another process uses it, the system refuses, or a file is damaged.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        let folder = folder.into();
        fs::create_dir_all(&folder).map_err(|error| system(&folder, &error))?;
        let lock_path = folder.join("lock");
        let lock = private().write(true).create(true).truncate(false).open(&lock_path);
        let lock = lock.map_err(|error| system(&lock_path, &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(StoreError::InUse(folder.display().to_string()));
            }
            Err(fs::TryLockError::Error(error)) => return Err(system(&lock_path, &error)),
        }
        let key = open_key(&folder)?;
        let journal = Mutex::new(open_journal(&folder)?);
        Ok(Self { folder, key, _lock: lock, journal })
    }
}

impl Store for FileStore {
    fn load(&self) -> Result<Loaded, StoreError> {
        let journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if journal.failed {
            return Err(StoreError::Failed);
        }
        Ok(Loaded { key: self.key.clone(), restored: journal.state.clone() })
    }

    fn commit(&self, changes: Vec<StoreChange>) -> Result<(), StoreError> {
        if changes.is_empty() {
            return Ok(());
        }
        let mut journal = self.journal.lock().unwrap_or_else(PoisonError::into_inner);
        if journal.failed {
            return Err(StoreError::Failed);
        }
        // After a failed write or sync only a new start finds out what the file holds.
        journal.failed = true;
        let path = self.folder.join("journal");
        journal.append(changes).map_err(|error| system(&path, &error))?;
        if journal.len >= journal.rewrite_at {
            journal.rewrite(&self.folder).map_err(|error| system(&path, &error))?;
        }
        journal.failed = false;
        Ok(())
    }
}

impl Journal {
    fn append(&mut self, changes: Vec<StoreChange>) -> io::Result<()> {
        let mut record = BytesMut::new();
        journal::encode(&changes, &mut record);
        self.file.write_all(&record)?;
        self.file.sync_data()?;
        self.len += record.len() as u64;
        changes.into_iter().for_each(|change| self.state.apply(change));
        Ok(())
    }

    /// Writes the state as a new journal and puts it in the place of the old one.
    fn rewrite(&mut self, folder: &Path) -> io::Result<()> {
        let (file, len) = write_journal(folder, &self.state)?;
        self.file = file;
        self.len = len;
        self.rewrite_at = rewrite_at(len);
        Ok(())
    }
}

fn open_journal(folder: &Path) -> Result<Journal, StoreError> {
    let path = folder.join("journal");
    let failed = |error: &io::Error| system(&path, error);
    let mut file = match private().read(true).write(true).open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let state = Restored::default();
            let (file, len) = write_journal(folder, &state).map_err(|error| failed(&error))?;
            return Ok(Journal { file, len, rewrite_at: rewrite_at(len), state, failed: false });
        }
        Err(error) => return Err(failed(&error)),
    };
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| failed(&error))?;
    let replayed = journal::replay(&bytes)
        .map_err(|problem| StoreError::Corrupt { path: path.display().to_string(), problem })?;
    let len = replayed.whole as u64;
    if len < bytes.len() as u64 {
        tracing::warn!(dropped_bytes = bytes.len() as u64 - len, "a torn record was dropped");
        file.set_len(len).and_then(|()| file.sync_data()).map_err(|error| failed(&error))?;
    }
    file.seek(SeekFrom::Start(len)).map_err(|error| failed(&error))?;
    let state = replayed.restored;
    Ok(Journal { file, len, rewrite_at: rewrite_at(len), state, failed: false })
}

fn write_journal(folder: &Path, state: &Restored) -> io::Result<(File, u64)> {
    let mut bytes = BytesMut::from(&journal::MAGIC[..]);
    let changes: Vec<StoreChange> = state.to_changes().collect();
    for changes in changes.chunks(REWRITE_CHANGES) {
        journal::encode(changes, &mut bytes);
    }
    let file = replace(folder, "journal", &bytes)?;
    Ok((file, bytes.len() as u64))
}

fn open_key(folder: &Path) -> Result<DeviceKey, StoreError> {
    let path = folder.join("device.key");
    match fs::read(&path) {
        Ok(bytes) => {
            let seed = bytes.try_into().map_err(|_| StoreError::Corrupt {
                path: path.display().to_string(),
                problem: "a device key has 32 bytes",
            })?;
            Ok(DeviceKey::from_seed(seed))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let key = DeviceKey::generate();
            replace(folder, "device.key", key.seed()).map_err(|error| system(&path, &error))?;
            Ok(key)
        }
        Err(error) => Err(system(&path, &error)),
    }
}

/// Puts a file in the place of another, whole or not at all, and durably.
fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<File> {
    let new = folder.join(format!("{name}.new"));
    let mut file = private().write(true).create(true).truncate(true).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, folder.join(name))?;
    File::open(folder)?.sync_all()?;
    Ok(file)
}

fn rewrite_at(len: u64) -> u64 {
    (len * 4).max(REWRITE_BYTES_MIN)
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(PRIVATE);
    options
}

fn system(path: &Path, error: &io::Error) -> StoreError {
    StoreError::System { path: path.display().to_string(), problem: error.to_string() }
}
