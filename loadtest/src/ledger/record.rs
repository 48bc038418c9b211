//! What the ledger holds, and its bytes.
//!
//! A file is a head and batches. A head, and the head of a batch:
//!
//! ```text
//! offset  bytes  head of the file           offset  bytes  head of a batch
//!      0      8  "phledger"                      0      4  "batc"
//!      8      4  version: 1                      4      4  records in it
//!     12      4  rules, see `Rules`              8      8  its number, from 0
//!     16      8  run                            16      8  xxh3-64 of offsets 4 to 16 and the
//!     24      8  seed                                      records
//!     32      8  digest of the population       24         records of 24 bytes
//!     40      8  made, ms since 1970
//!     48      8  zero
//!     56      8  xxh3-64 of the above
//! ```
//!
//! A record, by its kind:
//!
//! ```text
//! offset  bytes
//!      0      8  kind in the lowest byte, time in ns of the run in the other seven (2 years)
//!      8      4  device         sender | sender | receiver | device
//!     12      4  first          lateness in us (sent) | sender (of what was heard)
//!     16      4  second         conversation
//!     20      4  third          counter
//! ```
//!
//! All numbers are little-endian.

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

use super::content::{u32_at, u64_at};
use crate::population::{ConversationIndex, DeviceIndex};

pub(super) const HEAD_BYTES: usize = 64;
pub(super) const BATCH_HEAD_BYTES: usize = 24;
pub(super) const RECORD_BYTES: usize = 24;
/// More than any writer puts into one batch; a reader allocates no more.
pub(super) const BATCH_RECORDS_MAX: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"phledger";
const BATCH_MAGIC: [u8; 4] = *b"batc";
const VERSION: u32 = 1;
/// The time has 56 bits: 2^56 ns are 833 days.
const TIME_MAX: u64 = (1 << 56) - 1;
/// In place of a number that is not known.
const NONE: u32 = u32::MAX;

/// The name of a message within its run.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
pub struct Message {
    /// The device that sent it.
    pub from: DeviceIndex,
    /// Where it was sent to.
    pub conversation: ConversationIndex,
    /// Which one of this device in this conversation, from 0.
    pub counter: u64,
}

/// Which run a ledger belongs to, and by which rules it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunInfo {
    /// What every payload of this run carries; drawn at random.
    pub run: u64,
    /// What the population was drawn from.
    pub seed: u64,
    /// The digest of the population.
    pub population: u64,
    /// What the driver promises.
    pub rules: Rules,
}

/// What is due from the cluster, as far as drivers differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rules {
    /// What the other devices of the sender get.
    pub own_copies: OwnCopies,
    /// All devices of a user see all their messages in the same order.
    pub mailbox_order: bool,
    /// All members of a group see its messages in the same order.
    pub group_order: bool,
}

impl Rules {
    /// The contract of Posthorn.
    pub const POSTHORN: Self =
        Self { own_copies: OwnCopies::Due, mailbox_order: true, group_order: true };

    fn to_bits(self) -> u32 {
        let copies = match self.own_copies {
            OwnCopies::Due => 0,
            OwnCopies::Allowed => 1,
            OwnCopies::Forbidden => 2,
        };
        copies | u32::from(self.mailbox_order) << 8 | u32::from(self.group_order) << 9
    }

    fn from_bits(bits: u32) -> Option<Self> {
        let own_copies = match bits & 0xFF {
            0 => OwnCopies::Due,
            1 => OwnCopies::Allowed,
            2 => OwnCopies::Forbidden,
            _ => return None,
        };
        let (mailbox_order, group_order) = (bits & 1 << 8 != 0, bits & 1 << 9 != 0);
        Some(Self { own_copies, mailbox_order, group_order })
    }
}

/// What the sender's other devices get of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum OwnCopies {
    /// Each gets it, like a recipient.
    Due,
    /// Each may get it, once.
    Allowed,
    /// None does.
    Forbidden,
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is durable, and due at every recipient.
    Accepted,
    /// It must not arrive.
    Rejected,
    /// It may arrive once, or not at all.
    Unknown,
    /// It never left: the driver had no room. It must not arrive.
    NotSent,
}

impl From<&crate::driver::Outcome> for Outcome {
    fn from(outcome: &crate::driver::Outcome) -> Self {
        match outcome {
            crate::driver::Outcome::Accepted => Self::Accepted,
            crate::driver::Outcome::Rejected(_) => Self::Rejected,
            crate::driver::Outcome::Unknown => Self::Unknown,
        }
    }
}

/// What happened to a device, besides messages: for the histories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Note {
    /// It is connected.
    Connected,
    /// Its connection is gone.
    Disconnected,
    /// All that had waited for it was delivered.
    CaughtUp,
    /// Nothing is sent any more, and the device had its time to get all that waited for it: what is
    /// missing there is lost, however the run ends.
    Drained,
    /// The cluster told it that messages may be missing.
    Truncated,
    /// The cluster gave it two bodies under one id: a violation.
    Conflict,
}

/// How a run ended, which decides what may be said of what did not arrive.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// Every device had its time to drain its mailbox: what is missing is lost.
    Drained,
    /// The run ended before, or some devices did not come back: what is missing may still have been
    /// on its way, but at a device that was drained.
    Interrupted,
    /// The generator ended without a word, or the end of a file cannot be read: the ledger may
    /// lack what was sent last.
    #[default]
    Cut,
}

/// One line of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Record {
    /// Nanoseconds on the run's clock, at most 2^56 - 1.
    pub(super) at_ns: u64,
    pub(super) what: What,
}

/// What a record says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    /// Sent, so many microseconds after its intended time.
    Sent { message: Message, late_us: u32 },
    /// What became of it.
    Outcome { message: Message, outcome: Outcome },
    /// A device heard it.
    Delivered { device: DeviceIndex, message: Message },
    /// A device heard something whose checksum is wrong; what it claims to be, if it says.
    Corrupted { device: DeviceIndex, claimed: Option<Message> },
    /// A device heard a sound message of another run.
    OtherRun { device: DeviceIndex },
    /// Something else happened to a device.
    Note { device: DeviceIndex, note: Note },
    /// The run ended in order: the last record of a file.
    End(End),
}

impl Record {
    /// Its bytes.
    pub(super) fn encode(&self) -> [u8; RECORD_BYTES] {
        let (kind, device, words) = match self.what {
            What::Sent { message, late_us } => {
                (1, message.from, [late_us, message.conversation.0, counter_of(message)])
            }
            What::Outcome { message, outcome } => {
                let kind = match outcome {
                    Outcome::Accepted => 2,
                    Outcome::Rejected => 3,
                    Outcome::Unknown => 4,
                    Outcome::NotSent => 5,
                };
                (kind, message.from, [0, message.conversation.0, counter_of(message)])
            }
            What::Delivered { device, message } => (6, device, heard_words(message)),
            What::Corrupted { device, claimed: Some(message) } => (7, device, heard_words(message)),
            What::Corrupted { device, claimed: None } => (7, device, [NONE; 3]),
            What::OtherRun { device } => (8, device, [0; 3]),
            What::Note { device, note } => {
                let kind = match note {
                    Note::Connected => 16,
                    Note::Disconnected => 17,
                    Note::CaughtUp => 18,
                    Note::Truncated => 19,
                    Note::Conflict => 20,
                    Note::Drained => 21,
                };
                (kind, device, [0; 3])
            }
            What::End(end) => {
                let kind = match end {
                    End::Drained => 32,
                    End::Interrupted => 33,
                    End::Cut => 34,
                };
                (kind, DeviceIndex(0), [0; 3])
            }
        };
        let mut bytes = [0; RECORD_BYTES];
        let first = self.at_ns.min(TIME_MAX) << 8 | kind;
        bytes[..8].copy_from_slice(&first.to_le_bytes());
        bytes[8..12].copy_from_slice(&device.0.to_le_bytes());
        for (at, word) in words.into_iter().enumerate() {
            bytes[12 + at * 4..16 + at * 4].copy_from_slice(&word.to_le_bytes());
        }
        bytes
    }

    /// What the bytes say; nothing if they are of a kind this version does not know.
    pub(super) fn decode(bytes: &[u8; RECORD_BYTES]) -> Option<Self> {
        let first = u64_at(bytes, 0);
        let device = DeviceIndex(u32_at(bytes, 8));
        let [word, conversation, counter] = [12, 16, 20].map(|at| u32_at(bytes, at));
        let conversation = ConversationIndex(conversation);
        let counter = u64::from(counter);
        let own = Message { from: device, conversation, counter };
        let heard = Message { from: DeviceIndex(word), conversation, counter };
        let outcome = |outcome| What::Outcome { message: own, outcome };
        let note = |note| What::Note { device, note };
        let what = match first & 0xFF {
            1 => What::Sent { message: own, late_us: word },
            2 => outcome(Outcome::Accepted),
            3 => outcome(Outcome::Rejected),
            4 => outcome(Outcome::Unknown),
            5 => outcome(Outcome::NotSent),
            6 => What::Delivered { device, message: heard },
            7 => {
                let claimed = (counter != u64::from(NONE)).then_some(heard);
                What::Corrupted { device, claimed }
            }
            8 => What::OtherRun { device },
            16 => note(Note::Connected),
            17 => note(Note::Disconnected),
            18 => note(Note::CaughtUp),
            19 => note(Note::Truncated),
            20 => note(Note::Conflict),
            21 => note(Note::Drained),
            32 => What::End(End::Drained),
            33 => What::End(End::Interrupted),
            34 => What::End(End::Cut),
            _ => return None,
        };
        Some(Self { at_ns: first >> 8, what })
    }
}

/// Whether the ledger can name this message.
pub(super) fn fits(message: Message) -> bool {
    message.counter < u64::from(NONE)
}

fn counter_of(message: Message) -> u32 {
    assert!(fits(message), "a device sends less than 2^32 - 1 messages into one conversation");
    u32::try_from(message.counter).expect("just compared")
}

fn heard_words(message: Message) -> [u32; 3] {
    [message.from.0, message.conversation.0, counter_of(message)]
}

/// The head of a file.
pub(super) fn encode_head(run: &RunInfo, made_ms: u64) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&VERSION.to_le_bytes());
    head[12..16].copy_from_slice(&run.rules.to_bits().to_le_bytes());
    head[16..24].copy_from_slice(&run.run.to_le_bytes());
    head[24..32].copy_from_slice(&run.seed.to_le_bytes());
    head[32..40].copy_from_slice(&run.population.to_le_bytes());
    head[40..48].copy_from_slice(&made_ms.to_le_bytes());
    let checksum = xxh3_64(&head[..56]);
    head[56..].copy_from_slice(&checksum.to_le_bytes());
    head
}

/// Why a file's head cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadHead {
    #[error("it is not a ledger: it does not begin with \"phledger\"")]
    NotALedger,
    #[error("it is of version {0}; this program reads version {VERSION}")]
    Version(u32),
    #[error("its first {HEAD_BYTES} bytes were changed: their checksum does not fit")]
    Changed,
}

/// What the head of a file says.
pub(super) fn decode_head(head: &[u8; HEAD_BYTES]) -> Result<RunInfo, BadHead> {
    if head[..8] != MAGIC {
        return Err(BadHead::NotALedger);
    }
    if u32_at(head, 8) != VERSION {
        return Err(BadHead::Version(u32_at(head, 8)));
    }
    if xxh3_64(&head[..56]) != u64_at(head, 56) {
        return Err(BadHead::Changed);
    }
    let rules = Rules::from_bits(u32_at(head, 12)).ok_or(BadHead::Changed)?;
    let [run, seed, population] = [16, 24, 32].map(|at| u64_at(head, at));
    Ok(RunInfo { run, seed, population, rules })
}

/// Fills in the head of a batch whose records follow it in `batch`.
pub(super) fn seal_batch(batch: &mut [u8], number: u64) {
    let (head, records) = batch.split_at_mut(BATCH_HEAD_BYTES);
    assert_eq!(records.len() % RECORD_BYTES, 0, "whole records");
    let count = records.len() / RECORD_BYTES;
    assert!(count <= BATCH_RECORDS_MAX, "readers take no larger batch");
    let count = u32::try_from(count).expect("just compared");
    head[..4].copy_from_slice(&BATCH_MAGIC);
    head[4..8].copy_from_slice(&count.to_le_bytes());
    head[8..16].copy_from_slice(&number.to_le_bytes());
    let checksum = batch_checksum(&head[4..16], records);
    head[16..].copy_from_slice(&checksum.to_le_bytes());
}

/// How many bytes of records follow the head of batch `number`; nothing if it is not that.
pub(super) fn batch_len(head: &[u8; BATCH_HEAD_BYTES], number: u64) -> Option<usize> {
    let count = u32_at(head, 4) as usize;
    let sound = head[..4] == BATCH_MAGIC && u64_at(head, 8) == number && count <= BATCH_RECORDS_MAX;
    sound.then_some(count * RECORD_BYTES)
}

/// Whether the records are those the head was made for.
pub(super) fn batch_is_sound(head: &[u8; BATCH_HEAD_BYTES], records: &[u8]) -> bool {
    batch_checksum(&head[4..16], records) == u64_at(head, 16)
}

fn batch_checksum(head: &[u8], records: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(head);
    hash.update(records);
    hash.digest()
}
