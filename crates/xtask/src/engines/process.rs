//! A process that outlives the command that started it, and is never mistaken for another.

use std::{
    fs::{self, OpenOptions},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, ensure};

use super::progress::Watch;

/// A process, by its number and by when it was started, so that a number given to another process
/// later is not taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    /// The number.
    pub(crate) pid: u32,
    /// Ticks of the clock between the start of the machine and its start.
    pub(crate) started: u64,
}

impl From<(u32, u64)> for Process {
    fn from((pid, started): (u32, u64)) -> Self {
        Self { pid, started }
    }
}

/// What can be told to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    /// Ends at once, without a word.
    Kill,
    /// Ends in order.
    Terminate,
    /// Stands still, with its sockets open.
    Pause,
    /// Goes on.
    Resume,
}

impl Process {
    /// Starts a command in the folder `dir` in a process group of its own, so that neither Ctrl-C
    /// nor the end of its parent reaches it. Its output is appended to `log`.
    ///
    /// # Errors
    /// When it does not start.
    pub(crate) fn start(command: &[String], dir: &Path, log: &Path) -> anyhow::Result<Self> {
        let (program, arguments) = command.split_first().context("an empty command")?;
        let output = OpenOptions::new().create(true).append(true).open(log)?;
        let child = Command::new(program)
            .args(arguments)
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("{program} did not start"))?;
        let pid = child.id();
        let started = read_stat(pid).with_context(|| {
            format!(
                "no /proc/{pid}/stat: engines run on Linux only, where /proc tells of processes"
            )
        })?;
        Ok(Self { pid, started: started.1 })
    }

    /// Whether it runs, paused or not. One that ended and was not yet waited for does not.
    pub(crate) fn is_alive(self) -> bool {
        self.letter().is_some_and(|letter| !matches!(letter, 'Z' | 'X'))
    }

    /// Whether it stands still.
    pub(crate) fn is_paused(self) -> bool {
        self.letter().is_some_and(|letter| matches!(letter, 'T' | 't'))
    }

    fn letter(self) -> Option<char> {
        read_stat(self.pid).filter(|stat| stat.1 == self.started).map(|stat| stat.0)
    }

    /// Megabytes in memory.
    pub(crate) fn memory_mb(self) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
        Some(kilobytes / 1024)
    }

    /// Signals it, when it runs.
    ///
    /// # Errors
    /// When the machine does not let us.
    pub(crate) fn signal(self, signal: Signal) -> anyhow::Result<()> {
        if !self.is_alive() {
            return Ok(());
        }
        let word = match signal {
            Signal::Kill => "KILL",
            Signal::Terminate => "TERM",
            Signal::Pause => "STOP",
            Signal::Resume => "CONT",
        };
        let pid = self.pid.to_string();
        let output = Command::new("sh").args(["-c", "kill -s $0 $1", word, &pid]).output()?;
        let error = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success() || !self.is_alive(), "kill -s {word} {pid}: {error}");
        Ok(())
    }

    /// Waits for its end; false when it still runs after `within`.
    pub(crate) fn wait(self, within: Duration) -> bool {
        let watch = Watch::start();
        while self.is_alive() {
            if watch.elapsed() > within {
                return false;
            }
            super::progress::pause();
        }
        true
    }
}

/// The state letter and the time of start of a process.
fn read_stat(pid: u32) -> Option<(char, u64)> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// The name of a program, in parentheses, may itself hold spaces and parentheses.
fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    let letter = fields.next()?.chars().next()?;
    // The state is field 3 of proc(5), the start is field 22.
    Some((letter, fields.nth(18)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_name_with_a_parenthesis_does_not_shift_the_fields() {
        let stat = "7 (a) b) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20 21";
        assert_eq!(parse_stat(stat), Some(('S', 4711)));
        assert_eq!(parse_stat("7"), None);
    }

    #[test]
    fn a_number_given_to_another_process_is_not_alive() {
        let pid = std::process::id();
        let started = read_stat(pid).unwrap().1;
        assert!(Process { pid, started }.is_alive());
        assert!(!Process { pid, started: started + 1 }.is_alive());
        assert!(Process { pid, started: started + 1 }.signal(Signal::Kill).is_ok());
    }

    #[test]
    fn a_process_is_started_paused_resumed_and_killed() {
        let dir = std::env::temp_dir();
        let log = dir.join(format!("xtask-process-{}.log", std::process::id()));
        let command = ["sleep", "600"].map(str::to_owned);
        let process = Process::start(&command, &dir, &log).unwrap();
        assert!(process.is_alive());
        process.signal(Signal::Pause).unwrap();
        let within = Duration::from_secs(20);
        assert!(super::super::progress::until(within, || process.is_paused()));
        process.signal(Signal::Resume).unwrap();
        assert!(super::super::progress::until(within, || !process.is_paused()));
        process.signal(Signal::Kill).unwrap();
        assert!(process.wait(within));
        fs::remove_file(log).unwrap();
    }
}
