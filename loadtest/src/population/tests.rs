//! Populations and what they send.

#![allow(clippy::unwrap_used)]

use std::{collections::BTreeSet, sync::Arc};

use super::*;
use crate::scenario::{
    Bounded, Contacts, Groups, Hot, HotTarget, Payload, Population as Settings, Traffic,
};

fn settings(users: u32) -> Settings {
    Settings {
        users,
        devices_per_user: vec![0.6, 0.3, 0.1],
        contacts: Contacts {
            per_user: Bounded { min: 2, max: 20.min(users - 1), skew: 1.0 },
            popularity: 0.8,
        },
        groups: Groups {
            count: 20,
            members: Bounded { min: 3.min(users), max: 40.min(users), skew: 1.2 },
            popularity: 0.8,
        },
        online: 0.8,
    }
}

fn traffic() -> Traffic {
    Traffic { to_groups: 0.3, activity: 0.8, payload: Payload::Fixed(256), hot: None }
}

fn population(users: u32, seed: u64) -> Arc<Population> {
    Arc::new(Population::draw(&settings(users), &traffic(), seed))
}

fn sends(population: &Arc<Population>, traffic: &Traffic, seed: u64) -> (Sends, Payloads) {
    let payloads = Payloads::load(traffic, seed).unwrap();
    (Sends::new(Arc::clone(population), traffic, &payloads, seed), payloads)
}

#[test]
fn the_same_seed_gives_the_same_population_and_the_same_sends() {
    let [one, two] = [population(200, 7), population(200, 7)];
    assert_eq!(one, two);
    assert_eq!(one.digest(), two.digest());
    let traffic = Traffic {
        payload: Payload::LogNormal { median: 200, p99: 4_000, max: 65_536 },
        ..traffic()
    };
    let [(mut one, payloads), (mut two, others)] =
        [one, two].map(|population| sends(&population, &traffic, 7));
    for _ in 0..1_000 {
        let [a, b] = [one.draw().unwrap(), two.draw().unwrap()];
        assert_eq!(a, b);
        assert_eq!(payloads.bytes(a.body), others.bytes(b.body));
    }
}

#[test]
fn another_seed_gives_another_population_and_other_sends() {
    let [one, two] = [population(200, 7), population(200, 8)];
    assert_ne!(one.digest(), two.digest());
    let [(mut a, _), (mut b, _)] = [7, 8].map(|seed| sends(&one, &traffic(), seed));
    assert!((0..100).any(|_| a.draw() != b.draw()));
}

#[test]
fn a_change_of_one_thing_does_not_move_the_others() {
    let one = population(200, 7);
    let mut other = settings(200);
    other.groups.count = 5;
    other.online = 0.5;
    let other = Population::draw(&other, &Traffic { activity: 0.1, ..traffic() }, 7);
    assert_eq!(one.first_device, other.first_device);
    assert_eq!(one.pairs, other.pairs);
    let first = one.direct_count();
    for group in 0..5 {
        let group = ConversationIndex(first + group);
        assert_eq!(one.members(group), other.members(group));
    }
    let is_subset = |device| !other.is_online(device) || one.is_online(device);
    assert!(one.devices().all(is_subset), "a larger share has the same devices, and more");
}

#[test]
fn a_population_is_within_its_bounds() {
    let settings = settings(300);
    let population = population(300, 3);
    assert_eq!(population.user_count(), 300);
    for user in population.users() {
        let devices = population.devices_of(user);
        assert!((1..=3).contains(&devices.len()));
        for (number, device) in devices.enumerate() {
            assert_eq!(population.user_of(device), user);
            assert_eq!(population.number_of(device) as usize, number);
        }
        assert!(population.direct_of(user).len() >= settings.contacts.per_user.min as usize);
        assert!(population.activity(user) > 0);
    }
    let online = (f64::from(population.device_count()) * 0.8).round() as u32;
    assert_eq!(population.online_count(), online);
    let mut pairs = BTreeSet::new();
    for conversation in population.conversations() {
        match population.conversation(conversation) {
            Conversation::Direct { a, b } => {
                assert!(a < b);
                assert!(pairs.insert((a, b)), "each pair has one conversation");
                assert!(population.direct_of(a).contains(&conversation));
                assert!(population.direct_of(b).contains(&conversation));
            }
            Conversation::Group { members } => {
                assert!((3..=40).contains(&members.len()));
                let once: BTreeSet<_> = members.iter().collect();
                assert_eq!(once.len(), members.len(), "each member is there once");
                assert!(members.iter().all(|it| population.groups_of(*it).contains(&conversation)));
            }
        }
    }
    assert_eq!(pairs.len(), population.direct_count() as usize);
    let sizes = population.groups().map(|group| population.members(group).len());
    let largest = population.largest_group().unwrap();
    assert_eq!(population.members(largest).len(), sizes.max().unwrap());
}

#[test]
fn the_popular_and_the_active_are_few() {
    let population = population(1_000, 5);
    let contacts: usize = population.users().map(|user| population.direct_of(user).len()).sum();
    let most = population.direct_of(population.most_contacted()).len();
    assert!(most * 1_000 > contacts * 5, "{most} of {contacts}");
    let activity: Vec<_> = population.users().map(|user| population.activity(user)).collect();
    let sum: u64 = activity.iter().sum();
    let share = *activity.iter().max().unwrap() as f64 / sum as f64;
    // The first of 1,000 by Zipf with 0.8: 1 / sum of r^-0.8 is 0.0646.
    assert!((share - 0.0646).abs() < 0.001, "{share}");
}

#[test]
fn everybody_can_know_everybody() {
    let mut all = settings(30);
    all.contacts = Contacts { per_user: Bounded { min: 29, max: 29, skew: 0.0 }, popularity: 4.0 };
    all.groups.members = Bounded { min: 30, max: 30, skew: 0.0 };
    let population = Population::draw(&all, &traffic(), 1);
    assert_eq!(population.direct_count(), 30 * 29 / 2);
    assert!(population.groups().all(|group| population.members(group).len() == 30));
}

#[test]
fn recipients_are_all_devices_of_all_members_but_the_sending_one() {
    let population = population(50, 2);
    for conversation in population.conversations() {
        let from = population.devices_of(population.members(conversation)[0]).next().unwrap();
        let recipients: Vec<_> = population.recipients(conversation, from).collect();
        for device in population.devices() {
            let is_member = population.members(conversation).contains(&population.user_of(device));
            let expected = is_member && device != from;
            assert_eq!(recipients.contains(&device), expected);
            assert_eq!(population.is_recipient(conversation, from, device), expected);
        }
    }
}

#[test]
fn only_devices_that_are_online_send_and_only_where_they_belong() {
    let population = population(100, 4);
    let (mut sends, _) = sends(&population, &traffic(), 4);
    let mut groups = 0;
    for round in 0..20_000 {
        if round % 100 == 0 {
            let device = DeviceIndex(round / 100 % population.device_count());
            sends.set_online(device, !sends.is_online(device));
        }
        let send = sends.draw().unwrap();
        assert!(sends.is_online(send.from));
        assert!(population.members(send.to).contains(&population.user_of(send.from)));
        assert_eq!(send.body.payload_bytes(), 256);
        groups += u32::from(send.to.0 >= population.direct_count());
    }
    let share = f64::from(groups) / 20_000.0;
    assert!((share - 0.3).abs() < 0.02, "{share}");
}

#[test]
fn senders_are_drawn_as_often_as_their_shares_say() {
    let population = population(50, 4);
    let (mut sends, _) = sends(&population, &traffic(), 4);
    let expected: Vec<_> = population.devices().map(|it| sends.shares_of(it).sum()).collect();
    assert!((expected.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    let mut drawn = vec![0_u32; expected.len()];
    (0..50_000).for_each(|_| drawn[sends.draw().unwrap().from.place()] += 1);
    for (drawn, expected) in drawn.iter().zip(expected) {
        let share = f64::from(*drawn) / 50_000.0;
        assert!((share - expected).abs() < 0.006, "{share} {expected}");
    }
}

#[test]
fn nobody_online_sends_nothing_until_somebody_comes() {
    let mut nobody = settings(10);
    nobody.online = 0.0;
    let population = Arc::new(Population::draw(&nobody, &traffic(), 1));
    let (mut sends, _) = sends(&population, &traffic(), 1);
    assert_eq!(sends.draw(), None);
    sends.set_online(DeviceIndex(3), true);
    assert_eq!(sends.draw().unwrap().from, DeviceIndex(3));
}

#[test]
fn what_is_hot_takes_its_share() {
    let population = population(200, 6);
    for target in [HotTarget::LargestGroup, HotTarget::OneUser] {
        let hot = Some(Hot { target, share: 0.5 });
        let traffic = Traffic { to_groups: 0.0, hot, ..traffic() };
        let (mut sends, _) = sends(&population, &traffic, 6);
        let hit = (0..10_000).filter(|_| {
            let send = sends.draw().unwrap();
            let to_user = population.direct_of(population.most_contacted()).contains(&send.to)
                && population.user_of(send.from) != population.most_contacted();
            match target {
                HotTarget::LargestGroup => Some(send.to) == population.largest_group(),
                HotTarget::OneUser => to_user,
            }
        });
        let share = hit.count() as f64 / 10_000.0;
        // Others write to a popular user too.
        assert!((0.48..0.65).contains(&share), "{target:?} {share}");
    }
}

#[test]
fn log_normal_sizes_have_the_percentiles_that_were_asked_for() {
    let traffic = Traffic {
        payload: Payload::LogNormal { median: 200, p99: 4_000, max: 16_384 },
        ..traffic()
    };
    let (mut sends, _) = sends(&population(50, 1), &traffic, 1);
    let mut sizes: Vec<_> =
        (0..20_000).map(|_| sends.draw().unwrap().body.payload_bytes()).collect();
    sizes.sort_unstable();
    assert!((190..210).contains(&sizes[10_000]), "{}", sizes[10_000]);
    assert!((3_500..4_500).contains(&sizes[19_800]), "{}", sizes[19_800]);
    assert!(sizes[0] >= 48 && sizes[19_999] <= 16_384);
}

#[test]
fn the_lines_of_a_file_are_all_sent_in_turn() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messages.txt");
    std::fs::write(&path, "one\r\n\ntwo\nthree").unwrap();
    let traffic = Traffic { payload: Payload::File(path), ..traffic() };
    let (mut sends, payloads) = sends(&population(50, 1), &traffic, 1);
    let mut sent: Vec<_> = (0..6)
        .map(|_| String::from_utf8(payloads.bytes(sends.draw().unwrap().body).to_vec()).unwrap())
        .collect();
    sent.sort();
    assert_eq!(sent, ["one", "one", "three", "three", "two", "two"]);
    assert!((payloads.mean_bytes() - (48.0 + 11.0 / 3.0)).abs() < 1e-9);
}

#[test]
fn a_file_that_is_no_list_of_messages_is_refused_with_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("messages.txt");
    let error = |content: Option<&str>| {
        content.inspect(|content| std::fs::write(&path, content).unwrap());
        let payload = Payload::File(path.clone());
        Payloads::load(&Traffic { payload, ..traffic() }, 1).unwrap_err().to_string()
    };
    assert!(error(None).contains("messages.txt"), "{}", error(None));
    assert!(error(Some("\n\n")).ends_with("it has no message: one a line, empty lines are none"));
    let long = format!("a\n{}", "b".repeat(65_489));
    assert!(error(Some(&long)).contains("line 2 has 65489 bytes, a message has at most 65488"));
}
