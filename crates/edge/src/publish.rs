//! From a send to records on the log: rules, limits, the item, its partitions.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use ports::{
    BoxFuture, Log,
    log::{AppendError, Refused},
};
use session::edge::Published;
use wire::{
    Address, DeviceId, GroupId, Item, MessageId, Partition, Seq, Topic, UserId,
    client_frame::Send,
    item::{Body, DeviceChange, GroupChange},
    limits::GROUP_MEMBERS_MAX,
    record::{Delivery, GroupRecord, MailRecord},
    server_frame::{BusyReason, RejectReason},
    shard::partition_of,
};

use crate::{
    WallClock,
    budget::{Budget, GroupSizes},
    control::Control,
    metrics::EdgeMetrics,
};

/// When to come back after a full queue, milliseconds.
const OVERLOAD_AFTER_MS: u32 = 100;
/// When to come back after a state that takes longer to pass, milliseconds.
const UNREADY_AFTER_MS: u32 = 2_000;
/// When to send again what the log could not tell about, milliseconds.
const UNKNOWN_AFTER_MS: u32 = 200;
/// Recipients assumed for a group whose size is being looked up for another send already.
const ASSUMED_SIZE: u64 = 8;

/// Appends what connections send.
pub(crate) struct Publisher {
    log: Arc<dyn Log>,
    control: Arc<Control>,
    metrics: EdgeMetrics,
    wall_clock: WallClock,
    mail_partitions: u16,
    group_partitions: u16,
    /// Nothing is kept longer; the time to live of a send that names none.
    ttl_max_s: u32,
    pub(crate) sizes: GroupSizes,
}

/// One connection's side of publishing.
pub(crate) struct Sender {
    user: UserId,
    device: DeviceId,
    partition: Partition,
    budget: Budget,
    /// A group's size is being looked up, to charge for it.
    sizing: bool,
}

/// What became of a send so far.
pub(crate) enum Publishing {
    /// It has its answer: nothing was appended.
    Answered(Published),
    /// The log has it and will say.
    UnderWay(Append),
    /// As before, and the size of this group is to be looked up and told to [`Sender::charge`].
    Unsized(Append, Unsized),
}

/// What the log will say.
pub(crate) type Append = BoxFuture<'static, Result<Vec<Seq>, AppendError>>;

/// A send to a group of unknown size, so far charged as if to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unsized {
    pub(crate) group: GroupId,
    bytes: u64,
}

/// Where a send goes.
struct Plan {
    topic: Topic,
    records: Vec<(Partition, Bytes)>,
    item_bytes: u64,
    to: Address,
}

impl Sender {
    pub(crate) fn new(
        user: UserId,
        device: DeviceId,
        publisher: &Publisher,
        budget: Budget,
    ) -> Self {
        let partition = partition_of(Address::User(user), publisher.mail_partitions);
        Self { user, device, partition, budget, sizing: false }
    }

    /// The size of a group that [`Publishing::Unsized`] asked for; none when it was not found.
    pub(crate) fn charge(&mut self, charged: Unsized, size: Option<u32>) {
        self.sizing = false;
        let others = u64::from(size.unwrap_or(1)).saturating_sub(1);
        self.budget.charge(charged.bytes.saturating_mul(others));
    }
}

impl Publisher {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        control: Arc<Control>,
        metrics: EdgeMetrics,
        wall_clock: WallClock,
        retention_ms: u64,
    ) -> Self {
        Self {
            ttl_max_s: u32::try_from(retention_ms / 1000).unwrap_or(u32::MAX).max(1),
            mail_partitions: log.partition_count(Topic::Mail),
            group_partitions: log.partition_count(Topic::Group),
            log,
            control,
            metrics,
            wall_clock,
            sizes: GroupSizes::default(),
        }
    }

    /// Hands a send to the log without waiting, after all earlier ones; or says why not.
    pub(crate) fn try_publish(&self, sender: &mut Sender, now: Duration, send: Send) -> Publishing {
        let now_ms = (self.wall_clock)();
        if let Err(reason) = check_rules(sender.user, &send, self.ttl_max_s) {
            self.metrics.count_rejected(reason);
            return Publishing::Answered(Published::Reject(reason));
        }
        if self.control.trouble().is_some() {
            return self.busy(BusyReason::NotReady, UNREADY_AFTER_MS);
        }
        if let Err(after_ms) = sender.budget.check(now) {
            return self.busy(BusyReason::Rate, after_ms);
        }
        let plan = self.plan(sender, now_ms, send);
        let lags =
            |(partition, _): &(_, _)| self.control.is_lagging(plan.topic, *partition, now_ms);
        if plan.records.iter().any(lags) {
            return self.busy(BusyReason::Lag, UNREADY_AFTER_MS);
        }
        match self.log.try_append(plan.topic, plan.records) {
            Ok(append) => match self.charge(sender, plan.to, plan.item_bytes) {
                None => Publishing::UnderWay(append),
                Some(charged) => Publishing::Unsized(append, charged),
            },
            Err(Refused::Overload) => self.busy(BusyReason::Overload, OVERLOAD_AFTER_MS),
            Err(Refused::Storage) => self.busy(BusyReason::Storage, UNREADY_AFTER_MS),
            Err(Refused::Closing) => self.busy(BusyReason::Draining, UNREADY_AFTER_MS),
        }
    }

    /// What the log's last word about a send means for the client.
    pub(crate) fn published(&self, outcome: Result<Vec<Seq>, AppendError>) -> Published {
        match outcome {
            Ok(_) => {
                self.metrics.accepted.inc();
                Published::Accepted
            }
            Err(error) => {
                tracing::debug!(%error, "a send is answered Retry");
                self.metrics.unknown.inc();
                Published::Unknown { after_ms: UNKNOWN_AFTER_MS }
            }
        }
    }

    /// Appends an edge's own request to register a device; the mail worker decides.
    ///
    /// # Errors
    /// [`Refused::Overload`] also when the edge or the partition is not ready.
    pub(crate) fn try_register(
        &self,
        id: MessageId,
        change: DeviceChange,
    ) -> Result<Append, Refused> {
        let now_ms = (self.wall_clock)();
        let to = Address::User(id.user);
        let partition = partition_of(to, self.mail_partitions);
        if self.control.trouble().is_some()
            || self.control.is_lagging(Topic::Mail, partition, now_ms)
        {
            return Err(Refused::Overload);
        }
        let body = Body::DeviceChange(change);
        let item = Item { id, to, sent_ms: now_ms, ttl_s: self.ttl_max_s, body };
        let record = MailRecord { device_change: Some(item.encode()), ..MailRecord::default() };
        self.log.try_append(Topic::Mail, vec![(partition, record.encode())])
    }

    /// Charges a send, when the size of its group is not known for one recipient.
    fn charge(&self, sender: &mut Sender, to: Address, bytes: u64) -> Option<Unsized> {
        let group = match to {
            Address::User(_) => {
                sender.budget.charge(bytes);
                return None;
            }
            Address::Group(group) => group,
        };
        match self.sizes.get(group) {
            Some(size) => sender.budget.charge(bytes.saturating_mul(u64::from(size))),
            None if sender.sizing => sender.budget.charge(bytes.saturating_mul(ASSUMED_SIZE)),
            None => {
                sender.budget.charge(bytes);
                sender.sizing = true;
                return Some(Unsized { group, bytes });
            }
        }
        None
    }

    /// The item, encoded once, in the records it goes into.
    fn plan(&self, sender: &Sender, sent_ms: u64, send: Send) -> Plan {
        let Send { id, to, ttl_s, body, previous: _ } = send;
        let is_device_change = matches!(body, Body::DeviceChange(_));
        let id = MessageId { user: sender.user, device: sender.device, send: id };
        let ttl_s = if ttl_s == 0 { self.ttl_max_s } else { ttl_s };
        let item = Item { id, to, sent_ms, ttl_s, body }.encode();
        let item_bytes = item.len() as u64;
        let (topic, records) = match to {
            Address::Group(_) => {
                let partition = partition_of(to, self.group_partitions);
                (Topic::Group, vec![(partition, GroupRecord(item).encode())])
            }
            Address::User(_) if is_device_change => {
                let device_change = Some(item);
                let record = MailRecord { device_change, ..MailRecord::default() };
                (Topic::Mail, vec![(sender.partition, record.encode())])
            }
            Address::User(recipient) => (Topic::Mail, self.plan_direct(sender, recipient, item)),
        };
        Plan { topic, records, item_bytes, to }
    }

    /// One record for each of the two partitions, or one when both parties share it.
    fn plan_direct(
        &self,
        sender: &Sender,
        recipient: UserId,
        item: Bytes,
    ) -> Vec<(Partition, Bytes)> {
        let record = |recipients: Vec<UserId>, sender_copy: Option<UserId>, item: Bytes| {
            let deliveries = vec![Delivery { recipients, sender_copy, item }];
            MailRecord { deliveries, ..MailRecord::default() }.encode()
        };
        if recipient == sender.user {
            return vec![(sender.partition, record(vec![recipient], None, item))];
        }
        let partition = partition_of(Address::User(recipient), self.mail_partitions);
        if partition == sender.partition {
            return vec![(partition, record(vec![recipient], Some(sender.user), item))];
        }
        vec![
            (partition, record(vec![recipient], None, item.clone())),
            (sender.partition, record(Vec::new(), Some(sender.user), item)),
        ]
    }

    fn busy(&self, reason: BusyReason, after_ms: u32) -> Publishing {
        self.metrics.count_busy(reason);
        Publishing::Answered(Published::Busy { reason, after_ms })
    }
}

/// Whether a client may send this at all; what depends on state, the log decides.
fn check_rules(user: UserId, send: &Send, ttl_max_s: u32) -> Result<(), RejectReason> {
    if send.ttl_s > ttl_max_s {
        return Err(RejectReason::Ttl);
    }
    match (&send.body, send.to) {
        (Body::Message(_), Address::User(_) | Address::Group(_)) => Ok(()),
        (Body::GroupChange(change), Address::Group(_)) => check_members(user, change),
        (Body::DeviceChange(DeviceChange::Revoke(_)), Address::User(owner)) if owner == user => {
            Ok(())
        }
        (Body::DeviceChange(DeviceChange::Register { .. }) | Body::Verdict(_), _) => {
            Err(RejectReason::NotAllowed)
        }
        (Body::GroupChange(_), Address::User(_)) => Err(RejectReason::Address),
        (Body::DeviceChange(DeviceChange::Revoke(_)), _) => Err(RejectReason::Address),
    }
}

/// A group may begin with its creator alone; every other change of members names some.
fn check_members(user: UserId, change: &GroupChange) -> Result<(), RejectReason> {
    let (members, others) = match change {
        GroupChange::Create(members) if members.is_empty() => return Ok(()),
        GroupChange::Create(members) => (members, 1),
        GroupChange::Add(members) | GroupChange::Remove(members) => (members, 0),
        GroupChange::Leave | GroupChange::SetRole(..) => return Ok(()),
    };
    let mut sorted = members.clone();
    sorted.extend((others == 1).then_some(user));
    let count = sorted.len();
    sorted.sort_unstable();
    sorted.dedup();
    let is_good = !members.is_empty() && count <= GROUP_MEMBERS_MAX && sorted.len() == count;
    if is_good { Ok(()) } else { Err(RejectReason::Members) }
}

#[cfg(test)]
#[path = "publish/tests.rs"]
mod tests;
