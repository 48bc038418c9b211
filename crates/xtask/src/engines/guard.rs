//! Engines that end with the command that needs them, however it ends.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context as _, ensure};

use super::{jars::target_dir, settings::own_program};

/// A process that takes engines down when this one ends, however it ends: its input is a pipe from
/// here, and it is out of reach of Ctrl-C.
pub(crate) struct Guard {
    child: Child,
    dir: PathBuf,
}

impl Guard {
    /// Engines in a folder of this name end with this process.
    ///
    /// # Errors
    /// When the process does not start.
    pub(crate) fn new(name: &str) -> anyhow::Result<Self> {
        let dir = target_dir().join("engines-of-runs").join(name);
        let child = Command::new(own_program())
            .args(["engines", "guard", "--dir"])
            .arg(&dir)
            .stdin(Stdio::piped())
            .process_group(0)
            .spawn()
            .context("the guard of the engines did not start")?;
        Ok(Self { child, dir })
    }

    /// Where the engines are.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Takes the engines down; logs stay when somebody will read them.
    ///
    /// # Errors
    /// When a process does not end, or its files stay.
    pub(crate) fn end(mut self, have_passed: bool) -> anyhow::Result<()> {
        ensure!(self.wait()?, "the engines in {} did not end", self.dir.display());
        if have_passed {
            let dir: &Path = &self.dir;
            std::fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
        }
        Ok(())
    }

    fn wait(&mut self) -> anyhow::Result<bool> {
        drop(self.child.stdin.take());
        Ok(self.child.wait()?.success())
    }
}

/// On an error or a panic the engines are down before this process says why it ends.
impl Drop for Guard {
    fn drop(&mut self) {
        // Waiting again for a process that ended says at once how it did.
        if let Err(error) = self.wait() {
            eprintln!("the guard of {}: {error}", self.dir.display());
        }
    }
}
