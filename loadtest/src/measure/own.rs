//! What the generator itself uses.

use std::{fs, path::Path};

/// CPU time and memory of a process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time since the process began, user and system, in milliseconds.
    pub cpu_ms: u64,
    /// Memory that is resident, in bytes.
    pub rss_bytes: u64,
}

/// Reads what this process uses.
#[derive(Debug)]
pub struct OwnUse {
    ms_per_tick: u64,
    page_bytes: u64,
}

impl OwnUse {
    /// Asks the system for its units.
    #[must_use]
    pub fn new() -> Self {
        let ticks_per_s = rustix::param::clock_ticks_per_second().max(1);
        Self {
            ms_per_tick: 1000 / ticks_per_s,
            page_bytes: u64::try_from(rustix::param::page_size()).unwrap_or(4096),
        }
    }

    /// What this process uses now; zeros where the system has no `/proc`.
    #[must_use]
    pub fn read(&self) -> Usage {
        let stat = fs::read_to_string(Path::new("/proc/self/stat")).unwrap_or_default();
        self.parse(&stat).unwrap_or_default()
    }

    /// Field 2 is a name that may hold spaces and parentheses, hence the last of these.
    fn parse(&self, stat: &str) -> Option<Usage> {
        let (_, after_name) = stat.rsplit_once(')')?;
        let field = |number: usize| -> Option<u64> {
            after_name.split_whitespace().nth(number - 3)?.parse().ok()
        };
        Some(Usage {
            cpu_ms: (field(14)? + field(15)?) * self.ms_per_tick,
            rss_bytes: field(24)? * self.page_bytes,
        })
    }
}

impl Default for OwnUse {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let own = OwnUse { ms_per_tick: 10, page_bytes: 4096 };
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194304 100 0 0 0 25 5 0 0 20 0 3 0 99 1000 300 18";
        assert_eq!(own.parse(stat), Some(Usage { cpu_ms: 300, rss_bytes: 300 * 4096 }));
    }

    #[test]
    fn this_process_uses_memory() {
        assert!(OwnUse::new().read().rss_bytes > 0);
    }
}
