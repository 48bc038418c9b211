//! Cuts the torn end off a journal of `fjall` before the database is opened.
//!
//! A journal is a file filled with zeros ahead of its use, so what a crash leaves after the last
//! whole batch is a mix of the next one and of zeros. `fjall` 3.1 takes some of these for damage
//! and refuses to open, for example when the end of a batch reached the disk and its middle did
//! not. As a batch that is not whole was never synced, cutting it loses nothing that was accepted.
//!
//! Layout of a batch, integers little-endian. Start: 1, number of entries (4 bytes), sequence
//! number (8). Then the entries. Item: 2, kind (1), compression (1), keyspace (8), key length (2),
//! value length (4), stored length (4), key, value. Clear: 4, keyspace (8). Then the end: 3, XXH3
//! of all entries (8), and the four bytes `FJL` and 3.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufReader, Cursor, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use xxhash_rust::xxh3::Xxh3;

const START: u8 = 1;
const ITEM: u8 = 2;
const END: u8 = 3;
const CLEAR: u8 = 4;
const END_MARK: &[u8; 4] = b"FJL\x03";

/// Bytes of an item before its key, without its first byte.
const ITEM_HEADER_LEN: usize = 1 + 1 + 8 + 2 + 4 + 4;

/// How far after a torn batch a whole one is looked for: more than the committer writes at once.
const LOOK_AHEAD_BYTES: u64 = 16 * 1024 * 1024;

/// What a journal holds where nothing was written yet.
static ZEROS: [u8; 4096] = [0; 4096];

/// What a whole batch after a torn one means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Later {
    /// Every batch was synced before the next: what is not whole was damaged later.
    Damage,
    /// Several batches were not synced, and the disk wrote them in its own order.
    Unsynced,
}

/// Cuts the newest journal of a database after its last whole batch. Older ones were synced whole.
///
/// # Errors
/// The file cannot be read or cut, or [`io::ErrorKind::InvalidData`]: it is damaged in the middle.
pub(crate) fn cut_torn_end(database: &Path, later: Later) -> io::Result<()> {
    let Some(path) = newest(database)? else { return Ok(()) };
    let file = OpenOptions::new().read(true).write(true).open(&path)?;
    let len = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(64 * 1024, &file);
    let mut whole = 0;
    while let Some(batch_len) = batch_len(&mut reader, len - whole)? {
        whole += batch_len;
    }
    if later == Later::Damage && holds_batch(&file, whole)? {
        let text = format!("{} is damaged at byte {whole}", path.display());
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    if whole < len {
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(())
}

/// The journal with the highest number.
fn newest(database: &Path) -> io::Result<Option<PathBuf>> {
    let mut newest = None;
    let entries = match std::fs::read_dir(database) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    for entry in entries {
        let path = entry?.path();
        let is_journal = path.extension().is_some_and(|extension| extension == "jnl");
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        if let (true, Some(number)) = (is_journal, number) {
            newest = newest.max(Some((number, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// The length of the batch that begins here; none when it is not whole.
fn batch_len(reader: &mut impl Read, limit: u64) -> io::Result<Option<u64>> {
    match whole_batch(reader, limit) {
        Ok(len) => Ok(len),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

fn whole_batch(reader: &mut impl Read, limit: u64) -> io::Result<Option<u64>> {
    let [tag, start @ ..] = take::<13>(reader)?;
    if tag != START {
        return Ok(None);
    }
    let mut len = 13_u64;
    let mut hash = Xxh3::new();
    let entries = u32::from_le_bytes([start[0], start[1], start[2], start[3]]);
    for _ in 0..entries {
        let [tag] = take::<1>(reader)?;
        hash.update(&[tag]);
        let entry_len = match tag {
            ITEM => item_len(reader, &mut hash, limit)?,
            CLEAR => {
                hash.update(&take::<8>(reader)?);
                Some(8)
            }
            _ => None,
        };
        let Some(entry_len) = entry_len else { return Ok(None) };
        len += 1 + entry_len;
    }
    let [tag, end @ ..] = take::<13>(reader)?;
    let (checksum, mark) = end.split_at(8);
    let whole = tag == END && checksum == hash.digest().to_le_bytes() && mark == END_MARK;
    Ok(whole.then_some(len + 13))
}

/// The length of an item after its first byte; none when it is longer than the file.
fn item_len(reader: &mut impl Read, hash: &mut Xxh3, limit: u64) -> io::Result<Option<u64>> {
    let header = take::<ITEM_HEADER_LEN>(reader)?;
    hash.update(&header);
    let key_len = u16::from_le_bytes([header[10], header[11]]);
    let stored_len = u32::from_le_bytes([header[16], header[17], header[18], header[19]]);
    let data_len = u64::from(key_len) + u64::from(stored_len);
    if data_len > limit {
        return Ok(None);
    }
    let mut left = data_len;
    let mut buffer = [0; 4096];
    while left > 0 {
        let part = usize::try_from(left.min(4096)).expect("at most 4096");
        reader.read_exact(&mut buffer[..part])?;
        hash.update(&buffer[..part]);
        left -= part as u64;
    }
    Ok(Some(ITEM_HEADER_LEN as u64 + data_len))
}

fn take<const N: usize>(reader: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Whether a whole batch begins somewhere after `from`.
fn holds_batch(mut file: &File, from: u64) -> io::Result<bool> {
    let mut bytes = Vec::new();
    file.seek(SeekFrom::Start(from))?;
    file.take(LOOK_AHEAD_BYTES).read_to_end(&mut bytes)?;
    for (number, chunk) in bytes.chunks(ZEROS.len()).enumerate() {
        // Nearly all of it, and quickly passed over.
        if *chunk == ZEROS[..chunk.len()] {
            continue;
        }
        for (at, _) in chunk.iter().enumerate().filter(|(_, byte)| **byte == START) {
            let rest = &bytes[number * ZEROS.len() + at..];
            if batch_len(&mut Cursor::new(rest), rest.len() as u64)?.is_some() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use fjall::{Database, KeyspaceCreateOptions, PersistMode};

    use super::*;

    /// Bytes of a journal before the zeros at its end.
    fn written(path: &Path) -> u64 {
        let bytes = std::fs::read(path).unwrap();
        let mut chunks = bytes.chunks(ZEROS.len());
        let used = chunks.rposition(|chunk| *chunk != ZEROS[..chunk.len()]).unwrap() + 1;
        let used = &bytes[..(used * ZEROS.len()).min(bytes.len())];
        used.iter().rposition(|byte| *byte != 0).unwrap() as u64 + 1
    }

    /// A database with this many batches, and where each ends in the journal.
    fn database(batches: u8) -> (tempfile::TempDir, PathBuf, Vec<u64>) {
        let directory = tempfile::tempdir().unwrap();
        let mut ends = Vec::new();
        let db = Database::builder(directory.path()).open().unwrap();
        let path = newest(directory.path()).unwrap().unwrap();
        let keyspace = db.keyspace("one", KeyspaceCreateOptions::default).unwrap();
        for number in 0..batches {
            let mut batch = db.batch().durability(Some(PersistMode::Buffer));
            batch.insert(&keyspace, [number], vec![number; 5000]);
            batch.remove(&keyspace, [number, 1]);
            batch.commit().unwrap();
            ends.push(written(&path));
        }
        keyspace.clear().unwrap();
        ends.push(written(&path));
        drop((keyspace, db));
        (directory, path, ends)
    }

    #[test]
    fn every_batch_that_fjall_writes_is_whole() {
        let (directory, path, ends) = database(5);
        cut_torn_end(directory.path(), Later::Damage).unwrap();
        assert_eq!(std::fs::metadata(path).unwrap().len(), *ends.last().unwrap());
    }

    #[test]
    fn a_batch_with_a_hole_is_cut_and_the_database_opens() {
        let (directory, path, ends) = database(5);
        let mut bytes = std::fs::read(&path).unwrap();
        // The last batch but one: its end is there, its middle is not.
        let from = usize::try_from(ends[3]).unwrap() + 100;
        bytes[from..from + 512].fill(0);
        std::fs::write(&path, &bytes).unwrap();
        let error = cut_torn_end(directory.path(), Later::Damage).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "a whole batch follows");
        cut_torn_end(directory.path(), Later::Unsynced).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().len(), ends[3]);
        let db = Database::builder(directory.path()).open().unwrap();
        let keyspace = db.keyspace("one", KeyspaceCreateOptions::default).unwrap();
        assert_eq!(keyspace.len().unwrap(), 4);
    }

    #[test]
    fn a_directory_without_a_journal_is_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        cut_torn_end(directory.path(), Later::Damage).unwrap();
        cut_torn_end(&directory.path().join("absent"), Later::Damage).unwrap();
    }
}
