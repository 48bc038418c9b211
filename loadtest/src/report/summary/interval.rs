//! What happened in a short stretch of time.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Counts, Kinds, Spread};

/// A short stretch of time. Sends count where they were intended, answers and deliveries where
/// they came; a latency counts where it ended.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Interval {
    /// When it began.
    pub at_s: f64,
    /// How long it was.
    pub length_s: f64,
    /// The place of its phase in the list of phases; absent between and after them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<usize>,
    /// What was counted in it.
    pub counts: Counts,
    /// How long things took that ended in it.
    #[serde(default)]
    pub latency: Kinds<Spread>,
    /// Devices connected at its end, as the generator sees it.
    pub connections: u64,
    /// What the cluster used, all its processes together; absent when it cannot be watched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<Load>,
    /// Figures of the cluster's queues at its end, by the name of the metric, over all processes.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub queues: BTreeMap<String, f64>,
    /// What the generator used, all agents together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generator: Option<Load>,
}

/// What processes used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Load {
    /// CPU seconds for each second: 1 is one core, fully busy.
    pub cpu_cores: f64,
    /// Resident memory at the end.
    pub rss_bytes: u64,
}
