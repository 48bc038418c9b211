//! What happened in a phase, and what was asked of it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Kinds, Percentiles};
use crate::report::number;

/// A part of the scenario with its own load and its own bounds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Phase {
    /// Its name in the scenario.
    pub name: String,
    /// Whether it counts as a result; a warm-up does not.
    pub measured: bool,
    /// When it began.
    pub at_s: f64,
    /// How long it was.
    pub duration_s: f64,
    /// Present when the load waited for answers: then every latency counts from when a message was
    /// really sent, and what was not sent meanwhile has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_loop: Option<ClosedLoop>,
    /// What was counted.
    pub counts: Counts,
    /// The same for each second.
    pub rates: Rates,
    /// How long things took.
    #[serde(default)]
    pub latency: Kinds<Percentiles>,
    /// What went wrong, most frequent first.
    #[serde(default)]
    pub errors: Vec<ErrorCount>,
    /// CPU time of the cluster for each delivery; absent when it cannot be watched.
    #[serde(default)]
    pub server_cpu_us_per_delivered: Option<f64>,
    /// What was asked, and whether it was kept.
    #[serde(default)]
    pub slo: Vec<SloResult>,
    /// Other figures, such as the knee that was found.
    #[serde(default)]
    pub figures: Vec<Figure>,
}

impl Phase {
    /// What its figures leave out when it was a closed loop: a sentence without its point.
    #[must_use]
    pub fn caution(&self) -> Option<String> {
        let ClosedLoop { senders } = self.closed_loop?;
        let wanted = self.counts.intended;
        let left_out = wanted.saturating_sub(self.counts.sent);
        Some(format!(
            "{} was a closed loop: each of {} senders waited for its answer before it went on, so \
             latencies count from when a message was really sent, and those of the {} messages \
             ({} of {}) that it did not come to send are left out",
            self.name,
            number::count(senders.into()),
            number::count(left_out),
            number::percent(left_out as f64 / wanted.max(1) as f64),
            number::count(wanted),
        ))
    }
}

/// A load that waits for answers, as that of most tools does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ClosedLoop {
    /// How many sends waited for their answers at most.
    pub senders: u32,
}

/// How many there were of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Counts {
    /// Sends that the arrival process asked for; of an interval of a closed loop, those that were
    /// begun, since nothing was asked for while all senders waited.
    pub intended: u64,
    /// Sends that were begun.
    pub sent: u64,
    /// Sends that the cluster said to be durable.
    pub accepted: u64,
    /// Deliveries that the sends begun were to cause, one for each receiving device.
    #[serde(default)]
    pub due: u64,
    /// Deliveries that came to devices.
    pub delivered: u64,
    /// Everything that went wrong: sends refused, not taken or not answered, connections lost.
    #[serde(default)]
    pub errors: u64,
    /// Bytes of the payloads accepted.
    #[serde(default)]
    pub accepted_bytes: u64,
}

impl Counts {
    /// These for each second of a stretch of time; all 0 when it has no length.
    #[must_use]
    pub fn per_second(&self, length_s: f64) -> Rates {
        let rate = |count: u64| if length_s > 0.0 { count as f64 / length_s } else { 0.0 };
        Rates {
            intended_per_s: rate(self.intended),
            sent_per_s: rate(self.sent),
            accepted_per_s: rate(self.accepted),
            due_per_s: rate(self.due),
            delivered_per_s: rate(self.delivered),
        }
    }
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.intended += other.intended;
        self.sent += other.sent;
        self.accepted += other.accepted;
        self.due += other.due;
        self.delivered += other.delivered;
        self.errors += other.errors;
        self.accepted_bytes += other.accepted_bytes;
    }
}

/// How many for each second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Rates {
    /// Sends that the arrival process asked for.
    pub intended_per_s: f64,
    /// Sends that were begun.
    pub sent_per_s: f64,
    /// Sends that the cluster said to be durable.
    pub accepted_per_s: f64,
    /// Deliveries that the sends begun were to cause.
    #[serde(default)]
    pub due_per_s: f64,
    /// Deliveries that came to devices.
    pub delivered_per_s: f64,
}

/// Something that went wrong, and how often.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ErrorCount {
    /// A short name of the kind, such as `rejected` or `connect: refused`.
    pub kind: String,
    /// How often.
    pub count: u64,
    /// The first of them in its own words.
    #[serde(default)]
    pub example: Option<String>,
}

/// What was asked, and whether it was kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SloResult {
    /// Its key in the scenario, such as `end_to_end_p99`.
    pub name: String,
    /// The bound; a least one when the name ends in `_min`.
    pub bound: f64,
    /// What was measured; absent when nothing of the kind was seen, and then it was not kept.
    pub measured: Option<f64>,
    /// What both are in.
    pub unit: Unit,
    /// Whether it was kept.
    pub kept: bool,
}

impl SloResult {
    /// Whether the bound is the least that is allowed; otherwise it is the most.
    #[must_use]
    pub fn is_floor(&self) -> bool {
        self.name.ends_with("_min")
    }
}

/// A figure that only some phases have.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Figure {
    /// A short name, such as `back_within` or `knee`.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: Unit,
    /// What it says, in a sentence.
    pub explanation: String,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Things.
    Count,
    /// A share of a whole, 0 to 1.
    Share,
    /// Things for each second.
    PerSecond,
    /// Microseconds.
    Microseconds,
    /// Seconds.
    Seconds,
    /// Bytes.
    Bytes,
    /// Bytes for each second.
    BytesPerSecond,
    /// Bytes for each hour.
    BytesPerHour,
    /// Cores, fully busy.
    Cores,
}
