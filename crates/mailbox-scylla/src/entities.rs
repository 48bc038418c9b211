//! State that decides.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::future;
use ports::{
    BoxFuture, Entities, EntityId, StoreError,
    entities::{Change, Snapshot},
};
use scylla::{
    errors::SerializationError,
    serialize::{
        row::{RowSerializationContext, SerializeRow},
        writers::RowWriter,
    },
};
use wire::{
    GroupId, MessageId, Seq, UserId,
    entity::{Decision, Membership},
};

use crate::{
    CqlConfig,
    bucket::{self, SEQ_MAX},
    requests::{Kind, Requests},
    statements::{Statements, time_to_live},
};

/// Kinds of the parts of an entity.
const SNAPSHOT: i8 = 1;
const DECISION: i8 = 2;
const MESSAGE: i8 = 3;
const MEMBERSHIP: i8 = 4;

/// Decisions and ended memberships outlive the log by this.
const KEPT_BEYOND_LOG: Duration = Duration::from_secs(24 * 3600);

/// The entities in the database: one partition each, cut into parts.
///
/// *Parts.* Snapshot: no key, the state. Decision: key the position, big-endian; the encoded
/// decision. Message: key the message's id; no value, its position leads to the decision.
/// Membership: key user at 0 and position joined at 16, big-endian; the encoded membership.
///
/// *Timestamps.* All carry the position, so that the newest wins, but messages, which carry what
/// the position lacks of the highest: the first wins.
///
/// *Order.* The snapshot is written last, when a quorum has the rest of the decision. Written as
/// one, a write that failed halfway could leave both on a single copy; who then reads the snapshot
/// repairs it alone, takes the position for decided, and finds nothing that was decided. So a
/// decision counts when the snapshot includes it, for [`Entities::decided_about`] too.
pub(crate) struct CqlEntities {
    requests: Arc<Requests>,
    statements: Arc<Statements>,
    wall_clock: fn() -> u64,
    keep_ms: u64,
}

/// An entity as the database keeps it: kind (1 = user, 2 = group) at 0, id at 1.
type EntityBytes = [u8; 17];

/// A part to store.
enum Part<'a> {
    Lasting(PartValues<'a>, i64),
    Passing(PartValues<'a>, i64, i32),
}

/// Entity, kind, key, position and value of a part.
struct PartValues<'a>(&'a EntityBytes, i8, Vec<u8>, i64, Bytes);

impl CqlEntities {
    pub(crate) fn new(
        requests: Arc<Requests>,
        statements: Arc<Statements>,
        config: &CqlConfig,
        wall_clock: fn() -> u64,
    ) -> Self {
        let keep = config.log_keep.saturating_add(KEPT_BEYOND_LOG);
        let keep_ms = u64::try_from(keep.as_millis()).unwrap_or(u64::MAX);
        Self { requests, statements, wall_clock, keep_ms }
    }

    async fn part(
        &self,
        entity: EntityId,
        kind: i8,
        key: &[u8],
    ) -> Result<Option<(Seq, Bytes)>, StoreError> {
        let (session, statement) = (&self.requests.session, &self.statements.part);
        let values = (entity_bytes(entity), kind, key);
        let attempt = async || {
            let answer = session.execute_unpaged(statement, &values).await?;
            let found = answer.into_rows_result()?.maybe_first_row::<(i64, Bytes)>()?;
            Ok(found.map(|(position, value)| (bucket::read(position), value)))
        };
        self.requests.run(Kind::Read, attempt).await
    }

    async fn part_position(
        &self,
        entity: EntityId,
        kind: i8,
        key: &[u8],
    ) -> Result<Option<Seq>, StoreError> {
        let (session, statement) = (&self.requests.session, &self.statements.part_position);
        let values = (entity_bytes(entity), kind, key);
        let attempt = async || {
            let answer = session.execute_unpaged(statement, &values).await?;
            let found = answer.into_rows_result()?.maybe_first_row::<(i64,)>()?;
            Ok(found.map(|(position,)| bucket::read(position)))
        };
        self.requests.run(Kind::Read, attempt).await
    }

    async fn stored_snapshot(&self, entity: EntityId) -> Result<Option<Snapshot>, StoreError> {
        let found = self.part(entity, SNAPSHOT, &[]).await?;
        Ok(found.map(|(position, state)| Snapshot { position, state }))
    }

    async fn decision(
        &self,
        entity: EntityId,
        position: Seq,
    ) -> Result<Option<Decision>, StoreError> {
        let found = self.part(entity, DECISION, &position.get().to_be_bytes()).await?;
        found.map(|(_, value)| Decision::decode(value).map_err(not_ours)).transpose()
    }

    async fn first_about(
        &self,
        entity: EntityId,
        message: MessageId,
    ) -> Result<Option<(Seq, Decision)>, StoreError> {
        let message = message.to_bytes();
        let (found, included) = future::try_join(
            self.part_position(entity, MESSAGE, &message),
            self.part_position(entity, SNAPSHOT, &[]),
        )
        .await?;
        let Some(position) = found.filter(|position| Some(*position) <= included) else {
            return Ok(None);
        };
        let decision = self.decision(entity, position).await?;
        Ok(decision.map(|decision| (position, decision)))
    }

    async fn store(&self, change: Change) -> Result<(), StoreError> {
        if change.position.get() > SEQ_MAX {
            return Err(StoreError::Stop(format!("position {} is out of range", change.position)));
        }
        let entity = entity_bytes(change.entity);
        let position = bucket::stored(change.position.get());
        let parts = self.parts_of(&entity, &change);
        if !parts.is_empty() {
            let statements = parts.iter().map(|part| match part {
                Part::Lasting(..) => &self.statements.put_part,
                Part::Passing(..) => &self.statements.put_part_for,
            });
            let batch = self.statements.batch(statements);
            let session = &self.requests.session;
            let attempt = async || Ok(session.batch(&batch, &parts[..]).await?);
            self.requests.run(Kind::Write, attempt).await?;
        }
        let snapshot = PartValues(&entity, SNAPSHOT, Vec::new(), position, change.state);
        let snapshot = Part::Lasting(snapshot, position);
        let (session, statement) = (&self.requests.session, &self.statements.put_part);
        let attempt = async || Ok(session.execute_unpaged(statement, &snapshot).await?);
        self.requests.run(Kind::Write, attempt).await.map(|_| ())
    }

    /// All but the snapshot. What is no longer kept is left out.
    fn parts_of<'a>(&self, entity: &'a EntityBytes, change: &Change) -> Vec<Part<'a>> {
        let now_ms = (self.wall_clock)();
        let kept_from = |from_ms: u64| time_to_live(from_ms.saturating_add(self.keep_ms), now_ms);
        let position = bucket::stored(change.position.get());
        let mut parts = Vec::with_capacity(2 + change.memberships.len());
        if let Some(kept) = kept_from(change.log_time_ms) {
            let key = change.position.get().to_be_bytes().to_vec();
            let values = PartValues(entity, DECISION, key, position, change.decision.encode());
            parts.push(Part::Passing(values, position, kept));
            let key = change.decision.id.to_bytes().to_vec();
            let values = PartValues(entity, MESSAGE, key, position, Bytes::new());
            let first_wins = bucket::stored(SEQ_MAX) - position;
            parts.push(Part::Passing(values, first_wins, kept));
        }
        if matches!(change.entity, EntityId::User(_)) {
            return parts;
        }
        for (user, membership) in &change.memberships {
            let joined = membership.joined.get().to_be_bytes();
            let key = [&user.as_bytes()[..], &joined].concat();
            let values = PartValues(entity, MEMBERSHIP, key, position, membership.encode());
            let Some((_, ended_ms)) = membership.ended else {
                parts.push(Part::Lasting(values, position));
                continue;
            };
            // One that ended long ago must still end, so it is kept a moment rather than left out.
            let kept = kept_from(ended_ms).unwrap_or(1);
            parts.push(Part::Passing(values, position, kept));
        }
        parts
    }

    async fn stored_memberships(
        &self,
        group: GroupId,
    ) -> Result<Vec<(UserId, Membership)>, StoreError> {
        let values = (entity_bytes(EntityId::Group(group)), MEMBERSHIP);
        let parts = &self.statements.parts;
        let rows = self.requests.all_rows::<(Bytes, Bytes)>(parts, values).await?;
        rows.into_iter()
            .map(|(key, value)| {
                let user = UserId::parse(key.get(..UserId::LEN).unwrap_or(&[]), "membership.user");
                Ok((user.map_err(not_ours)?, Membership::decode(value).map_err(not_ours)?))
            })
            .collect()
    }
}

impl Entities for CqlEntities {
    fn snapshot(&self, entity: EntityId) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        Box::pin(self.stored_snapshot(entity))
    }

    fn decided_at(
        &self,
        entity: EntityId,
        position: Seq,
    ) -> BoxFuture<'_, Result<Option<Decision>, StoreError>> {
        Box::pin(self.decision(entity, position))
    }

    fn decided_about(
        &self,
        entity: EntityId,
        message: MessageId,
    ) -> BoxFuture<'_, Result<Option<(Seq, Decision)>, StoreError>> {
        Box::pin(self.first_about(entity, message))
    }

    fn decide(&self, change: Change) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(self.store(change))
    }

    fn memberships(
        &self,
        group: GroupId,
    ) -> BoxFuture<'_, Result<Vec<(UserId, Membership)>, StoreError>> {
        Box::pin(self.stored_memberships(group))
    }
}

impl SerializeRow for Part<'_> {
    fn serialize(
        &self,
        context: &RowSerializationContext<'_>,
        writer: &mut RowWriter<'_>,
    ) -> Result<(), SerializationError> {
        match self {
            Self::Lasting(PartValues(entity, kind, key, position, value), timestamp) => {
                (entity, kind, key, position, value, timestamp).serialize(context, writer)
            }
            Self::Passing(PartValues(entity, kind, key, position, value), timestamp, ttl) => {
                (entity, kind, key, position, value, timestamp, ttl).serialize(context, writer)
            }
        }
    }

    fn is_empty(&self) -> bool {
        false
    }
}

fn entity_bytes(entity: EntityId) -> EntityBytes {
    let mut bytes = [0; 17];
    let (kind, id) = match &entity {
        EntityId::User(user) => (1, user.as_bytes()),
        EntityId::Group(group) => (2, group.as_bytes()),
    };
    bytes[0] = kind;
    bytes[1..].copy_from_slice(id);
    bytes
}

fn not_ours(error: impl std::fmt::Display) -> StoreError {
    StoreError::Stop(format!("an entity in the database cannot be read: {error}"))
}
