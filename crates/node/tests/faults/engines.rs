//! The engines the tests run on, and how parts of them are killed.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The engines somebody else has started.
pub(crate) struct Engines {
    program: PathBuf,
    folder: PathBuf,
}

impl Engines {
    /// Those the environment names.
    pub(crate) fn find() -> Self {
        let variable = |name: &str| {
            let value = env::var_os(name);
            PathBuf::from(value.unwrap_or_else(|| {
                panic!("{name} is not set: run these tests by `cargo xtask test engines`")
            }))
        };
        let program = variable("POSTHORN_ENGINES");
        Self { program, folder: variable("POSTHORN_ENGINES_DIR") }
    }

    /// The settings of a process that uses them.
    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("posthorn.toml")
    }

    /// SIGKILL.
    pub(crate) fn kill(&self, name: &str) {
        self.act("kill", name);
    }

    /// Starts what was killed, on the same data, and waits until it is ready.
    pub(crate) fn start(&self, name: &str) {
        self.act("start", name);
    }

    /// SIGSTOP.
    pub(crate) fn pause(&self, name: &str) {
        self.act("pause", name);
    }

    /// SIGCONT.
    pub(crate) fn resume(&self, name: &str) {
        self.act("resume", name);
    }

    fn act(&self, verb: &str, name: &str) {
        let arguments: [&Path; 5] =
            ["engines".as_ref(), verb.as_ref(), name.as_ref(), "--dir".as_ref(), &self.folder];
        let output = Command::new(&self.program).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{verb} {name}: {said}");
    }
}

/// Whatever a test killed or paused is there again for the next one.
pub(crate) struct Restored<'a> {
    pub(crate) engines: &'a Engines,
    pub(crate) name: &'a str,
}

impl Drop for Restored<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let folder = &self.engines.folder;
            for verb in ["resume", "start"] {
                let mut command = Command::new(&self.engines.program);
                command.args(["engines", verb, self.name, "--dir"]).arg(folder).output().ok();
            }
        }
    }
}
