//! State that decides.

use std::sync::Arc;

use bytes::Bytes;
use fjall::OwnedWriteBatch as WriteBatch;
use ports::{
    BoxFuture, Entities, EntityId, StoreError,
    entities::{Change, Snapshot},
};
use wire::{
    GroupId, MessageId, Seq, UserId,
    entity::{Decision, Membership},
};

use crate::{
    segment::corrupt,
    store::{
        Store,
        kind::{DECISION, DUE, MEMBERSHIP, MESSAGE, SNAPSHOT},
        number, stop,
    },
};

/// Bytes of a decision beside its state and members: keys and values, and those that say when they
/// are due.
const DECISION_BYTES: usize = 512;

/// Bytes of a member who is told, or whose membership changes.
const MEMBER_BYTES: usize = 192;

/// Entries that pruning removes in one batch.
const PRUNE_ENTRIES: usize = 1024;

/// The entities in the store.
///
/// Layouts, integers big-endian; an *entity* is kind (1 = user, 2 = group) at 0 and id at 1.
/// Snapshot: `s`, entity; value position at 0, state at 8. Decision: `d`, entity, position; value
/// the encoded decision. Message: `m`, entity, message id; value position. Membership: `g`, group,
/// user, position joined; value position written at 0, encoded membership at 8. Due: `t`, log time,
/// then the key of a decision, message or ended membership that is dropped when its time has come.
pub(crate) struct EntitiesEngine {
    store: Arc<Store>,
}

impl EntitiesEngine {
    pub(crate) fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Drops decisions and ended memberships from before `before_ms`.
    pub(crate) fn prune(&self, before_ms: u64) -> Result<(), StoreError> {
        let from = due_key(0, &[]);
        let to = due_key(before_ms, &[]);
        let mut due = self.store.state.range(from..to).peekable();
        while due.peek().is_some() {
            let some = due.by_ref().take(PRUNE_ENTRIES);
            self.store.write(|batch| {
                for guard in some {
                    let key = guard.key()?;
                    let target = key.get(9..).ok_or_else(corrupt)?;
                    batch.remove(&self.store.state, target);
                    batch.remove(&self.store.state, key.clone());
                    self.store.count(2 * key.len());
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn decision(&self, entity: EntityId, position: Seq) -> fjall::Result<Option<Decision>> {
        let value = self.store.state.get(decision_key(entity, position))?;
        value.map(|value| decode_decision(&value)).transpose()
    }

    fn about(
        &self,
        entity: EntityId,
        message: MessageId,
    ) -> fjall::Result<Option<(Seq, Decision)>> {
        let Some(value) = self.store.state.get(message_key(entity, message))? else {
            return Ok(None);
        };
        let position = Seq::from_u64(number(&value, 0)?);
        Ok(self.decision(entity, position)?.map(|decision| (position, decision)))
    }

    fn roster(&self, group: GroupId) -> fjall::Result<Vec<(UserId, Membership)>> {
        let rows = self.store.state.prefix(group_prefix(group)).map(|guard| {
            let (key, value) = guard.into_inner()?;
            let user = key.get(17..33).and_then(|bytes| UserId::parse(bytes, "user").ok());
            Ok((user.ok_or_else(corrupt)?, decode_membership(&value)?.1))
        });
        rows.collect()
    }

    fn store_change(&self, batch: &mut WriteBatch, change: &Change) -> fjall::Result<()> {
        let state = &self.store.state;
        let mut put = |key: Vec<u8>, value: Vec<u8>| {
            batch.insert(state, key, value);
        };
        let position = change.position.get();

        let snapshot = snapshot_key(change.entity);
        let present = state.get(&snapshot)?.map(|value| number(&value, 0)).transpose()?;
        if present.is_none_or(|present| present < position) {
            put(snapshot, [&position.to_be_bytes()[..], &change.state].concat());
        }

        let decision = decision_key(change.entity, change.position);
        put(due_key(change.log_time_ms, &decision), Vec::new());
        put(decision, change.decision.encode().to_vec());

        let message = message_key(change.entity, change.decision.id);
        let first = state.get(&message)?.map(|value| number(&value, 0)).transpose()?;
        if first.is_none_or(|first| position < first) {
            put(due_key(change.log_time_ms, &message), Vec::new());
            put(message, position.to_be_bytes().to_vec());
        }

        if let EntityId::Group(group) = change.entity {
            for (user, membership) in &change.memberships {
                let key = membership_key(group, *user, membership.joined);
                let present = state.get(&key)?.map(|value| decode_membership(&value));
                let present = present.transpose()?.map(|(written, _)| written);
                if present.is_none_or(|written| written < position) {
                    if let Some((_, ended_ms)) = membership.ended {
                        put(due_key(ended_ms, &key), Vec::new());
                    }
                    let value = [&position.to_be_bytes()[..], &membership.encode()].concat();
                    put(key, value);
                }
            }
        }
        Ok(())
    }
}

impl Entities for EntitiesEngine {
    fn snapshot(&self, entity: EntityId) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        let snapshot = || {
            let Some(value) = self.store.state.get(snapshot_key(entity))? else {
                return Ok(None);
            };
            let position = Seq::from_u64(number(&value, 0)?);
            Ok(Some(Snapshot { position, state: Bytes::copy_from_slice(&value[8..]) }))
        };
        ready(snapshot())
    }

    fn decided_at(
        &self,
        entity: EntityId,
        position: Seq,
    ) -> BoxFuture<'_, Result<Option<Decision>, StoreError>> {
        ready(self.decision(entity, position))
    }

    fn decided_about(
        &self,
        entity: EntityId,
        message: MessageId,
    ) -> BoxFuture<'_, Result<Option<(Seq, Decision)>, StoreError>> {
        ready(self.about(entity, message))
    }

    fn decide(&self, change: Change) -> BoxFuture<'_, Result<(), StoreError>> {
        let told = change.decision.told.len() + change.memberships.len();
        let bytes = change.state.len() + told * MEMBER_BYTES + DECISION_BYTES;
        let result = self.store.add(bytes, |batch| self.store_change(batch, &change));
        Box::pin(std::future::ready(result))
    }

    fn memberships(
        &self,
        group: GroupId,
    ) -> BoxFuture<'_, Result<Vec<(UserId, Membership)>, StoreError>> {
        ready(self.roster(group))
    }
}

fn ready<T: Send + 'static>(result: fjall::Result<T>) -> BoxFuture<'static, Result<T, StoreError>> {
    Box::pin(std::future::ready(result.map_err(stop)))
}

fn entity_bytes(entity: EntityId) -> [u8; 17] {
    let mut bytes = [0; 17];
    let (kind, id) = match &entity {
        EntityId::User(user) => (1, user.as_bytes()),
        EntityId::Group(group) => (2, group.as_bytes()),
    };
    bytes[0] = kind;
    bytes[1..].copy_from_slice(id);
    bytes
}

fn snapshot_key(entity: EntityId) -> Vec<u8> {
    [&[SNAPSHOT][..], &entity_bytes(entity)].concat()
}

fn decision_key(entity: EntityId, position: Seq) -> Vec<u8> {
    [&[DECISION][..], &entity_bytes(entity), &position.get().to_be_bytes()].concat()
}

fn message_key(entity: EntityId, message: MessageId) -> Vec<u8> {
    [&[MESSAGE][..], &entity_bytes(entity), &message.to_bytes()].concat()
}

fn group_prefix(group: GroupId) -> Vec<u8> {
    [&[MEMBERSHIP][..], group.as_bytes()].concat()
}

fn membership_key(group: GroupId, user: UserId, joined: Seq) -> Vec<u8> {
    [&group_prefix(group)[..], user.as_bytes(), &joined.get().to_be_bytes()].concat()
}

fn due_key(log_time_ms: u64, target: &[u8]) -> Vec<u8> {
    [&[DUE][..], &log_time_ms.to_be_bytes(), target].concat()
}

fn decode_decision(value: &[u8]) -> fjall::Result<Decision> {
    Decision::decode(Bytes::copy_from_slice(value)).map_err(|_| corrupt())
}

/// A membership and the position that wrote it.
fn decode_membership(value: &[u8]) -> fjall::Result<(u64, Membership)> {
    let written = number(value, 0)?;
    let membership = Membership::decode(Bytes::copy_from_slice(&value[8..]));
    Ok((written, membership.map_err(|_| corrupt())?))
}
