//! Interval logs in the format of HdrHistogram, one a kind of latency, for other programs to plot.

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::{Path, PathBuf},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hdrhistogram::{
    Histogram,
    serialization::{Serializer as _, V2DeflateSerializer},
};

use super::latency::Latencies;
use crate::report::summary::Kind;

/// Values are kept in microseconds and the log's largest value is shown in milliseconds.
const US_PER_MS: f64 = 1000.0;

/// One file a kind of latency, a line an interval. Written as the run goes on, so that a run that
/// is killed leaves its intervals.
#[derive(Debug)]
pub struct IntervalLogs {
    files: Vec<(Kind, BufWriter<File>)>,
}

impl IntervalLogs {
    /// Files `KIND.hlog` in `folder`; times in them count from `began_ms` since 1970.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn create(folder: &Path, began_ms: u64) -> io::Result<Self> {
        let mut files = Vec::new();
        for &kind in Kind::ALL {
            let path: PathBuf = folder.join(format!("{}.hlog", kind.name()));
            let mut file = BufWriter::new(File::create(path)?);
            header(&mut file, kind, began_ms)?;
            files.push((kind, file));
        }
        Ok(Self { files })
    }

    /// Adds an interval that began `began_s` after the load and lasted `lasted_s`.
    ///
    /// # Errors
    /// When a file cannot be written.
    pub fn add(&mut self, began_s: f64, lasted_s: f64, latencies: &Latencies) -> io::Result<()> {
        for (kind, file) in &mut self.files {
            let histogram = latencies.of(*kind);
            let line = line(began_s, lasted_s, histogram);
            writeln!(file, "{line}")?;
            file.flush()?;
        }
        Ok(())
    }
}

fn header(file: &mut impl io::Write, kind: Kind, began_ms: u64) -> io::Result<()> {
    let (began_s, ms) = (began_ms / 1000, began_ms % 1000);
    writeln!(file, "#[{} latency in microseconds, largest in milliseconds]", kind.name())?;
    writeln!(file, "#[Histogram log format version 1.3]")?;
    writeln!(file, "#[StartTime: {began_s}.{ms:03} (seconds since epoch)]")?;
    writeln!(file, "#[BaseTime: {began_s}.{ms:03} (seconds since epoch)]")?;
    writeln!(
        file,
        "\"StartTimestamp\",\"Interval_Length\",\"Interval_Max\",\"Interval_Compressed_Histogram\""
    )
}

fn line(began_s: f64, lasted_s: f64, histogram: &Histogram<u64>) -> String {
    let mut bytes = Vec::new();
    V2DeflateSerializer::new()
        .serialize(histogram, &mut bytes)
        .expect("a histogram fits the format, and memory takes every byte");
    #[expect(clippy::cast_precision_loss, reason = "a latency is far below 2^52 us")]
    let max_ms = histogram.max() as f64 / US_PER_MS;
    format!("{began_s:.3},{lasted_s:.3},{max_ms:.3},{}", STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use hdrhistogram::serialization::{
        Deserializer,
        interval_log::{IntervalLogIterator, LogEntry},
    };

    use super::*;

    #[test]
    fn another_reader_of_the_format_finds_every_interval() {
        let folder = tempfile::tempdir().unwrap();
        let mut logs = IntervalLogs::create(folder.path(), 1_700_000_000_250).unwrap();
        let mut latencies = Latencies::new();
        latencies.record(Kind::Accept, 2_000_000);
        logs.add(0.0, 1.0, &latencies).unwrap();
        logs.add(1.0, 1.0, &Latencies::new()).unwrap();

        let text = std::fs::read(folder.path().join("accept.hlog")).unwrap();
        let mut found = Vec::new();
        for entry in IntervalLogIterator::new(&text) {
            if let LogEntry::Interval(interval) = entry.unwrap() {
                let bytes = STANDARD.decode(interval.encoded_histogram()).unwrap();
                let histogram: Histogram<u64> =
                    Deserializer::new().deserialize(&mut bytes.as_slice()).unwrap();
                found.push((interval.start_timestamp().as_secs(), histogram.len()));
            }
        }
        assert_eq!(found, [(0, 1), (1, 0)]);
    }
}
