//! Groups and tokens, with clients in this process and the cluster in another one.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use client::{
    Address, Body, Client, Config, Event, GroupChange, GroupId, MessageId, Servers, TokenError,
    UserId, Via, group_id, store::MemoryStore, user_id,
};
use link::tls::Roots;
use node::development::{Development, ISSUER, SERVER_NAME, TOKEN_LIFETIME_S};
use tokio::{sync::mpsc, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;

use crate::cluster::Dev;

/// Everything awaited happens within this, or the test fails.
const WITHIN: Duration = Duration::from_secs(60);
/// How often somebody leaves and comes back.
const TURNS: usize = 12;
/// Messages a sender has under way.
const AT_ONCE: usize = 8;

/// A row as somebody in the group sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    id: MessageId,
    body: Body,
}

fn config(
    dev: &Dev,
    data: &Path,
    token: impl Fn() -> Result<String, TokenError> + Send + Sync + 'static,
) -> Config {
    let ca = std::fs::read(Development::find(data).unwrap().ca_file()).unwrap();
    let servers = Servers::Quic {
        addresses: vec![dev.address.clone()],
        server_name: SERVER_NAME.to_owned(),
        via: Via::Own(Roots::from_pem(&ca).unwrap()),
    };
    Config::new(servers, move || std::future::ready(token()), MemoryStore::new())
}

pub(crate) async fn connect(dev: &Dev, data: &Path, name: &'static str) -> Client {
    let development = Development::find(data).unwrap();
    let token = move || Ok(development.mint(name, node::clock::wall_clock_ms()).unwrap());
    Client::connect(config(dev, data, token)).await.unwrap()
}

pub(crate) fn user(name: &str) -> UserId {
    user_id(ISSUER, name)
}

/// Everything of the group that the client is shown, up to the message `end`.
async fn watch(client: &Client) -> Vec<Seen> {
    let (mut inbox, mut seen) = (client.inbox(), Vec::new());
    loop {
        let Event::Item(item) = timeout(WITHIN, inbox.next()).await.unwrap().unwrap() else {
            continue;
        };
        item.ack();
        if !matches!(item.to(), Address::Group(_)) {
            continue;
        }
        if item.payload().is_some_and(|payload| &payload[..] == b"end") {
            return seen;
        }
        seen.push(Seen { id: item.item.id, body: item.item.body.clone() });
    }
}

/// What `member` has to see of what somebody saw who was there all the time.
fn share(all: &[Seen], member: UserId) -> Vec<Seen> {
    let mut is_member = false;
    let mut share = Vec::new();
    for seen in all {
        let was_member = is_member;
        match &seen.body {
            Body::GroupChange(GroupChange::Create(users) | GroupChange::Add(users)) => {
                is_member |= users.contains(&member);
            }
            Body::GroupChange(GroupChange::Remove(users)) => is_member &= !users.contains(&member),
            Body::GroupChange(GroupChange::Leave) => is_member &= seen.id.user != member,
            Body::GroupChange(GroupChange::SetRole(..))
            | Body::Message(_)
            | Body::DeviceChange(_)
            | Body::Verdict(_) => {}
        }
        if was_member || is_member {
            share.push(seen.clone());
        }
    }
    share
}

/// Speaks in the group until told to stop; how often.
async fn speak(client: Arc<Client>, group: GroupId, stop: CancellationToken) -> usize {
    let mut spoken = 0;
    while !stop.is_cancelled() {
        let under_way: Vec<_> = (0..AT_ONCE)
            .map(|number| client.enqueue(Address::Group(group), format!("{spoken} {number}")))
            .collect();
        for sending in under_way {
            timeout(WITHIN, sending.unwrap()).await.unwrap().unwrap();
            spoken += 1;
        }
    }
    spoken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_a_member_gets_it_and_nobody_else_also_under_load() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let dev = Dev::start(data);
    let alice = Arc::new(connect(&dev, data, "alice").await);
    let bob = Arc::new(connect(&dev, data, "bob").await);
    // Carol leaves with one device and watches with another.
    let carol = connect(&dev, data, "carol").await;
    let carol_leaves = connect(&dev, data, "carol").await;
    let dave = connect(&dev, data, "dave").await;
    let group = group_id(ISSUER, "team");
    let members = ["bob", "carol", "dave"].map(user).to_vec();
    alice.change_group(group, GroupChange::Create(members)).await.unwrap();

    let (stop, mut speakers) = (CancellationToken::new(), JoinSet::new());
    for speaker in [&alice, &bob] {
        speakers.spawn(speak(Arc::clone(speaker), group, stop.clone()));
    }
    let turns = async {
        for turn in 0..TURNS {
            if turn % 2 == 0 {
                carol_leaves.change_group(group, GroupChange::Leave).await.unwrap();
            } else {
                let carol = GroupChange::Remove(vec![user("carol")]);
                alice.change_group(group, carol).await.unwrap();
            }
            let carol = GroupChange::Add(vec![user("carol")]);
            alice.change_group(group, carol).await.unwrap();
        }
        stop.cancel();
        let mut spoken = 0;
        while let Some(count) = speakers.join_next().await {
            spoken += count.unwrap();
        }
        alice.send(Address::Group(group), "end").await.unwrap();
        spoken
    };
    let pass_over = async {
        let mut inbox = carol_leaves.inbox();
        while let Some(event) = inbox.next().await {
            if let Event::Item(item) = event {
                item.ack();
            }
        }
    };
    let seen = async { tokio::join!(turns, watch(&dave), watch(&carol)) };
    let (spoken, all, carol_saw) = tokio::select! {
        seen = timeout(WITHIN, seen) => seen.unwrap(),
        () = pass_over => panic!("the inbox does not end"),
    };
    let messages = all.iter().filter(|seen| matches!(seen.body, Body::Message(_))).count();
    assert_eq!((messages, all.len()), (spoken, spoken + 1 + 2 * TURNS));
    let share = share(&all, user("carol"));
    assert!(share.len() < all.len(), "something was said while Carol was away");
    assert!(carol_saw == share, "{} rows instead of {}", carol_saw.len(), share.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_that_ends_is_renewed_on_the_open_connection() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path();
    let dev = Dev::start(data);
    let development = Development::find(data).unwrap();
    let (asked, mut asks) = mpsc::channel(16);
    // Until it is connected tokens end at once, but for the leeway; the following ones last.
    let is_connected = Arc::new(AtomicBool::new(false));
    let lasts = Arc::clone(&is_connected);
    let token = move || {
        let lasts = lasts.load(SeqCst);
        let age_ms = if lasts { 0 } else { TOKEN_LIFETIME_S * 1000 - 1_500 };
        asked.try_send(lasts).ok();
        Ok(development.mint("bob", node::clock::wall_clock_ms() - age_ms).unwrap())
    };
    let bob = Client::connect(config(&dev, data, token)).await.unwrap();
    is_connected.store(true, SeqCst);
    let connections =
        || ["admitted", "closed"].map(|what| dev.metric(&format!("posthorn_edge_{what}_total")));
    let before = connections();
    let renewed = async { while !asks.recv().await.unwrap() {} };
    timeout(WITHIN, renewed).await.expect("a token is asked for");
    for number in 0..50 {
        bob.send(Address::User(user("bob")), format!("{number}")).await.unwrap();
    }
    assert_eq!(connections(), before);
}
