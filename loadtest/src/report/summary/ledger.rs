//! What became of every message.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What became of every message that was sent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ledger {
    /// Messages sent.
    pub sent: u64,
    /// Of them, those the cluster said to be durable.
    pub accepted: u64,
    /// Of them, those the cluster refused for good.
    pub rejected: u64,
    /// Of them, those never answered: each may have arrived once, or not at all.
    pub unknown: u64,
    /// Deliveries that the accepted messages were due, one for each receiving device.
    pub due: u64,
    /// Deliveries seen, of messages that were due.
    pub delivered: u64,
    /// Deliveries due that never came.
    pub lost: u64,
    /// Deliveries that came again.
    pub duplicated: u64,
    /// Deliveries after a later message of the same sender and conversation.
    pub reordered: u64,
    /// Deliveries whose contents are not what was sent.
    pub corrupted: u64,
    /// Deliveries to a device they were not for.
    pub misdelivered: u64,
    /// Deliveries of messages that were never answered, which is allowed once each.
    pub unknown_arrived: u64,
    /// The first hundred violations.
    #[serde(default)]
    pub violations: Vec<Violation>,
}

impl Ledger {
    /// How many violations there are, listed or not.
    #[must_use]
    pub fn violated(&self) -> u64 {
        ViolationKind::ALL.iter().map(|&kind| self.count(kind)).sum()
    }

    /// How many there are of a kind.
    #[must_use]
    pub fn count(&self, kind: ViolationKind) -> u64 {
        match kind {
            ViolationKind::Lost => self.lost,
            ViolationKind::Duplicated => self.duplicated,
            ViolationKind::Reordered => self.reordered,
            ViolationKind::Corrupted => self.corrupted,
            ViolationKind::Misdelivered => self.misdelivered,
        }
    }
}

/// Something that must never happen to a message, and did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// Of which kind.
    pub kind: ViolationKind,
    /// Which message, from whom to whom, in a sentence.
    pub text: String,
    /// What is known of the message and of the device, in the order of time.
    pub history: Vec<Moment>,
}

/// Something that is known to have happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Moment {
    /// When.
    pub at_s: f64,
    /// What.
    pub text: String,
}

/// What must never happen to a message.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum ViolationKind {
    /// It was accepted and never came.
    Lost,
    /// It came again.
    Duplicated,
    /// It came after a later one of the same sender and conversation.
    Reordered,
    /// It came with other contents.
    Corrupted,
    /// It came to a device that it was not for.
    Misdelivered,
}

impl ViolationKind {
    /// Every kind.
    pub const ALL: &[Self] =
        &[Self::Lost, Self::Duplicated, Self::Reordered, Self::Corrupted, Self::Misdelivered];

    /// The word for it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "duplicated",
            Self::Reordered => "reordered",
            Self::Corrupted => "corrupted",
            Self::Misdelivered => "misdelivered",
        }
    }
}
