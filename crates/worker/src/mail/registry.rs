//! The devices of users, as this lane decides about them.

use std::sync::Arc;

use futures_util::{StreamExt as _, stream};
use ports::{
    Entities, EntityId,
    entities::{self, Snapshot},
};
use wire::{
    Seq, UserId,
    entity::{Decision, Devices},
};

use crate::{
    lane::Context,
    mail::{
        devices,
        parse::{Change, Copy},
        resolve::Place,
    },
    metrics::Alarm,
    recent::Recent,
    retry::{End, Retry},
};

/// Users looked up at a time.
const LOOKUPS_AT_ONCE: usize = 32;

/// A bounded cache of the user entities of one partition, in front of the store. Only this lane
/// decides about them, so what it holds is what the store holds.
pub(crate) struct Registry {
    entities: Arc<dyn Entities>,
    retry: Retry,
    users: Recent<UserId, Known>,
}

/// The devices of a user and the last position they include; none when nothing was decided yet.
#[derive(Clone, Default)]
struct Known {
    position: Option<Seq>,
    devices: Devices,
}

impl Registry {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            entities: Arc::clone(&context.engines.entities),
            retry: context.retry.clone(),
            users: Recent::new(context.config.users_cached),
        }
    }

    /// Looks up those of the users that are not in memory.
    pub(crate) async fn load(
        &mut self,
        users: impl IntoIterator<Item = UserId>,
    ) -> Result<(), End> {
        let absent: Vec<UserId> =
            users.into_iter().filter(|user| self.users.get(user).is_none()).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let lookups = absent.into_iter().map(|user| {
            let (entities, retry) = (&self.entities, &self.retry);
            async move {
                let entity = EntityId::User(user);
                let snapshot = retry.until_stored(|| entities.snapshot(entity)).await?;
                Ok::<_, End>((user, Known::from_snapshot(snapshot)?))
            }
        });
        let found: Vec<_> = stream::iter(lookups).buffer_unordered(LOOKUPS_AT_ONCE).collect().await;
        for lookup in found {
            let (user, known) = lookup?;
            self.users.insert(user, known);
        }
        Ok(())
    }

    /// Whether something sent at `position` has a row for other devices of its sender.
    pub(crate) async fn copy(&mut self, user: UserId, position: Seq) -> Result<Copy, End> {
        self.load([user]).await?;
        let known = self.users.get(&user).expect("just loaded");
        Ok(if devices::has_copy(&known.devices, position) {
            Copy::Row
        } else if known.includes(position) {
            // A device that was revoked since may be forgotten already.
            Copy::Unsure
        } else {
            Copy::None
        })
    }

    /// Decides about a change, or finds what was decided at this position; none when it repeats one
    /// that was decided before.
    pub(crate) async fn decide(
        &mut self,
        place: Place,
        change: &Change,
    ) -> Result<Option<Decision>, End> {
        self.load([change.user]).await?;
        let known = self.users.get(&change.user).expect("just loaded").clone();
        let entity = EntityId::User(change.user);
        let (entities, retry) = (&self.entities, &self.retry);
        if known.includes(place.seq) {
            return retry.until_stored(|| entities.decided_at(entity, place.seq)).await;
        }
        let about = retry.until_stored(|| entities.decided_about(entity, change.item.id)).await?;
        if about.is_some_and(|(position, _)| position < place.seq) {
            return Ok(None);
        }
        let outcome = devices::decide(
            change.user,
            &known.devices,
            &change.change,
            place.seq,
            place.log_time_ms,
        );
        let decision =
            Decision { id: change.item.id, verdict: outcome.verdict, told: outcome.told };
        let stored = entities::Change {
            entity,
            position: place.seq,
            log_time_ms: place.log_time_ms,
            state: outcome.devices.encode(),
            decision: decision.clone(),
            memberships: Vec::new(),
        };
        retry.until_stored(|| entities.decide(stored.clone())).await?;
        let known = Known { position: Some(place.seq), devices: outcome.devices };
        self.users.insert(change.user, known);
        Ok(Some(decision))
    }
}

impl Known {
    fn from_snapshot(snapshot: Option<Snapshot>) -> Result<Self, End> {
        let Some(Snapshot { position, state }) = snapshot else { return Ok(Self::default()) };
        let devices = Devices::decode(state)
            .map_err(|error| End::Alarm(Alarm::Snapshot, format!("devices of a user: {error}")))?;
        Ok(Self { position: Some(position), devices })
    }

    fn includes(&self, position: Seq) -> bool {
        self.position.is_some_and(|included| position <= included)
    }
}
