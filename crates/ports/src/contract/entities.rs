//! What every [`crate::Entities`] must do.

use bytes::Bytes;
use wire::{
    Counter, GroupId, MessageId, RunId, SendId, Seq,
    entity::{Decision, Membership},
    item::Verdict,
};

use super::{Harness, device, seq, soon, user};
use crate::{
    Entities, EntityId,
    entities::{Change, Snapshot},
};

fn group() -> GroupId {
    GroupId::from_bytes([7; GroupId::LEN])
}

fn message(counter: u64) -> MessageId {
    let send = SendId { run: RunId::new(1), counter: Counter::new(counter) };
    MessageId { user: user(1), device: device(1), send }
}

/// A decision about a message of its own.
fn change(harness: &impl Harness, position: u64) -> Change {
    Change {
        entity: EntityId::Group(group()),
        position: seq(position),
        log_time_ms: harness.now_ms(),
        state: Bytes::from(format!("after {position}")),
        decision: Decision {
            id: message(position),
            verdict: Verdict::Done,
            told: vec![user(1), user(2)],
        },
        memberships: Vec::new(),
    }
}

async fn decide(entities: &dyn Entities, change: &Change) {
    soon(entities.decide(change.clone())).await.unwrap();
}

async fn snapshot(entities: &dyn Entities) -> Option<Snapshot> {
    soon(entities.snapshot(EntityId::Group(group()))).await.unwrap()
}

async fn at(entities: &dyn Entities, position: u64) -> Option<Decision> {
    soon(entities.decided_at(EntityId::Group(group()), seq(position))).await.unwrap()
}

async fn about(entities: &dyn Entities, counter: u64) -> Option<(Seq, Decision)> {
    soon(entities.decided_about(EntityId::Group(group()), message(counter))).await.unwrap()
}

async fn memberships(entities: &dyn Entities) -> Vec<(wire::UserId, Membership)> {
    let mut all = soon(entities.memberships(group())).await.unwrap();
    all.sort_by_key(|(user, membership)| (*user, membership.joined));
    all
}

/// Nothing at all.
pub async fn an_entity_without_decisions_has_nothing<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let entities = harness.entities();
    assert_eq!(snapshot(entities.as_ref()).await, None);
    assert_eq!(at(entities.as_ref(), 1).await, None);
    assert_eq!(about(entities.as_ref(), 1).await, None);
    assert_eq!(memberships(entities.as_ref()).await, []);
}

/// State, outcome, message and memberships.
pub async fn a_decision_is_kept_with_all_that_belongs_to_it<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let entities = harness.entities();
    let mut change = change(&harness, 5);
    let joined = Membership { joined: seq(5), ended: None };
    change.memberships = vec![(user(1), joined), (user(2), joined)];
    decide(entities.as_ref(), &change).await;
    let kept = Snapshot { position: seq(5), state: change.state };
    assert_eq!(snapshot(entities.as_ref()).await, Some(kept));
    assert_eq!(at(entities.as_ref(), 5).await, Some(change.decision.clone()));
    assert_eq!(at(entities.as_ref(), 4).await, None);
    assert_eq!(about(entities.as_ref(), 5).await, Some((seq(5), change.decision)));
    assert_eq!(memberships(entities.as_ref()).await, change.memberships);
}

/// As a replay does.
pub async fn a_decision_again_changes_nothing<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let entities = harness.entities();
    let first = change(&harness, 5);
    let mut second = change(&harness, 6);
    second.memberships = vec![(user(3), Membership { joined: seq(6), ended: None })];
    for change in [&first, &second, &first, &second] {
        decide(entities.as_ref(), change).await;
    }
    let kept = Snapshot { position: seq(6), state: second.state };
    assert_eq!(snapshot(entities.as_ref()).await, Some(kept));
    assert_eq!(at(entities.as_ref(), 5).await, Some(first.decision.clone()));
    assert_eq!(about(entities.as_ref(), 5).await, Some((seq(5), first.decision)));
    assert_eq!(memberships(entities.as_ref()).await, second.memberships);
}

/// As a writer does that lost its partition.
pub async fn an_older_decision_that_comes_late_does_not_win<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let entities = harness.entities();
    let ended = (seq(9), harness.now_ms());
    let mut newer = change(&harness, 9);
    newer.memberships = vec![(user(1), Membership { joined: seq(5), ended: Some(ended) })];
    let mut older = change(&harness, 5);
    older.memberships = vec![(user(1), Membership { joined: seq(5), ended: None })];
    decide(entities.as_ref(), &newer).await;
    decide(entities.as_ref(), &older).await;
    let kept = Snapshot { position: seq(9), state: newer.state };
    assert_eq!(snapshot(entities.as_ref()).await, Some(kept));
    assert_eq!(memberships(entities.as_ref()).await, newer.memberships);
    assert_eq!(at(entities.as_ref(), 5).await, Some(older.decision));
}

/// Also when the second one comes first.
pub async fn the_first_decision_about_a_message_is_found<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let entities = harness.entities();
    let first = change(&harness, 5);
    let mut second = change(&harness, 8);
    second.decision.id = first.decision.id;
    second.decision.told = Vec::new();
    decide(entities.as_ref(), &second).await;
    assert_eq!(about(entities.as_ref(), 5).await, Some((seq(8), second.decision.clone())));
    decide(entities.as_ref(), &first).await;
    decide(entities.as_ref(), &second).await;
    assert_eq!(about(entities.as_ref(), 5).await, Some((seq(5), first.decision)));
    assert_eq!(at(entities.as_ref(), 8).await, Some(second.decision));
}

/// One row for each time of being a member.
pub async fn memberships_are_kept_over_leaving_and_joining_again<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let entities = harness.entities();
    let first = Membership { joined: seq(1), ended: None };
    let left = Membership { joined: seq(1), ended: Some((seq(4), harness.now_ms())) };
    let again = Membership { joined: seq(7), ended: None };
    for (position, membership) in [(1, first), (4, left), (7, again), (4, left), (1, first)] {
        let mut change = change(&harness, position);
        change.memberships = vec![(user(1), membership)];
        decide(entities.as_ref(), &change).await;
    }
    assert_eq!(memberships(entities.as_ref()).await, [(user(1), left), (user(1), again)]);
}

/// Needs [`Harness::fail_next_store`].
pub async fn a_failed_decision_may_be_repeated<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let entities = harness.entities();
    if !harness.fail_next_store() {
        return;
    }
    let change = change(&harness, 5);
    assert!(soon(entities.decide(change.clone())).await.is_err());
    decide(entities.as_ref(), &change).await;
    assert_eq!(about(entities.as_ref(), 5).await, Some((seq(5), change.decision)));
}

/// The kind is part of who it is.
pub async fn users_and_groups_with_the_same_id_are_different<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let entities = harness.entities();
    decide(entities.as_ref(), &change(&harness, 5)).await;
    let twin = EntityId::User(user(7));
    assert_eq!(soon(entities.snapshot(twin)).await.unwrap(), None);
    assert_eq!(soon(entities.decided_at(twin, seq(5))).await.unwrap(), None);
}

/// After a clean end.
pub async fn decisions_are_there_after_reopening<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let entities = harness.entities();
    let mut change = change(&harness, 5);
    change.memberships = vec![(user(1), Membership { joined: seq(5), ended: None })];
    decide(entities.as_ref(), &change).await;
    drop(entities);
    let harness = harness.reopen().await;
    let entities = harness.entities();
    assert_eq!(snapshot(entities.as_ref()).await.unwrap().position, seq(5));
    assert_eq!(at(entities.as_ref(), 5).await, Some(change.decision));
    assert_eq!(memberships(entities.as_ref()).await, change.memberships);
}
