//! What goes wrong: stores, records nobody reads, partitions that are taken away.

use std::sync::atomic::Ordering::SeqCst;

use bytes::Bytes;
use ports::log::Refused;
use wire::{
    Address, Partition, Seq, Topic,
    item::GroupChange,
    record::{ControlRecord, Heartbeat},
};

use crate::house::{House, NOW_MS, config, group, user};

#[tokio::test]
async fn a_store_that_fails_after_its_effect_changes_nothing() {
    let house = House::new(2);
    for number in 1..5 {
        house.register(user(number), 1).await;
    }
    house.change(user(1), group(1), GroupChange::Create(vec![user(2), user(3)])).await;
    house.faults.fail_stores(12);
    house.work().await;
    for step in 0..10 {
        house.say(user(1), Address::User(user(2)), &format!("{step}")).await;
    }
    house.faults.fail_stores(3);
    house.work().await;
    let texts = house.texts(user(2)).await;
    assert_eq!(texts[..2], ["register", "create"]);
    assert_eq!(texts[2..], (0..10).map(|step| format!("{step}")).collect::<Vec<_>>());
    assert_eq!(house.texts(user(3)).await, ["register", "create"]);
}

#[tokio::test]
async fn what_was_accepted_is_finished_although_the_disk_takes_nothing_more_from_clients() {
    let house = House::new(2);
    house.register(user(1), 1).await;
    house.register(user(1), 2).await;
    house.change(user(1), group(1), GroupChange::Create(vec![user(2), user(3)])).await;
    house.say(user(2), Address::Group(group(1)), "a").await;
    house.revoke(user(1), 2).await;
    house.fill_disk();
    let home = house.home(Topic::Mail, Address::User(user(2)));
    let more = house.engines.log.try_append(Topic::Mail, vec![(home, Bytes::from_static(b"x"))]);
    assert!(matches!(more, Err(Refused::Storage)));
    house.work().await;
    assert_eq!(house.texts(user(3)).await, ["create", "a"]);
    let mut texts = house.texts(user(1)).await;
    texts.sort();
    assert_eq!(texts, ["a", "create", "register", "register", "revoke"]);
}

#[tokio::test]
async fn a_record_nobody_reads_is_put_aside_and_the_lane_goes_on() {
    for topic in [Topic::Mail, Topic::Group] {
        let house = House::new(1);
        let garbage = vec![(Partition::new(0), Bytes::from_static(b"\x01\xff\xff\xff"))];
        let position = house.append(topic, garbage.clone()).await[0];
        house.change(user(1), group(1), GroupChange::Create(vec![user(2)])).await;
        house.say(user(1), Address::User(user(2)), "after").await;
        house.log.fail_letters.store(2, SeqCst);
        let running = house.start(config());
        house.settle().await;
        assert_eq!(running.count("alarms_total", "dead_letter"), 1);
        assert!(running.handle.is_ready().ready);
        running.stop().await;
        let letters = house.log.dead_letters.lock().unwrap().clone();
        assert_eq!(letters.len(), 3);
        assert_eq!((letters[2].topic, letters[2].entry.seq), (topic, position));
        assert_eq!(letters[2].entry.record, garbage[0].1);
        let mut texts = house.texts(user(2)).await;
        texts.sort();
        assert_eq!(texts, ["after", "create"]);
    }
}

#[tokio::test]
async fn a_record_of_a_newer_program_stops_its_lane_where_it_is_and_no_other() {
    for topic in [Topic::Mail, Topic::Group] {
        let house = House::new(2);
        let lane = (topic, Partition::new(0));
        let in_lane = |number: &u16| match topic {
            Topic::Mail => house.home(Topic::Mail, Address::User(user(*number))) == lane.1,
            _ => true,
        };
        let bob = (2..50).find(in_lane).unwrap();
        let g = (0..50)
            .map(group)
            .find(|group| house.home(Topic::Group, Address::Group(*group)) == Partition::new(0));
        let before = match topic {
            Topic::Mail => house.say(user(bob), Address::User(user(bob)), "before").await,
            _ => house.change(user(bob), g.unwrap(), GroupChange::Create(vec![])).await,
        };
        let newer = vec![(lane.1, Bytes::from_static(b"\x02later"))];
        let position = house.append(topic, newer).await[0];
        house.send(&wire::Item { sent_ms: 1, ttl_s: 9999, ..before.clone() }).await;
        let running = house.start(config());
        running.until_not_ready().await;
        assert_eq!(running.count("alarms_total", "newer_record"), 1);
        assert!(running.handle.is_ready().reason.contains("partition 0"));
        let finished = house.finished(lane).unwrap();
        assert!(finished < position, "{finished:?}");
        assert!(finished.get() + 1 >= position.get());
        // The others work.
        let other = (2..50)
            .find(|number| house.home(Topic::Mail, Address::User(user(*number))) != lane.1)
            .unwrap();
        let there = (Topic::Mail, Partition::new(1));
        let item = house.say(user(other), Address::User(user(other)), "there").await;
        let end = house.send(&item).await;
        house.until_finished(there, end).await;
        assert_eq!(house.texts(user(other)).await, ["there"]);
        running.stop().await;
    }
}

#[tokio::test]
async fn a_lane_whose_partition_was_taken_opens_it_again() {
    let house = House::new(1);
    let running = house.start(config());
    house.say(user(1), Address::User(user(2)), "a").await;
    house.settle().await;
    let taken = house.engines.log.open(Topic::Mail, Partition::new(0)).await.unwrap();
    house.say(user(1), Address::User(user(2)), "b").await;
    house.settle().await;
    assert!(running.count("opened_total", "") >= 3);
    drop(taken);
    running.stop().await;
    assert_eq!(house.texts(user(2)).await, ["a", "b"]);
}

#[tokio::test]
async fn the_control_log_has_the_epoch_map_and_a_heartbeat_for_each_partition() {
    let house = House::new(2);
    house.say(user(1), Address::User(user(2)), "a").await;
    let every = std::time::Duration::from_millis(1);
    let running = house.start(worker::WorkerConfig { heartbeat_every: every, ..config() });
    house.settle().await;
    let expected: Vec<ControlRecord> = [Topic::Mail, Topic::Group]
        .into_iter()
        .flat_map(|topic| [0, 1].map(|partition| (topic, Partition::new(partition))))
        .map(|(topic, partition)| {
            ControlRecord::Heartbeat(Heartbeat {
                now_ms: NOW_MS,
                topic,
                partition,
                oldest_ms: None,
            })
        })
        .collect();
    let mut records: Vec<ControlRecord> = Vec::new();
    while !expected.iter().all(|record| records.contains(record)) {
        let entries = house.control().await;
        let decoded = entries.iter().map(|entry| ControlRecord::decode(entry.record.clone()));
        records = decoded.collect::<Result<_, _>>().unwrap();
    }
    running.stop().await;
}

#[tokio::test]
async fn a_worker_that_is_stopped_in_the_middle_leaves_the_rest_to_the_next() {
    let house = House::new(1);
    for step in 0..200 {
        house.say(user(1), Address::User(user(2)), &format!("{step}")).await;
    }
    let small = || worker::WorkerConfig { batch_records_max: 3, ..config() };
    let running = house.start(small());
    house.until_finished((Topic::Mail, Partition::new(0)), Seq::from_u64(1)).await;
    running.stop().await;
    let finished = house.finished((Topic::Mail, Partition::new(0))).unwrap();
    let head = house.engines.mailbox.heads(vec![user(2)]).await.unwrap()[0];
    assert_eq!(head, finished);
    house.work_with(small()).await;
    assert_eq!(
        house.texts(user(2)).await,
        (0..200).map(|step| format!("{step}")).collect::<Vec<_>>()
    );
}
