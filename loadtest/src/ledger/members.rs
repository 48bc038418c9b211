//! What the judgement must know of a population: who is due which message.

use std::ops::Range;

use crate::population::{ConversationIndex, DeviceIndex, UserIndex};

/// Who is in which conversation, with which devices. Besides a population, tests implement it.
pub trait Members {
    /// Tells one population from another; the ledger keeps it.
    fn digest(&self) -> u64;

    /// How many devices there are; their numbers are below.
    fn device_count(&self) -> usize;

    /// How many conversations there are; their numbers are below.
    fn conversation_count(&self) -> usize;

    /// Whose device it is.
    fn user_of(&self, device: DeviceIndex) -> UserIndex;

    /// The devices of a user: they follow each other.
    fn devices_of(&self, user: UserIndex) -> Range<DeviceIndex>;

    /// The devices of all members, ascending.
    fn devices_in(&self, conversation: ConversationIndex) -> Vec<DeviceIndex>;

    /// Whether its order must be the same at every member.
    fn is_group(&self, conversation: ConversationIndex) -> bool;
}
