//! One server process: started, broken, and started again.

use std::{
    ffi::OsString,
    fs::{self, File},
    net::SocketAddr,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{guard::Guard, http, usage};

/// A process is ready within this after its start.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// A process that was asked to end has this long, above the 30 s a drain may take.
const END_WITHIN: Duration = Duration::from_secs(60);
/// The system has this long to do what a signal says.
const SIGNALLED_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks at a process.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// An operators' listener answers within this.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Lines of its log that an error shows.
const LINES_SHOWN: usize = 15;

/// One server process of a local cluster, running or not. Dropping it kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    admin: SocketAddr,
    log: PathBuf,
    program: PathBuf,
    arguments: Vec<OsString>,
    guard: Arc<Guard>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    child: Option<Child>,
    is_stopped: bool,
    /// It was asked to end.
    is_to_end: bool,
    /// How the last one ended, when nobody asked it to.
    fell: Option<ExitStatus>,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It runs.
    Running,
    /// It is there and does nothing: SIGSTOP.
    Stopped,
    /// It was ended, or never started.
    Ended,
    /// It ended though nobody asked it to.
    Fell(ExitStatus),
}

impl Process {
    pub(crate) fn new(
        name: String,
        admin: SocketAddr,
        folder: &Path,
        (program, arguments): (PathBuf, Vec<OsString>),
        guard: Arc<Guard>,
    ) -> Self {
        let log = folder.join(format!("{name}.log"));
        Self { name, admin, log, program, arguments, guard, running: Mutex::default() }
    }

    /// What it is called: `server`, `edge-1`, `worker-1` and so on.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it listens for operators.
    #[must_use]
    pub fn admin(&self) -> SocketAddr {
        self.admin
    }

    /// The file with what it says.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Its number; none while there is no process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.running().child.as_ref().map(Child::id)
    }

    /// How it is now.
    #[must_use]
    pub fn state(&self) -> State {
        let mut running = self.running();
        self.look(&mut running);
        match (&running.child, running.fell) {
            (Some(_), _) if running.is_stopped => State::Stopped,
            (Some(_), _) => State::Running,
            (None, Some(status)) => State::Fell(status),
            (None, None) => State::Ended,
        }
    }

    /// Starts it, or starts it again at the same place.
    ///
    /// # Errors
    /// When it runs already or does not start.
    pub fn start(&self) -> anyhow::Result<()> {
        let mut running = self.running();
        self.look(&mut running);
        ensure!(running.child.is_none(), "{} runs already", self.name);
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.with_context(|| format!("open {}", self.log.display()))?;
        let child = Command::new(&self.program)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C is for this program, which ends its servers when it no longer needs them.
            .process_group(0)
            .spawn()
            .with_context(|| format!("start {}", self.program.display()))?;
        self.guard.watch(child.id());
        *running = Running { child: Some(child), ..Running::default() };
        Ok(())
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    /// When it has ended, or is not ready within a minute; with the end of its log.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let by = Instant::now() + READY_WITHIN;
        let mut looks = looks();
        loop {
            let answer = http::ask("GET", &self.admin.to_string(), "/readyz", ANSWER_WITHIN).await;
            let problem = match answer {
                Ok(answer) if answer.status == 200 => return Ok(()),
                Ok(answer) => answer.body.trim().to_owned(),
                Err(error) => format!("{error:#}"),
            };
            match self.state() {
                State::Running | State::Stopped => {}
                State::Ended => bail!("{} was ended before it was ready", self.name),
                State::Fell(status) => {
                    bail!("{} ended by itself ({status}); {}", self.name, self.last_said());
                }
            }
            if by <= Instant::now() {
                let said = self.last_said();
                bail!("{} is not ready after {READY_WITHIN:?}: {problem}; {said}", self.name);
            }
            looks.tick().await;
        }
    }

    /// Ends it at once, as a crash does (SIGKILL), and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run.
    ///
    /// # Cancel safety
    /// A dropped call has killed it.
    pub async fn kill(&self) -> anyhow::Result<()> {
        self.signal(Signal::KILL)?;
        self.gone(SIGNALLED_WITHIN).await
    }

    /// Lets it stand still (SIGSTOP) and waits until it does: its sockets stay open and nobody
    /// answers.
    ///
    /// # Errors
    /// When it does not run.
    ///
    /// # Cancel safety
    /// A dropped call has stopped it, or is about to.
    pub async fn stop(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)?;
        let by = Instant::now() + SIGNALLED_WITHIN;
        let mut looks = looks();
        while let Some(pid) = self.pid()
            && !usage::stands_still(pid)
        {
            ensure!(by > Instant::now(), "{} goes on after SIGSTOP", self.name);
            looks.tick().await;
        }
        Ok(())
    }

    /// Lets it go on (SIGCONT).
    ///
    /// # Errors
    /// When it does not run.
    pub fn cont(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Asks it to end in order (SIGTERM), which lets its clients go elsewhere, and waits.
    ///
    /// # Errors
    /// When it does not run, or does not end within a minute: then it is killed.
    ///
    /// # Cancel safety
    /// A dropped call has asked.
    pub async fn terminate(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)?;
        self.gone(END_WITHIN).await
    }

    /// As [`Self::terminate`], asked through the operators' listener.
    ///
    /// # Errors
    /// As [`Self::terminate`], and when nobody listens.
    ///
    /// # Cancel safety
    /// A dropped call may have asked.
    pub async fn drain(&self) -> anyhow::Result<()> {
        let answer = http::ask("POST", &self.admin.to_string(), "/drain", ANSWER_WITHIN).await?;
        self.running().is_to_end = true;
        ensure!(answer.status == 202, "{} does not drain: {}", self.name, answer.body.trim());
        self.gone(END_WITHIN).await
    }

    /// The last lines of its log, for an error.
    pub(crate) fn last_said(&self) -> String {
        let said = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = said.lines().collect();
        let last = lines[lines.len().saturating_sub(LINES_SHOWN)..].join("\n  ");
        format!("{} ends with:\n  {last}", self.log.display())
    }

    /// Waits until the process is gone; one that stays is killed.
    async fn gone(&self, within: Duration) -> anyhow::Result<()> {
        let by = Instant::now() + within;
        let mut looks = looks();
        while by > Instant::now() {
            match self.state() {
                State::Running | State::Stopped => {}
                State::Ended | State::Fell(_) => return Ok(()),
            }
            looks.tick().await;
        }
        self.end();
        bail!("{} did not end within {within:?} and was killed", self.name);
    }

    /// Kills it if it runs.
    pub(crate) fn end(&self) {
        let mut running = self.running();
        if let Some(mut child) = running.child.take() {
            let killed = child.kill();
            self.guard.forget(child.id());
            if let Err(error) = killed.and_then(|()| child.wait()) {
                tracing::warn!(%error, process = self.name, "not killed");
            }
        }
    }

    /// Sees whether it has ended.
    fn look(&self, running: &mut Running) {
        if let Some(child) = &mut running.child
            && let Ok(Some(status)) = child.try_wait()
        {
            self.guard.forget(child.id());
            let fell = (!running.is_to_end).then_some(status);
            *running = Running { fell, ..Running::default() };
        }
    }

    /// The process is ours and was not waited for, so that its number is no other's.
    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        let mut running = self.running();
        self.look(&mut running);
        let child = running.child.as_ref();
        let child = child.with_context(|| format!("{} does not run", self.name))?;
        kill_process(Pid::from_child(child), signal)
            .with_context(|| format!("signal {signal:?} to {}", self.name))?;
        running.is_to_end |= signal == Signal::KILL || signal == Signal::TERM;
        running.is_stopped =
            signal == Signal::STOP || (running.is_stopped && signal != Signal::CONT);
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}

fn looks() -> tokio::time::Interval {
    let mut looks = interval(LOOK_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    looks
}
