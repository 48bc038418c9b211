//! What a process uses of the machine, as `/proc` tells.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

/// Clock ticks of `/proc` in a second, on every Linux a program is likely to meet.
const TICKS_PER_S: f64 = 100.0;

/// What a process uses of the machine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time since it started, in user and kernel mode, seconds.
    pub cpu_s: f64,
    /// Memory it has in RAM, bytes.
    pub rss_bytes: u64,
    /// The most it ever had, bytes.
    pub rss_max_bytes: u64,
    /// Its threads.
    pub threads: u64,
    /// Its open files and sockets.
    pub open_files: u64,
}

impl Usage {
    /// Of a process; none when it is gone, or somebody else's.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        Self::read(Path::new(&format!("/proc/{pid}")))
    }

    /// Of this process; none without `/proc`.
    #[must_use]
    pub fn own() -> Option<Self> {
        Self::read(Path::new("/proc/self"))
    }

    fn read(folder: &Path) -> Option<Self> {
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let open_files = fs::read_dir(folder.join("fd")).ok()?.count() as u64;
        Self::parse(&stat, &status, open_files)
    }

    fn parse(stat: &str, status: &str, open_files: u64) -> Option<Self> {
        // The name may hold anything, parentheses too; the first field after it is the third.
        let (_, fields) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |place: usize| fields.get(place - 3)?.parse::<f64>().ok();
        let number = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name))?;
            line.split_whitespace().nth(1)?.parse::<u64>().ok()
        };
        Some(Self {
            cpu_s: (ticks(14)? + ticks(15)?) / TICKS_PER_S,
            // A process that has ended and was not waited for has no memory.
            rss_bytes: number("VmRSS:").unwrap_or(0) * 1024,
            rss_max_bytes: number("VmHWM:").unwrap_or(0) * 1024,
            threads: number("Threads:")?,
            open_files,
        })
    }
}

/// Whether every thread of a process is stopped. A signal reaches one after the other.
pub(crate) fn stands_still(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return true };
    threads.filter_map(Result::ok).all(|thread| {
        // One that has gone meanwhile does nothing either.
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('T'))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let stat = "7 (a) b (c)) S 1 7 7 0 -1 4194560 1 0 0 0 250 150 0 0 20 0 9 0 1 2 3 4";
        let status = "Name:\ta\nVmHWM:\t  2000 kB\nVmRSS:\t  1000 kB\nThreads:\t9\n";
        let usage = Usage::parse(stat, status, 5).unwrap();
        assert_eq!(usage.cpu_s, 4.0);
        assert_eq!((usage.rss_bytes, usage.rss_max_bytes), (1_024_000, 2_048_000));
        assert_eq!((usage.threads, usage.open_files), (9, 5));
    }

    #[test]
    fn this_process_uses_memory_and_nobody_has_no_usage() {
        assert!(Usage::own().unwrap().rss_bytes > 0);
        assert_eq!(Usage::of(u32::MAX), None);
    }
}
