//! Engines in memory with the workers folded in: what is appended is in mailboxes at once.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use bytes::Bytes;
use ports::{
    BoxFuture, Engines, Entities, EntityId, Log, Mailbox, Presence, StoreError,
    entities::{Change, Snapshot},
    log::{AppendError, DeadLetter, Entry, ReadError, Reader, Refused},
    mailbox::{Batch, Cursor, Range, Row, Rows},
    presence::{Lease, Renewed, Route},
};
use tokio::sync::watch;
use wire::{
    Address, DeviceId, EdgeId, Epoch, GroupId, Item, MessageId, Offset, Partition, Seq, Topic,
    UserId,
    entity::{Decision, Device, Devices, Membership, Roster},
    item::{Body, DeviceChange, Verdict},
    limits::DEVICES_MAX,
    record::{ControlRecord, Heartbeat, MailRecord, Source},
};

use crate::NOW_MS;

/// All engines of one small cluster.
#[derive(Clone)]
pub(crate) struct World(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    control: watch::Sender<Vec<Bytes>>,
    /// While true, appends are not answered.
    held: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    last: u64,
    rows: BTreeMap<UserId, Vec<Row>>,
    cursors: HashMap<(UserId, DeviceId), Cursor>,
    snapshots: HashMap<EntityId, Snapshot>,
    decisions: HashMap<MessageId, (Seq, Decision)>,
    routes: Vec<Route>,
    leases: Vec<Lease>,
    presence_fails: bool,
    loses_answer: bool,
    store_fails: bool,
    pages_read: usize,
    looked_up: usize,
}

impl World {
    /// An empty cluster whose control log was heard once.
    pub(crate) fn new() -> Self {
        let inner = Inner {
            state: Mutex::default(),
            control: watch::Sender::new(Vec::new()),
            held: watch::Sender::new(false),
        };
        let world = Self(Arc::new(inner));
        world.tell(ControlRecord::Heartbeat(Heartbeat {
            now_ms: NOW_MS,
            topic: Topic::Mail,
            partition: Partition::new(0),
            oldest_ms: None,
        }));
        world
    }

    pub(crate) fn engines(&self) -> Engines {
        Engines {
            log: self.0.clone(),
            mailbox: self.0.clone(),
            entities: self.0.clone(),
            presence: self.0.clone(),
        }
    }

    pub(crate) fn tell(&self, record: ControlRecord) {
        self.0.control.send_modify(|records| records.push(record.encode()));
    }

    /// Revokes a device as the mail worker does: registry first, then the control log.
    pub(crate) fn revoke(&self, user: UserId, device: DeviceId) {
        self.0.state().change_devices(user, |devices, seq| {
            let found = devices.0.iter_mut().find(|known| known.id() == device);
            found.unwrap().revoked = Some(seq);
        });
        self.tell(ControlRecord::Revoked(user, device));
    }

    /// Makes the user's devices registered so many milliseconds ago.
    pub(crate) fn age_devices(&self, user: UserId, age_ms: u64) {
        self.0.state().change_devices(user, |devices, _| {
            devices.0.iter_mut().for_each(|device| device.registered_ms = NOW_MS - age_ms);
        });
    }

    pub(crate) fn put_roster(&self, group: GroupId, roster: &Roster) {
        let snapshot = Snapshot { position: Seq::from_u64(1), state: roster.encode() };
        self.0.state().snapshots.insert(EntityId::Group(group), snapshot);
    }

    /// Puts a row into a mailbox without telling anybody.
    pub(crate) fn put_row(&self, user: UserId, item: Bytes) -> Seq {
        self.0.state().put_row(user, item)
    }

    pub(crate) fn cursor(&self, user: UserId, device: DeviceId) -> Option<Cursor> {
        self.0.state().cursors.get(&(user, device)).copied()
    }

    pub(crate) fn set_cursor(&self, user: UserId, device: DeviceId, cursor: Cursor) {
        self.0.state().cursors.insert((user, device), cursor);
    }

    pub(crate) fn routes(&self) -> Vec<Route> {
        self.0.state().routes.clone()
    }

    pub(crate) fn leases(&self) -> usize {
        self.0.state().leases.len()
    }

    /// Whether mailboxes and entities cannot be read.
    pub(crate) fn fail_store(&self, fails: bool) {
        self.0.state().store_fails = fails;
    }

    pub(crate) fn fail_presence(&self) {
        self.0.state().presence_fails = true;
    }

    /// As a restart without a disk does.
    pub(crate) fn forget_presence(&self) {
        let mut state = self.0.state();
        state.presence_fails = false;
        state.routes.clear();
        state.leases.clear();
    }

    /// The next renewal of a lease takes effect and fails.
    pub(crate) fn lose_answer(&self) {
        self.0.state().loses_answer = true;
    }

    pub(crate) fn pages_read(&self) -> usize {
        self.0.state().pages_read
    }

    /// Users presence was asked for.
    pub(crate) fn looked_up(&self) -> usize {
        self.0.state().looked_up
    }

    pub(crate) fn hold_appends(&self, held: bool) {
        self.0.held.send_replace(held);
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

impl State {
    fn next(&mut self) -> Seq {
        self.last += 1;
        Seq::new(Epoch::new(0), Offset::new(self.last))
    }

    fn put_row(&mut self, user: UserId, item: Bytes) -> Seq {
        let seq = self.next();
        let row = Row { user, seq, log_time_ms: NOW_MS, expires_ms: u64::MAX, item };
        self.rows.entry(user).or_default().push(row);
        seq
    }

    fn take_mail(&mut self, record: MailRecord) -> Seq {
        let mut last = self.next();
        for delivery in record.deliveries {
            for user in delivery.recipients {
                last = self.put_row(user, delivery.item.clone());
            }
        }
        if let Some(change) = record.device_change {
            self.decide(Item::decode(change).unwrap());
        }
        last
    }

    fn decide(&mut self, item: Item) {
        let user = item.id.user;
        let Body::DeviceChange(DeviceChange::Register { device_key, agent }) = item.body else {
            panic!("only registrations are decided here");
        };
        let mut verdict = Verdict::TooManyDevices;
        let seq = self.change_devices(user, |devices, registered| {
            if devices.active().count() < DEVICES_MAX {
                verdict = Verdict::Done;
                let registered_ms = NOW_MS;
                let device = Device { device_key, agent, registered, registered_ms, revoked: None };
                devices.0.push(device);
            }
        });
        let decision = Decision { id: item.id, verdict, told: vec![user] };
        self.decisions.insert(item.id, (seq, decision));
    }

    fn change_devices(&mut self, user: UserId, change: impl FnOnce(&mut Devices, Seq)) -> Seq {
        let seq = self.next();
        let entity = EntityId::User(user);
        let mut devices = self
            .snapshots
            .get(&entity)
            .map_or_else(Devices::default, |found| Devices::decode(found.state.clone()).unwrap());
        change(&mut devices, seq);
        self.snapshots.insert(entity, Snapshot { position: seq, state: devices.encode() });
        seq
    }
}

impl Log for Inner {
    fn partition_count(&self, _topic: Topic) -> u16 {
        1
    }
    fn epoch(&self) -> Epoch {
        Epoch::new(0)
    }
    fn try_append(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused> {
        let mut state = self.state();
        let positions = records.into_iter().map(|(_, record)| match topic {
            Topic::Mail => state.take_mail(MailRecord::decode(record).unwrap()),
            Topic::Group | Topic::Control => state.next(),
        });
        let positions: Vec<Seq> = positions.collect();
        let mut held = self.held.subscribe();
        Ok(Box::pin(async move {
            held.wait_for(|held| !held).await.map_err(|e| AppendError(e.to_string()))?;
            Ok(positions)
        }))
    }
    fn open(
        &self,
        _topic: Topic,
        _partition: Partition,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        let reader = ControlReader { records: self.control.subscribe(), read: 0 };
        Box::pin(async move { Ok(Box::new(reader) as Box<dyn Reader>) })
    }
    fn open_at(
        &self,
        topic: Topic,
        partition: Partition,
        _from: Offset,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        self.open(topic, partition)
    }
    fn append_dead_letter(&self, _letter: DeadLetter) -> BoxFuture<'_, Result<(), AppendError>> {
        Box::pin(async { Ok(()) })
    }
    fn flush(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
    }
}

struct ControlReader {
    records: watch::Receiver<Vec<Bytes>>,
    read: usize,
}

impl Reader for ControlReader {
    fn next_batch(
        &mut self,
        _records_max: usize,
        _bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, ReadError>> {
        Box::pin(async move {
            let read = self.read;
            let found = self.records.wait_for(|records| records.len() > read).await;
            let records = found.map_err(|e| ReadError::Retry(e.to_string()))?[read..].to_vec();
            self.read += records.len();
            let entry = |record| Entry { seq: Seq::ZERO, log_time_ms: NOW_MS, record };
            Ok(records.into_iter().map(entry).collect())
        })
    }

    fn first_unfinished(&self) -> Offset {
        Offset::new(0)
    }
    fn commit(&mut self, _position: Seq) -> BoxFuture<'_, Result<(), ReadError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Mailbox for Inner {
    fn append(&self, _batch: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
        panic!("an edge never writes to a mailbox")
    }
    fn marks(&self, _partition: Partition) -> BoxFuture<'_, Result<Vec<Source>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
    fn heads(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Seq>, StoreError>> {
        let state = self.state();
        if state.store_fails {
            return Box::pin(async { Err(gone()) });
        }
        let head = |user| state.rows.get(&user)?.last().map(|row| row.seq);
        let heads = users.into_iter().map(|user| head(user).unwrap_or_default()).collect();
        Box::pin(async { Ok(heads) })
    }
    fn read(&self, range: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
        let state = self.state();
        let rows = state.rows.get(&range.user).cloned().unwrap_or_default();
        let mut rows: Vec<Row> = rows
            .into_iter()
            .filter(|row| row.seq > range.after && row.seq <= range.up_to)
            .collect();
        let more = rows.len() > range.rows_max;
        rows.truncate(range.rows_max);
        Box::pin(async move { Ok(Rows { rows, more }) })
    }
    fn read_back(&self, range: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
        let all = Range { rows_max: usize::MAX, ..range };
        self.state().pages_read += 1;
        Box::pin(async move {
            let mut rows = self.read(all).await?.rows;
            rows.reverse();
            let more = rows.len() > range.rows_max;
            rows.truncate(range.rows_max);
            Ok(Rows { rows, more })
        })
    }
    fn cursor(
        &self,
        user: UserId,
        device: DeviceId,
    ) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
        let cursor = self.state().cursors.get(&(user, device)).copied();
        Box::pin(async move { Ok(cursor) })
    }
    fn store_cursors(
        &self,
        cursors: Vec<(UserId, DeviceId, Cursor)>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        let mut state = self.state();
        for (user, device, cursor) in cursors {
            state.cursors.insert((user, device), cursor);
        }
        Box::pin(async { Ok(()) })
    }
    fn erase(&self, _user: UserId, _up_to: Seq) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { Ok(()) })
    }
}

impl Entities for Inner {
    fn snapshot(&self, entity: EntityId) -> BoxFuture<'_, Result<Option<Snapshot>, StoreError>> {
        let state = self.state();
        let found = if state.store_fails { Err(gone()) } else { Ok(&state.snapshots) };
        let found = found.map(|snapshots| snapshots.get(&entity).cloned());
        Box::pin(async { found })
    }
    fn decided_at(
        &self,
        _entity: EntityId,
        _position: Seq,
    ) -> BoxFuture<'_, Result<Option<Decision>, StoreError>> {
        Box::pin(async { Ok(None) })
    }
    fn decided_about(
        &self,
        _entity: EntityId,
        message: MessageId,
    ) -> BoxFuture<'_, Result<Option<(Seq, Decision)>, StoreError>> {
        let found = self.state().decisions.get(&message).cloned();
        Box::pin(async { Ok(found) })
    }
    fn decide(&self, _change: Change) -> BoxFuture<'_, Result<(), StoreError>> {
        panic!("an edge decides nothing")
    }
    fn memberships(
        &self,
        _group: GroupId,
    ) -> BoxFuture<'_, Result<Vec<(UserId, Membership)>, StoreError>> {
        Box::pin(async { Ok(Vec::new()) })
    }
}

fn gone() -> StoreError {
    StoreError::Retry("gone".to_owned())
}

impl Inner {
    fn presence(&self) -> Result<MutexGuard<'_, State>, StoreError> {
        let state = self.state();
        if state.presence_fails {
            return Err(gone());
        }
        Ok(state)
    }
}

impl Presence for Inner {
    fn renew_lease(
        &self,
        lease: Lease,
        _ttl: Duration,
    ) -> BoxFuture<'_, Result<Renewed, StoreError>> {
        Box::pin(async move {
            let mut state = self.presence()?;
            let held = state.leases.iter().any(|held| held.edge == lease.edge);
            state.leases.retain(|held| held.edge != lease.edge);
            state.leases.push(lease);
            if std::mem::take(&mut state.loses_answer) {
                return Err(StoreError::Retry("the answer was lost".to_owned()));
            }
            Ok(if held { Renewed::Held } else { Renewed::Anew })
        })
    }
    fn release_lease(&self, edge: EdgeId) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.presence()?.leases.retain(|held| held.edge != edge);
            Ok(())
        })
    }
    fn attach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let mut state = self.presence()?;
            for route in routes {
                let device = (route.user, route.device);
                state.routes.retain(|known| (known.user, known.device) != device);
                state.routes.push(route);
            }
            Ok(())
        })
    }
    fn detach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.presence()?.routes.retain(|route| !routes.contains(route));
            Ok(())
        })
    }
    fn lookup(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Route>, StoreError>> {
        Box::pin(async move {
            let mut state = self.presence()?;
            state.looked_up += users.len();
            let is_live = |route: &Route| state.leases.iter().any(|held| held.edge == route.edge);
            let is_asked_for = |route: &&Route| users.contains(&route.user) && is_live(route);
            Ok(state.routes.iter().filter(is_asked_for).copied().collect())
        })
    }
    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        Box::pin(async { Ok(self.presence()?.leases.clone()) })
    }
}

/// An item from somebody to somebody, as it is in a mailbox.
pub(crate) fn item(to: UserId, text: &str) -> Bytes {
    let send = wire::SendId { run: wire::RunId::new(1), counter: wire::Counter::new(1) };
    let id = MessageId { user: to, device: DeviceId::from_bytes([7; 8]), send };
    let body = Body::Message(Bytes::copy_from_slice(text.as_bytes()));
    Item { id, to: Address::User(to), sent_ms: NOW_MS, ttl_s: 60, body }.encode()
}
