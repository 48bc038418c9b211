//! The programs that take part, and what they say.

use std::{
    io::{BufRead, BufReader, Read as _},
    path::{Path, PathBuf},
    process::{Child, ChildStderr, ChildStdout, Command, Stdio},
};

use loadtest::report::summary::Summary;

const PROGRAM: &str = env!("CARGO_BIN_EXE_loadtest");

/// Runs the program to its end: its exit code, and all it said.
pub(crate) fn loadtest(arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(PROGRAM).args(arguments).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&said).into_owned())
}

/// Makes keys in a new folder.
pub(crate) fn keys(folder: &Path, name: &str) -> PathBuf {
    let keys = folder.join(name);
    let (code, said) = loadtest(&["agent-keys", "new", keys.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    keys
}

/// The summary that a run left.
pub(crate) fn summary(folder: &Path, name: &str) -> Summary {
    Summary::load(&folder.join(name)).unwrap()
}

/// A process that is killed with the test.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// An agent of its own process.
pub(crate) struct Agent {
    program: Program,
    said: BufReader<ChildStdout>,
    address: String,
    _data: tempfile::TempDir,
}

impl Agent {
    /// Starts one with a clock that is wrong by so much.
    pub(crate) fn start(keys: &Path, skew_ms: i64) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut child = Command::new(PROGRAM)
            .args(["agent", "--listen", "127.0.0.1:0"])
            .args(["--clock-skew-ms", &skew_ms.to_string()])
            .arg("--keys")
            .arg(keys)
            .arg("--data")
            .arg(data.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let first = until(&mut said, "listens on ");
        let (_, rest) = first.split_once("listens on ").unwrap();
        let (address, _) = rest.split_once(',').unwrap();
        let (program, address) = (Program(child), address.to_owned());
        Self { program, said, address, _data: data }
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self) {
        self.program.0.kill().unwrap();
    }

    /// Reads until it says this.
    pub(crate) fn until(&mut self, words: &str) {
        until(&mut self.said, words);
    }
}

/// A run.
pub(crate) struct Coordinator {
    program: Program,
    said: BufReader<ChildStderr>,
    heard: String,
}

impl Coordinator {
    /// Runs the smallest scenario, without bounds that a busy machine would miss.
    pub(crate) fn start(folder: &Path, name: &str, keys: &Path, agents: &[&Agent]) -> Self {
        let addresses: Vec<_> = agents.iter().map(|agent| agent.address.as_str()).collect();
        let mut child = Command::new(PROGRAM)
            .args(["run", "smoke", "--agents", &addresses.join(",")])
            .args(["--set", "honest.schedule_delay_p99_max=1s", "--set", "phase.load.slo={}"])
            .arg("--keys")
            .arg(keys)
            .arg("--out")
            .arg(folder.join(name))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap());
        Self { program: Program(child), said, heard: String::new() }
    }

    /// Reads until it says this.
    pub(crate) fn until(&mut self, words: &str) {
        self.heard = until(&mut self.said, words);
    }

    /// SIGKILL. The servers it started end with it.
    pub(crate) fn kill(mut self) {
        self.program.0.kill().unwrap();
    }

    /// Its exit code, and all it said.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        self.said.read_to_string(&mut self.heard).unwrap();
        let mut out = self.program.0.stdout.take().unwrap();
        out.read_to_string(&mut self.heard).unwrap();
        (self.program.0.wait().unwrap().code(), self.heard.clone())
    }
}

/// Everything up to the line with these words.
fn until(said: &mut impl BufRead, words: &str) -> String {
    let mut heard = String::new();
    while !heard.contains(words) {
        let read = said.read_line(&mut heard).unwrap();
        assert!(read > 0, "it ended and never said {words:?}: {heard}");
    }
    heard
}
