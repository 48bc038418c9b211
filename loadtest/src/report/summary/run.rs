//! What was run, where, when and by what.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What was run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Run {
    /// The number of the run that stands in every message, in hexadecimal.
    pub id: String,
    /// The name of the scenario.
    pub scenario: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// The scenario as it was run, in TOML.
    pub scenario_text: String,
    /// What population, arrivals and payloads were drawn from.
    pub seed: u64,
    /// When it began, in milliseconds since 1970.
    pub began_ms: u64,
    /// From the beginning of the first phase to the end of the last.
    pub duration_s: f64,
    /// What spoke to the cluster: `posthorn`, `mqtt`, `nats`.
    pub driver: String,
    /// What the driver cannot do, in sentences.
    #[serde(default)]
    pub driver_lacks: Vec<String>,
    /// What was driven: an address, or the processes that were started.
    pub target: String,
    /// The version the cluster says of itself.
    #[serde(default)]
    pub server_version: Option<String>,
    /// The version of the harness.
    pub loadtest_version: String,
    /// The command line as it was typed.
    #[serde(default)]
    pub command: Vec<String>,
    /// The machine that the generator, or the coordinator, ran on.
    pub machine: Machine,
    /// Who took part.
    pub population: PopulationFigures,
    /// The greatest p99 of the schedule delay with which the run still counts as a result.
    pub schedule_delay_p99_max_us: u64,
    /// How long deliveries were waited for after the load.
    pub grace_s: f64,
}

/// Who took part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PopulationFigures {
    /// A digest of everything drawn: the same seed gives the same.
    pub digest: String,
    /// Users.
    pub users: u64,
    /// Devices of all users.
    pub devices: u64,
    /// Conversations of two.
    pub pairs: u64,
    /// Conversations of more.
    pub groups: u64,
    /// Devices connected when the load begins.
    pub online: u64,
}

/// A machine, as far as it bears on speed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Machine {
    /// The processor's own name.
    pub cpu: String,
    /// Processors that this program may use.
    pub cores: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// The kernel's name and version.
    pub kernel: String,
    /// The distribution.
    #[serde(default)]
    pub os: String,
    /// Anything else worth knowing, such as a virtual machine or a limit, in short sentences.
    #[serde(default)]
    pub notes: Vec<String>,
}

/// Something that was done to the cluster or happened to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "RunEvent")]
pub struct Event {
    /// When.
    pub at_s: f64,
    /// What kind of thing.
    pub kind: EventKind,
    /// A few words, such as `kill worker-1`.
    pub text: String,
}

/// Who or what made something happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The scenario asked for it.
    Action,
    /// It happened by itself, such as a process that ended.
    Trouble,
    /// A step of the search for the knee.
    Step,
}

/// A process of the cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Process {
    /// Its name in the scenario, such as `worker-1`.
    pub name: String,
    /// CPU time over the run, restarts included.
    pub cpu_s: f64,
    /// Resident memory when the load began.
    pub rss_begin_bytes: u64,
    /// The most resident memory seen.
    pub rss_max_bytes: u64,
    /// Resident memory at the end.
    pub rss_end_bytes: u64,
    /// How often it was started again.
    pub restarts: u32,
}

/// A metric of the cluster over the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Metric {
    /// The process it is of.
    pub process: String,
    /// Its name with its labels, as in `/metrics`.
    pub name: String,
    /// The value when the load began; absent when it was not there yet.
    pub begin: Option<f64>,
    /// The value at the end; absent when it was gone.
    pub end: Option<f64>,
}

/// What the generator itself needed, apart from the cluster; all agents together.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Generator {
    /// CPU time over the run.
    pub cpu_s: f64,
    /// The most resident memory seen.
    pub rss_max_bytes: u64,
    /// Memory for each simulated connection: what connecting added, divided by how many.
    #[serde(default)]
    pub bytes_per_connection: Option<f64>,
    /// Memory of the cluster for each connection, in the same way.
    #[serde(default)]
    pub server_bytes_per_connection: Option<f64>,
}

/// A process that generated a part of the load for a coordinator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Agent {
    /// What it is called.
    pub name: String,
    /// Where it is.
    pub address: String,
    /// The devices it played.
    pub devices: u64,
    /// How much its clock was ahead of the coordinator's.
    pub clock_offset_us: f64,
    /// How wrong that may be, either way: half of the quickest round trip.
    pub clock_uncertainty_us: f64,
    /// How much further ahead it was at the end than at the beginning.
    #[serde(default)]
    pub clock_drift_us: Option<f64>,
    /// Its own p99 of the schedule delay.
    #[serde(default)]
    pub schedule_delay_p99_us: Option<u64>,
    /// Why it did not finish; absent when it did.
    #[serde(default)]
    pub lost: Option<String>,
    /// Its machine.
    pub machine: Machine,
}
