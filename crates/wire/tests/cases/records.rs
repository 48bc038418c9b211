//! What logs and stores hold.

use bytes::Bytes;
use wire::{
    Address, Epoch, Item, Partition, Seq, Topic, TopicId,
    entity::{Decision, Device, Devices, Member, Membership, Roster},
    item::{Body, DeviceChange, Role, Verdict},
    record::{ControlRecord, Delivery, EpochMap, GroupRecord, Heartbeat, MailRecord, StoredRow},
};

use super::{Case, frames, record, snake};
use crate::sample::{address, derived, device, item, message_id, seq, user, users};

pub(crate) fn add(cases: &mut Vec<Case>) {
    add_items(cases);
    add_mail(cases);
    add_group(cases);
    add_control(cases);
    add_stores(cases);
}

/// A device that is there and one that was revoked.
pub(crate) fn devices() -> Devices {
    let first = Device {
        device_key: [0x4b; 32],
        agent: "sample/1.0".to_owned(),
        registered: seq(5),
        registered_ms: 1_750_000_000_000,
        revoked: None,
    };
    let second = Device { device_key: [0x4c; 32], revoked: Some(seq(9)), ..first.clone() };
    Devices(vec![first, second])
}

/// An admin and a member.
pub(crate) fn roster() -> Roster {
    let admin = Member { user: user(0xaa), role: Role::Admin, joined: seq(5) };
    Roster(vec![admin, Member { user: user(0xbb), role: Role::Member, joined: seq(6) }])
}

fn add_items(cases: &mut Vec<Case>) {
    let item_case = |name: &str, what: &str, to, body| {
        let value = Item { to, body, ..item() };
        let what = format!("Item: {what}");
        record(&format!("item_{name}"), &what, value, Item::encode, Item::decode)
    };
    let (to_user, to_self) = (Address::User(user(0xbb)), Address::User(user(0xaa)));
    let message = || Body::Message(Bytes::from_static(b"hello"));
    cases.push(item_case("message", "a message to a user", to_user, message()));
    cases.push(item_case("message_to_group", "a message to a group", address(), message()));
    for (name, change) in frames::changes() {
        let name = format!("group_change_{name}");
        cases.push(item_case(&name, "a change of a group", address(), Body::GroupChange(change)));
    }
    let register = DeviceChange::Register { device_key: [0x4b; 32], agent: "sample/1.0".into() };
    let revoke = DeviceChange::Revoke(device());
    cases.extend([
        item_case("device_change_register", "a new device", to_self, Body::DeviceChange(register)),
        item_case("device_change_revoke", "a device less", to_self, Body::DeviceChange(revoke)),
    ]);
    for verdict in Verdict::ALL {
        let name = format!("verdict_{}", snake(verdict));
        cases.push(item_case(&name, "a Result", address(), Body::Verdict(*verdict)));
    }
}

fn add_mail(cases: &mut Vec<Case>) {
    let mail =
        |name, what, value| record(name, what, value, MailRecord::encode, MailRecord::decode);
    let to = |recipients, sender_copy| {
        let delivery = Delivery { recipients, sender_copy, item: item().encode() };
        MailRecord { deliveries: vec![delivery], ..MailRecord::default() }
    };
    let revoke = Body::DeviceChange(DeviceChange::Revoke(device()));
    let revoke = Item { to: Address::User(user(0xaa)), body: revoke, ..item() };
    let change = MailRecord { device_change: Some(revoke.encode()), ..MailRecord::default() };
    let mut two = derived();
    two.deliveries.push(to(vec![user(0xcc)], None).deliveries.remove(0));
    let both = to(vec![user(0xbb)], Some(user(0xaa)));
    cases.extend([
        mail("mail_record_recipient", "MailRecord: to a recipient", to(vec![user(0xbb)], None)),
        mail("mail_record_sender", "MailRecord: for the sender's other devices", {
            to(Vec::new(), Some(user(0xaa)))
        }),
        mail("mail_record_both", "MailRecord: both in one partition", both),
        mail("mail_record_derived", "MailRecord: derived from the group log", derived()),
        mail("mail_record_derived_two", "MailRecord: derived, two items", two),
        mail("mail_record_device_change", "MailRecord: a change of devices", change),
    ]);
}

fn add_group(cases: &mut Vec<Case>) {
    let item = Item { to: address(), ..item() };
    cases.push(record(
        "group_record",
        "GroupRecord: a message to a group",
        GroupRecord(item.encode()),
        GroupRecord::encode,
        GroupRecord::decode,
    ));
}

fn add_control(cases: &mut Vec<Case>) {
    let control = |name: &str, what: &str, value| {
        let (name, what) = (format!("control_record_{name}"), format!("ControlRecord: {what}"));
        record(&name, &what, value, ControlRecord::encode, ControlRecord::decode)
    };
    let heartbeat = |topic, oldest_ms| {
        let partition = Partition::new(3);
        ControlRecord::Heartbeat(Heartbeat {
            now_ms: 1_750_000_000_000,
            topic,
            partition,
            oldest_ms,
        })
    };
    let map = EpochMap {
        epoch: Epoch::new(2),
        mail_partitions: 12,
        group_partitions: 4096,
        mail_topic: None,
        group_topic: None,
    };
    let bound = EpochMap {
        mail_topic: Some(TopicId::from_bytes([3; 16])),
        group_topic: Some(TopicId::from_bytes([4; 16])),
        ..map
    };
    cases.extend([
        control("heartbeat", "nothing unfinished", heartbeat(Topic::Mail, None)),
        control("heartbeat_group", "0 ms is not absent", heartbeat(Topic::Group, Some(0))),
        control("heartbeat_control", "behind", heartbeat(Topic::Control, Some(1_749_999_999_000))),
        control("revoked", "a revoked device", ControlRecord::Revoked(user(0xaa), device())),
        control("epoch_map", "epoch 2", ControlRecord::EpochMap(map)),
        control(
            "epoch_map_bound",
            "epoch 2 with the identities of its topics",
            ControlRecord::EpochMap(bound),
        ),
    ]);
}

fn add_stores(cases: &mut Vec<Case>) {
    let row = StoredRow { log_time_ms: 1_750_000_000_200, item: item().encode() };
    let decision = |verdict, told| Decision { id: message_id(), verdict, told };
    let done = decision(Verdict::Done, users(3));
    let refused = decision(Verdict::NotAMember, Vec::new());
    let member = Membership { joined: seq(5), ended: None };
    let ended = Membership { joined: Seq::ZERO, ended: Some((seq(9), 1_750_000_000_000)) };
    let deciding =
        |name, what, value| record(name, what, value, Decision::encode, Decision::decode);
    let joining =
        |name, what, value| record(name, what, value, Membership::encode, Membership::decode);
    cases.extend([
        record("stored_row", "StoredRow", row, StoredRow::encode, StoredRow::decode),
        record("devices", "Devices: two", devices(), Devices::encode, Devices::decode),
        record("devices_none", "Devices: none", Devices(Vec::new()), Devices::encode, {
            Devices::decode
        }),
        record("group", "Group: two members", roster(), Roster::encode, Roster::decode),
        deciding("decision", "Decision: done, three users are told", done),
        deciding("decision_refused", "Decision: refused", refused),
        joining("membership", "Membership: lasting", member),
        joining("membership_ended", "Membership: ended", ended),
    ]);
}
