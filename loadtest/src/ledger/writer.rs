//! The writing side: many threads tell, one thread appends.
//!
//! Records go to one of a few buffers, chosen by device, so that all of a device keep their order
//! and a send stands before its outcome. A thread empties the buffers every 20 ms, or sooner when
//! one is half full, and appends them as one batch.

use std::{
    fmt,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::JoinHandle,
    time::Duration,
};

use anyhow::Context;

use super::{
    content::{self, Header, NotOurs},
    record::{self, End, Message, Note, Outcome, RECORD_BYTES, Record, RunInfo, What},
};
use crate::{clock, clock::RunClock, population::DeviceIndex};

/// The folder of the ledger within the folder of a run.
pub(super) const FOLDER: &str = "ledger";
/// How the files of a ledger end.
pub(super) const EXTENSION: &str = "ledger";
/// At most this long is a record only in the memory of the generator, if the disk keeps up.
const FLUSH_EVERY: Duration = Duration::from_millis(20);
/// More than threads that tell at once, so that they seldom meet.
const SHARDS: usize = 32;
/// 128 KiB each, 4 MiB in all: at 1,000,000 records/s the disk may pause for 170 ms.
const SHARD_RECORDS: usize = 128 * 1024 / RECORD_BYTES;
const SHARD_BYTES: usize = SHARD_RECORDS * RECORD_BYTES;

const _: () = assert!(SHARDS * SHARD_RECORDS < record::BATCH_RECORDS_MAX);

/// Where the generator writes down what it sends and hears. Cloning it is cheap.
///
/// A call takes some 30 ns. When the disk does not keep up, calls wait; [`Written`] says how often
/// and how long, since that delays the schedule. When the file cannot be written any more, calls
/// count what they drop, [`Ledger::failure`] says why, and [`Ledger::finish`] fails.
#[derive(Clone)]
pub struct Ledger {
    inner: Arc<Inner>,
}

/// What a ledger took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records in the file.
    pub records: u64,
    /// Bytes of the file.
    pub bytes: u64,
    /// Calls that had to wait for the disk.
    pub waits: u64,
    /// How long they waited in all, in nanoseconds.
    pub waited_ns: u64,
    /// Records that came after the end, or after the file failed, and are not in it.
    pub dropped: u64,
}

struct Inner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    run: u64,
    shards: Vec<Shard>,
    clock: RunClock,
    /// What the writing thread is told.
    orders: Mutex<Orders>,
    changed: Condvar,
    /// Set once nothing more is taken.
    closed: AtomicBool,
    failure: Mutex<Option<String>>,
    records: AtomicU64,
    bytes: AtomicU64,
    waits: AtomicU64,
    waited_ns: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Default)]
struct Shard {
    buffer: Mutex<Vec<u8>>,
    emptied: Condvar,
}

#[derive(Default)]
struct Orders {
    /// A buffer is half full.
    hurry: bool,
    stop: bool,
    /// How to end the file, when it ends in order.
    end: Option<(End, u64)>,
}

impl Ledger {
    /// Begins a ledger: `folder/ledger/NAME.ledger`. One of several agents has its own name.
    ///
    /// # Errors
    /// When the file cannot be made, or is there already.
    pub fn create(folder: &Path, name: &str, run: &RunInfo) -> anyhow::Result<Self> {
        let path = Self::path(folder, name);
        let folder = folder.join(FOLDER);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the folder {}", folder.display()))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&path)
            .with_context(|| format!("cannot make the ledger {}", path.display()))?;
        file.write_all(&record::encode_head(run, clock::wall_clock_ms()))
            .with_context(|| format!("cannot write the ledger {}", path.display()))?;
        Self::start(file, path, run)
    }

    fn start(file: File, path: PathBuf, run: &RunInfo) -> anyhow::Result<Self> {
        let shared = Arc::new(Shared::new(run.run));
        let writer = Writer::new(file, path, Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("ledger".into())
            .spawn(move || writer.run())
            .context("cannot start the thread that writes the ledger")?;
        Ok(Self { inner: Arc::new(Inner { shared, thread: Mutex::new(Some(thread)) }) })
    }

    /// Where the ledger of this name is, in the folder of a run.
    #[must_use]
    pub fn path(folder: &Path, name: &str) -> PathBuf {
        folder.join(FOLDER).join(name).with_extension(EXTENSION)
    }

    /// A message is about to be handed to the driver. Call it before, so that the outcome follows.
    ///
    /// # Panics
    /// When its counter is above 2^32 - 2.
    pub fn sent(&self, header: &Header, at_ns: u64) {
        let late_us = at_ns.saturating_sub(header.intended_ns) / 1000;
        let late_us = u32::try_from(late_us).unwrap_or(u32::MAX);
        self.put(header.from, at_ns, What::Sent { message: header.message(), late_us });
    }

    /// What became of a message.
    ///
    /// # Panics
    /// When its counter is above 2^32 - 2.
    pub fn outcome(&self, message: Message, outcome: Outcome, at_ns: u64) {
        self.put(message.from, at_ns, What::Outcome { message, outcome });
    }

    /// A payload arrived at a device: reads it and writes down what it is. Calls for one device
    /// come one after the other, in the order it heard.
    ///
    /// # Errors
    /// When it is not a message of this run as it was sent; that is written down, too.
    pub fn heard(
        &self,
        device: DeviceIndex,
        payload: &[u8],
        at_ns: u64,
    ) -> Result<Header, NotOurs> {
        let read = content::read(payload);
        match read {
            Ok(header) => self.delivered(device, &header, at_ns),
            Err(NotOurs::Alien) => self.corrupted(device, None, at_ns),
            Err(NotOurs::Changed(header)) => self.corrupted(device, Some(header.message()), at_ns),
        }
        read
    }

    /// A sound payload arrived at a device.
    pub fn delivered(&self, device: DeviceIndex, header: &Header, at_ns: u64) {
        let message = header.message();
        if header.run != self.inner.shared.run {
            self.put(device, at_ns, What::OtherRun { device });
        } else if record::fits(message) {
            self.put(device, at_ns, What::Delivered { device, message });
        } else {
            self.corrupted(device, None, at_ns);
        }
    }

    fn corrupted(&self, device: DeviceIndex, claimed: Option<Message>, at_ns: u64) {
        let claimed = claimed.filter(|message| record::fits(*message));
        self.put(device, at_ns, What::Corrupted { device, claimed });
    }

    /// Something else happened to a device.
    pub fn note(&self, device: DeviceIndex, note: Note, at_ns: u64) {
        self.put(device, at_ns, What::Note { device, note });
    }

    /// What was written so far.
    #[must_use]
    pub fn written(&self) -> Written {
        self.inner.shared.written()
    }

    /// Why the file cannot be written any more; nothing while all is well.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        lock(&self.inner.shared.failure).clone()
    }

    /// Ends the ledger: nothing is taken afterwards, and what was taken is on the disk. Blocks
    /// until it is.
    ///
    /// # Errors
    /// When something could not be written: the ledger proves nothing then.
    pub fn finish(&self, end: End, at_ns: u64) -> anyhow::Result<Written> {
        self.inner.stop(Some((end, at_ns)));
        if let Some(failure) = self.failure() {
            anyhow::bail!("{failure}");
        }
        Ok(self.written())
    }

    fn put(&self, device: DeviceIndex, at_ns: u64, what: What) {
        self.inner.shared.put(device, &Record { at_ns, what });
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ledger").field("written", &self.written()).finish_non_exhaustive()
    }
}

impl Inner {
    fn stop(&self, end: Option<(End, u64)>) {
        {
            let mut orders = lock(&self.shared.orders);
            orders.stop = true;
            orders.end = orders.end.or(end);
        }
        self.shared.changed.notify_all();
        let thread = lock(&self.thread).take();
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            self.shared.fail("the thread that writes the ledger panicked".into());
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop(None);
    }
}

impl Shared {
    fn new(run: u64) -> Self {
        Self {
            run,
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
            clock: RunClock::start(),
            orders: Mutex::default(),
            changed: Condvar::new(),
            closed: AtomicBool::new(false),
            failure: Mutex::default(),
            records: AtomicU64::new(0),
            bytes: AtomicU64::new(record::HEAD_BYTES as u64),
            waits: AtomicU64::new(0),
            waited_ns: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        }
    }

    fn put(&self, device: DeviceIndex, record: &Record) {
        let bytes = record.encode();
        let shard = &self.shards[device.place() % SHARDS];
        let mut buffer = lock(&shard.buffer);
        if buffer.len() >= SHARD_BYTES {
            buffer = self.wait(shard, buffer);
        }
        if self.closed.load(Relaxed) {
            self.dropped.fetch_add(1, Relaxed);
            return;
        }
        buffer.extend_from_slice(&bytes);
        let half_full = buffer.len() == SHARD_BYTES / 2 / RECORD_BYTES * RECORD_BYTES;
        drop(buffer);
        if half_full {
            self.hurry();
        }
    }

    /// Waits until the writing thread emptied the buffer, or nothing is taken any more.
    fn wait<'a>(
        &self,
        shard: &'a Shard,
        mut buffer: MutexGuard<'a, Vec<u8>>,
    ) -> MutexGuard<'a, Vec<u8>> {
        let began = self.clock.now_ns();
        self.waits.fetch_add(1, Relaxed);
        while buffer.len() >= SHARD_BYTES && !self.closed.load(Relaxed) {
            buffer = shard.emptied.wait(buffer).unwrap_or_else(PoisonError::into_inner);
        }
        self.waited_ns.fetch_add(self.clock.now_ns() - began, Relaxed);
        buffer
    }

    fn hurry(&self) {
        lock(&self.orders).hurry = true;
        self.changed.notify_one();
    }

    fn fail(&self, why: String) {
        lock(&self.failure).get_or_insert(why);
        self.close();
    }

    /// Takes nothing more. Each buffer is locked once, so that nobody is between looking and adding
    /// afterwards, and nobody waits for room any more.
    fn close(&self) {
        self.closed.store(true, Relaxed);
        for shard in &self.shards {
            drop(lock(&shard.buffer));
            shard.emptied.notify_all();
        }
    }

    fn written(&self) -> Written {
        Written {
            records: self.records.load(Relaxed),
            bytes: self.bytes.load(Relaxed),
            waits: self.waits.load(Relaxed),
            waited_ns: self.waited_ns.load(Relaxed),
            dropped: self.dropped.load(Relaxed),
        }
    }
}

/// The thread that writes.
struct Writer {
    file: File,
    path: PathBuf,
    shared: Arc<Shared>,
    /// The number of the next batch.
    number: u64,
    /// The batch being made.
    batch: Vec<u8>,
    /// An empty buffer to leave in place of a full one.
    spare: Vec<u8>,
}

impl Writer {
    fn new(file: File, path: PathBuf, shared: Arc<Shared>) -> Self {
        let spare = Vec::with_capacity(SHARD_BYTES);
        Self { file, path, shared, number: 0, batch: Vec::new(), spare }
    }

    fn run(mut self) {
        loop {
            let (stop, end) = self.wait();
            if stop {
                self.shared.close();
            }
            let written = self.append(end);
            let written = if stop { written.and_then(|()| self.file.sync_data()) } else { written };
            if let Err(error) = written {
                let path = self.path.display();
                self.shared.fail(format!("the ledger {path} cannot be written: {error}"));
                return;
            }
            if stop {
                return;
            }
        }
    }

    /// Waits until it is time to write; whether it is the last time, and how to end then.
    fn wait(&self) -> (bool, Option<(End, u64)>) {
        let orders = lock(&self.shared.orders);
        let idle = |orders: &mut Orders| !orders.hurry && !orders.stop;
        let (mut orders, _) = self
            .shared
            .changed
            .wait_timeout_while(orders, FLUSH_EVERY, idle)
            .unwrap_or_else(PoisonError::into_inner);
        orders.hurry = false;
        (orders.stop, orders.end)
    }

    fn append(&mut self, end: Option<(End, u64)>) -> std::io::Result<()> {
        self.batch.clear();
        self.batch.resize(record::BATCH_HEAD_BYTES, 0);
        for shard in &self.shared.shards {
            std::mem::swap(&mut *lock(&shard.buffer), &mut self.spare);
            shard.emptied.notify_all();
            self.batch.extend_from_slice(&self.spare);
            self.spare.clear();
        }
        if let Some((end, at_ns)) = end {
            let record = Record { at_ns, what: What::End(end) };
            self.batch.extend_from_slice(&record.encode());
        }
        if self.batch.len() == record::BATCH_HEAD_BYTES {
            return Ok(());
        }
        record::seal_batch(&mut self.batch, self.number);
        self.file.write_all(&self.batch)?;
        self.number += 1;
        let records = (self.batch.len() - record::BATCH_HEAD_BYTES) / RECORD_BYTES;
        self.shared.records.fetch_add(records as u64, Relaxed);
        self.shared.bytes.fetch_add(self.batch.len() as u64, Relaxed);
        Ok(())
    }
}

/// A panic of another caller leaves whole records behind, so the lock is good.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::ledger::Rules;

    #[test]
    fn a_full_disk_fails_the_ledger_and_holds_nobody_up() {
        let full = PathBuf::from("/dev/full");
        let file = OpenOptions::new().write(true).open(&full).unwrap();
        let run = RunInfo { run: 1, seed: 1, population: 1, rules: Rules::POSTHORN };
        let ledger = Ledger::start(file, full, &run).unwrap();
        let told = SHARD_RECORDS as u64 * 3;
        for at_ns in 0..told {
            ledger.note(DeviceIndex(0), Note::Connected, at_ns);
        }
        assert!(ledger.written().dropped >= told - SHARD_RECORDS as u64 * 2);
        let why = "the ledger /dev/full cannot be written: No space left on device";
        assert!(ledger.finish(End::Drained, told).unwrap_err().to_string().starts_with(why));
        assert!(ledger.failure().unwrap().starts_with(why));
        assert_eq!(ledger.written().records, 0);
    }
}
