//! What the coordinator orders and agents report.

use serde::{Deserialize, Serialize};

use crate::{
    cluster::Usage,
    generator::{Part, Standing},
    ledger::{End, Rules},
    measure::Tally,
    report::summary::Machine,
    scenario::PhaseRate,
};

/// Both sides speak the same version, or do not speak.
pub(super) const VERSION: u32 = 1;

/// An order, with the number its answer names.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ordered {
    pub(super) id: u64,
    pub(super) order: Order,
}

/// What the coordinator wants done. Each is answered once by [`Report::Answer`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Order {
    /// The first of a connection.
    Hello { version: u32 },
    /// A piece of the file of messages goes with it.
    Payloads,
    /// Tokens of users, new ones take the place of old ones.
    Tokens(Vec<(String, String)>),
    /// Everything there is to know before devices can connect.
    Prepare(Box<Plan>),
    /// Every device connects once.
    Connect,
    /// Makes the groups whose first member is played here.
    MakeGroups,
    /// Sends away who is not connected when the load begins.
    Assemble,
    /// A span of intended times begins.
    Span { began_ns: u64 },
    /// Sends at a rate, the whole one; answered at its end.
    Load { rate: PhaseRate, phase: u32, part: u32, began_ns: u64 },
    /// Devices come and go as the phase says; answered at once.
    Churn { phase: u32 },
    /// Does what the phase does to devices at its times; answered at once.
    Act { phase: u32, began_ns: u64 },
    /// Ends what an earlier order began.
    Cease { id: u64 },
    /// Makes the phase's share of devices read slowly.
    SlowDown { phase: u32 },
    /// A fault is about to be made.
    Fault,
    /// How it stands.
    Stand,
    /// Reports every span from this place on.
    Spans { from: usize },
    /// Ends what goes on beside the load and brings everybody back.
    BringBack { grace_ms: u64 },
    /// Disconnects everybody.
    Close,
    /// Ends the ledger and sends it in pieces.
    SendLedger { end: Ending },
    /// The run is over, and what was kept of it may go.
    Bye,
}

/// How a ledger ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Ending {
    /// Everybody got what was theirs.
    Drained,
    /// The run ended early.
    Interrupted,
}

impl From<Ending> for End {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Drained => Self::Drained,
            Ending::Interrupted => Self::Interrupted,
        }
    }
}

/// What an agent is to play.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Plan {
    /// What it is called in this run.
    pub(super) name: String,
    /// The scenario file, and where it was read from.
    pub(super) text: String,
    pub(super) origin: String,
    /// What population and payloads are drawn from.
    pub(super) seed: u64,
    pub(super) run: u64,
    /// The digest of the population: what is drawn here must be the same.
    pub(super) population: u64,
    pub(super) part: Part,
    pub(super) rules: Rules,
    pub(super) means: Means,
    /// What the clock of the agent shows when that of the run shows 0.
    pub(super) zero_ns: i64,
}

/// How agents reach the cluster.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Means {
    /// By the SDK of this project.
    Posthorn {
        /// Where edges are, `host:port` each, as agents see them.
        servers: Vec<String>,
        /// The name in their certificates.
        server_name: String,
        /// Who signs those, PEM.
        ca: String,
        /// The issuer of the tokens.
        issuer: String,
        /// Devices on one UDP socket.
        devices_per_socket: std::num::NonZeroU32,
    },
    /// An MQTT 5 broker.
    Mqtt {
        /// As on the command line.
        target: String,
        /// Who signs its certificate, PEM.
        ca: Option<String>,
        /// Devices on one UDP socket, with QUIC.
        devices_per_socket: std::num::NonZeroU32,
    },
    /// NATS JetStream.
    Nats {
        /// As on the command line.
        target: String,
        /// Who signs its certificate, PEM.
        ca: Option<String>,
    },
}

/// What agents say.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Report {
    /// The order of this number is done, or cannot be.
    Answer { id: u64, answer: Result<Answer, String> },
    /// So many devices are connected, for the first time.
    Connecting { done: usize, of: usize },
    /// What happened since the last of these, a second ago or less; a portion goes with it.
    Second { tally: Tally, standing: Standing, usage: Option<Usage> },
    /// What is known of a span; a portion and the returns go with it.
    Span { span: usize, tally: Tally, missing: (usize, usize) },
    /// A piece of the ledger goes with it.
    Ledger,
}

/// What there is to say when an order is done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Answer {
    /// Nothing.
    Done,
    /// Who it is.
    Welcome { version: u32, program: String, machine: Machine },
    /// How it stands, how long nothing was delivered, and what the agent uses.
    Stands { standing: Standing, quiet_ns: u64, usage: Option<Usage> },
    /// Sends that were never answered.
    Closed { unanswered: usize },
    /// How long the ledger is, and its digest.
    LedgerSent { bytes: u64, digest: u64 },
}
