//! What the ledger says of a run: the figures, and the first violations with their history.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::record::{End, Message};
use crate::population::DeviceIndex;

/// The judgement over a run.
///
/// `due = delivered + lost + pending`. Figures count messages where they say so, otherwise
/// messages times devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// How the ledger ends, the worst of all its files.
    pub end: End,
    /// Messages sent: handed to the driver and not refused by it.
    pub sent: u64,
    /// Messages the driver had no room for; they never left.
    pub not_sent: u64,
    /// Messages accepted.
    pub accepted: u64,
    /// Messages rejected.
    pub rejected: u64,
    /// Messages sent that nobody can say of whether they were accepted; those without any answer
    /// are among them.
    pub unknown: u64,
    /// Arrivals due: for each accepted message, each device of each recipient.
    pub due: u64,
    /// First arrivals of accepted messages where they were due.
    pub delivered: u64,
    /// Everything that arrived anywhere, again or not.
    pub heard: u64,
    /// Accepted, but never arrived at a device where it was due.
    pub lost: u64,
    /// Due and not arrived when the run ended early, at a device that was not drained: not judged.
    pub pending: u64,
    /// Arrived again at the same device.
    pub duplicated: u64,
    /// Arrived after a later one of the same sender and conversation: counted where the counter
    /// goes down.
    pub reordered: u64,
    /// Arrived with a wrong checksum. If it never arrives unharmed either, it is lost, too.
    pub corrupted: u64,
    /// Arrived at a device that is not a recipient.
    pub misdelivered: u64,
    /// Arrived, but was rejected.
    pub rejected_arrived: u64,
    /// Arrived, but was never sent.
    pub invented: u64,
    /// Messages answered both *accepted* and *rejected*.
    pub contradicted: u64,
    /// The cluster delivered two bodies under one id.
    pub conflicts: u64,
    /// Pairs of devices of one user that saw their messages in different orders.
    pub mailbox_disordered: u64,
    /// Pairs of members of a group that saw its messages in different orders.
    pub group_disordered: u64,
    /// Messages of unknown outcome that arrived somewhere; not a violation.
    pub unknown_arrived: u64,
    /// Sound messages of another run that arrived, left over in a mailbox; not a violation.
    pub other_run: u64,
    /// Times the cluster told a device that messages may be missing.
    pub truncated: u64,
    /// Pairs of devices whose orders were compared: each with the next of the same user or group.
    pub order_pairs: u64,
    /// Pairs among them that differ in what arrived, and were too many to look at one by one.
    pub order_pairs_unjudged: u64,
    /// What at the end of files cannot be read, and was left out.
    pub torn: Vec<Torn>,
    /// What is wrong with the ledger itself, a sentence each: a fault of the harness.
    pub flaws: Vec<String>,
    /// The first violations, at most 100, of every kind that occurs.
    pub violations: Vec<Violation>,
}

impl Verdict {
    /// How many violations of each kind there are, those that occur, the worst first.
    #[must_use]
    pub fn found(&self) -> Vec<(Kind, u64)> {
        let count = |kind: &Kind| (*kind, self.count(*kind));
        Kind::ALL.iter().map(count).filter(|(_, count)| *count > 0).collect()
    }

    /// How many violations of one kind there are.
    #[must_use]
    pub fn count(&self, kind: Kind) -> u64 {
        match kind {
            Kind::Lost => self.lost,
            Kind::Duplicated => self.duplicated,
            Kind::Reordered => self.reordered,
            Kind::Corrupted => self.corrupted,
            Kind::Misdelivered => self.misdelivered,
            Kind::RejectedArrived => self.rejected_arrived,
            Kind::Invented => self.invented,
            Kind::Contradicted => self.contradicted,
            Kind::Conflict => self.conflicts,
            Kind::MailboxDisordered => self.mailbox_disordered,
            Kind::GroupDisordered => self.group_disordered,
        }
    }

    pub(super) fn count_mut(&mut self, kind: Kind) -> &mut u64 {
        match kind {
            Kind::Lost => &mut self.lost,
            Kind::Duplicated => &mut self.duplicated,
            Kind::Reordered => &mut self.reordered,
            Kind::Corrupted => &mut self.corrupted,
            Kind::Misdelivered => &mut self.misdelivered,
            Kind::RejectedArrived => &mut self.rejected_arrived,
            Kind::Invented => &mut self.invented,
            Kind::Contradicted => &mut self.contradicted,
            Kind::Conflict => &mut self.conflicts,
            Kind::MailboxDisordered => &mut self.mailbox_disordered,
            Kind::GroupDisordered => &mut self.group_disordered,
        }
    }

    /// How many violations there are.
    #[must_use]
    pub fn violation_count(&self) -> u64 {
        Kind::ALL.iter().map(|kind| self.count(*kind)).sum()
    }

    /// Whether the cluster kept its contract, as far as the ledger reaches.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.violation_count() == 0
    }

    /// Whether everything due could be judged.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.end == End::Drained && self.flaws.is_empty()
    }
}

/// The ways a cluster breaks its contract.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Accepted, but a device never got it.
    Lost,
    /// A device got it again.
    Duplicated,
    /// A device got it after a later one of the same sender and conversation.
    Reordered,
    /// A device got it changed.
    Corrupted,
    /// A device got it that is not a recipient.
    Misdelivered,
    /// A device got it though it was rejected.
    RejectedArrived,
    /// A device got what nobody sent.
    Invented,
    /// It was answered both *accepted* and *rejected*.
    Contradicted,
    /// A device got two bodies under one id.
    Conflict,
    /// Two devices of a user saw their messages in different orders.
    MailboxDisordered,
    /// Two members of a group saw its messages in different orders.
    GroupDisordered,
}

impl Kind {
    /// Every kind, the worst first.
    pub const ALL: &[Self] = &[
        Self::Lost,
        Self::Corrupted,
        Self::Misdelivered,
        Self::Invented,
        Self::Duplicated,
        Self::Reordered,
        Self::RejectedArrived,
        Self::Contradicted,
        Self::Conflict,
        Self::MailboxDisordered,
        Self::GroupDisordered,
    ];

    /// What a person calls it: "lost", "delivered twice".
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Duplicated => "delivered again",
            Self::Reordered => "out of order",
            Self::Corrupted => "corrupted",
            Self::Misdelivered => "delivered to the wrong device",
            Self::RejectedArrived => "rejected but delivered",
            Self::Invented => "delivered but never sent",
            Self::Contradicted => "both accepted and rejected",
            Self::Conflict => "two bodies under one id",
            Self::MailboxDisordered => "two orders in one mailbox",
            Self::GroupDisordered => "two orders in one group",
        }
    }
}

/// One violation, with what the ledger knows about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Violation {
    /// What is wrong.
    pub kind: Kind,
    /// What is wrong, in a sentence with all its numbers.
    pub says: String,
    /// The device where it shows; nothing when no device is concerned.
    pub device: Option<DeviceIndex>,
    /// The message; nothing when it cannot be told.
    pub message: Option<Message>,
    /// The message it should have come before, or the other one of two whose order differs.
    pub other: Option<Message>,
    /// What happened to the message and the device, by time.
    pub history: Vec<Event>,
    /// How many events are left out of a long history: deliveries to other devices.
    pub left_out: u64,
}

/// One line of a history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// When: nanoseconds on the run's clock.
    pub at_ns: u64,
    /// What.
    pub what: Happening,
    /// Where.
    pub device: DeviceIndex,
    /// Of which message, for those that are of one.
    pub message: Option<Message>,
}

/// What can stand in a history.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Happening {
    /// The message was due to be sent.
    Intended,
    /// The message was handed to the driver.
    Sent,
    /// The message was accepted.
    Accepted,
    /// The message was rejected.
    Rejected,
    /// The driver said that nobody knows what became of it.
    Unknown,
    /// The driver had no room for it.
    NotSent,
    /// It arrived at the device.
    Delivered,
    /// Something arrived at the device with a wrong checksum.
    Corrupted,
    /// The device was connected.
    Connected,
    /// The device's connection was gone.
    Disconnected,
    /// The device had got everything that waited for it.
    CaughtUp,
    /// The device had its time to get everything, after the last message was sent.
    Drained,
    /// The device was told that messages may be missing.
    Truncated,
    /// The device was given two bodies under one id.
    Conflict,
}

impl Happening {
    /// What a person calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Intended => "intended",
            Self::Sent => "sent",
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Unknown => "unknown outcome",
            Self::NotSent => "not sent",
            Self::Delivered => "delivered",
            Self::Corrupted => "corrupted",
            Self::Connected => "connected",
            Self::Disconnected => "disconnected",
            Self::CaughtUp => "caught up",
            Self::Drained => "drained",
            Self::Truncated => "truncated",
            Self::Conflict => "conflict",
        }
    }
}

/// The part of a file that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Torn {
    /// The name of the file.
    pub file: String,
    /// From which byte on.
    pub at: u64,
    /// How many bytes.
    pub bytes: u64,
}
