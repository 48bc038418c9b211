//! The ports with ids of a case's own, and with stores that can be made to fail.
//!
//! The contract uses a handful of ids and wants them fresh in every case. Making tables takes some
//! hundred milliseconds each, so cases share them and their ids differ.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::SeqCst},
};

use ports::{
    BoxFuture, Entities, EntityId, Mailbox, StoreError,
    entities::{Change, Snapshot},
    mailbox::{Batch, Cursor, Range, Rows},
};
use wire::{
    DeviceId, GroupId, MessageId, Partition, Seq, UserId,
    entity::{Decision, Membership},
    record::Source,
};

use crate::relay::{BATCH, EXECUTE, Fault, Relay};

type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// What the ports of one case share.
#[derive(Clone)]
pub(crate) struct Case {
    /// Below 8,000.
    pub(crate) number: u64,
    pub(crate) relay: Arc<tokio::sync::Mutex<Relay>>,
    pub(crate) fail_next: Arc<AtomicBool>,
}

impl Case {
    fn bytes(&self, mut id: [u8; 16]) -> [u8; 16] {
        let own = self.number.to_be_bytes();
        id.iter_mut().zip(own).for_each(|(byte, own)| *byte ^= own);
        id
    }

    pub(crate) fn user(&self, user: UserId) -> UserId {
        UserId::from_bytes(self.bytes(*user.as_bytes()))
    }

    fn group(&self, group: GroupId) -> GroupId {
        GroupId::from_bytes(self.bytes(*group.as_bytes()))
    }

    fn entity(&self, entity: EntityId) -> EntityId {
        match entity {
            EntityId::User(user) => EntityId::User(self.user(user)),
            EntityId::Group(group) => EntityId::Group(self.group(group)),
        }
    }

    fn partition(&self, partition: Partition) -> Partition {
        Partition::new(partition.get() + u16::try_from(self.number * 8).unwrap())
    }

    /// A store, which takes effect and is never answered when it is to fail.
    async fn store(&self, store: Answer<'_, ()>) -> Result<(), StoreError> {
        if !self.fail_next.swap(false, SeqCst) {
            return store.await;
        }
        self.relay.lock().await.fail(Fault::LoseAnswer, &[EXECUTE, BATCH], usize::MAX);
        let result = store.await;
        self.relay.lock().await.heal();
        result
    }
}

pub(crate) struct OwnMailbox(pub(crate) Case, pub(crate) Arc<dyn Mailbox>);

impl Mailbox for OwnMailbox {
    fn append(&self, mut batch: Batch) -> Answer<'_, ()> {
        batch.rows.iter_mut().for_each(|row| row.user = self.0.user(row.user));
        batch.marks.iter_mut().for_each(|(at, _)| *at = self.0.partition(*at));
        Box::pin(self.0.store(self.1.append(batch)))
    }

    fn marks(&self, partition: Partition) -> Answer<'_, Vec<Source>> {
        self.1.marks(self.0.partition(partition))
    }

    fn heads(&self, users: Vec<UserId>) -> Answer<'_, Vec<Seq>> {
        self.1.heads(users.into_iter().map(|user| self.0.user(user)).collect())
    }

    fn read(&self, range: Range) -> Answer<'_, Rows> {
        Box::pin(own_rows(
            range.user,
            self.1.read(Range { user: self.0.user(range.user), ..range }),
        ))
    }

    fn read_back(&self, range: Range) -> Answer<'_, Rows> {
        let own = Range { user: self.0.user(range.user), ..range };
        Box::pin(own_rows(range.user, self.1.read_back(own)))
    }

    fn cursor(&self, user: UserId, device: DeviceId) -> Answer<'_, Option<Cursor>> {
        self.1.cursor(self.0.user(user), device)
    }

    fn store_cursors(&self, mut cursors: Vec<(UserId, DeviceId, Cursor)>) -> Answer<'_, ()> {
        cursors.iter_mut().for_each(|(user, ..)| *user = self.0.user(*user));
        Box::pin(self.0.store(self.1.store_cursors(cursors)))
    }

    fn erase(&self, user: UserId, up_to: Seq) -> Answer<'_, ()> {
        self.1.erase(self.0.user(user), up_to)
    }
}

async fn own_rows(user: UserId, rows: Answer<'_, Rows>) -> Result<Rows, StoreError> {
    let mut rows = rows.await?;
    rows.rows.iter_mut().for_each(|row| row.user = user);
    Ok(rows)
}

pub(crate) struct OwnEntities(pub(crate) Case, pub(crate) Arc<dyn Entities>);

impl Entities for OwnEntities {
    fn snapshot(&self, entity: EntityId) -> Answer<'_, Option<Snapshot>> {
        self.1.snapshot(self.0.entity(entity))
    }

    fn decided_at(&self, entity: EntityId, position: Seq) -> Answer<'_, Option<Decision>> {
        self.1.decided_at(self.0.entity(entity), position)
    }

    fn decided_about(
        &self,
        entity: EntityId,
        message: MessageId,
    ) -> Answer<'_, Option<(Seq, Decision)>> {
        self.1.decided_about(self.0.entity(entity), message)
    }

    fn decide(&self, change: Change) -> Answer<'_, ()> {
        let entity = self.0.entity(change.entity);
        Box::pin(self.0.store(self.1.decide(Change { entity, ..change })))
    }

    fn memberships(&self, group: GroupId) -> Answer<'_, Vec<(UserId, Membership)>> {
        self.1.memberships(self.0.group(group))
    }
}
