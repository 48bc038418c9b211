//! A process of this machine that somebody else started.

use std::{fs, str::FromStr};

use super::usage::Usage;

/// A process of this machine that somebody else started. It is only looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignProcess {
    /// What it is called in the report.
    pub name: String,
    /// Its number.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did: numbers are used again.
    started: String,
}

impl ForeignProcess {
    /// The process that has this number now.
    ///
    /// # Errors
    /// When there is none, or it is another user's; the message says what to do.
    pub fn find(name: String, pid: u32) -> Result<Self, String> {
        let started = started(pid).ok_or_else(|| format!("there is no process {pid}"))?;
        if Usage::of(pid).is_none() {
            return Err(format!(
                "the process {pid} cannot be looked at: run the load test as the user it runs as"
            ));
        }
        Ok(Self { name, pid, started })
    }

    /// What it uses; none when it is gone, even when another one has its number.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        let usage = Usage::of(self.pid)?;
        (started(self.pid).as_ref() == Some(&self.started)).then_some(usage)
    }
}

/// When a process started; none when there is none, or it has ended and nobody was told yet.
fn started(pid: u32) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name may hold anything, parentheses too; the first field after it is the third.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    (!["Z", "X"].contains(&state)).then(|| fields.nth(22 - 4).map(str::to_owned))?
}

/// `NAME=PID`.
impl FromStr for ForeignProcess {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').filter(|(name, _)| !name.is_empty());
        let (name, pid) = parts.ok_or("expected NAME=PID, as server=1234")?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if !name.chars().all(is_plain) {
            return Err(format!("{name}: a name of letters, digits, - _ and . is expected"));
        }
        let pid = pid.parse().map_err(|_| {
            format!("{pid} is no number of a process; `pidof PROGRAM` tells those of a program")
        })?;
        Self::find(name.to_owned(), pid)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn a_process_is_found_by_its_number_and_not_taken_for_the_next_one() {
        let pid = std::process::id();
        let this: ForeignProcess = format!("this={pid}").parse().unwrap();
        assert_eq!((this.name.as_str(), this.pid), ("this", pid));
        assert!(this.usage().unwrap().rss_bytes > 0);
        let other = ForeignProcess { started: "1".to_owned(), ..this };
        assert_eq!(other.usage(), None);
    }

    #[test]
    fn a_process_that_has_ended_is_gone_before_its_parent_asks() {
        let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
        let cat = ForeignProcess::find("cat".to_owned(), child.id()).unwrap();
        assert!(cat.usage().is_some());
        drop(child.stdin.take());
        while started(child.id()).is_some() {
            std::thread::yield_now();
        }
        assert_eq!(cat.usage(), None);
        child.wait().unwrap();
    }

    #[test]
    fn what_names_no_process_is_refused_with_the_reason() {
        let cases = [
            ("1234", "NAME=PID"),
            ("=1234", "NAME=PID"),
            ("a b=1", "letters"),
            ("server=rmqttd", "pidof"),
            ("server=4294967295", "no process 4294967295"),
        ];
        for (wrong, why) in cases {
            let problem = wrong.parse::<ForeignProcess>().unwrap_err();
            assert!(problem.contains(why), "{wrong}: {problem}");
        }
    }
}
