//! The groups of one partition, as this lane decides about them.

use std::{collections::HashSet, sync::Arc};

use futures_util::{StreamExt as _, stream};
use ports::{
    Entities, EntityId,
    entities::{Change, Snapshot},
};
use wire::{
    Address, GroupId, Item, Partition, Seq, Topic, UserId,
    entity::{Decision, Membership, Roster},
    item::{GroupChange, Verdict},
    shard::partition_of,
};

use crate::{
    group::{
        Place,
        decide::decide,
        derive::{ByPartition, by_partition},
        history::members_at,
    },
    lane::Context,
    metrics::Alarm,
    recent::Recent,
    retry::{End, Retry},
};

/// Groups looked up at a time.
const LOOKUPS_AT_ONCE: usize = 32;

/// A bounded cache of the group entities of one partition, in front of the store. Only this lane
/// decides about them, so what it holds is what the store holds.
pub(crate) struct Rosters {
    entities: Arc<dyn Entities>,
    retry: Retry,
    mail_partitions: u16,
    groups: Recent<GroupId, Known>,
}

/// A group.
#[derive(Default)]
struct Known {
    /// The last position included; none when nothing was decided yet.
    position: Option<Seq>,
    /// None when there is no such group.
    roster: Option<Roster>,
    /// The roster again, by where its members live; made when first needed.
    members: Option<Arc<ByPartition>>,
    /// All memberships, needed only below `position`; read when first needed.
    memberships: Option<Vec<(UserId, Membership)>>,
}

/// Where a message goes.
pub(crate) enum Route {
    /// To the members, the sender among them.
    Members(Arc<ByPartition>),
    /// Nowhere; the sender gets this Result.
    Refused(Verdict),
}

impl Rosters {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            entities: Arc::clone(&context.engines.entities),
            retry: context.retry.clone(),
            mail_partitions: context.engines.log.partition_count(Topic::Mail),
            groups: Recent::new(context.config.groups_cached),
        }
    }

    /// Looks up those of the groups that are not in memory.
    pub(crate) async fn load(&mut self, groups: HashSet<GroupId>) -> Result<(), End> {
        let absent: Vec<GroupId> =
            groups.into_iter().filter(|group| self.groups.get(group).is_none()).collect();
        let lookups = absent.into_iter().map(|group| {
            let (entities, retry) = (&self.entities, &self.retry);
            async move { Ok::<_, End>((group, read(entities.as_ref(), retry, group).await?)) }
        });
        let found: Vec<_> = stream::iter(lookups).buffer_unordered(LOOKUPS_AT_ONCE).collect().await;
        for lookup in found {
            let (group, known) = lookup?;
            self.groups.insert(group, known);
        }
        Ok(())
    }

    /// Where the user lives in the mail log.
    pub(crate) fn home(&self, user: UserId) -> Partition {
        partition_of(Address::User(user), self.mail_partitions)
    }

    /// The users by where they live.
    pub(crate) fn homes(&self, users: impl IntoIterator<Item = UserId>) -> ByPartition {
        by_partition(users, |user| self.home(user))
    }

    /// Who gets what `sender` sent to `group` at `position`: those who were members then.
    pub(crate) async fn route(
        &mut self,
        group: GroupId,
        sender: UserId,
        position: Seq,
    ) -> Result<Route, End> {
        let mut known = self.take(group).await?;
        let route = if known.includes(position) {
            self.route_again(group, &mut known, sender, position).await
        } else {
            known.memberships = None;
            Ok(match &known.roster {
                None => Route::Refused(Verdict::NoSuchGroup),
                Some(roster) if roster.get(sender).is_none() => Route::Refused(Verdict::NotAMember),
                Some(roster) => {
                    let users = || self.homes(roster.0.iter().map(|member| member.user));
                    let members = known.members.get_or_insert_with(|| Arc::new(users()));
                    Route::Members(Arc::clone(members))
                }
            })
        };
        self.groups.insert(group, known);
        route
    }

    /// The same for a position the roster is beyond already.
    async fn route_again(
        &self,
        group: GroupId,
        known: &mut Known,
        sender: UserId,
        position: Seq,
    ) -> Result<Route, End> {
        if known.memberships.is_none() {
            let read = || self.entities.memberships(group);
            known.memberships = Some(self.retry.until_stored(read).await?);
        }
        let memberships = known.memberships.as_ref().expect("just read");
        Ok(members_at(memberships, sender, position)
            .map_or_else(Route::Refused, |users| Route::Members(Arc::new(self.homes(users)))))
    }

    /// Decides about a change, or finds what was decided at this position; none when it repeats one
    /// that was decided before.
    ///
    /// Without a group there is nothing to keep a refusal with. It needs no keeping: a group that
    /// is created later starts at a later position, so below it, what was not decided was refused.
    pub(crate) async fn decide(
        &mut self,
        group: GroupId,
        item: &Item,
        change: &GroupChange,
        place: Place,
    ) -> Result<Option<Decision>, End> {
        let known = self.take(group).await?;
        let (entities, retry) = (&self.entities, &self.retry);
        let entity = EntityId::Group(group);
        let again = known.includes(place.seq);
        if again {
            let decided = retry.until_stored(|| entities.decided_at(entity, place.seq)).await?;
            if decided.is_some() {
                self.groups.insert(group, known);
                return Ok(decided);
            }
        }
        let about = retry.until_stored(|| entities.decided_about(entity, item.id)).await?;
        if about.is_some_and(|(decided, _)| decided < place.seq) {
            self.groups.insert(group, known);
            return Ok(None);
        }
        let sender = item.id.user;
        let roster = known.roster.as_ref().filter(|_| !again);
        let outcome = decide(roster, sender, change, place.seq, place.log_time_ms);
        let refused = Decision { id: item.id, verdict: Verdict::NoSuchGroup, told: Vec::new() };
        let (Some(roster), false) = (outcome.roster, again) else {
            self.groups.insert(group, known);
            return Ok(Some(refused));
        };
        let decision = Decision { verdict: outcome.verdict, told: outcome.told, ..refused };
        let change = Change {
            entity,
            position: place.seq,
            log_time_ms: place.log_time_ms,
            state: roster.encode(),
            decision: decision.clone(),
            memberships: outcome.memberships,
        };
        retry.until_stored(|| entities.decide(change.clone())).await?;
        let unchanged = known.roster.as_ref() == Some(&roster);
        let members = known.members.filter(|_| unchanged);
        let (position, roster) = (Some(place.seq), Some(roster));
        self.groups.insert(group, Known { position, roster, members, memberships: None });
        Ok(Some(decision))
    }

    /// Takes a group out of the cache, or reads it. The caller puts it back, unless the lane ends.
    async fn take(&mut self, group: GroupId) -> Result<Known, End> {
        match self.groups.remove(&group) {
            Some(known) => Ok(known),
            None => read(self.entities.as_ref(), &self.retry, group).await,
        }
    }
}

async fn read(entities: &dyn Entities, retry: &Retry, group: GroupId) -> Result<Known, End> {
    let snapshot = retry.until_stored(|| entities.snapshot(EntityId::Group(group))).await?;
    let Some(Snapshot { position, state }) = snapshot else { return Ok(Known::default()) };
    let roster = Roster::decode(state)
        .map_err(|error| End::Alarm(Alarm::Snapshot, format!("roster of a group: {error}")))?;
    Ok(Known { position: Some(position), roster: Some(roster), ..Known::default() })
}

impl Known {
    fn includes(&self, position: Seq) -> bool {
        self.position.is_some_and(|included| position <= included)
    }
}
