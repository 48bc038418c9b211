//! State that decides.

use bytes::Bytes;
use wire::{
    GroupId, MessageId, Seq, UserId,
    entity::{Decision, Membership},
};

use crate::{BoxFuture, StoreError};

/// The entities: a user with devices, a group with a roster. One store partition each.
///
/// A decision is one write: the snapshot, the position it includes, what was decided for this
/// position and message, and the memberships that began or ended. *Idempotence and order.* Every
/// cell carries the position as its write timestamp, so the same decision again changes nothing and
/// a late older one loses. Worker code decides; an engine only keeps.
pub trait Entities: Send + Sync + 'static {
    /// The snapshot of an entity; none when nothing was decided yet.
    fn snapshot(&self, entity: EntityId) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>>;

    /// What was decided at a position; none when nothing was, or longer ago than the log is kept.
    fn decided_at(
        &self,
        entity: EntityId,
        position: Seq,
    ) -> BoxFuture<'_, Result<Option<Decision>, StoreError>>;

    /// What was decided first about a message, and where; none as above.
    fn decided_about(
        &self,
        entity: EntityId,
        message: MessageId,
    ) -> BoxFuture<'_, Result<Option<(Seq, Decision)>, StoreError>>;

    /// Stores a decision.
    fn decide(&self, change: Change) -> BoxFuture<'_, Result<(), StoreError>>;

    /// All memberships of a group, ended ones included as long as the log is kept.
    fn memberships(
        &self,
        group: GroupId,
    ) -> BoxFuture<'_, Result<Vec<(UserId, Membership)>, StoreError>>;
}

/// What is decided about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EntityId {
    /// A user: the snapshot is [`wire::entity::Devices`], positions are of the mail log.
    User(UserId),
    /// A group: the snapshot is [`wire::entity::Roster`], positions are of the group log.
    Group(GroupId),
}

/// The state of an entity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// The last position it includes.
    pub position: Seq,
    /// The state.
    pub state: Bytes,
}

/// A decision to store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The entity.
    pub entity: EntityId,
    /// Where it was decided.
    pub position: Seq,
    /// Log time of that position, milliseconds since 1970: decisions and ended memberships are kept
    /// from then on for at least as long as the log.
    pub log_time_ms: u64,
    /// The state after it.
    pub state: Bytes,
    /// What was decided.
    pub decision: Decision,
    /// Memberships that began or ended here, keyed by user and [`Membership::joined`].
    pub memberships: Vec<(UserId, Membership)>,
}
