//! The scenario file: who there is, what they do, and what is expected.
//!
//! [`find`] takes the name of a scenario that comes with the program, or a path. What it gives was
//! read without a mistake; [`demand::Demand::of`] then adds up what it asks for and refuses the
//! impossible before anything is started.

mod action;
pub mod demand;
mod phase;
mod problem;
pub mod quantity;
mod read;
pub mod seed;
pub mod shipped;
mod slo;
mod source;

use std::{path::PathBuf, time::Duration};

pub use action::{Action, Flood, FloodKind, What};
pub use phase::{Churn, Load, Phase, PhaseRate, Process, Search, SlowReaders};
pub use problem::{Problem, Problems};
pub use shipped::find;
pub use slo::{Bound, Figure, Point, Slo, Unit};

/// The smallest payload, bytes: what the ledger needs to know a message again.
pub const PAYLOAD_BYTES_MIN: u32 = 48;

/// What a run does, as its file says.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// What it is called, also in the name of the run's folder: letters, digits, `-` and `_`.
    pub name: String,
    /// What it is for, one sentence.
    pub about: String,
    /// What everything that is drawn is drawn from.
    pub seed: u64,
    /// The servers it starts; unused when the cluster runs elsewhere.
    pub cluster: Cluster,
    /// Who there is.
    pub population: Population,
    /// What they send.
    pub traffic: Traffic,
    /// What the generator demands of itself.
    pub honest: Honest,
    /// What happens, in this order; at least one.
    pub phases: Vec<Phase>,
    /// The file itself.
    pub text: String,
    /// Where it was read from, as it is told to people.
    pub origin: String,
    /// Where each key stands, for what is found wrong after reading.
    pub(crate) places: source::Places,
}

impl Scenario {
    /// Whether agents can share its load.
    ///
    /// # Errors
    /// What of it they cannot.
    pub fn check_for_agents(&self) -> Result<(), Problems> {
        let source = source::Source::again(&self.text, &self.origin, &self.places);
        let closed = self.phases.iter().filter(|phase| match &phase.load {
            Load::Rate(rate) => rate.closed_senders().is_some(),
            Load::Search(_) => false,
        });
        for phase in closed {
            let help = "Each agent has the share of the rate that its users have, and no whole \
                        number of senders\nis that share. Run it without --agents, or as an open \
                        loop.";
            let key = format!("phase.{}.arrivals", phase.name);
            source.refuse(&key, "a closed loop cannot be shared by agents", help);
        }
        source.finish().map(drop)
    }
}

/// The servers a run starts on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    /// Which processes.
    pub kind: ClusterKind,
    /// Settings beyond the defaults, each `section.key=value`.
    pub set: Vec<String>,
}

/// The processes a run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterKind {
    /// One, called `server`, with embedded engines.
    OneMachine,
    /// `edge-1`, `edge-2`, ... and `worker-1`, ... on Kafka, CQL and Redis.
    Engines {
        /// At least 1.
        edges: u32,
        /// At least 1.
        workers: u32,
    },
}

impl ClusterKind {
    /// The processes, by the names that actions use.
    #[must_use]
    pub fn processes(self) -> Vec<String> {
        match self {
            Self::OneMachine => vec!["server".to_owned()],
            Self::Engines { edges, workers } => {
                let edges = (1..=edges).map(|number| format!("edge-{number}"));
                edges.chain((1..=workers).map(|number| format!("worker-{number}"))).collect()
            }
        }
    }

    /// How many processes take connections.
    #[must_use]
    pub fn edges(self) -> u32 {
        match self {
            Self::OneMachine => 1,
            Self::Engines { edges, .. } => edges,
        }
    }
}

/// Who there is.
#[derive(Clone, Debug, PartialEq)]
pub struct Population {
    /// 1 to 1,000,000.
    pub users: u32,
    /// How often a user has one device, two, three, ...: at most 10 weights, their sum is 1.
    pub devices_per_user: Vec<f64>,
    /// Whom a user talks to, one to one.
    pub contacts: Contacts,
    /// Conversations of many.
    pub groups: Groups,
    /// Share of devices that are connected when the load begins, 0 to 1.
    pub online: f64,
}

/// Whom a user talks to, one to one.
#[derive(Clone, Debug, PartialEq)]
pub struct Contacts {
    /// How many each user adds. Popular users have more, since others add them.
    pub per_user: Bounded,
    /// Zipf exponent of who is added; 0 is everybody alike.
    pub popularity: f64,
}

/// Conversations of many.
#[derive(Clone, Debug, PartialEq)]
pub struct Groups {
    /// How many; 0 for none.
    pub count: u32,
    /// How many members each has, 2 to 512.
    pub members: Bounded,
    /// Zipf exponent of who is a member; 0 is everybody alike.
    pub popularity: f64,
}

/// A number between two bounds, small ones more often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounded {
    /// The least.
    pub min: u32,
    /// The most.
    pub max: u32,
    /// Zipf exponent; 0 is all alike, 1 makes `min` twice as frequent as the next.
    pub skew: f64,
}

/// What is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Traffic {
    /// Share of messages that go to groups, 0 to 1.
    pub to_groups: f64,
    /// Zipf exponent of who sends; 0 is everybody alike.
    pub activity: f64,
    /// How large messages are.
    pub payload: Payload,
    /// One conversation or user that takes more than its share.
    pub hot: Option<Hot>,
}

/// How large messages are, bytes, the ledger's 48 included.
#[derive(Clone, Debug, PartialEq)]
pub enum Payload {
    /// All the same.
    Fixed(u32),
    /// Log-normal, cut at `max`.
    LogNormal {
        /// Half of all are smaller.
        median: u32,
        /// 99 of 100 are smaller.
        p99: u32,
        /// None is larger.
        max: u32,
    },
    /// The lines of a file, each after the ledger's 48 bytes.
    File(PathBuf),
}

/// What takes more than its share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hot {
    /// Which.
    pub target: HotTarget,
    /// Share of all messages, 0 to 1.
    pub share: f64,
}

/// Which takes more than its share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HotTarget {
    /// The group with the most members, the first of them if there are several.
    LargestGroup,
    /// The user with the most contacts: they all write to that one.
    OneUser,
}

/// What the generator demands of itself, and of the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Honest {
    /// Later than this at the 99th percentile, and the run is generator-bound.
    pub schedule_delay_p99_max: Duration,
    /// After the load, before the drain is judged.
    pub grace: Duration,
}

#[cfg(test)]
mod tests;
