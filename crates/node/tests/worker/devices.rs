//! Registering and revoking devices.

use ports::EntityId;
use wire::{Address, Topic, entity::Devices, item::Verdict, record::ControlRecord};

use crate::house::{House, device, user};

async fn devices(house: &House, number: u16) -> Devices {
    let snapshot = house.engines.entities.snapshot(EntityId::User(user(number))).await.unwrap();
    Devices::decode(snapshot.unwrap().state).unwrap()
}

async fn revocations(house: &House) -> usize {
    let entries = house.control().await;
    let revoked = |record: &ControlRecord| matches!(record, ControlRecord::Revoked(..));
    entries
        .iter()
        .filter(|entry| revoked(&ControlRecord::decode(entry.record.clone()).unwrap()))
        .count()
}

#[tokio::test]
async fn a_registration_is_decided_and_told() {
    let house = House::new(2);
    let item = house.register(user(1), 1).await;
    house.work().await;
    let entity = EntityId::User(user(1));
    let decided = house.engines.entities.decided_about(entity, item.id).await.unwrap();
    let (position, decision) = decided.unwrap();
    assert_eq!((decision.verdict, decision.told), (Verdict::Done, vec![user(1)]));
    assert_eq!(house.rows(user(1)).await, [(position, item)]);
    assert_eq!(devices(&house, 1).await.0[0].registered, position);
}

#[tokio::test]
async fn the_eleventh_registration_is_refused_without_a_row() {
    let house = House::new(1);
    for number in 0..10 {
        house.register(user(1), number).await;
    }
    let refused = house.register(user(1), 10).await;
    house.work().await;
    let entity = EntityId::User(user(1));
    let decided = house.engines.entities.decided_about(entity, refused.id).await.unwrap();
    assert_eq!(decided.unwrap().1.verdict, Verdict::TooManyDevices);
    assert_eq!(house.texts(user(1)).await.len(), 10);
}

#[tokio::test]
async fn a_revocation_is_told_to_every_process_and_to_the_user() {
    let house = House::new(2);
    house.register(user(1), 1).await;
    house.register(user(1), 2).await;
    house.revoke(user(1), 2).await;
    house.revoke(user(1), 3).await;
    house.work().await;
    assert_eq!(house.texts(user(1)).await, ["register", "register", "revoke", "NoSuchDevice"]);
    let active: Vec<_> = devices(&house, 1).await.active().map(wire::entity::Device::id).collect();
    assert_eq!(active, [device(user(1), 1)]);
    assert_eq!(revocations(&house).await, 1);
}

#[tokio::test]
async fn a_change_that_comes_again_is_decided_once() {
    let house = House::new(1);
    let register = house.register(user(1), 1).await;
    house.register(user(1), 2).await;
    let revoke = house.revoke(user(1), 2).await;
    house.send(&register).await;
    house.send(&revoke).await;
    house.work().await;
    let before = (house.rows(user(1)).await, devices(&house, 1).await);
    assert_eq!(house.texts(user(1)).await, ["register", "register", "revoke"]);
    house.work_again(Topic::Mail, 0).await;
    assert_eq!((house.rows(user(1)).await, devices(&house, 1).await), before);
    // Told again, in case it was not when the first pass ended.
    assert_eq!(revocations(&house).await, 2);
}

#[tokio::test]
async fn a_change_of_somebody_elses_devices_is_put_aside() {
    let house = House::new(2);
    let mut item = house.register(user(1), 1).await;
    item.to = Address::User(user(2));
    house.send(&item).await;
    house.work().await;
    assert_eq!(house.log.dead_letters.lock().unwrap().len(), 1);
    assert_eq!(house.texts(user(2)).await, Vec::<String>::new());
}
