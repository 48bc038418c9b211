//! The driver against edges in miniature, in memory and in virtual time.
#![allow(clippy::unwrap_used)]

mod cluster;

use std::{sync::atomic::Ordering, time::Duration};

use client::{
    Address, ChangeError, Client, Closed, Config, ConnectError, Endpoint, Event, GroupChange,
    GroupId, Inbox, Item, Outcome, RequestError, Roots, Servers, StaticToken, Status, TokenError,
    Verdict, Via,
    store::{FileStore, MemoryStore},
};
use cluster::{Cluster, user};
use link::{config::ServerConfig, quic::ServerEndpoint, secret::MasterSecret, tls::Certificate};
use tokio::task::JoinSet;
use wire::{EdgeId, limits::DELIVERY_WINDOW};

async fn next_item(inbox: &mut Inbox) -> Item {
    loop {
        if let Event::Item(item) = inbox.next().await.unwrap() {
            return item;
        }
    }
}

fn text(item: &Item) -> String {
    String::from_utf8(item.payload().unwrap().to_vec()).unwrap()
}

/// Takes items until there are `count` of them, and acknowledges each.
async fn take(inbox: &mut Inbox, count: usize) -> Vec<String> {
    let mut texts = Vec::new();
    while texts.len() < count {
        let item = next_item(inbox).await;
        item.ack();
        texts.push(text(&item));
    }
    texts
}

fn numbered(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("once {number}")).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_reaches_the_other_and_not_oneself() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    let bob = cluster.client("bob", MemoryStore::new()).await;
    alice.send(Address::User(user("bob")), "hello").await.unwrap();
    let item = next_item(&mut bob.inbox()).await;
    assert_eq!((text(&item).as_str(), item.from()), ("hello", user("alice")));
    assert_eq!(alice.user(), Some(user("alice")));
    alice.send(Address::User(user("alice")), "note").await.unwrap();
    assert_eq!(text(&next_item(&mut alice.inbox()).await), "note");
}

#[tokio::test(start_paused = true)]
async fn pipelined_sends_survive_busy_edges_and_cuts_in_order_and_once() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    let bob = cluster.client("bob", MemoryStore::new()).await;
    let to = Address::User(user("bob"));
    cluster.state.lock().unwrap().busy = 7;
    let mut sends = JoinSet::new();
    for (number, text) in numbered(0..1000).into_iter().enumerate() {
        let sending = alice.enqueue(to, text).unwrap();
        if number % 100 != 50 {
            sends.spawn(sending);
        } else {
            sending.await.unwrap();
            cluster.state.lock().unwrap().busy += 3;
            cluster.cut();
        }
    }
    let mut inbox = bob.inbox();
    assert_eq!(take(&mut inbox, 1000).await, numbered(0..1000));
    for answer in sends.join_all().await {
        answer.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_send_waits_for_room_in_the_outbox() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let mut config = cluster.config("alice", &["edge"], MemoryStore::new());
    config.outbox.entries_max = 2;
    let alice = Client::connect(config).await.unwrap();
    let to = Address::User(user("bob"));
    let first = alice.enqueue(to, "1").unwrap();
    alice.enqueue(to, "2").unwrap();
    assert_eq!(alice.enqueue(to, "3").unwrap_err(), client::SendError::Full);
    alice.send(to, "3").await.unwrap();
    first.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_acknowledged_never_comes_again_and_what_was_not_does() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    for text in ["1", "2", "3"] {
        alice.send(Address::User(user("bob")), text).await.unwrap();
    }
    let bob = cluster.client("bob", FileStore::open(folder.path()).unwrap()).await;
    let mut inbox = bob.inbox();
    let (one, two, three) =
        (next_item(&mut inbox).await, next_item(&mut inbox).await, next_item(&mut inbox).await);
    one.ack();
    three.ack();
    assert_eq!(text(&two), "2");
    drop((one, two, three, inbox));
    bob.close().await;
    let bob = cluster.client("bob", FileStore::open(folder.path()).unwrap()).await;
    let mut inbox = bob.inbox();
    assert_eq!(text(&next_item(&mut inbox).await), "2");
    alice.send(Address::User(user("bob")), "4").await.unwrap();
    assert_eq!(text(&next_item(&mut inbox).await), "4");
}

#[tokio::test(start_paused = true)]
async fn an_outbox_on_disk_goes_out_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let store = FileStore::open(folder.path()).unwrap();
    let alice = Client::start(cluster.config("alice", &["nowhere"], store)).await.unwrap();
    let unsent = alice.enqueue(Address::User(user("bob")), "late").unwrap();
    alice.close().await;
    assert_eq!(unsent.await.unwrap_err(), client::SendError::Closed(Closed::Here));
    let _alice = cluster.client("alice", FileStore::open(folder.path()).unwrap()).await;
    let bob = cluster.client("bob", MemoryStore::new()).await;
    assert_eq!(text(&next_item(&mut bob.inbox()).await), "late");
}

#[tokio::test(start_paused = true)]
async fn a_send_of_an_earlier_start_is_told_once_it_is_durable() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let store = MemoryStore::new();
    let alice = Client::start(cluster.config("alice", &["nowhere"], store.clone())).await.unwrap();
    let unsent = alice.enqueue(Address::User(user("bob")), "late").unwrap();
    alice.close().await;
    let alice = cluster.client("alice", store).await;
    alice.send(Address::User(user("bob")), "and one of now").await.unwrap();
    let mut inbox = alice.inbox();
    let mut told = inbox.next().await.unwrap();
    if matches!(told, Event::CaughtUp(_)) {
        told = inbox.next().await.unwrap();
    }
    assert!(matches!(told, Event::Accepted(id) if id == unsent.id), "{told:?}");
    assert!(inbox.try_next().is_none_or(|event| matches!(event, Event::CaughtUp(_))));
}

#[tokio::test(start_paused = true)]
async fn statuses_tell_of_connections_that_come_and_go_and_of_the_end() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    let mut statuses = alice.statuses();
    assert_eq!(statuses.next().await, Some(Status::Connected(user("alice"))));
    cluster.cut();
    assert!(matches!(statuses.next().await, Some(Status::Connecting(_))));
    assert_eq!(statuses.next().await, Some(Status::Connected(user("alice"))));
    assert_eq!(statuses.now(), Status::Connected(user("alice")));
    alice.close().await;
    assert_eq!(statuses.next().await, Some(Status::Closed(Closed::Here)));
    assert_eq!(statuses.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn close_answers_and_tells_what_was_acknowledged() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    let sending = alice.enqueue(Address::User(user("alice")), "note").unwrap();
    let item = next_item(&mut alice.inbox()).await;
    item.ack();
    let device = alice.device();
    alice.close().await;
    sending.await.unwrap();
    let stored = cluster.state.lock().unwrap().cursors.get(&device).copied();
    assert_eq!(stored, Some(item.seq));
}

#[tokio::test(start_paused = true)]
async fn a_change_resolves_with_its_result() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    let bob = cluster.client("bob", MemoryStore::new()).await;
    let group = GroupId::from_bytes([1; 16]);
    alice.change_group(group, GroupChange::Create(vec![user("bob")])).await.unwrap();
    assert!(next_item(&mut bob.inbox()).await.payload().is_none());
    let refused = alice.change_group(group, GroupChange::Leave).await;
    assert_eq!(refused, Err(ChangeError::Refused(Verdict::NotAMember)));
}

#[tokio::test(start_paused = true)]
async fn the_result_of_a_change_nobody_waits_for_any_more_comes_to_the_inbox() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    let group = GroupId::from_bytes([1; 16]);
    let change = alice.change_group(group, GroupChange::Create(Vec::new()));
    assert!(tokio::time::timeout(Duration::ZERO, change).await.is_err(), "queued and dropped");
    let mut inbox = alice.inbox();
    let found = async {
        loop {
            if let Event::Result { outcome, .. } = inbox.next().await.unwrap() {
                return outcome;
            }
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(5), found).await;
    assert!(matches!(outcome, Ok(Outcome::Happened(_))), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_decision_is_found_behind_more_than_a_device_is_given_at_once() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    let bob = cluster.client("bob", MemoryStore::new()).await;
    let waiting = DELIVERY_WINDOW as usize + 300;
    for number in 0..waiting {
        bob.send(Address::User(user("alice")), format!("{number}")).await.unwrap();
    }
    let group = GroupId::from_bytes([1; 16]);
    alice.change_group(group, GroupChange::Create(vec![user("bob")])).await.unwrap();
    let refused = alice.change_group(group, GroupChange::Leave).await;
    assert_eq!(refused, Err(ChangeError::Refused(Verdict::NotAMember)));
    // What was told is not shown again when it comes.
    let mut inbox = alice.inbox();
    let shown = take(&mut inbox, waiting).await;
    assert_eq!(shown.last(), Some(&format!("{}", waiting - 1)));
    bob.send(Address::User(user("alice")), "after").await.unwrap();
    assert_eq!(take(&mut inbox, 1).await, ["after"]);
}

#[tokio::test(start_paused = true)]
async fn history_and_queries_are_answered_also_across_a_cut() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    for number in 0..5 {
        alice.send(Address::User(user("alice")), format!("{number}")).await.unwrap();
    }
    let (page, ()) = tokio::join!(alice.history(None, 3), async { cluster.cut() });
    let page = page.unwrap();
    assert_eq!((page.rows.len(), page.more), (3, true));
    let older = alice.history(Some(page.rows[2].0), 100).await.unwrap();
    assert_eq!((older.rows.len(), older.more), (2, false));
    assert_eq!(alice.devices().await.unwrap().0.len(), 0);
    let group = alice.group(GroupId::from_bytes([1; 16])).await;
    assert_eq!(group, Err(RequestError::NotFound));
}

#[tokio::test(start_paused = true)]
async fn caught_up_comes_after_everything_that_waited() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    for text in numbered(0..600) {
        alice.enqueue(Address::User(user("bob")), text).unwrap();
    }
    alice.close().await;
    let bob = cluster.client("bob", MemoryStore::new()).await;
    let (mut inbox, mut seen) = (bob.inbox(), Vec::new());
    loop {
        let event = inbox.next().await.unwrap();
        if let Event::CaughtUp(_) = event {
            break;
        }
        let Event::Item(item) = event else { panic!("{event:?}") };
        item.ack();
        seen.push(text(&item));
    }
    assert_eq!(seen, numbered(0..600));
}

#[tokio::test(start_paused = true)]
async fn another_server_is_tried_and_tokens_are_asked_for_again() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["second"], &mut tasks);
    let (asked, mut was_asked) = tokio::sync::mpsc::channel(9);
    let first = std::sync::atomic::AtomicBool::new(true);
    let mut config = cluster.config("alice", &["first", "second"], MemoryStore::new());
    config.token = std::sync::Arc::new(move || {
        asked.try_send(()).unwrap();
        let token = if first.swap(false, Ordering::Relaxed) {
            Err(TokenError("not yet".into()))
        } else {
            Ok("alice".to_owned())
        };
        std::future::ready(token)
    });
    let alice = Client::connect(config).await.unwrap();
    while was_asked.try_recv().is_ok() {}
    // The token lasts an hour; a minute before its end the next one is asked for.
    let connected = tokio::time::Instant::now();
    was_asked.recv().await.unwrap();
    assert_eq!(connected.elapsed().as_secs(), 3540);
    assert_eq!(cluster.state.lock().unwrap().connections, 1);
    alice.close().await;
}

#[tokio::test(start_paused = true)]
async fn nobody_there_is_told_in_time_and_a_store_of_another_user_at_once() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let nobody = Client::connect(cluster.config("alice", &["nowhere"], MemoryStore::new())).await;
    assert!(matches!(nobody, Err(ConnectError::Unreachable(_))), "{nobody:?}");
    let store = MemoryStore::new();
    cluster.client("alice", store.clone()).await.close().await;
    let other = Client::connect(cluster.config("mallory", &["edge"], store)).await;
    assert_eq!(other.unwrap_err(), ConnectError::Closed(Closed::WrongUser));
}

#[tokio::test(start_paused = true)]
async fn dropping_a_client_ends_its_inbox() {
    let mut tasks = JoinSet::new();
    let cluster = Cluster::start(&["edge"], &mut tasks);
    let alice = cluster.client("alice", MemoryStore::new()).await;
    let mut inbox = alice.inbox();
    drop(alice);
    while let Some(event) = inbox.next().await {
        assert!(matches!(event, Event::CaughtUp(_)), "{event:?}");
    }
}

/// A cluster with one edge, where that is, and who signs its certificate.
fn start_quic(tasks: &mut JoinSet<()>) -> (Cluster, String, Roots) {
    let authority = rcgen::CertificateParams::new(Vec::new()).map(|mut params| {
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
    });
    let key = rcgen::KeyPair::generate().unwrap();
    let authority = rcgen::CertifiedIssuer::self_signed(authority.unwrap(), key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let leaf = rcgen::CertificateParams::new(vec!["edge.test".to_owned()]).unwrap();
    let leaf = leaf.signed_by(&key, &authority).unwrap().pem();
    let key = key.serialize_pem();
    let config = ServerConfig {
        certificate: Certificate::from_pem(leaf.as_bytes(), key.as_bytes()).unwrap(),
        edge: EdgeId::new(1),
        secret: MasterSecret::random(),
        previous_secret: None,
    };
    let endpoint = ServerEndpoint::bind("127.0.0.1:0".parse().unwrap(), config).unwrap();
    let address = endpoint.local_addr().unwrap().to_string();
    let cluster = Cluster::start(&[], tasks);
    cluster.listen(endpoint, tasks);
    (cluster, address, Roots::from_pem(authority.pem().as_bytes()).unwrap())
}

async fn connect_quic(name: &str, address: &str, via: Via) -> Client {
    let servers =
        Servers::Quic { addresses: vec![address.to_owned()], server_name: "edge.test".into(), via };
    let config = Config::new(servers, StaticToken(name.into()), MemoryStore::new());
    Client::connect(config).await.unwrap()
}

/// Takes these from the inbox, in this order, and acknowledges each.
async fn expect_numbers(client: &Client, range: std::ops::Range<usize>) {
    let mut inbox = client.inbox();
    for number in range {
        let item = loop {
            if let Event::Item(item) = inbox.next().await.unwrap() {
                break item;
            }
        };
        item.ack();
        assert_eq!(item.payload().unwrap(), &number.to_string());
    }
}

fn send_numbers(client: &Client, to: &str, range: std::ops::Range<usize>) {
    for number in range {
        client.enqueue(Address::User(user(to)), number.to_string()).unwrap();
    }
}

#[tokio::test]
async fn over_quic_a_client_sends_receives_and_changes_its_address() {
    let mut tasks = JoinSet::new();
    let (cluster, address, roots) = start_quic(&mut tasks);
    let via = Via::Own(roots);
    let alice = connect_quic("alice", &address, via.clone()).await;
    let bob = connect_quic("bob", &address, via).await;
    send_numbers(&alice, "bob", 0..300);
    expect_numbers(&bob, 0..150).await;
    alice.rebind().unwrap();
    bob.rebind().unwrap();
    expect_numbers(&bob, 150..300).await;
    assert_eq!(cluster.state.lock().unwrap().connections, 2, "no connection was made anew");
    alice.close().await;
    bob.close().await;
}

#[tokio::test]
async fn clients_that_share_a_socket_move_together_and_end_one_by_one() {
    let mut tasks = JoinSet::new();
    let (cluster, address, roots) = start_quic(&mut tasks);
    let endpoint = Endpoint::bind(roots).unwrap();
    let via = Via::Shared(endpoint.clone());
    let alice = connect_quic("alice", &address, via.clone()).await;
    let bob = connect_quic("bob", &address, via.clone()).await;
    let carol = connect_quic("carol", &address, via).await;
    send_numbers(&alice, "bob", 0..300);
    expect_numbers(&bob, 0..150).await;
    endpoint.rebind().unwrap();
    expect_numbers(&bob, 150..300).await;
    drop(carol);
    alice.close().await;
    send_numbers(&bob, "bob", 300..310);
    expect_numbers(&bob, 300..310).await;
    assert_eq!(bob.statuses().now(), Status::Connected(user("bob")));
    assert_eq!(cluster.state.lock().unwrap().connections, 3, "no connection was made anew");
    bob.close().await;
    endpoint.wait_idle().await;
}
