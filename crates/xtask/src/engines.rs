//! Real engines by one command: Kafka, Cassandra in the place of ScyllaDB, and Redis.

mod ask;
mod cassandra;
mod certificates;
mod down;
mod guard;
mod jars;
mod kafka;
mod machine;
mod plan;
mod process;
mod progress;
mod redis;
mod settings;
mod state;
mod up;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use self::{
    down::{Data, Deed},
    state::{Member, State},
};
pub(crate) use self::{guard::Guard, progress::Watch, state::Wanted};

const HELP: &str = "\
What it needs: Linux, Java 17 or newer, Maven (fetches Kafka and Cassandra from Maven Central, once,
each jar with the checksum we expect), redis-server. Debian: apt-get install openjdk-17-jre-headless
maven redis-server.

Each folder has its engines, with loopback addresses of their own, so that several can be up at
once. Processes outlive the command and the terminal; `engines.json` in the folder knows them.

Names: kafka-1 .. kafka-3, cassandra-1 .. cassandra-3, redis; with --secured also cassandra-tls and
redis-tls; with --redis all also redis-cluster-1 .. 6, redis-watched-1 and 2, sentinel-1 .. 3.

Example:
  cargo xtask engines up --nodes 3
  cargo xtask engines kill kafka-2
  cargo xtask engines start kafka-2
  cargo xtask engines down";

/// What is done with engines.
#[derive(Subcommand)]
#[command(after_help = HELP)]
pub(crate) enum Command {
    /// Starts engines, or those that died, and returns when all of them serve.
    Up {
        /// Brokers, and nodes of Cassandra.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=3))]
        nodes: u8,
        /// One Redis, or also a cluster of three primaries and three replicas and one with
        /// sentinels.
        #[arg(long, value_enum, default_value_t = Redis::One)]
        redis: Redis,
        /// Also listeners with TLS and a password, for each engine.
        #[arg(long)]
        secured: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Ends every engine and removes its data. Logs stay.
    Down {
        /// Leaves the data, with which the next `up` goes on.
        #[arg(long)]
        keep_data: bool,
        #[command(flatten)]
        place: Place,
    },
    /// Says what runs where. Fails when something that was started is dead.
    Status {
        /// How it is said.
        #[arg(short, long, value_enum, default_value_t = Output::Text)]
        output: Output,
        #[command(flatten)]
        place: Place,
    },
    /// Prints the variables by which tests find engines, for `eval`.
    Env {
        #[command(flatten)]
        place: Place,
    },
    /// Ends an engine at once, as a failure would: SIGKILL.
    Kill(One),
    /// Ends an engine in order: SIGTERM, after 30 seconds SIGKILL.
    Stop(One),
    /// Starts an engine with the data it had, and returns when it serves.
    Start(One),
    /// Makes an engine stand still with its sockets open: SIGSTOP.
    Pause(One),
    /// Lets an engine go on.
    Resume(One),
    /// Stops an engine and starts it.
    Restart(One),
    /// Waits for the end of its input, which is the end of its parent however it ends, and then
    /// does what `down` does.
    #[command(hide = true)]
    Guard {
        #[command(flatten)]
        place: Place,
    },
}

/// Where the state is.
#[derive(Args)]
pub(crate) struct Place {
    /// The folder of the state, of data and logs.
    #[arg(long, value_name = "DIR", default_value = "target/engines")]
    dir: PathBuf,
}

impl Place {
    /// Relative to the root of the workspace only by default.
    fn dir(&self) -> anyhow::Result<PathBuf> {
        if self.dir == Path::new("target/engines") {
            return Ok(jars::target_dir().join("engines"));
        }
        Ok(std::path::absolute(&self.dir)?)
    }
}

/// One engine.
#[derive(Args)]
pub(crate) struct One {
    /// For example kafka-2; `status` lists them.
    name: String,
    #[command(flatten)]
    place: Place,
}

/// How much of Redis.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Redis {
    /// A single one.
    One,
    /// Also a cluster, and one with sentinels.
    All,
}

/// How `status` speaks.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For machines.
    Json,
}

/// Does it; false when `status` found something dead.
///
/// # Errors
/// When it cannot be done; says what to do.
pub(crate) fn run(command: Command) -> anyhow::Result<bool> {
    let act = |deed, one: One| down::act(&one.place.dir()?, deed, &one.name).map(|()| true);
    match command {
        Command::Up { nodes, redis, secured, place } => {
            let dir = place.dir()?;
            let state = up::up(&dir, Wanted { nodes, redis_all: redis == Redis::All, secured })?;
            print!("{}", settings::next_steps(&dir, &state));
            Ok(true)
        }
        Command::Down { keep_data, place } => {
            let data = if keep_data { Data::Keep } else { Data::Remove };
            down::down(&place.dir()?, data).map(|()| true)
        }
        Command::Status { output, place } => status(&place, output),
        Command::Env { place } => {
            let dir = place.dir()?;
            for (name, value) in
                State::load(&dir)?.iter().flat_map(|s| settings::variables(&dir, s))
            {
                println!("export {name}='{value}'");
            }
            Ok(true)
        }
        Command::Kill(one) => act(Deed::Kill, one),
        Command::Stop(one) => act(Deed::Stop, one),
        Command::Start(one) => act(Deed::Start, one),
        Command::Pause(one) => act(Deed::Pause, one),
        Command::Resume(one) => act(Deed::Resume, one),
        Command::Restart(one) => act(Deed::Restart, one),
        Command::Guard { place } => {
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
            down::down(&place.dir()?, Data::Remove).map(|()| true)
        }
    }
}

/// Starts what is wanted in `dir` and says by which variables tests find it.
///
/// # Errors
/// When something is missing, or does not come up.
pub(crate) fn up(dir: &Path, wanted: Wanted) -> anyhow::Result<Vec<(&'static str, String)>> {
    let state = up::up(dir, wanted)?;
    Ok(settings::variables(dir, &state))
}

/// By which variables the benchmark of the log finds Kafka's own: the Java that runs it, and its
/// class path.
///
/// # Errors
/// When Java is missing, or its jars are and cannot be fetched.
pub(crate) fn kafka_tools() -> anyhow::Result<Vec<(&'static str, String)>> {
    let (java, progress) = (machine::java()?, progress::Progress::start());
    let folders = [jars::KAFKA.get(progress, "kafka")?, jars::KAFKA_TOOLS.get(progress, "kafka")?];
    let class_path = folders.map(|folder| format!("{}/*", folder.display())).join(":");
    let java = java.display().to_string();
    Ok(vec![("POSTHORN_BENCH_JAVA", java), ("POSTHORN_BENCH_KAFKA_TOOLS", class_path)])
}

fn status(place: &Place, output: Output) -> anyhow::Result<bool> {
    let dir = place.dir()?;
    let state = State::load(&dir)?;
    let members = state.as_ref().map_or(&[][..], |state| &state.members);
    let are_up = !members.is_empty() && members.iter().all(Member::is_alive);
    match (output, &state) {
        (Output::Json, Some(state)) => println!("{:#}", with_life(state)),
        (Output::Json, None) => println!("{:#}", json!({ "members": [] })),
        (Output::Text, None) => println!("nothing is up in {}", dir.display()),
        (Output::Text, Some(_)) => members.iter().for_each(|member| println!("{}", line(member))),
    }
    Ok(are_up)
}

fn life(member: &Member) -> &'static str {
    match member.process {
        Some(process) if process.is_paused() => "paused",
        Some(process) if process.is_alive() => "running",
        Some(_) => "dead",
        None => "stopped",
    }
}

fn line(member: &Member) -> String {
    let process = member.process.filter(|process| process.is_alive());
    let pid = process.map_or_else(|| "-".to_owned(), |process| process.pid.to_string());
    let memory = process.and_then(|process| process.memory_mb());
    let memory = memory.map_or_else(|| "-".to_owned(), |memory| format!("{memory} MB"));
    let addresses: Vec<_> =
        member.addresses.iter().map(|(name, address)| format!("{name}={address}")).collect();
    let (name, life) = (&member.name, life(member));
    format!("{name:<16} {life:<8} {pid:>8} {memory:>8}  {}", addresses.join(" "))
}

/// `engines.json` with what each process does now.
fn with_life(state: &State) -> Value {
    let mut value = state.to_json();
    let list = value["members"].as_array_mut().into_iter().flatten();
    for (member, entry) in state.members.iter().zip(list) {
        entry["state"] = life(member).into();
    }
    value
}
