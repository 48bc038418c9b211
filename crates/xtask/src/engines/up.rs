//! Starts engines side by side and waits until they serve.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Mutex,
    time::Duration,
};

use anyhow::{Context as _, bail, ensure};

use super::{
    cassandra,
    certificates::Certificates,
    down, kafka,
    machine::{self, Block},
    plan::Plan,
    process::{Process, Signal},
    progress::{Progress, Watch, pause},
    redis, settings,
    state::{Kind, Lock, Member, State, Wanted},
};

/// An engine that is slower is stuck: with 15 busy programs a core, Cassandra took 75 s.
const READY_WITHIN: Duration = Duration::from_secs(300);
/// How often a person hears that a start goes on.
const SAY_EVERY: Duration = Duration::from_secs(10);
const LOG_LINES: usize = 25;
const LOG_COLUMNS: usize = 300;

/// Which engines start side by side, each in stages: a stage begins when the one before serves.
const ENGINES: &[(&str, &[&[Kind]])] = &[
    ("kafka", &[&[Kind::Kafka]]),
    ("cassandra", &[&[Kind::Cassandra]]),
    ("cassandra-tls", &[&[Kind::CassandraTls]]),
    (
        "redis",
        &[
            &[Kind::Redis, Kind::RedisTls, Kind::RedisCluster, Kind::RedisWatched],
            &[Kind::Sentinel],
        ],
    ),
];

/// Starts what is wanted in `dir`, or what of it is dead. Returns when all of it serves.
///
/// # Errors
/// When something is missing, or does not come up; what runs by then keeps running.
pub(crate) fn up(dir: &Path, wanted: Wanted) -> anyhow::Result<State> {
    let progress = Progress::start();
    ensure!([1, 3].contains(&wanted.nodes), "--nodes is 1 or 3");
    let _lock = Lock::take(dir)?;
    machine::programs()?;
    let java = machine::java()?;
    let state = match State::load(dir)? {
        Some(state) if state.wanted == wanted => state,
        Some(_) => bail!(
            "{} has engines of other options, or their data: `cargo xtask engines down` first",
            dir.display()
        ),
        None => lay_out(dir, wanted, java, progress)?,
    };
    let dead = state.members.iter().filter(|member| !member.is_alive()).count();
    let state = Mutex::new(state);
    let started = start_all(dir, &state, progress);
    let state = state.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    started?;
    let count = state.members.len();
    match dead {
        0 => println!("all {count} processes were up already"),
        _ => println!("{dead} of {count} processes started, all serve, in {}", progress.seconds()),
    }
    Ok(state)
}

/// Everything on disk that members need, from nothing.
fn lay_out(dir: &Path, wanted: Wanted, java: PathBuf, progress: Progress) -> anyhow::Result<State> {
    down::remove(dir, down::WRITTEN)?;
    for folder in ["conf", "data", "logs"] {
        fs::create_dir_all(dir.join(folder))?;
    }
    let block = Block::free()?;
    let make = || Certificates::for_engines(&dir.join("tls"), block);
    let certificates = wanted.secured.then(make).transpose()?;
    let ca = certificates.as_ref().map(|certificates| certificates.ca.clone());
    let plan = Plan { dir: dir.to_path_buf(), wanted, block, java, certificates, progress };
    let (kafka, cassandra) = std::thread::scope(|scope| {
        let kafka = scope.spawn(|| kafka::lay_out(&plan));
        let cassandra = cassandra::lay_out(&plan);
        (kafka.join().expect("the layout of Kafka panicked"), cassandra)
    });
    let members = [kafka?, cassandra?, redis::lay_out(&plan)?].concat();
    let state = State { wanted, ca, members };
    settings::write(dir, &state, &Certificates::for_mesh(&dir.join("mesh"))?)?;
    state.save(dir)?;
    Ok(state)
}

/// Each engine in a thread of its own. The first error is told; the others go on to their end.
fn start_all(dir: &Path, state: &Mutex<State>, progress: Progress) -> anyhow::Result<()> {
    std::thread::scope(|scope| {
        let start = |(name, stages): &'static (&str, &[&[Kind]])| {
            scope.spawn(move || start_engine(dir, state, progress, name, stages))
        };
        let engines: Vec<_> = ENGINES.iter().map(start).collect();
        let ends = engines.into_iter().map(|engine| engine.join().expect("a start panicked"));
        ends.collect::<Vec<_>>().into_iter().collect()
    })
}

fn start_engine(
    dir: &Path,
    state: &Mutex<State>,
    progress: Progress,
    name: &str,
    stages: &[&[Kind]],
) -> anyhow::Result<()> {
    let all = members(state, |member| stages.iter().any(|kinds| kinds.contains(&member.kind)));
    if all.is_empty() || all.iter().all(is_ready_alone) {
        return Ok(());
    }
    let watch = Watch::start();
    for kinds in stages {
        let stage = members(state, |member| kinds.contains(&member.kind));
        let (first, rest) = stage.split_at(usize::from(kinds == &[Kind::Cassandra]));
        // Nodes of Cassandra that start at once agree about the schema only minutes later.
        for batch in [first, rest] {
            for member in batch {
                start(dir, state, &member.name)?;
            }
            for member in batch {
                wait(state, &member.name, Expect::Itself, progress)?;
            }
        }
    }
    for member in &all {
        wait(state, &member.name, Expect::All, progress)?;
    }
    if name == "redis" {
        // Not under the lock: it takes seconds.
        let now = lock(state).clone();
        redis::form(&now)?;
    }
    let addresses: Vec<_> = all.iter().map(Member::address).collect();
    progress.say(name, &format!("ready after {}: {}", watch.seconds(), addresses.join(" ")));
    Ok(())
}

fn is_ready_alone(member: &Member) -> bool {
    member.is_alive() && is_ready(member, 1).is_ok()
}

fn members(state: &Mutex<State>, is_meant: impl Fn(&Member) -> bool) -> Vec<Member> {
    lock(state).members.iter().filter(|member| is_meant(member)).cloned().collect()
}

fn lock(state: &Mutex<State>) -> std::sync::MutexGuard<'_, State> {
    state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Starts a member unless it runs, and writes down its process before anything else happens.
///
/// # Errors
/// When there is none of that name, or it does not start.
pub(crate) fn start(dir: &Path, state: &Mutex<State>, name: &str) -> anyhow::Result<()> {
    let mut state = lock(state);
    let member = state.member(name)?;
    if let Some(process) = member.process.filter(|process| process.is_alive()) {
        return process.signal(Signal::Resume);
    }
    let started = Process::start(&member.command, &dir.join("data").join(name), &member.log);
    member.process = Some(started.with_context(|| format!("start {name}"))?);
    state.save(dir)
}

/// What a member must know before it is ready.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    /// Only itself.
    Itself,
    /// Every member of its kind.
    All,
}

/// Waits until a member serves.
///
/// # Errors
/// When it dies, with the end of its log, or is not ready for minutes.
pub(crate) fn wait(
    state: &Mutex<State>,
    name: &str,
    expect: Expect,
    progress: Progress,
) -> anyhow::Result<()> {
    let (member, count) = {
        let mut state = lock(state);
        let member = state.member(name)?.clone();
        let count = state.of(member.kind).count();
        (member, count)
    };
    let expected = if expect == Expect::All { count } else { 1 };
    let (watch, mut said) = (Watch::start(), 1);
    loop {
        let Err(reason) = is_ready(&member, expected) else { return Ok(()) };
        if !member.is_alive() {
            bail!("{name} died. The end of {}:\n{}", member.log.display(), log_end(&member.log));
        }
        if watch.elapsed() > READY_WITHIN {
            let end = log_end(&member.log);
            bail!("{name} does not get ready: {reason}. {}:\n{end}", member.log.display());
        }
        if watch.elapsed() > SAY_EVERY * said {
            said += 1;
            progress.say(name, &format!("not ready yet: {reason}"));
        }
        pause();
    }
}

fn is_ready(member: &Member, expected: usize) -> anyhow::Result<()> {
    match member.kind {
        Kind::Kafka => kafka::is_ready(member, expected),
        Kind::Cassandra | Kind::CassandraTls => cassandra::is_ready(member, expected),
        Kind::Redis | Kind::RedisTls | Kind::RedisCluster | Kind::RedisWatched | Kind::Sentinel => {
            redis::is_ready(member)
        }
    }
}

fn log_end(log: &Path) -> String {
    let text = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<String> =
        text.lines().map(|line| line.chars().take(LOG_COLUMNS).collect()).collect();
    lines[lines.len().saturating_sub(LOG_LINES)..].join("\n")
}
