//! What a server is asked for.

use crate::scenario::Scenario;

use super::*;

fn ground() -> Arc<Ground> {
    let text = include_str!("../../../scenarios/smoke.toml");
    let scenario = Scenario::parse(text, "smoke", std::path::Path::new("")).expect("it ships");
    let population = Population::draw(&scenario.population, &scenario.traffic, 1);
    let settings = Settings::new("nats://ann:secret@server".to_owned(), None, 0xabc);
    Nats::new(settings, Arc::new(population)).expect("a target").0
}

#[test]
fn a_consumer_listens_to_its_user_and_the_users_groups() {
    let ground = ground();
    let groups = |device: &DeviceIndex| {
        ground.population.groups_of(ground.population.user_of(*device)).len()
    };
    let social = ground.population.devices().find(|device| groups(device) > 0).expect("somebody");
    let user = ground.population.user_of(social);
    let config = ground.consumer(social);
    assert_eq!(config.filter_subjects.len(), 1 + groups(&social));
    assert_eq!(config.filter_subjects[0], format!("lt.0000000000000abc.u.{user}"));
    assert_eq!(config.filter_subject, "");
    assert_eq!(config.durable_name, Some(format!("device-{social}")));
    assert_eq!(config.ack_policy, AckPolicy::Explicit);
}

#[test]
fn one_subject_is_said_as_older_servers_understand_it() {
    let ground = ground();
    let alone = |device: &DeviceIndex| {
        ground.population.groups_of(ground.population.user_of(*device)).is_empty()
    };
    if let Some(device) = ground.population.devices().find(alone) {
        let config = ground.consumer(device);
        let user = ground.population.user_of(device);
        assert_eq!(config.filter_subject, format!("lt.0000000000000abc.u.{user}"));
        assert!(config.filter_subjects.is_empty());
    }
}

#[test]
fn what_is_no_target_is_told_what_is_one() {
    for target in ["server:4222", "http://server", "nats://"] {
        let settings = Settings::new(target.to_owned(), None, 1);
        let error = Nats::new(settings, Arc::clone(&ground().population)).expect_err(target);
        assert!(error.to_string().contains("expected nats://HOST:4222"), "{error}");
    }
}
