//! An engine: opening, running, ending.

use std::{
    fs::File,
    path::PathBuf,
    sync::{Arc, Condvar, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use ports::{Engines, Log, StoreError, log::DeadLetter};

use crate::{
    config::{EngineConfig, WallClock, millis},
    entities::EntitiesEngine,
    log::LogEngine,
    mailbox::MailboxEngine,
    presence::PresenceEngine,
    store::Store,
};

/// Written into a new directory; what is fixed when it is made.
const DESCRIPTION: &str = "posthorn.txt";

/// All engines on one directory.
///
/// [`Engine::close`] ends them cleanly. Dropping does what a crash does: what was accepted stays,
/// positions go on from a fresh block. Either way the directory is free for the next one when all
/// clones of what [`Engine::engines`] gave out are gone.
pub struct Engine {
    parts: Arc<Parts>,
    keeper: Option<JoinHandle<()>>,
    keeper_stop: Arc<(Mutex<bool>, Condvar)>,
    /// Locked as long as the engine lives.
    _lock: File,
}

struct Parts {
    config: EngineConfig,
    clock: WallClock,
    store: Arc<Store>,
    log: Arc<LogEngine>,
    entities: Arc<EntitiesEngine>,
    presence: Arc<PresenceEngine>,
}

/// What stands in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing yet: opening it makes an engine.
    Absent,
    /// An engine that nobody uses now and that this configuration fits.
    Free,
}

/// How full an engine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Bytes of the log on the disk.
    pub log_bytes: u64,
    /// Bytes of the store on the disk.
    pub store_bytes: u64,
    /// Bytes of records that no reader has finished, roughly.
    pub backlog_bytes: u64,
}

/// Why a directory cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process, or another engine in this one, has it open.
    #[error("{0} is in use")]
    InUse(PathBuf),
    /// It was made with other partitions or another epoch, which cannot change.
    #[error("{directory} was made with {found}, not with {wanted}")]
    Mismatch {
        /// The directory.
        directory: PathBuf,
        /// What it was made with.
        found: String,
        /// What the configuration says.
        wanted: String,
    },
    /// It cannot be read or written.
    #[error("{0} cannot be read or written: {1}")]
    Io(PathBuf, #[source] std::io::Error),
    /// What is in it is damaged.
    #[error("the database in {0} cannot be opened: {1}")]
    Damaged(PathBuf, String),
}

impl Engine {
    /// Looks what stands in the directory, and makes or changes nothing. An engine that is opened
    /// elsewhere at this very moment may find it in use.
    ///
    /// # Errors
    /// As [`Engine::open`], which would find the same; damage inside is seen by opening alone.
    pub fn look(config: &EngineConfig) -> Result<Standing, OpenError> {
        let io = |error| OpenError::Io(config.directory.clone(), error);
        let is_absent = |error: &std::io::Error| error.kind() == std::io::ErrorKind::NotFound;
        match File::open(config.directory.join("lock")).map(|file| file.try_lock_shared()) {
            Ok(Ok(())) => {}
            Ok(Err(std::fs::TryLockError::WouldBlock)) => {
                return Err(OpenError::InUse(config.directory.clone()));
            }
            Ok(Err(std::fs::TryLockError::Error(error))) => return Err(io(error)),
            Err(error) if is_absent(&error) => return Ok(Standing::Absent),
            Err(error) => return Err(io(error)),
        }
        match std::fs::read_to_string(config.directory.join(DESCRIPTION)) {
            Ok(found) => compare(config, found.trim_end()).map(|()| Standing::Free),
            Err(error) if is_absent(&error) => Ok(Standing::Absent),
            Err(error) => Err(io(error)),
        }
    }

    /// Opens the directory, makes it when absent, and recovers from whatever happened to it.
    ///
    /// # Errors
    /// [`OpenError`]; nothing was changed.
    pub fn open(config: EngineConfig, wall_clock: WallClock) -> Result<Self, OpenError> {
        let lock = lock(&config)?;
        describe(&config)?;
        let damaged = |error: fjall::Error| {
            // A clone of what an engine gave out is still alive.
            if matches!(error, fjall::Error::Locked) {
                return OpenError::InUse(config.directory.clone());
            }
            OpenError::Damaged(config.directory.clone(), error.to_string())
        };
        let store = Arc::new(Store::open(&config).map_err(damaged)?);
        let log = LogEngine::open(&config, wall_clock, Arc::clone(&store)).map_err(damaged)?;
        let parts = Arc::new(Parts {
            clock: wall_clock,
            entities: Arc::new(EntitiesEngine::new(Arc::clone(&store))),
            presence: Arc::new(PresenceEngine::new(config.faults.clone())),
            store,
            log,
            config,
        });
        parts.measure_space();
        let keeper_stop = Arc::default();
        let keeper = spawn_keeper(&parts, &keeper_stop)
            .map_err(|error| OpenError::Io(parts.config.directory.clone(), error))?;
        Ok(Self { parts, keeper: Some(keeper), keeper_stop, _lock: lock })
    }

    /// The engines, as roles take them.
    #[must_use]
    pub fn engines(&self) -> Engines {
        let parts = &self.parts;
        Engines {
            log: Arc::clone(&parts.log) as Arc<dyn Log>,
            mailbox: Arc::new(MailboxEngine::new(Arc::clone(&parts.store), parts.clock)),
            entities: Arc::clone(&parts.entities) as _,
            presence: Arc::clone(&parts.presence) as _,
        }
    }

    /// Records that nobody could read, oldest first: those with numbers above `after`, from the
    /// first when it is none, and at most `max`. The number of one never changes. Reads the disk.
    ///
    /// # Errors
    /// [`StoreError::Stop`] when the disk failed.
    pub fn dead_letters(
        &self,
        after: Option<u64>,
        max: usize,
    ) -> Result<Vec<(u64, DeadLetter)>, StoreError> {
        self.parts.log.shared().letters.list(after, max).map_err(crate::store::stop)
    }

    /// Drops what is older than it must be kept, and measures the disk. Blocks; runs by itself
    /// every [`EngineConfig::maintain_every`].
    ///
    /// # Errors
    /// [`StoreError`]: the next run does what is left.
    pub fn maintain(&self, now_ms: u64) -> Result<(), StoreError> {
        self.parts.maintain(now_ms)
    }

    /// Syncs the store. Blocks; runs by itself every [`EngineConfig::sync_every`].
    pub fn sync(&self) {
        self.parts.log.shared().sync_store();
    }

    /// How full it is.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let shared = self.parts.log.shared();
        Stats {
            log_bytes: shared.disk_bytes(),
            store_bytes: self.parts.store.disk_bytes(),
            backlog_bytes: shared.backlog_bytes(),
        }
    }

    /// Ends cleanly: refuses appends, commits what is queued, syncs everything. Blocks.
    ///
    /// # Errors
    /// What failed; the next opening recovers as after a crash.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.stop_keeper();
        let log = &self.parts.log;
        if !log.stop() {
            return Err(StoreError::Stop("the log's thread panicked".into()));
        }
        // The first sync writes the last checkpoints, the second puts them on the disk.
        log.shared().sync_store();
        log.shared().sync_store();
        log.mark_clean().map_err(crate::store::stop)
    }

    fn stop_keeper(&mut self) {
        let (stopped, wake) = &*self.keeper_stop;
        *stopped.lock().expect("no holder of this lock panics") = true;
        wake.notify_all();
        if let Some(keeper) = self.keeper.take() {
            // It ends by itself; when it panicked, that was said where it happened.
            let _ = keeper.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop_keeper();
    }
}

impl Parts {
    fn maintain(&self, now_ms: u64) -> Result<(), StoreError> {
        let shared = self.log.shared();
        shared.trim(now_ms).map_err(crate::store::stop)?;
        let before_ms = now_ms.saturating_sub(millis(self.config.retention));
        self.store.windows.drop_before(before_ms).map_err(crate::store::stop)?;
        // A record that may be read again finds what was decided about it.
        self.entities.prune(before_ms.min(shared.segments.begin_ms().unwrap_or(before_ms)))?;
        self.presence.forget();
        self.measure_space();
        Ok(())
    }

    /// Learns how much room there is; without an answer the room stays as it is.
    fn measure_space(&self) {
        let shared = self.log.shared();
        match (self.config.free_space)(&self.config.directory) {
            Ok(free_bytes) => self.store.space.measured(free_bytes, shared.backlog_bytes()),
            Err(error) => tracing::warn!(%error, "free disk space is not known"),
        }
    }
}

/// Aborts the process: what a failed write or sync left on the disk is not known, so nothing may be
/// built on it.
pub(crate) fn abort(reason: &str) {
    tracing::error!(reason, "the disk failed, ending the process");
    eprintln!("posthorn: {reason}; ending, so that nothing is built on what may not be there");
    std::process::abort();
}

/// Takes the lock file, which the operating system lets go when the process ends, however it ends.
fn lock(config: &EngineConfig) -> Result<File, OpenError> {
    let io = |error| OpenError::Io(config.directory.clone(), error);
    std::fs::create_dir_all(&config.directory).map_err(io)?;
    let file = File::create(config.directory.join("lock")).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => Err(OpenError::InUse(config.directory.clone())),
        Err(std::fs::TryLockError::Error(error)) => Err(io(error)),
    }
}

/// Notes what is fixed, or compares it.
fn describe(config: &EngineConfig) -> Result<(), OpenError> {
    let io = |error| OpenError::Io(config.directory.clone(), error);
    let path = config.directory.join(DESCRIPTION);
    match std::fs::read_to_string(&path) {
        Ok(found) => compare(config, found.trim_end()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let draft = config.directory.join("posthorn.txt.new");
            std::fs::write(&draft, format!("{}\n", description(config))).map_err(io)?;
            File::open(&draft).and_then(|file| file.sync_all()).map_err(io)?;
            std::fs::rename(&draft, &path).map_err(io)?;
            File::open(&config.directory).and_then(|file| file.sync_all()).map_err(io)
        }
        Err(error) => Err(io(error)),
    }
}

fn description(config: &EngineConfig) -> String {
    format!(
        "format 2, epoch {}, {} mail partitions, {} group partitions",
        config.epoch, config.mail_partitions, config.group_partitions
    )
}

fn compare(config: &EngineConfig, found: &str) -> Result<(), OpenError> {
    let wanted = description(config);
    if found == wanted {
        return Ok(());
    }
    let (directory, found) = (config.directory.clone(), found.to_owned());
    Err(OpenError::Mismatch { directory, found, wanted })
}

/// The thread that syncs and maintains. It looks ten times as often whether so much was written
/// that a sync is due earlier.
fn spawn_keeper(
    parts: &Arc<Parts>,
    stop: &Arc<(Mutex<bool>, Condvar)>,
) -> std::io::Result<JoinHandle<()>> {
    let (parts, stop) = (Arc::clone(parts), Arc::clone(stop));
    let look_every = parts.config.sync_every / 10;
    std::thread::Builder::new().name("posthorn-store".into()).spawn(move || {
        let (stopped, wake) = &*stop;
        let mut since_sync = Duration::ZERO;
        let mut since_maintain = Duration::ZERO;
        let mut guard = stopped.lock().expect("no holder of this lock panics");
        while !*guard {
            let waited = wake.wait_timeout(guard, look_every);
            drop(waited.expect("no holder of this lock panics"));
            since_sync += look_every;
            since_maintain += look_every;
            if since_sync >= parts.config.sync_every || parts.store.is_full() {
                since_sync = Duration::ZERO;
                parts.log.shared().sync_store();
            }
            if parts.config.maintain_every.is_some_and(|every| since_maintain >= every) {
                since_maintain = Duration::ZERO;
                if let Err(error) = parts.maintain((parts.clock)()) {
                    tracing::warn!(%error, "maintenance is left to the next run");
                }
            }
            guard = stopped.lock().expect("no holder of this lock panics");
        }
    })
}
