//! Arbitrary valid values of every type.

use bytes::Bytes;
use proptest::{
    array::{uniform8, uniform16, uniform32},
    collection::{btree_map, vec},
    option,
    prelude::*,
    sample::select,
};
use wire::{
    Address, ClientFrame, Counter, DeliveryFrame, DeviceId, EdgeId, Epoch, Generation, GroupId,
    Item, MessageId, Offset, Partition, RunId, SendId, Seq, ServerFrame, Topic, TopicId, UserId,
    client_frame::{Hello, Previous, Proof, Read, Send},
    delivery_frame::Deliver,
    entity::{Decision, Device, Devices, Member, Membership, Query, Roster},
    item::{Body, DeviceChange, GroupChange, Role, Verdict},
    mesh::{MeshFrame, MeshSignal, Origin, Push, SignalKind},
    record::{ControlRecord, Delivery, EpochMap, Heartbeat, MailRecord, Source},
    server_frame::{Answer, BusyReason, Page, QueryError, RejectReason, Welcome},
    signal::{Datagram, Sighting, Signal, SignalFrom},
};

fn user() -> impl Strategy<Value = UserId> {
    uniform16(any::<u8>()).prop_map(UserId::from_bytes)
}

fn users() -> impl Strategy<Value = Vec<UserId>> {
    vec(user(), 0..8)
}

fn device() -> impl Strategy<Value = DeviceId> {
    uniform8(any::<u8>()).prop_map(DeviceId::from_bytes)
}

fn group() -> impl Strategy<Value = GroupId> {
    uniform16(any::<u8>()).prop_map(GroupId::from_bytes)
}

fn address() -> impl Strategy<Value = Address> {
    prop_oneof![user().prop_map(Address::User), group().prop_map(Address::Group)]
}

/// Small positions often, since they meet each other.
fn seq() -> impl Strategy<Value = Seq> {
    let offset = prop_oneof![0_u64..16, 0_u64..1 << Seq::OFFSET_BITS];
    (0_u8..=100, offset)
        .prop_map(|(epoch, offset)| Seq::new(Epoch::new(epoch), Offset::new(offset)))
}

fn send_id() -> impl Strategy<Value = SendId> {
    let make = |(run, counter)| SendId { run: RunId::new(run), counter: Counter::new(counter) };
    (any::<u64>(), 1_u64..).prop_map(make)
}

fn message_id() -> impl Strategy<Value = MessageId> {
    (user(), device(), send_id()).prop_map(|(user, device, send)| MessageId { user, device, send })
}

fn payload() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn agent() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9/. é-]{0,32}"
}

fn role() -> impl Strategy<Value = Role> {
    select(vec![Role::Admin, Role::Member])
}

fn group_change() -> impl Strategy<Value = GroupChange> {
    prop_oneof![
        users().prop_map(GroupChange::Create),
        users().prop_map(GroupChange::Add),
        users().prop_map(GroupChange::Remove),
        Just(GroupChange::Leave),
        (user(), role()).prop_map(|(user, role)| GroupChange::SetRole(user, role)),
    ]
}

fn device_change() -> impl Strategy<Value = DeviceChange> {
    let register = |(device_key, agent)| DeviceChange::Register { device_key, agent };
    prop_oneof![
        (uniform32(any::<u8>()), agent()).prop_map(register),
        device().prop_map(DeviceChange::Revoke),
    ]
}

/// What a client may send.
fn sent_body() -> impl Strategy<Value = Body> {
    prop_oneof![
        payload().prop_map(Body::Message),
        group_change().prop_map(Body::GroupChange),
        device_change().prop_map(Body::DeviceChange),
    ]
}

fn proof() -> impl Strategy<Value = Proof> {
    let signature = (uniform32(any::<u8>()), uniform32(any::<u8>()));
    ("[A-Za-z0-9._-]{0,64}", uniform16(any::<u8>()), signature).prop_map(
        |(token, nonce, (left, right))| {
            let mut signature = [0; 64];
            signature[..32].copy_from_slice(&left);
            signature[32..].copy_from_slice(&right);
            Proof { token, nonce, signature }
        },
    )
}

fn hello() -> impl Strategy<Value = Hello> {
    let versions = vec(any::<u32>(), 1..=8);
    (versions, agent(), uniform32(any::<u8>()), proof(), option::of(seq())).prop_map(
        |(versions, agent, device_key, proof, resume_after)| Hello {
            versions,
            agent,
            device_key,
            proof,
            resume_after,
        },
    )
}

fn send() -> impl Strategy<Value = Send> {
    let previous = (send_id(), any::<bool>()).prop_map(|(id, accepted)| Previous { id, accepted });
    (send_id(), address(), option::of(previous), any::<u32>(), sent_body())
        .prop_map(|(id, to, previous, ttl_s, body)| Send { id, to, previous, ttl_s, body })
}

pub(crate) fn client_frame() -> impl Strategy<Value = ClientFrame> {
    let read = (any::<u32>(), option::of(seq()), 1_u32..=256)
        .prop_map(|(request, before, limit)| Read { request, before, limit });
    let query = prop_oneof![Just(Query::Devices), group().prop_map(Query::Group)];
    prop_oneof![
        hello().prop_map(ClientFrame::Hello),
        proof().prop_map(ClientFrame::Renew),
        send().prop_map(ClientFrame::Send),
        seq().prop_map(ClientFrame::Ack),
        seq().prop_map(ClientFrame::Resync),
        read.prop_map(ClientFrame::Read),
        (any::<u32>(), query).prop_map(|(request, query)| ClientFrame::Query(request, query)),
        (vec(user(), 1..8), payload())
            .prop_map(|(to, body)| ClientFrame::Signal(Signal { to, body })),
        users().prop_map(ClientFrame::Watch),
        users().prop_map(ClientFrame::Show),
    ]
}

pub(crate) fn item() -> impl Strategy<Value = Item> {
    let verdict = select(Verdict::ALL).prop_map(Body::Verdict);
    let body = prop_oneof![3 => sent_body(), 1 => verdict];
    (message_id(), address(), any::<u64>(), 1_u32.., body)
        .prop_map(|(id, to, sent_ms, ttl_s, body)| Item { id, to, sent_ms, ttl_s, body })
}

fn deliver() -> impl Strategy<Value = Deliver> {
    let below = |(one, other): (Seq, Option<Seq>)| match other {
        Some(other) if other < one => (one, Some(other)),
        Some(other) if one < other => (other, Some(one)),
        Some(_) | None => (one, None),
    };
    ((seq(), option::of(seq())).prop_map(below), any::<u64>(), item()).prop_map(
        |((seq, prev), log_time_ms, item)| Deliver { seq, prev, log_time_ms, item: item.encode() },
    )
}

fn welcome() -> impl Strategy<Value = Welcome> {
    let who = (user(), device(), seq());
    let times = (any::<u64>(), any::<u64>());
    (any::<u32>(), who, times, 1_u32.., 1_u32.., any::<bool>()).prop_map(
        |(version, who, times, send_window, delivery_window, registered)| Welcome {
            version,
            user: who.0,
            device: who.1,
            resume_after: who.2,
            now_ms: times.0,
            send_window,
            delivery_window,
            token_expires_ms: times.1,
            registered,
        },
    )
}

pub(crate) fn server_frame() -> impl Strategy<Value = ServerFrame> {
    let busy = (send_id(), any::<u32>(), select(BusyReason::ALL))
        .prop_map(|(id, after_ms, reason)| ServerFrame::Busy { id, after_ms, reason });
    let retry =
        (send_id(), any::<u32>()).prop_map(|(id, after_ms)| ServerFrame::Retry { id, after_ms });
    let reject = (send_id(), select(RejectReason::ALL))
        .prop_map(|(id, reason)| ServerFrame::Reject { id, reason });
    let page = (any::<u32>(), vec(deliver(), 0..4), any::<bool>())
        .prop_map(|(request, rows, more)| Page { request, rows, more });
    let answer = prop_oneof![
        devices().prop_map(Answer::Devices),
        roster().prop_map(Answer::Group),
        select(QueryError::ALL).prop_map(Answer::Error),
    ];
    let drain = (any::<u32>(), any::<u32>())
        .prop_map(|(deadline_ms, jitter_ms)| ServerFrame::Drain { deadline_ms, jitter_ms });
    prop_oneof![
        welcome().prop_map(ServerFrame::Welcome),
        any::<u64>().prop_map(ServerFrame::Renewed),
        send_id().prop_map(ServerFrame::Accepted),
        busy,
        retry,
        reject,
        page.prop_map(ServerFrame::Page),
        (any::<u32>(), answer).prop_map(|(request, answer)| ServerFrame::Answer(request, answer)),
        drain,
        vec(sighting(), 1..4).prop_map(ServerFrame::Presence),
    ]
}

fn sighting() -> impl Strategy<Value = Sighting> {
    (user(), device(), any::<u32>()).prop_map(|(user, device, valid_ms)| Sighting {
        user,
        device,
        valid_ms,
    })
}

pub(crate) fn datagram() -> impl Strategy<Value = Datagram> {
    (user(), device(), payload())
        .prop_map(|(user, device, body)| Datagram::Signal(SignalFrom { user, device, body }))
}

fn mesh_signal() -> impl Strategy<Value = MeshSignal> {
    let generation = || any::<u64>().prop_map(Generation::new);
    let kind = prop_oneof![
        payload().prop_map(SignalKind::Body),
        Just(SignalKind::Online),
        Just(SignalKind::Offline),
        any::<u64>().prop_map(|edge| SignalKind::Asks(EdgeId::new(edge))),
    ];
    let from = (user(), device(), generation()).prop_map(|(user, device, generation)| Origin {
        user,
        device,
        generation,
    });
    (user(), vec((device(), generation()), 0..4), from, kind)
        .prop_map(|(user, routes, from, kind)| MeshSignal { user, routes, from, kind })
}

pub(crate) fn delivery_frame() -> impl Strategy<Value = DeliveryFrame> {
    prop_oneof![
        deliver().prop_map(DeliveryFrame::Deliver),
        (seq(), seq()).prop_map(|(one, other)| DeliveryFrame::CaughtUp {
            head: one.max(other),
            prev: one.min(other),
        }),
        seq().prop_map(DeliveryFrame::Truncated),
    ]
}

pub(crate) fn mesh_frame() -> impl Strategy<Value = MeshFrame> {
    let route = (device(), any::<u64>().prop_map(Generation::new));
    let push = (user(), vec(route, 0..4), deliver()).prop_map(|(user, routes, deliver)| Push {
        user,
        routes,
        deliver,
    });
    (vec(push, 0..4), any::<bool>(), vec(mesh_signal(), 0..4))
        .prop_map(|(pushes, lost, signals)| MeshFrame { pushes, lost, signals })
}

fn partition() -> impl Strategy<Value = Partition> {
    (0_u16..4096).prop_map(Partition::new)
}

pub(crate) fn mail_record() -> impl Strategy<Value = MailRecord> {
    let source = (partition(), seq()).prop_map(|(partition, seq)| Source { partition, seq });
    let delivery =
        (users(), option::of(user()), item()).prop_map(|(recipients, sender_copy, item)| {
            Delivery { recipients, sender_copy, item: item.encode() }
        });
    let change = item().prop_map(|item| item.encode());
    (option::of(source), vec(delivery, 0..4), option::of(change)).prop_map(
        |(source, deliveries, device_change)| MailRecord { source, deliveries, device_change },
    )
}

pub(crate) fn control_record() -> impl Strategy<Value = ControlRecord> {
    let topic = select(vec![Topic::Mail, Topic::Group, Topic::Control]);
    let heartbeat = (any::<u64>(), topic, partition(), option::of(any::<u64>())).prop_map(
        |(now_ms, topic, partition, oldest_ms)| Heartbeat { now_ms, topic, partition, oldest_ms },
    );
    let topic_id = || option::of(any::<[u8; 16]>().prop_map(TopicId::from_bytes));
    let map = (0_u8..=100, 1_u16..=4096, 1_u16..=4096, topic_id(), topic_id()).prop_map(
        |(epoch, mail_partitions, group_partitions, mail_topic, group_topic)| EpochMap {
            epoch: Epoch::new(epoch),
            mail_partitions,
            group_partitions,
            mail_topic,
            group_topic,
        },
    );
    prop_oneof![
        heartbeat.prop_map(ControlRecord::Heartbeat),
        (user(), device()).prop_map(|(user, device)| ControlRecord::Revoked(user, device)),
        map.prop_map(ControlRecord::EpochMap),
    ]
}

pub(crate) fn devices() -> impl Strategy<Value = Devices> {
    let device = (uniform32(any::<u8>()), agent(), seq(), any::<u64>(), option::of(seq()))
        .prop_map(|(device_key, agent, registered, registered_ms, revoked)| Device {
            device_key,
            agent,
            registered,
            registered_ms,
            revoked,
        });
    vec(device, 0..6).prop_map(Devices)
}

pub(crate) fn roster() -> impl Strategy<Value = Roster> {
    let members = btree_map(user(), (role(), seq()), 0..8);
    members.prop_map(|members| {
        let member = |(user, (role, joined))| Member { user, role, joined };
        Roster(members.into_iter().map(member).collect())
    })
}

pub(crate) fn decision() -> impl Strategy<Value = Decision> {
    (message_id(), select(Verdict::ALL), users()).prop_map(|(id, verdict, told)| Decision {
        id,
        verdict,
        told,
    })
}

pub(crate) fn membership() -> impl Strategy<Value = Membership> {
    (seq(), option::of((seq(), any::<u64>())))
        .prop_map(|(joined, ended)| Membership { joined, ended })
}
