//! What becomes of a send, record by record.
#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use ports::log::{DeadLetter, ReadError, Reader};
use wire::{Counter, Epoch, Offset, RunId, SendId};

use super::*;

const ALICE: UserId = UserId::from_bytes([1; 16]);
const PHONE: DeviceId = DeviceId::from_bytes([2; 8]);
const GROUP: GroupId = GroupId::from_bytes([3; 16]);

type Taken = Vec<(Topic, Vec<(Partition, Bytes)>)>;

/// A log that keeps what it takes, or refuses.
#[derive(Default)]
struct Notebook {
    partitions: u16,
    taken: Mutex<Taken>,
    refuses: Mutex<Option<Refused>>,
}

impl Log for Notebook {
    fn partition_count(&self, _topic: Topic) -> u16 {
        self.partitions
    }
    fn epoch(&self) -> Epoch {
        Epoch::new(0)
    }
    fn try_append(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
    ) -> Result<Append, Refused> {
        if let Some(refused) = *self.refuses.lock().unwrap() {
            return Err(refused);
        }
        let positions = records.iter().map(|_| Seq::from_u64(1)).collect();
        self.taken.lock().unwrap().push((topic, records));
        Ok(Box::pin(async { Ok(positions) }))
    }
    fn open(
        &self,
        _topic: Topic,
        _partition: Partition,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        Box::pin(async { Err(ReadError::Lost) })
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

struct Fixture {
    log: Arc<Notebook>,
    publisher: Publisher,
    sender: Sender,
}

fn fixture(partitions: u16) -> Fixture {
    let log = Arc::new(Notebook { partitions, ..Notebook::default() });
    let control = Arc::new(Control::for_test(partitions, 1_000));
    let publisher =
        Publisher::new(log.clone(), control, EdgeMetrics::for_test(), || 1_000, RETENTION_MS);
    let budget = Budget::new(Duration::ZERO, 1_000, 100_000);
    let sender = Sender::new(ALICE, PHONE, &publisher, budget);
    Fixture { log, publisher, sender }
}

const RETENTION_MS: u64 = 7 * 24 * 3600 * 1000;

fn send(to: Address, body: Body) -> Send {
    let id = SendId { run: RunId::new(7), counter: Counter::new(1) };
    Send { id, to, previous: None, ttl_s: 0, body }
}

fn message(to: Address) -> Send {
    send(to, Body::Message(Bytes::from_static(b"hello")))
}

impl Fixture {
    fn publish(&mut self, send: Send) -> Option<Published> {
        match self.publisher.try_publish(&mut self.sender, Duration::ZERO, send) {
            Publishing::Answered(published) => Some(published),
            Publishing::UnderWay(_) | Publishing::Unsized(..) => None,
        }
    }

    fn mail(&mut self, send: Send) -> Vec<(Partition, MailRecord)> {
        assert_eq!(self.publish(send), None);
        let (topic, records) = self.log.taken.lock().unwrap().pop().unwrap();
        assert_eq!(topic, Topic::Mail);
        let decode = |(partition, record)| (partition, MailRecord::decode(record).unwrap());
        records.into_iter().map(decode).collect()
    }
}

/// A user in, or not in, the partition of another one.
fn user_where(other: UserId, partitions: u16, same: bool) -> UserId {
    let home = partition_of(Address::User(other), partitions);
    let candidates = (10..=255).map(|n| UserId::from_bytes([n; 16]));
    let fits = |user: &UserId| (partition_of(Address::User(*user), partitions) == home) == same;
    candidates.filter(|user| *user != other).find(fits).unwrap()
}

#[test]
fn a_message_between_partitions_is_one_record_in_each() {
    let mut fixture = fixture(4);
    let bob = user_where(ALICE, 4, false);
    let records = fixture.mail(message(Address::User(bob)));
    let [(there, for_bob), (here, for_alice)] = &records[..] else { panic!("two records") };
    assert_eq!(*there, partition_of(Address::User(bob), 4));
    assert_eq!(*here, partition_of(Address::User(ALICE), 4));
    assert_eq!(for_bob.deliveries[0].recipients, [bob]);
    assert_eq!(for_bob.deliveries[0].sender_copy, None);
    assert!(for_alice.deliveries[0].recipients.is_empty());
    assert_eq!(for_alice.deliveries[0].sender_copy, Some(ALICE));
    assert_eq!(for_bob.deliveries[0].item, for_alice.deliveries[0].item);
    let item = Item::decode(for_bob.deliveries[0].item.clone()).unwrap();
    assert_eq!((item.id.user, item.id.device), (ALICE, PHONE));
    assert_eq!((item.sent_ms, item.ttl_s), (1_000, 7 * 24 * 3600));
}

#[test]
fn a_message_within_a_partition_is_one_record() {
    let mut fixture = fixture(4);
    let bob = user_where(ALICE, 4, true);
    let records = fixture.mail(message(Address::User(bob)));
    let [(_, record)] = &records[..] else { panic!("one record") };
    assert_eq!(record.deliveries.len(), 1);
    assert_eq!(record.deliveries[0].recipients, [bob]);
    assert_eq!(record.deliveries[0].sender_copy, Some(ALICE));
}

#[test]
fn a_note_to_oneself_has_no_sender_copy() {
    let records = fixture(4).mail(message(Address::User(ALICE)));
    let [(_, record)] = &records[..] else { panic!("one record") };
    assert_eq!(record.deliveries[0].recipients, [ALICE]);
    assert_eq!(record.deliveries[0].sender_copy, None);
}

#[test]
fn a_group_message_goes_on_the_group_log_alone() {
    let mut fixture = fixture(4);
    assert_eq!(fixture.publish(message(Address::Group(GROUP))), None);
    let (topic, records) = fixture.log.taken.lock().unwrap().pop().unwrap();
    assert_eq!(topic, Topic::Group);
    assert_eq!(records.len(), 1);
    assert_eq!(records[0].0, partition_of(Address::Group(GROUP), 4));
    let GroupRecord(item) = GroupRecord::decode(records[0].1.clone()).unwrap();
    assert_eq!(Item::decode(item).unwrap().to, Address::Group(GROUP));
}

#[test]
fn a_revocation_is_a_device_change_on_the_own_partition() {
    let revoke = Body::DeviceChange(DeviceChange::Revoke(PHONE));
    let records = fixture(4).mail(send(Address::User(ALICE), revoke));
    let [(partition, record)] = &records[..] else { panic!("one record") };
    assert_eq!(*partition, partition_of(Address::User(ALICE), 4));
    assert!(record.deliveries.is_empty());
    assert!(record.device_change.is_some());
}

#[test]
fn what_a_client_may_not_send_is_rejected_with_the_reason() {
    let bob = UserId::from_bytes([9; 16]);
    let register =
        Body::DeviceChange(DeviceChange::Register { device_key: [0; 32], agent: String::new() });
    let group = |change| send(Address::Group(GROUP), Body::GroupChange(change));
    let ttl = Send { ttl_s: 7 * 24 * 3600 + 1, ..message(Address::User(bob)) };
    let crowd: Vec<_> = (0..512_u128).map(|n| UserId::from_bytes(n.to_be_bytes())).collect();
    let revoke = Body::DeviceChange(DeviceChange::Revoke(PHONE));
    for (sent, reason) in [
        (ttl, RejectReason::Ttl),
        (send(Address::User(ALICE), register), RejectReason::NotAllowed),
        (send(Address::User(bob), revoke.clone()), RejectReason::Address),
        (send(Address::Group(GROUP), revoke), RejectReason::Address),
        (send(Address::User(bob), Body::GroupChange(GroupChange::Leave)), RejectReason::Address),
        (group(GroupChange::Add(Vec::new())), RejectReason::Members),
        (group(GroupChange::Add(vec![bob, bob])), RejectReason::Members),
        (group(GroupChange::Create(vec![bob, ALICE])), RejectReason::Members),
        (group(GroupChange::Create(crowd)), RejectReason::Members),
    ] {
        let mut fixture = fixture(4);
        assert_eq!(fixture.publish(sent), Some(Published::Reject(reason)));
        assert!(fixture.log.taken.lock().unwrap().is_empty());
    }
}

#[test]
fn a_group_may_begin_with_its_creator_alone() {
    let create = Body::GroupChange(GroupChange::Create(Vec::new()));
    assert_eq!(fixture(4).publish(send(Address::Group(GROUP), create)), None);
}

#[test]
fn what_the_log_refuses_is_busy_with_the_reason() {
    for (refused, expected) in [
        (Refused::Overload, BusyReason::Overload),
        (Refused::Storage, BusyReason::Storage),
        (Refused::Closing, BusyReason::Draining),
    ] {
        let mut fixture = fixture(1);
        *fixture.log.refuses.lock().unwrap() = Some(refused);
        let Some(Published::Busy { reason, .. }) = fixture.publish(message(Address::User(ALICE)))
        else {
            panic!("busy");
        };
        assert_eq!(reason, expected);
    }
}

#[test]
fn an_unknown_outcome_is_never_called_busy() {
    let fixture = fixture(1);
    let published = fixture.publisher.published(Err(AppendError("disk".into())));
    assert!(matches!(published, Published::Unknown { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_silent_control_log_makes_senders_busy() {
    let mut fixture = fixture(1);
    tokio::time::advance(Duration::from_millis(30_001)).await;
    let published = fixture.publish(message(Address::User(ALICE)));
    assert!(matches!(published, Some(Published::Busy { reason: BusyReason::NotReady, .. })));
}

#[test]
fn a_lagging_partition_makes_its_senders_busy() {
    let mut fixture = fixture(1);
    fixture.publisher.wall_clock = || 601_001;
    let published = fixture.publish(message(Address::User(ALICE)));
    assert!(matches!(published, Some(Published::Busy { reason: BusyReason::Lag, .. })));
    assert!(fixture.log.taken.lock().unwrap().is_empty());
}

#[test]
fn a_group_send_costs_its_members() {
    let mut fixture = fixture(1);
    let first = fixture.publisher.try_publish(
        &mut fixture.sender,
        Duration::ZERO,
        message(Address::Group(GROUP)),
    );
    let Publishing::Unsized(_, charged) = first else { panic!("of unknown size") };
    assert_eq!(fixture.publish(message(Address::User(ALICE))), None);
    fixture.sender.charge(charged, Some(512 * 8));
    let published = fixture.publish(message(Address::User(ALICE)));
    assert!(matches!(published, Some(Published::Busy { reason: BusyReason::Rate, .. })));
}
