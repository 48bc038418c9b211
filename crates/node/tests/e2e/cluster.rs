//! A development cluster in processes of its own, and the commands that talk to it.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    ops::{Deref, DerefMut},
    path::Path,
    process::{Child, Command, Output, Stdio},
    sync::mpsc::{self, RecvTimeoutError, SyncSender},
    time::Duration,
};

const POSTHORN: &str = env!("CARGO_BIN_EXE_posthorn");
/// A process that runs for longer is killed; whoever waits for it then fails.
const LIMIT: Duration = Duration::from_secs(90);

/// A process; killed when dropped, and when a test hangs.
pub(crate) struct Process {
    child: Option<Child>,
    _running: SyncSender<()>,
}

/// A development cluster in a folder of its own.
pub(crate) struct Dev {
    process: Process,
    pub(crate) address: String,
    pub(crate) admin: SocketAddr,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        let child = command.spawn().unwrap();
        let (running, ended) = mpsc::sync_channel::<()>(0);
        let pid = child.id().to_string();
        std::thread::spawn(move || {
            if ended.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                Command::new("kill").args(["-KILL", &pid]).status().unwrap();
            }
        });
        Self { child: Some(child), _running: running }
    }

    pub(crate) fn wait_with_output(mut self) -> Output {
        self.child.take().unwrap().wait_with_output().unwrap()
    }
}

impl Deref for Process {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.child.as_ref().unwrap()
    }
}

impl DerefMut for Process {
    fn deref_mut(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            child.kill().ok();
            child.wait().ok();
        }
    }
}

impl Dev {
    /// Starts it and waits until it says that it serves.
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, "127.0.0.1:0", &[])
    }

    /// As [`Self::start`], at an address that an earlier one was given.
    pub(crate) fn start_at(data: &Path, listen: &str) -> Self {
        Self::start_with(data, listen, &[])
    }

    /// As [`Self::start`], with settings.
    pub(crate) fn start_with(data: &Path, listen: &str, settings: &[&str]) -> Self {
        let mut command = command("dev");
        command.args(["--listen", listen, "--admin", "127.0.0.1:0", "--data"]).arg(data);
        for setting in settings {
            command.args(["--set", setting]);
        }
        let mut process = Process::start(command.stdout(Stdio::piped()));
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        let address = line.strip_prefix("Posthorn is running on ").expect("it says so");
        let address = address.split_whitespace().next().unwrap().to_owned();
        // The rest of the welcome has to go somewhere.
        let _rest = std::thread::spawn(move || std::io::copy(&mut stdout, &mut std::io::sink()));
        let development = node::development::Development::find(data).unwrap();
        let admin = development.cluster().unwrap().admin.unwrap();
        Self { process, address, admin }
    }

    pub(crate) fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Sends SIGTERM and gives the exit code.
    pub(crate) fn terminate(mut self) -> Option<i32> {
        terminate(&self.process);
        self.process.wait().unwrap().code()
    }

    /// Asks the admin listener to drain and gives the exit code.
    pub(crate) fn drain(mut self) -> Option<i32> {
        assert!(self.ask("POST", "/drain").starts_with("HTTP/1.1 202"));
        self.process.wait().unwrap().code()
    }

    /// The value of a metric, over all its labels.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let page = self.ask("GET", "/metrics");
        let values = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([' ', '{']))
        });
        values.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum()
    }

    fn ask(&self, method: &str, path: &str) -> String {
        ask(self.admin, method, path)
    }
}

/// What an admin listener answers, headers included.
pub(crate) fn ask(admin: SocketAddr, method: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

pub(crate) fn terminate(child: &Child) {
    signal(child, "-TERM");
}

pub(crate) fn signal(child: &Child, signal: &str) {
    let pid = child.id().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

/// The program with these arguments, separated by white space.
pub(crate) fn command(arguments: &str) -> Command {
    let mut command = Command::new(POSTHORN);
    command.args(arguments.split_whitespace());
    command
}

/// Starts a command without waiting for it.
pub(crate) fn spawn(data: &Path, arguments: &str) -> Process {
    let mut command = command(arguments);
    command.arg("--data").arg(data).stdin(Stdio::piped());
    Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
}

/// Runs a command with this standard input.
pub(crate) fn run(data: &Path, arguments: &str, input: &str) -> Output {
    let mut process = spawn(data, arguments);
    // The command may end without reading its input.
    process.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    process.wait_with_output()
}

/// The standard output of a command that must succeed.
pub(crate) fn ok(data: &Path, arguments: &str, input: &str) -> String {
    let output = run(data, arguments, input);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "posthorn {arguments}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// As [`ok`], for a command without a data folder.
pub(crate) fn ok_here(arguments: &str) -> String {
    let output = command(arguments).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "posthorn {arguments}: {stderr}");
    String::from_utf8(output.stdout).unwrap()
}

/// The exit code and standard error of a command that must fail.
pub(crate) fn fails(data: &Path, arguments: &str) -> (i32, String) {
    let output = run(data, arguments, "");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code().unwrap(), stderr)
}

/// The text of a line of JSON.
pub(crate) fn text(line: &str) -> String {
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    line["text"].as_str().unwrap().to_owned()
}

/// The texts of JSON lines.
pub(crate) fn texts(lines: &str) -> Vec<String> {
    lines.lines().map(text).collect()
}

/// Lines to send: the numbers of a range, each as a line.
pub(crate) fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

/// Numbers as the standard input of `send`.
pub(crate) fn lines(numbers: &[String]) -> String {
    format!("{}\n", numbers.join("\n"))
}
