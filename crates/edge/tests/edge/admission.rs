//! Who gets in, and who does not.

use edge::EdgeConfig;
use link::LinkError;
use ports::mailbox::Cursor;
use session::close::CloseCode;
use wire::{
    ClientFrame, DeliveryFrame, Epoch, Seq, ServerFrame,
    record::{ControlRecord, EpochMap},
    server_frame::BusyReason,
    version::PROTOCOL,
};

use crate::{
    NOW_MS,
    client::{Client, Cluster, Key, hello, user},
    world::item,
};

#[tokio::test]
async fn a_new_device_is_registered_and_a_known_one_is_not_again() {
    let cluster = Cluster::start().await;
    let key = Key::new();
    let first = cluster.connect("alice", &key).await.welcome.unwrap();
    assert_eq!((first.user, first.device), (user("alice"), key.device()));
    assert_eq!((first.version, first.registered), (PROTOCOL, true));
    assert_eq!(first.resume_after, Seq::ZERO);
    let again = cluster.connect("alice", &key).await.welcome.unwrap();
    assert!(!again.registered);
}

#[tokio::test]
async fn a_first_device_begins_at_zero_and_a_later_one_at_its_registration() {
    let cluster = Cluster::start().await;
    let earlier = cluster.world.put_row(user("alice"), item(user("alice"), "early"));
    let first = cluster.connect("alice", &Key::new()).await.welcome.unwrap();
    assert_eq!(first.resume_after, Seq::ZERO);
    let second = cluster.connect("alice", &Key::new()).await.welcome.unwrap();
    assert!(second.resume_after > earlier);
}

#[tokio::test]
async fn the_clients_cursor_decides_then_the_stored_one() {
    let cluster = Cluster::start().await;
    let key = Key::new();
    cluster.connect("alice", &key).await;
    let alice = user("alice");
    let rows: Vec<Seq> =
        (0..3).map(|_| cluster.world.put_row(alice, item(alice, "hello"))).collect();
    let stored = Cursor { seq: rows[1], caught_up_ms: NOW_MS };
    cluster.world.set_cursor(alice, key.device(), stored);
    let resumed = async |after| {
        cluster.connect_after("alice", &key, after).await.welcome.unwrap().resume_after
    };
    assert_eq!(resumed(None).await, rows[1]);
    assert_eq!(resumed(Some(rows[0])).await, rows[0]);
    // Of another cluster, or of one that lost its data.
    assert_eq!(resumed(Some(Seq::from_u64(1_000_000))).await, rows[2]);
}

#[tokio::test]
async fn a_device_that_was_away_too_long_is_told_so() {
    let cluster = Cluster::start().await;
    let key = Key::new();
    cluster.connect("alice", &key).await;
    let alice = user("alice");
    let long_ago = NOW_MS - 31 * 24 * 3_600_000;
    cluster.world.set_cursor(
        alice,
        key.device(),
        Cursor { seq: Seq::ZERO, caught_up_ms: long_ago },
    );
    cluster.world.put_row(alice, item(alice, "kept"));
    // The device was registered today, so nothing can be missing.
    let mut client = cluster.connect_after("alice", &key, None).await;
    assert!(matches!(client.delivered().await, DeliveryFrame::Deliver(_)));
}

async fn refused(
    cluster: &Cluster,
    hello: impl FnOnce(&link::Connection) -> wire::client_frame::Hello,
) -> CloseCode {
    let connection = cluster.dial().await.unwrap();
    let hello = hello(&connection);
    Client::say_hello(connection, hello).await.closed().await
}

#[tokio::test]
async fn a_signature_over_another_connection_is_refused() {
    let cluster = Cluster::start().await;
    let key = Key::new();
    let other = cluster.dial().await.unwrap();
    let code = refused(&cluster, |_| {
        let recorded = key.prove(&other.export_keying_material(), cluster.token("alice"));
        hello(&key, recorded, None)
    });
    assert_eq!(code.await, CloseCode::Unauthenticated);
}

#[tokio::test]
async fn a_token_opens_nothing_without_the_devices_private_key() {
    let cluster = Cluster::start().await;
    let (bobs, attackers) = (Key::new(), Key::new());
    cluster.connect("bob", &bobs).await;
    for subject in ["alice", "bob"] {
        let code = refused(&cluster, |connection| {
            let exporter = connection.export_keying_material();
            let proof = attackers.prove(&exporter, cluster.token(subject));
            hello(&bobs, proof, None)
        });
        assert_eq!(code.await, CloseCode::Unauthenticated);
    }
}

#[tokio::test]
async fn a_signature_over_another_token_is_refused() {
    let cluster = Cluster::start().await;
    let key = Key::new();
    let code = refused(&cluster, |connection| {
        let exporter = connection.export_keying_material();
        let mut proof = key.prove(&exporter, cluster.token("alice"));
        proof.token = cluster.token("bob");
        hello(&key, proof, None)
    });
    assert_eq!(code.await, CloseCode::Unauthenticated);
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let cluster = Cluster::start().await;
    let key = Key::new();
    let code = refused(&cluster, |connection| {
        let token = cluster.token_until("alice", NOW_MS as f64 / 1000.0 - 60.0);
        hello(&key, key.prove(&connection.export_keying_material(), token), None)
    });
    assert_eq!(code.await, CloseCode::Unauthenticated);
}

#[tokio::test]
async fn a_client_of_other_versions_is_told_so() {
    let cluster = Cluster::start().await;
    let key = Key::new();
    let code = refused(&cluster, |connection| {
        let proof = key.prove(&connection.export_keying_material(), cluster.token("alice"));
        wire::client_frame::Hello { versions: vec![99], ..hello(&key, proof, None) }
    });
    assert_eq!(code.await, CloseCode::Version);
}

#[tokio::test]
async fn a_revoked_device_is_cut_and_does_not_come_back() {
    let cluster = Cluster::start().await;
    let key = Key::new();
    let client = cluster.connect("alice", &key).await;
    cluster.world.revoke(user("alice"), key.device());
    assert_eq!(client.closed().await, CloseCode::Revoked);
    let again = cluster.hello("alice", &key, None).await;
    assert_eq!(again.closed().await, CloseCode::Revoked);
}

#[tokio::test]
async fn an_eleventh_device_is_refused() {
    let cluster = Cluster::start().await;
    for _ in 0..10 {
        cluster.connect("alice", &Key::new()).await;
    }
    let eleventh = cluster.hello("alice", &Key::new(), None).await;
    assert_eq!(eleventh.closed().await, CloseCode::TooManyDevices);
}

#[tokio::test]
async fn a_later_connection_of_a_device_displaces_the_earlier_one() {
    let cluster = Cluster::start().await;
    let key = Key::new();
    let first = cluster.connect("alice", &key).await;
    let second = cluster.connect("alice", &key).await;
    assert_eq!(first.closed().await, CloseCode::Displaced);
    let routes = || cluster.world.routes();
    cluster.until(|| routes().len() == 1).await;
    drop(second);
}

#[tokio::test]
async fn the_address_limit_refuses_one_more_and_forgets_those_who_left() {
    let config = EdgeConfig { connections_per_ip_max: 2, ..EdgeConfig::default() };
    let cluster = Cluster::start_with(config).await;
    let first = cluster.connect("alice", &Key::new()).await;
    let _second = cluster.connect("bob", &Key::new()).await;
    assert!(matches!(cluster.dial().await, Err(LinkError::Unreachable(_))));
    first.connection.close(0, "");
    cluster.until(|| cluster.handle.connections() == 1).await;
    cluster.connect("carol", &Key::new()).await;
}

#[tokio::test]
async fn many_half_open_clients_make_others_prove_their_address_and_they_still_get_in() {
    let config = EdgeConfig { half_open_retry: 1, ..EdgeConfig::default() };
    let cluster = Cluster::start_with(config).await;
    let _silent = cluster.dial().await.unwrap();
    cluster.connect("alice", &Key::new()).await;
}

#[tokio::test]
async fn who_sends_before_hello_or_before_its_answer_is_cut() {
    let cluster = Cluster::start().await;
    let key = Key::new();
    let mut early = cluster.hello("alice", &key, None).await;
    let send = early.message(user("bob"), "early");
    early.say(ClientFrame::Send(send)).await;
    assert_eq!(early.closed().await, CloseCode::ProtocolError);

    let connection = cluster.dial().await.unwrap();
    let exporter = connection.export_keying_material();
    let greeting = hello(&key, key.prove(&exporter, cluster.token("alice")), None);
    let mut twice = Client::say_hello(connection, greeting.clone()).await;
    assert!(matches!(twice.answer().await, ServerFrame::Welcome(_)));
    twice.say(ClientFrame::Hello(greeting)).await;
    assert_eq!(twice.closed().await, CloseCode::ProtocolError);
}

#[tokio::test]
async fn a_token_that_ends_ends_the_connection_unless_renewed() {
    let cluster = Cluster::start().await;
    let key = Key::new();
    let nearly_over = || cluster.token_until("alice", NOW_MS as f64 / 1000.0 - 59.0);
    let connection = cluster.dial().await.unwrap();
    let exporter = connection.export_keying_material();
    let greeting = hello(&key, key.prove(&exporter, nearly_over()), None);
    let mut client = Client::say_hello(connection, greeting).await;
    assert!(matches!(client.answer().await, ServerFrame::Welcome(_)));

    client.say(ClientFrame::Renew(key.prove(&exporter, cluster.token("alice")))).await;
    assert!(matches!(client.answer().await, ServerFrame::Renewed(until) if until > NOW_MS));
    client.say(ClientFrame::Renew(key.prove(&exporter, nearly_over()))).await;
    assert!(matches!(client.answer().await, ServerFrame::Renewed(_)));
    assert_eq!(client.closed().await, CloseCode::TokenExpired);
}

#[tokio::test]
async fn a_renewal_for_another_user_or_with_another_key_is_refused() {
    let cluster = Cluster::start().await;
    for (subject, own_key) in [("bob", true), ("alice", false)] {
        let key = Key::new();
        let mut client = cluster.connect("alice", &key).await;
        let exporter = client.connection.export_keying_material();
        let signer = if own_key { &key } else { &Key::new() };
        let proof = signer.prove(&exporter, cluster.token(subject));
        client.say(ClientFrame::Renew(proof)).await;
        assert_eq!(client.closed().await, CloseCode::Unauthenticated);
    }
}

#[tokio::test]
async fn a_lost_presence_refuses_nobody() {
    let cluster = Cluster::start().await;
    cluster.world.fail_presence();
    let alice = user("alice");
    cluster.world.put_row(alice, item(alice, "hello"));
    let mut client = cluster.connect("alice", &Key::new()).await;
    assert!(matches!(client.delivered().await, DeliveryFrame::Deliver(_)));
}

#[tokio::test]
async fn while_the_store_is_gone_nobody_gets_in_and_those_who_are_in_send_on() {
    let cluster = Cluster::start().await;
    let (key, mut alice) = (Key::new(), cluster.connect("alice", &Key::new()).await);
    cluster.connect("bob", &key).await;
    cluster.world.fail_store(true);
    let refused = cluster.hello("bob", &key, None).await;
    assert_eq!(refused.closed().await, CloseCode::Unavailable);
    let send = alice.message(user("bob"), "hello");
    let id = send.id;
    alice.say(ClientFrame::Send(send)).await;
    assert_eq!(alice.answer().await, ServerFrame::Accepted(id));
    cluster.world.fail_store(false);
    assert!(!cluster.connect("bob", &key).await.welcome.unwrap().registered);
}

#[tokio::test]
async fn an_edge_that_does_not_know_the_logs_layout_takes_no_sends_and_is_not_ready() {
    let cluster = Cluster::start().await;
    let mut alice = cluster.connect("alice", &Key::new()).await;
    cluster.world.tell(ControlRecord::EpochMap(EpochMap {
        epoch: Epoch::new(1),
        mail_partitions: 8,
        group_partitions: 8,
        mail_topic: None,
        group_topic: None,
    }));
    cluster.until(|| !cluster.handle.is_ready().ready).await;
    let send = alice.message(user("bob"), "hello");
    alice.say(ClientFrame::Send(send)).await;
    let ServerFrame::Busy { reason, .. } = alice.answer().await else { panic!("it is taken") };
    assert_eq!(reason, BusyReason::NotReady);
}
