//! The reading side: every record of a ledger, file by file, up to where a file was cut off.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::{
    record::{
        self, BATCH_HEAD_BYTES, End, HEAD_BYTES, RECORD_BYTES, Record, RunInfo, What, decode_head,
    },
    verdict::Torn,
    writer::{EXTENSION, FOLDER},
};

/// The files of one ledger, as long as they were when opened: each pass reads the same.
pub(super) struct Files {
    pub(super) run: RunInfo,
    files: Vec<Source>,
}

struct Source {
    path: PathBuf,
    len: u64,
}

/// How the files end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ending {
    /// The worst of all files.
    pub(super) end: End,
    pub(super) torn: Vec<Torn>,
}

impl Files {
    /// Finds the files of the ledger in the folder of a run.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Self> {
        let folder = folder.join(FOLDER);
        let listed = fs::read_dir(&folder)
            .with_context(|| format!("there is no ledger: cannot read {}", folder.display()))?;
        let mut paths = Vec::new();
        for entry in listed {
            let path = entry.with_context(|| format!("cannot read {}", folder.display()))?.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                paths.push(path);
            }
        }
        paths.sort();
        let mut run: Option<RunInfo> = None;
        let mut files = Vec::new();
        for path in paths {
            let (len, found) = open_one(&path)?;
            if *run.get_or_insert(found) != found {
                bail!("{} is of another run than the files beside it", path.display());
            }
            files.push(Source { path, len });
        }
        let Some(run) = run else {
            bail!("there is no ledger: {} holds no file *.{EXTENSION}", folder.display());
        };
        Ok(Self { run, files })
    }

    /// How many bytes a pass reads.
    pub(super) fn len(&self) -> u64 {
        self.files.iter().map(|file| file.len).sum()
    }

    /// Reads everything once. `progress` hears how many bytes are read, after each batch.
    pub(super) fn read(
        &self,
        progress: &mut dyn FnMut(u64),
        mut each: impl FnMut(&Record),
    ) -> anyhow::Result<Ending> {
        let mut ending = Ending { end: End::Drained, torn: Vec::new() };
        let mut before = 0;
        for file in &self.files {
            let (end, torn) = file
                .read(&mut |bytes| progress(before + bytes), &mut each)
                .with_context(|| format!("cannot read the ledger {}", file.path.display()))?;
            ending.end = ending.end.max(end);
            ending.torn.extend(torn);
            before += file.len;
        }
        Ok(ending)
    }
}

fn open_one(path: &Path) -> anyhow::Result<(u64, RunInfo)> {
    let name = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot open {name}"))?;
    let len = file.metadata().with_context(|| format!("cannot read {name}"))?.len();
    if len < HEAD_BYTES as u64 {
        bail!("{name} holds {len} bytes, less than its head: nothing was written down");
    }
    let mut head = [0; HEAD_BYTES];
    file.read_exact(&mut head).with_context(|| format!("cannot read {name}"))?;
    let run = decode_head(&head).with_context(|| format!("cannot use {name}"))?;
    Ok((len, run))
}

impl Source {
    fn read(
        &self,
        progress: &mut dyn FnMut(u64),
        each: &mut impl FnMut(&Record),
    ) -> anyhow::Result<(End, Option<Torn>)> {
        let mut file = File::open(&self.path)?;
        file.seek(SeekFrom::Start(HEAD_BYTES as u64))?;
        let mut at = HEAD_BYTES as u64;
        let mut end = End::Cut;
        let mut records = Vec::new();
        for number in 0.. {
            let left = self.len - at;
            if left == 0 {
                break;
            }
            if !read_batch(&mut file, number, left, &mut records)? {
                let torn = Torn { file: self.name(), at, bytes: left };
                return Ok((End::Cut, Some(torn)));
            }
            end = each_record(&records, each)?.unwrap_or(End::Cut);
            at += (BATCH_HEAD_BYTES + records.len()) as u64;
            progress(at);
        }
        Ok((end, None))
    }

    fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Reads the records of the next batch, if it is whole and sound.
fn read_batch(
    file: &mut File,
    number: u64,
    left: u64,
    records: &mut Vec<u8>,
) -> std::io::Result<bool> {
    let mut head = [0; BATCH_HEAD_BYTES];
    let Some(left) = left.checked_sub(BATCH_HEAD_BYTES as u64) else {
        return Ok(false);
    };
    file.read_exact(&mut head)?;
    let Some(len) = record::batch_len(&head, number).filter(|len| *len as u64 <= left) else {
        return Ok(false);
    };
    records.resize(len, 0);
    file.read_exact(records)?;
    Ok(record::batch_is_sound(&head, records))
}

/// How the file ends, if the last record says it.
fn each_record(records: &[u8], each: &mut impl FnMut(&Record)) -> anyhow::Result<Option<End>> {
    let mut end = None;
    for bytes in records.chunks_exact(RECORD_BYTES) {
        let bytes = bytes.try_into().expect("a whole record");
        let Some(record) = Record::decode(bytes) else {
            bail!("it holds a record of kind {}, which this program does not know", bytes[0]);
        };
        end = if let What::End(end) = record.what { Some(end) } else { None };
        each(&record);
    }
    Ok(end)
}
