//! Groups.

use std::{collections::BTreeSet, sync::atomic::Ordering::SeqCst};

use wire::{
    Address, Seq, Topic, UserId,
    item::{Body, GroupChange, Role},
};

use crate::house::{House, group, user};

const G: Address = Address::Group(group(1));

fn users(numbers: &[u16]) -> Vec<UserId> {
    numbers.iter().copied().map(user).collect()
}

#[tokio::test]
async fn members_get_messages_in_one_order_and_a_sender_with_one_device_has_no_row() {
    let house = House::new(4);
    for number in 1..6 {
        house.register(user(number), 1).await;
    }
    house.work().await;
    house.change(user(1), group(1), GroupChange::Create(users(&[2, 3, 4, 5]))).await;
    for step in 0..30 {
        house.say(user(1 + step % 3), G, &format!("{step}")).await;
    }
    house.work().await;
    let all: Vec<String> = (0..30).map(|step| format!("{step}")).collect();
    for number in 1..6_u16 {
        let expected = all.iter().enumerate();
        let own = |step: usize| 1 + step as u16 % 3 == number;
        let expected = expected.filter(|(step, _)| !own(*step)).map(|(_, text)| text.clone());
        let texts = house.texts(user(number)).await;
        assert_eq!(texts[..2], ["register", "create"]);
        assert_eq!(texts[2..], expected.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_sender_with_two_devices_has_a_row() {
    let house = House::new(4);
    house.register(user(1), 1).await;
    house.register(user(1), 2).await;
    house.work().await;
    house.change(user(1), group(1), GroupChange::Create(users(&[2]))).await;
    house.say(user(1), G, "a").await;
    house.work().await;
    assert_eq!(house.texts(user(1)).await, ["register", "register", "create", "a"]);
}

#[tokio::test]
async fn who_was_a_member_gets_it_also_after_leaving_and_coming_back() {
    let house = House::new(4);
    house.change(user(1), group(1), GroupChange::Create(users(&[2, 3]))).await;
    house.say(user(1), G, "a").await;
    house.change(user(3), group(1), GroupChange::Leave).await;
    house.say(user(1), G, "b").await;
    house.change(user(1), group(1), GroupChange::Add(users(&[3]))).await;
    house.say(user(1), G, "c").await;
    house.change(user(1), group(1), GroupChange::Remove(users(&[3]))).await;
    house.say(user(1), G, "d").await;
    house.work().await;
    assert_eq!(house.texts(user(3)).await, ["create", "a", "leave", "add", "c", "remove"]);
    assert_eq!(
        house.texts(user(2)).await,
        ["create", "a", "leave", "b", "add", "c", "remove", "d"]
    );
}

#[tokio::test]
async fn what_is_refused_is_told_to_the_sender_only_and_once() {
    let house = House::new(4);
    let early = house.say(user(9), G, "x").await;
    let change = house.change(user(9), group(1), GroupChange::Leave).await;
    house.send(&change).await;
    house.change(user(1), group(1), GroupChange::Create(users(&[2]))).await;
    house.say(user(9), G, "y").await;
    house.change(user(2), group(1), GroupChange::Add(users(&[9]))).await;
    house.change(user(1), group(1), GroupChange::Leave).await;
    house.work().await;
    let results = ["NoSuchGroup", "NoSuchGroup", "NotAMember"];
    assert_eq!(house.texts(user(9)).await, results);
    let (_, result) = house.rows(user(9)).await.remove(0);
    assert_eq!((result.id, result.to), (early.id, early.to));
    assert_eq!(house.texts(user(2)).await, ["create", "NotAnAdmin"]);
    assert_eq!(house.texts(user(1)).await, ["create", "LastAdmin"]);
    let before = house.everything().await;
    house.work_again(Topic::Group, 0).await;
    assert_eq!(house.everything().await, before);
}

#[tokio::test]
async fn a_repeat_is_dropped_also_of_a_change_and_across_a_restart() {
    let house = House::new(2);
    house.change(user(1), group(1), GroupChange::Create(users(&[2]))).await;
    let add = house.change(user(1), group(1), GroupChange::Add(users(&[3]))).await;
    let said = house.say(user(1), G, "a").await;
    house.send(&said).await;
    house.change(user(1), group(1), GroupChange::Remove(users(&[3]))).await;
    house.work().await;
    house.send(&add).await;
    house.say(user(1), G, "b").await;
    house.work().await;
    assert_eq!(house.texts(user(2)).await, ["create", "add", "a", "remove", "b"]);
    assert_eq!(house.texts(user(3)).await, ["add", "a", "remove"]);
}

/// A small generator, so that a failing seed is a number.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u16) -> u16 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % u64::from(end)) as u16
    }
}

/// Random changes and messages; returns for each user who should have got which texts.
async fn random_traffic(house: &House, random: &mut Random, steps: u16) -> Vec<Vec<String>> {
    let mut expected = vec![Vec::new(); 6];
    let mut members = BTreeSet::from([0_u16]);
    house.change(user(0), group(1), GroupChange::Create(Vec::new())).await;
    for step in 0..steps {
        let who = random.below(6);
        match random.below(4) {
            0 if who != 0 && !members.contains(&who) => {
                house.change(user(0), group(1), GroupChange::Add(users(&[who]))).await;
                members.insert(who);
            }
            1 if who != 0 && members.contains(&who) => {
                if random.below(2) == 0 {
                    house.change(user(who), group(1), GroupChange::Leave).await;
                } else {
                    house.change(user(0), group(1), GroupChange::Remove(users(&[who]))).await;
                }
                members.remove(&who);
            }
            2 => {
                let role = if random.below(2) == 0 { Role::Member } else { Role::Admin };
                let change = GroupChange::SetRole(user(who), role);
                // Asked for by one who is never an admin.
                house.change(user(7), group(1), change).await;
            }
            _ => {
                house.say(user(who), G, &format!("{step}")).await;
                if members.contains(&who) {
                    for member in members.iter().filter(|member| **member != who) {
                        expected[usize::from(*member)].push(format!("{step}"));
                    }
                }
            }
        }
    }
    expected
}

async fn messages(house: &House) -> Vec<Vec<String>> {
    let mut messages = Vec::new();
    for number in 0..6 {
        let rows = house.rows(user(number)).await;
        let ids: BTreeSet<_> = rows.iter().map(|(_, item)| item.id).collect();
        assert_eq!(ids.len(), rows.len(), "nothing is there twice");
        let text = |item: wire::Item| match item.body {
            Body::Message(text) => Some(String::from_utf8(text.to_vec()).unwrap()),
            _ => None,
        };
        messages.push(rows.into_iter().filter_map(|(_, item)| text(item)).collect());
    }
    messages
}

#[tokio::test]
async fn random_groups_are_as_a_naive_model_says_also_after_another_pass_from_anywhere() {
    for seed in 0..4 {
        let house = House::new(4);
        let mut random = Random(seed);
        let expected = random_traffic(&house, &mut random, 80).await;
        house
            .work_with(worker::WorkerConfig { batch_records_max: 7, ..crate::house::config() })
            .await;
        assert_eq!(messages(&house).await, expected, "seed {seed}");
        let before = house.everything().await;
        for _ in 0..4 {
            house.work_again(Topic::Group, u64::from(random.below(85))).await;
            assert_eq!(house.everything().await, before, "seed {seed}");
        }
        house.work_again(Topic::Mail, 0).await;
        assert_eq!(house.everything().await, before, "seed {seed}");
    }
}

/// Workers are cut off in the middle of whatever they do, as by a crash.
#[tokio::test]
async fn workers_that_are_cut_off_lose_and_repeat_nothing() {
    for seed in 20..24 {
        let house = House::new(2);
        let mut random = Random(seed);
        let expected = random_traffic(&house, &mut random, 80).await;
        let config = || worker::WorkerConfig { batch_records_max: 3, ..crate::house::config() };
        let lane = (Topic::Group, house.home(Topic::Group, G));
        for round in 1..12 {
            let running = house.start(config());
            house.until_finished(lane, Seq::from_u64(6 * round)).await;
            for _ in 0..random.below(30) {
                tokio::task::yield_now().await;
            }
            drop(running);
        }
        house.work_with(config()).await;
        assert_eq!(messages(&house).await, expected, "seed {seed}");
    }
}

/// Everything was decided and nothing derived: the next worker derives what was decided.
#[tokio::test]
async fn a_crash_between_deciding_and_deriving_loses_and_changes_nothing() {
    for seed in 30..34 {
        let house = House::new(4);
        let expected = random_traffic(&house, &mut Random(seed), 80).await;
        let refused = house.say(user(9), G, "x").await;
        house.log.refuse_all.store(true, SeqCst);
        let running = house.start(crate::house::config());
        running.until_counted("append_retries_total").await;
        drop(running);
        house.log.refuse_all.store(false, SeqCst);
        assert_eq!(house.everything().await.concat(), []);
        house.work().await;
        assert_eq!(messages(&house).await, expected, "seed {seed}");
        let (_, result) = house.rows(user(9)).await.remove(0);
        assert_eq!(result.id, refused.id);
    }
}

#[tokio::test]
async fn appends_that_fail_after_their_effect_lose_and_repeat_nothing() {
    for seed in 0..4 {
        let house = House::new(4);
        let expected = random_traffic(&house, &mut Random(seed), 80).await;
        house.log.fail_appends.store(20, SeqCst);
        house
            .work_with(worker::WorkerConfig { batch_records_max: 5, ..crate::house::config() })
            .await;
        assert_eq!(messages(&house).await, expected, "seed {seed}");
    }
}

#[tokio::test]
async fn the_engines_own_append_fault_loses_and_repeats_nothing() {
    let house = House::new(4);
    let expected = random_traffic(&house, &mut Random(11), 80).await;
    // Some of them meet the control log.
    house.faults.fail_appends(60);
    house.work_with(worker::WorkerConfig { batch_records_max: 5, ..crate::house::config() }).await;
    assert_eq!(messages(&house).await, expected);
}

#[tokio::test]
async fn a_queue_with_little_room_takes_derived_records_in_parts() {
    let house = House::new(4);
    let expected = random_traffic(&house, &mut Random(5), 80).await;
    house.log.refuse_above.store(2, SeqCst);
    house.work().await;
    assert_eq!(messages(&house).await, expected);
}
