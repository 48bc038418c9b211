//! Ends engines, and what can be done to one of them.

use std::{fs, path::Path, sync::Mutex, time::Duration};

use anyhow::{Context as _, bail};

use super::{
    process::{Process, Signal},
    progress::{Progress, Watch},
    state::{Kind, Lock, Member, State},
    up::{self, Expect},
};

/// What `up` writes into a folder, besides logs and the lock.
pub(crate) const WRITTEN: &[&str] =
    &["engines.json", "engines.json.new", "posthorn.toml", "conf", "data", "logs", "mesh", "tls"];

/// A broker leaves in order within this, when the others are there to let it go.
const LEAVE_WITHIN: Duration = Duration::from_secs(10);
/// A single member that was asked to end.
const STOP_WITHIN: Duration = Duration::from_secs(30);
const DIE_WITHIN: Duration = Duration::from_secs(20);

/// Whether data outlive their engines.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    /// `up` goes on with them.
    Keep,
    /// Nothing but logs stays.
    Remove,
}

/// Ends everything that `up` started in `dir`.
///
/// # Errors
/// When a process does not end.
pub(crate) fn down(dir: &Path, data: Data) -> anyhow::Result<()> {
    let watch = Watch::start();
    let _lock = Lock::take(dir)?;
    let Some(state) = State::load(dir)? else {
        println!("nothing is up in {}", dir.display());
        return Ok(());
    };
    let alive: Vec<_> = state.members.iter().filter(|member| member.is_alive()).collect();
    if data == Data::Keep {
        leave(&alive)?;
    }
    for process in processes(&alive) {
        process.signal(Signal::Kill)?;
    }
    for member in &alive {
        let process = member.process.context("an alive member has a process")?;
        if !process.wait(DIE_WITHIN) {
            bail!("{} (process {}) does not die", member.name, process.pid);
        }
    }
    if data == Data::Remove {
        remove(dir, WRITTEN.iter().copied().filter(|name| *name != "logs").collect::<Vec<_>>())?;
    }
    println!("{} processes ended in {}", alive.len(), watch.seconds());
    Ok(())
}

/// Brokers are asked all at once: one after another, the last would wait five minutes for a
/// majority that no longer is. The others lose nothing when they are killed.
fn leave(alive: &[&Member]) -> anyhow::Result<()> {
    let brokers: Vec<_> = alive.iter().filter(|m| m.kind == Kind::Kafka).copied().collect();
    for process in processes(&brokers) {
        process.signal(Signal::Terminate)?;
        process.signal(Signal::Resume)?;
    }
    let watch = Watch::start();
    for process in processes(&brokers) {
        process.wait(LEAVE_WITHIN.saturating_sub(watch.elapsed()));
    }
    Ok(())
}

fn processes(members: &[&Member]) -> Vec<Process> {
    members.iter().filter_map(|member| member.process).collect()
}

/// Removes files and folders of `dir` by their names, and nothing else.
///
/// # Errors
/// When one of them cannot be removed.
pub(crate) fn remove<'a>(
    dir: &Path,
    names: impl IntoIterator<Item = &'a (impl AsRef<Path> + ?Sized + 'a)>,
) -> anyhow::Result<()> {
    for name in names {
        let path = dir.join(name);
        if path.is_dir() {
            fs::remove_dir_all(&path).with_context(|| format!("remove {}", path.display()))?;
        } else if path.exists() {
            fs::remove_file(&path).with_context(|| format!("remove {}", path.display()))?;
        }
    }
    Ok(())
}

/// What can be done to one member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    /// Ends it at once, as a failure would.
    Kill,
    /// Ends it in order.
    Stop,
    /// Starts it with the data it had.
    Start,
    /// Makes it stand still with its sockets open, as a machine that hangs.
    Pause,
    /// Lets it go on.
    Resume,
    /// Ends it in order and starts it.
    Restart,
}

/// Does something to one member and waits until it is done.
///
/// # Errors
/// When there is no such member, or it does not do as it is told.
pub(crate) fn act(dir: &Path, deed: Deed, name: &str) -> anyhow::Result<()> {
    let progress = Progress::start();
    // Held only while a process is found and told, so that others can act while this one starts.
    let lock = Lock::take(dir)?;
    let state = State::load(dir)?;
    let mut state = state.with_context(|| format!("nothing is up in {}", dir.display()))?;
    let process = state.member(name)?.process.filter(|process| process.is_alive());
    let is_start = matches!(deed, Deed::Start | Deed::Restart);
    match (deed, process) {
        (Deed::Kill, Some(process)) => end(name, process, Signal::Kill)?,
        (Deed::Stop | Deed::Restart, Some(process)) => end(name, process, Signal::Terminate)?,
        (Deed::Pause, Some(process)) => process.signal(Signal::Pause)?,
        (Deed::Resume, Some(process)) => process.signal(Signal::Resume)?,
        (Deed::Pause | Deed::Resume, None) => bail!("{name} is not running"),
        (Deed::Kill | Deed::Stop, None) | (Deed::Start, _) | (Deed::Restart, None) => {}
    }
    if is_start {
        let state = Mutex::new(state);
        up::start(dir, &state, name)?;
        drop(lock);
        up::wait(&state, name, Expect::Itself, progress)?;
    }
    println!("{name}: {deed:?} done in {}", progress.seconds());
    Ok(())
}

fn end(name: &str, process: Process, signal: Signal) -> anyhow::Result<()> {
    process.signal(signal)?;
    process.signal(Signal::Resume)?;
    let within = if signal == Signal::Kill { DIE_WITHIN } else { STOP_WITHIN };
    if !process.wait(within) {
        println!("{name} does not end in order within {within:?}: killed");
        process.signal(Signal::Kill)?;
        anyhow::ensure!(process.wait(DIE_WITHIN), "{name} does not die");
    }
    Ok(())
}
