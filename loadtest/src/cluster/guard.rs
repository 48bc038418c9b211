//! Takes the processes of a cluster down when this one is killed.

use std::{
    io::Write as _,
    os::unix::process::CommandExt as _,
    process::{Child, ChildStdin, Command, Stdio},
    sync::{Mutex, PoisonError},
};

use anyhow::Context as _;

/// Remembers the processes it is told of, `+ PID` and `- PID`, until its input ends: then this
/// process is gone, and whatever is left is killed.
const SCRIPT: &str = r#"
trap '' HUP INT TERM
pids=
while read -r what pid; do
  left=
  for old in $pids; do [ "$old" = "$pid" ] || left="$left $old"; done
  pids=$left
  [ "$what" = + ] && pids="$pids $pid"
done
[ -z "$pids" ] || kill -KILL $pids
"#;

/// A shell that outlives this process by a moment. It is out of reach of Ctrl-C.
#[derive(Debug)]
pub(crate) struct Guard {
    shell: Mutex<Shell>,
}

#[derive(Debug)]
struct Shell {
    child: Child,
    /// Taken to end it.
    input: Option<ChildStdin>,
}

impl Guard {
    /// # Errors
    /// When there is no shell.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let mut child = Command::new("sh")
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .context("start `sh`, which takes the servers down should this program be killed")?;
        let input = child.stdin.take();
        Ok(Self { shell: Mutex::new(Shell { child, input }) })
    }

    /// This process is to end with us.
    pub(crate) fn watch(&self, pid: u32) {
        self.tell('+', pid);
    }

    /// This process ends by itself; to be told before its number can belong to another one.
    pub(crate) fn forget(&self, pid: u32) {
        self.tell('-', pid);
    }

    fn tell(&self, what: char, pid: u32) {
        let mut shell = self.shell.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(input) = &mut shell.input
            && let Err(error) = writeln!(input, "{what} {pid}")
        {
            tracing::warn!(%error, "nobody takes the servers down should this program be killed");
        }
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let shell = self.shell.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(shell.input.take());
        if let Err(error) = shell.child.wait() {
            tracing::warn!(%error, "the guard of the servers");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn what_is_watched_ends_with_the_guard_and_what_is_forgotten_does_not() {
        let sleep = || Command::new("sleep").arg("1000").spawn().unwrap();
        let guard = Guard::start().unwrap();
        let (mut watched, mut forgotten) = (sleep(), sleep());
        guard.watch(watched.id());
        guard.watch(forgotten.id());
        guard.forget(forgotten.id());
        drop(guard);
        assert_eq!(watched.wait().unwrap().signal(), Some(9));
        assert_eq!(forgotten.try_wait().unwrap(), None);
        forgotten.kill().unwrap();
        forgotten.wait().unwrap();
    }
}
