//! Direct messages.

use wire::{Address, Topic, item::Body};

use crate::house::{House, user};

fn to(number: u16) -> Address {
    Address::User(user(number))
}

/// The first user besides user 1 who lives in the same partition as user 1, or in another.
fn other(house: &House, same: bool) -> u16 {
    let home = |number| house.home(Topic::Mail, to(number));
    (2..50).find(|number| (home(*number) == home(1)) == same).unwrap()
}

#[tokio::test]
async fn a_message_arrives_and_a_sender_with_one_device_has_no_copy() {
    for same in [true, false] {
        let house = House::new(4);
        let bob = other(&house, same);
        house.register(user(1), 1).await;
        house.say(user(1), to(bob), "hello").await;
        house.work().await;
        assert_eq!(house.texts(user(bob)).await, ["hello"]);
        assert_eq!(house.texts(user(1)).await, ["register"]);
    }
}

#[tokio::test]
async fn a_sender_with_a_second_device_has_a_copy_from_its_registration_on() {
    for same in [true, false] {
        let house = House::new(4);
        let bob = other(&house, same);
        house.register(user(1), 1).await;
        house.say(user(1), to(bob), "a").await;
        house.register(user(1), 2).await;
        house.say(user(1), to(bob), "b").await;
        house.revoke(user(1), 2).await;
        house.say(user(1), to(bob), "c").await;
        house.work().await;
        assert_eq!(house.texts(user(bob)).await, ["a", "b", "c"]);
        assert_eq!(house.texts(user(1)).await, ["register", "register", "b", "revoke"]);
    }
}

#[tokio::test]
async fn a_note_to_oneself_is_one_row() {
    let house = House::new(2);
    house.register(user(1), 1).await;
    house.register(user(1), 2).await;
    house.say(user(1), to(1), "note").await;
    house.work().await;
    assert_eq!(house.texts(user(1)).await, ["register", "register", "note"]);
}

#[tokio::test]
async fn a_repeat_is_dropped_and_a_second_body_under_the_id_is_not() {
    let house = House::new(2);
    let item = house.say(user(1), to(2), "once").await;
    house.send(&item).await;
    let other = wire::Item { body: Body::Message("other".into()), ..item };
    house.send(&other).await;
    house.work().await;
    assert_eq!(house.texts(user(2)).await, ["once", "other"]);
}

#[tokio::test]
async fn what_has_expired_has_no_row() {
    let house = House::new(1);
    let mut item = house.item(user(1), to(2), Body::Message("short".into()));
    item.ttl_s = 1;
    house.send(&item).await;
    house.say(user(1), to(2), "long").await;
    let config = worker::WorkerConfig { ..crate::house::config() };
    let running = house.start_at(config, || crate::house::NOW_MS + 60_000);
    house.settle().await;
    running.stop().await;
    assert_eq!(house.texts(user(2)).await, ["long"]);
}

/// Direct messages among 8 users with their devices, repeats among them.
async fn traffic(house: &House) {
    for number in 0..8 {
        house.register(user(number), 1).await;
    }
    for step in 0..120_u16 {
        let (sender, recipient) = (step % 8, step * 5 % 7);
        let item = house.say(user(sender), to(recipient), &format!("{step}")).await;
        if step % 10 == 0 {
            house.send(&item).await;
        }
        if step % 15 == 0 {
            house.register(user(sender), 2).await;
        }
        if step % 40 == 39 {
            house.revoke(user(sender), 2).await;
        }
    }
}

#[tokio::test]
async fn another_pass_over_the_mail_log_changes_nothing() {
    for partitions in [1, 4] {
        let house = House::new(partitions);
        traffic(&house).await;
        house.work().await;
        let before = house.everything().await;
        assert!(before.iter().map(Vec::len).sum::<usize>() > 120);
        house.work_again(Topic::Mail, 0).await;
        assert_eq!(house.everything().await, before);
    }
}

#[tokio::test]
async fn small_batches_and_caches_give_the_same_rows() {
    let mut found = Vec::new();
    for small in [false, true] {
        let house = House::new(2);
        traffic(&house).await;
        let config = crate::house::config();
        let config = if small {
            worker::WorkerConfig {
                batch_records_max: 1,
                store_rows_max: 1,
                users_cached: 1,
                heads_remembered: 1,
                ..config
            }
        } else {
            config
        };
        house.work_with(config).await;
        let mut texts = Vec::new();
        for number in 0..8 {
            texts.push(house.texts(user(number)).await);
        }
        found.push(texts);
    }
    assert_eq!(found[0], found[1]);
}
