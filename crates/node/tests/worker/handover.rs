//! Partitions that go from one worker to another: what the one writes late, what the other knows.

use std::{collections::BTreeMap, sync::atomic::Ordering::SeqCst, time::Duration};

use ports::{EntityId, entities::Snapshot};
use wire::{
    Address, Item, Partition, Seq, Topic, UserId,
    entity::Membership,
    item::GroupChange,
    record::{ControlRecord, Source},
};
use worker::WorkerConfig;

use crate::{
    gate::Gate,
    house::{House, clock, config, group, user},
};

const USERS: u16 = 6;
const G: Address = Address::Group(group(1));

fn to(number: u16) -> Address {
    Address::User(user(number))
}

/// Many steps for few records.
fn small() -> WorkerConfig {
    let heartbeat_every = Duration::from_secs(3600);
    WorkerConfig { batch_records_max: 3, store_rows_max: 2, heartbeat_every, ..config() }
}

/// Everything workers have written.
#[derive(Debug, PartialEq, Eq)]
struct Everything {
    mailboxes: Vec<Vec<(Seq, Item)>>,
    marks: Vec<Vec<Source>>,
    snapshots: Vec<Option<Snapshot>>,
    memberships: BTreeMap<(UserId, Seq), Membership>,
}

async fn everything(house: &House) -> Everything {
    let mut mailboxes = Vec::new();
    let mut snapshots = vec![snapshot(house, EntityId::Group(group(1))).await];
    for number in 0..USERS {
        mailboxes.push(house.rows(user(number)).await);
        snapshots.push(snapshot(house, EntityId::User(user(number))).await);
    }
    let mut marks = Vec::new();
    for partition in 0..house.engines.log.partition_count(Topic::Mail) {
        marks.push(house.engines.mailbox.marks(Partition::new(partition)).await.unwrap());
    }
    let memberships = house.engines.entities.memberships(group(1)).await.unwrap();
    let memberships = memberships.into_iter().map(|(user, one)| ((user, one.joined), one));
    Everything { mailboxes, marks, snapshots, memberships: memberships.collect() }
}

async fn snapshot(house: &House, entity: EntityId) -> Option<Snapshot> {
    house.engines.entities.snapshot(entity).await.unwrap()
}

/// Direct messages with repeats, and changes of devices among them.
async fn direct(house: &House) {
    for number in 0..USERS {
        house.register(user(number), 1).await;
    }
    for step in 0..24_u16 {
        let item = house.say(user(step % USERS), to(step * 5 % USERS), &format!("{step}")).await;
        if step % 7 == 0 {
            house.send(&item).await;
        }
        if step % 8 == 3 {
            house.register(user(step % USERS), 2).await;
        }
        if step % 8 == 7 {
            house.revoke(user(step % USERS), 2).await;
        }
    }
}

/// Messages and changes of one group, refused ones among them.
async fn grouped(house: &House) {
    house.change(user(0), group(1), GroupChange::Create(vec![user(1), user(2)])).await;
    for step in 0..16_u16 {
        let item = house.say(user(step % 4), G, &format!("{step}")).await;
        if step % 5 == 0 {
            house.send(&item).await;
        }
        let some = vec![user(3 + step % 3)];
        match step % 4 {
            1 => drop(house.change(user(0), group(1), GroupChange::Add(some)).await),
            2 => drop(house.change(user(1), group(1), GroupChange::Remove(some)).await),
            3 => drop(house.change(user(0), group(1), GroupChange::Remove(some)).await),
            _ => {}
        }
    }
}

/// A worker that stands still at its write number `writes`, another that takes over and finishes
/// everything, and then the first one again. What is there, and whether the first one stood still.
async fn take_over(house: &House, writes: usize) -> (Everything, bool) {
    let gate = Gate::new(&house.engines, writes);
    let old = house.start_on(gate.engines(), small(), clock);
    let is_stopped = tokio::select! {
        () = gate.until_stopped() => true,
        () = house.settle() => false,
    };
    let new = house.start(config());
    new.until_running(new.handle.lanes().waiting + new.handle.lanes().running).await;
    house.settle().await;
    let before = everything(house).await;
    gate.resume();
    // The old one goes on until it learns that it lost everything.
    old.until_running(0).await;
    gate.until_arrived().await;
    house.settle().await;
    assert_eq!(everything(house).await, before, "written late at {writes}");
    assert!(old.handle.is_ready().ready);
    old.stop().await;
    new.stop().await;
    (before, is_stopped)
}

#[tokio::test]
async fn what_a_worker_writes_late_to_mailboxes_changes_nothing() {
    let reference = House::new(2);
    direct(&reference).await;
    reference.work().await;
    let expected = everything(&reference).await;
    for writes in (0..).step_by(7) {
        let house = House::new(2);
        direct(&house).await;
        let (found, is_stopped) = take_over(&house, writes).await;
        assert_eq!(found, expected, "taken over at {writes}");
        if !is_stopped {
            assert!(writes > 20, "{writes}");
            return;
        }
    }
}

#[tokio::test]
async fn what_a_worker_decides_and_derives_late_changes_nothing() {
    let reference = House::new(2);
    grouped(&reference).await;
    reference.work().await;
    let mut expected = Vec::new();
    for number in 0..USERS {
        expected.push(reference.texts(user(number)).await);
    }
    let decided = everything(&reference).await;
    for writes in (0..).step_by(7) {
        let house = House::new(2);
        grouped(&house).await;
        let (found, is_stopped) = take_over(&house, writes).await;
        for number in 0..USERS {
            let texts = house.texts(user(number)).await;
            assert_eq!(texts, expected[usize::from(number)], "taken over at {writes}");
        }
        assert_eq!(found.memberships, decided.memberships);
        assert_eq!(found.snapshots, decided.snapshots);
        assert_eq!(found.marks, decided.marks);
        if !is_stopped {
            assert!(writes > 20, "{writes}");
            return;
        }
    }
}

/// Partitions of the mail log with a heartbeat on the control log after so many records.
async fn heard(house: &House, after: usize) -> Vec<Partition> {
    let entries = house.control().await.split_off(after);
    let decoded = entries.into_iter().map(|entry| ControlRecord::decode(entry.record).unwrap());
    let of_mail = decoded.filter_map(|record| match record {
        ControlRecord::Heartbeat(heartbeat) if heartbeat.topic == Topic::Mail => {
            Some(heartbeat.partition)
        }
        _ => None,
    });
    of_mail.collect()
}

#[tokio::test]
async fn a_worker_without_partitions_is_ready_and_silent_and_ends_at_once() {
    let house = House::new(2);
    let gate = Gate::new(&house.engines, usize::MAX);
    gate.resume();
    let heartbeat_every = Duration::from_millis(1);
    let waiting =
        house.start_on(gate.engines(), WorkerConfig { heartbeat_every, ..config() }, clock);
    waiting.until_gauge("lanes", "waiting", 4).await;
    assert!(waiting.handle.is_ready().ready);
    assert!(house.control().await.is_empty());
    // A drain that waited for these lanes would take ten seconds and end with a warning.
    let asked = tokio::time::Instant::now();
    waiting.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn a_worker_says_nothing_of_a_partition_it_lost_and_goes_on_with_the_others() {
    let house = House::new(2);
    house.say(user(1), to(2), "a").await;
    let gate = Gate::new(&house.engines, usize::MAX);
    let heartbeat_every = Duration::from_millis(1);
    let running =
        house.start_on(gate.engines(), WorkerConfig { heartbeat_every, ..config() }, clock);
    house.settle().await;
    running.until_running(4).await;
    gate.resume();
    let lost = Partition::new(0);
    let _taken = house.engines.log.open(Topic::Mail, lost).await.unwrap();
    running.until_running(3).await;
    assert!(running.handle.is_ready().ready);
    assert_eq!(running.count("alarms_total", ""), 0);
    let told = house.control().await.len();
    let mut heard_after = Vec::new();
    while heard_after.len() < 10 {
        heard_after = heard(&house, told).await;
    }
    // One may have been on its way.
    assert!(heard_after.iter().filter(|partition| **partition == lost).count() <= 1);
    running.stop().await;
}

#[tokio::test]
async fn a_repeat_is_dropped_also_after_a_restart() {
    let house = House::new(2);
    let said = house.say(user(1), to(2), "a").await;
    house.say(user(1), to(2), "b").await;
    house.work().await;
    house.send(&said).await;
    house.say(user(1), to(2), "c").await;
    house.work().await;
    assert_eq!(house.texts(user(2)).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn what_a_group_refused_is_not_decided_again_after_a_restart() {
    let house = House::new(2);
    let early = house.change(user(3), group(1), GroupChange::Leave).await;
    house.change(user(1), group(1), GroupChange::Create(vec![user(2)])).await;
    let refused = house.say(user(3), G, "a").await;
    house.work().await;
    house.change(user(1), group(1), GroupChange::Add(vec![user(3)])).await;
    house.send(&refused).await;
    house.send(&early).await;
    house.say(user(3), G, "b").await;
    house.work().await;
    assert_eq!(house.texts(user(2)).await, ["create", "add", "b"]);
    let mut texts = house.texts(user(3)).await;
    texts.sort();
    assert_eq!(texts, ["NoSuchGroup", "NotAMember", "add"]);
}

#[tokio::test]
async fn a_lane_that_cannot_read_again_goes_on_without() {
    let house = House::new(1);
    let said = house.say(user(1), to(2), "a").await;
    house.work().await;
    house.send(&said).await;
    house.log.refuse_again.store(true, SeqCst);
    house.work().await;
    // What it does not know, the device drops.
    assert_eq!(house.texts(user(2)).await, ["a", "a"]);
}

#[tokio::test]
async fn what_is_read_again_is_bounded() {
    let house = House::new(1);
    let said = house.say(user(1), to(2), "a").await;
    house.say(user(1), to(2), "b").await;
    house.work().await;
    house.send(&said).await;
    for (recall_bytes_max, known) in [(10, 0), (1 << 20, 2)] {
        let running = house.start(WorkerConfig { recall_bytes_max, ..config() });
        running.until_running(2).await;
        assert!(running.count("recalled_total", "") >= known);
        if known == 0 {
            assert_eq!(running.count("recalled_total", ""), 0);
        }
        running.stop().await;
    }
    assert_eq!(house.texts(user(2)).await[..2], ["a", "b"]);
}
