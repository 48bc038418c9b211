//! Signals and presence between connections on one edge and on two.

use bytes::Bytes;
use wire::{
    Address, ClientFrame, DeliveryFrame, ServerFrame, UserId,
    limits::SIGHTING_VALID,
    mesh::MeshFrame,
    server_frame::BusyReason,
    signal::{Sighting, Signal, SignalFrom},
};

use crate::client::{Client, Cluster, Key, user};

/// A device of somebody, with the key it was made of.
struct Person {
    key: Key,
    client: Client,
    name: &'static str,
}

impl Person {
    async fn on_first(cluster: &Cluster, name: &'static str) -> Self {
        let key = Key::new();
        let client = cluster.connect(name, &key).await;
        Self { key, client, name }
    }

    async fn on_second(cluster: &Cluster, name: &'static str) -> Self {
        let key = Key::new();
        let client = cluster.connect_to_second(name, &key).await;
        Self { key, client, name }
    }

    async fn signal(&mut self, to: &[&str], text: &'static str) {
        let to = to.iter().map(|name| user(name)).collect();
        let body = Bytes::from_static(text.as_bytes());
        self.client.say(ClientFrame::Signal(Signal { to, body })).await;
    }

    async fn watch(&mut self, names: &[&str]) {
        self.client.say(ClientFrame::Watch(users(names))).await;
    }

    async fn show(&mut self, names: &[&str]) {
        self.client.say(ClientFrame::Show(users(names))).await;
    }

    /// A signal of this person as others get it.
    fn said(&self, text: &'static str) -> SignalFrom {
        let body = Bytes::from_static(text.as_bytes());
        SignalFrom { user: user(self.name), device: self.key.device(), body }
    }

    fn online(&self) -> Vec<Sighting> {
        let valid_ms = u32::try_from(SIGHTING_VALID.as_millis()).unwrap();
        vec![Sighting { user: user(self.name), device: self.key.device(), valid_ms }]
    }

    fn offline(&self) -> Vec<Sighting> {
        vec![Sighting { valid_ms: 0, ..self.online()[0] }]
    }
}

fn users(names: &[&str]) -> Vec<UserId> {
    names.iter().map(|name| user(name)).collect()
}

impl Cluster {
    /// Hints of this outcome on the first edge.
    fn hints(&self, outcome: &str) -> u64 {
        self.metrics.hints.with_label_values(&[outcome]).get()
    }

    /// Hints of this outcome on the second edge.
    fn second_hints(&self, outcome: &str) -> u64 {
        self.second.as_ref().unwrap().metrics.hints.with_label_values(&[outcome]).get()
    }
}

#[tokio::test]
async fn a_signal_reaches_every_other_device_on_either_edge() {
    let cluster = Cluster::start_two().await;
    let mut alice = Person::on_first(&cluster, "alice").await;
    let mut alice_too = Person::on_second(&cluster, "alice").await;
    let mut bob = Person::on_second(&cluster, "bob").await;
    let mut bob_too = Person::on_first(&cluster, "bob").await;
    alice.signal(&["bob", "alice", "nobody"], "typing").await;
    for other in [&mut alice_too, &mut bob, &mut bob_too] {
        assert_eq!(other.client.signal().await, alice.said("typing"));
    }
    // The first thing its own device hears is what the other one says after it heard.
    alice_too.signal(&["alice"], "seen").await;
    assert_eq!(alice.client.signal().await, alice_too.said("seen"));
    cluster.until(|| cluster.hints("sent") == 2).await;
}

#[tokio::test]
async fn whoever_watches_is_told_when_the_other_comes_and_goes() {
    let cluster = Cluster::start_two().await;
    let mut alice = Person::on_first(&cluster, "alice").await;
    alice.watch(&["bob"]).await;
    let mut bob = Person::on_second(&cluster, "bob").await;
    bob.show(&["alice"]).await;
    assert_eq!(alice.client.presence().await, bob.online());
    bob.client.connection.close(0, "");
    assert_eq!(alice.client.presence().await, bob.offline());
}

#[tokio::test]
async fn whoever_begins_to_watch_is_told_who_is_there() {
    let cluster = Cluster::start_two().await;
    let mut bob = Person::on_second(&cluster, "bob").await;
    bob.show(&["alice"]).await;
    let mut carol = Person::on_first(&cluster, "carol").await;
    carol.show(&["alice"]).await;
    // Both lists count once what was said after them has come back.
    for other in [&mut bob, &mut carol] {
        let myself = other.name;
        let mut witness = Person::on_first(&cluster, myself).await;
        other.signal(&[myself], "shown").await;
        assert_eq!(witness.client.signal().await, other.said("shown"));
    }
    let mut alice = Person::on_first(&cluster, "alice").await;
    alice.watch(&["bob", "carol"]).await;
    let mut seen = Vec::new();
    while seen.len() < 2 {
        seen.extend(alice.client.presence().await);
    }
    seen.sort_unstable_by_key(|sighting| sighting.user != user("bob"));
    assert_eq!(seen, [bob.online(), carol.online()].concat());
}

#[tokio::test]
async fn whoever_is_not_shown_any_more_sees_the_other_go() {
    let cluster = Cluster::start().await;
    let mut alice = Person::on_first(&cluster, "alice").await;
    alice.watch(&["bob"]).await;
    let mut bob = Person::on_first(&cluster, "bob").await;
    bob.show(&["alice"]).await;
    assert_eq!(alice.client.presence().await, bob.online());
    bob.show(&[]).await;
    assert_eq!(alice.client.presence().await, bob.offline());
}

/// Who shows itself to others and not to mallory, who is offline and who does not exist: all the
/// same to mallory, whatever it tries.
#[tokio::test]
async fn nobody_learns_anything_of_one_who_does_not_show_itself() {
    let cluster = Cluster::start_two().await;
    let mut alice = Person::on_first(&cluster, "alice").await;
    alice.watch(&["bob", "carol"]).await;
    let mut bob = Person::on_second(&cluster, "bob").await;
    let mut carol = Person::on_first(&cluster, "carol").await;
    let mut mallory = Person::on_first(&cluster, "mallory").await;
    let mut mallory_too = Person::on_second(&cluster, "mallory").await;
    for one in [&mut mallory, &mut mallory_too] {
        one.watch(&["bob", "carol", "nobody"]).await;
        one.show(&["bob", "carol", "nobody"]).await;
        one.signal(&["bob", "carol", "nobody"], "who is there?").await;
    }
    bob.show(&["alice"]).await;
    assert_eq!(alice.client.presence().await, bob.online());
    carol.show(&["alice"]).await;
    assert_eq!(alice.client.presence().await, carol.online());
    for one in [&mut mallory, &mut mallory_too] {
        one.watch(&["bob", "alice", "carol", "nobody"]).await;
    }
    bob.show(&[]).await;
    assert_eq!(alice.client.presence().await, bob.offline());
    carol.client.connection.close(0, "");
    assert_eq!(alice.client.presence().await, carol.offline());
    // Now somebody shows itself: the first thing that reaches either, on the way all took, is that.
    let mut dave = Person::on_second(&cluster, "dave").await;
    dave.show(&["mallory"]).await;
    for one in [&mut mallory, &mut mallory_too] {
        one.watch(&["dave", "bob", "carol", "nobody"]).await;
        assert_eq!(one.client.presence().await, dave.online());
    }
}

#[tokio::test]
async fn a_later_connection_of_the_device_hides_the_end_of_the_earlier_one() {
    let cluster = Cluster::start().await;
    let mut alice = Person::on_first(&cluster, "alice").await;
    alice.watch(&["bob"]).await;
    let mut bob = Person::on_first(&cluster, "bob").await;
    bob.show(&["alice"]).await;
    assert_eq!(alice.client.presence().await, bob.online());
    let later = cluster.connect("bob", &bob.key).await;
    bob.client.closed().await;
    bob.client = later;
    bob.show(&["alice"]).await;
    assert_eq!(alice.client.presence().await, bob.online(), "and it never looked offline");
}

#[tokio::test]
async fn a_flood_is_dropped_and_counted_and_honest_traffic_goes_on() {
    let cluster = Cluster::start().await;
    let mut mallory = Person::on_first(&cluster, "mallory").await;
    let mut alice = Person::on_first(&cluster, "alice").await;
    let mut bob = Person::on_first(&cluster, "bob").await;
    for _ in 0..2_000 {
        mallory.signal(&["bob"], "flood").await;
        mallory.show(&["bob"]).await;
        mallory.watch(&["bob"]).await;
    }
    let hello = alice.client.message(user("bob"), "hello");
    let id = hello.id;
    assert_eq!(hello.to, Address::User(user("bob")));
    alice.client.say(ClientFrame::Send(hello)).await;
    assert_eq!(alice.client.answer().await, ServerFrame::Accepted(id));
    let after = mallory.client.message(user("bob"), "after the flood");
    let id = after.id;
    mallory.client.say(ClientFrame::Send(after)).await;
    assert_eq!(mallory.client.answer().await, ServerFrame::Accepted(id));
    assert!(cluster.hints("rate") > 1_000, "{}", cluster.hints("rate"));
    assert!(cluster.world.looked_up() < 1_000, "{}", cluster.world.looked_up());
    // Signals of the honest are not behind the flood: bob gets this one among few others.
    alice.signal(&["bob"], "typing").await;
    let mut others = 0;
    while bob.client.signal().await != alice.said("typing") {
        others += 1;
    }
    assert!(others < 200, "{others}");
    while !matches!(bob.client.delivered().await, DeliveryFrame::CaughtUp { .. }) {}
}

#[tokio::test]
async fn without_presence_signals_are_dropped_and_sends_are_not() {
    let cluster = Cluster::start().await;
    let mut alice = Person::on_first(&cluster, "alice").await;
    let mut bob = Person::on_first(&cluster, "bob").await;
    cluster.world.fail_presence();
    alice.signal(&["bob"], "lost").await;
    alice.watch(&["bob"]).await;
    let message = alice.client.message(user("bob"), "hello");
    let id = message.id;
    alice.client.say(ClientFrame::Send(message)).await;
    let answer = alice.client.answer().await;
    let draining = BusyReason::Draining;
    assert_eq!(answer, ServerFrame::Accepted(id), "and not {draining:?} or closed");
    cluster.until(|| cluster.hints("presence") > 0).await;
    cluster.world.forget_presence();
    cluster.until(|| cluster.world.routes().len() == 2).await;
    alice.signal(&["bob"], "again").await;
    assert_eq!(bob.client.signal().await, alice.said("again"));
}

#[tokio::test]
async fn an_edge_that_is_gone_costs_signals_for_it_and_nothing_else() {
    let mut cluster = Cluster::start_two().await;
    let mut alice = Person::on_first(&cluster, "alice").await;
    let _bob = Person::on_second(&cluster, "bob").await;
    let mut carol = Person::on_first(&cluster, "carol").await;
    alice.signal(&["bob"], "typing").await;
    cluster.until(|| cluster.hints("sent") == 1).await;
    // As a crash: its lease and its routes stay for a while.
    cluster.second.as_mut().unwrap().edge.shutdown().await;
    cluster.until(|| cluster.metrics.edge_links.get() == 0).await;
    alice.signal(&["bob", "carol"], "typing").await;
    assert_eq!(carol.client.signal().await, alice.said("typing"));
    cluster.until(|| cluster.hints("link") == 1).await;
}

#[tokio::test]
async fn the_end_of_a_link_between_edges_makes_nobody_compare_mailboxes() {
    let mut cluster = Cluster::start_two().await;
    let mut alice = Person::on_first(&cluster, "alice").await;
    let mut bob = Person::on_second(&cluster, "bob").await;
    bob.signal(&["alice"], "typing").await;
    assert_eq!(alice.client.signal().await, bob.said("typing"));
    cluster.second.as_mut().unwrap().edge.shutdown().await;
    // A link of a worker counts, and ends after that of the edge.
    let link = cluster.hub.dial(crate::client::MESH).await.unwrap();
    let mut stream = link.open_uni().await.unwrap();
    let mut out = bytes::BytesMut::new();
    MeshFrame { lost: true, ..MeshFrame::default() }.encode(&mut out);
    stream.write(&mut out).await.unwrap();
    cluster.until(|| cluster.metrics.mesh_lost.get() == 1).await;
    link.close(0, "");
    cluster.until(|| cluster.metrics.mesh_broken.get() == 1).await;
}

#[tokio::test]
async fn a_second_edge_counts_what_it_hands_out() {
    let cluster = Cluster::start_two().await;
    let mut alice = Person::on_first(&cluster, "alice").await;
    let mut bob = Person::on_second(&cluster, "bob").await;
    alice.signal(&["bob"], "typing").await;
    assert_eq!(bob.client.signal().await, alice.said("typing"));
    assert_eq!(cluster.second_hints("given"), 1);
}

/// One connection of somebody, and the two lists it said once.
struct Party {
    person: Person,
    watched: Vec<&'static str>,
    shown: Vec<&'static str>,
    is_gone: bool,
}

impl Party {
    /// Whether the other one may know of this one, and wants to.
    fn is_seen_by(&self, other: &Self) -> bool {
        self.shown.contains(&other.person.name)
            && other.watched.contains(&self.person.name)
            && self.person.key.device() != other.person.key.device()
    }
}

/// Numbers that look drawn, the same for the same seed.
struct Drawn(u64);

impl Drawn {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % bound
    }

    fn some(&mut self, of: &[&'static str]) -> Vec<&'static str> {
        of.iter().copied().filter(|_| self.below(2) == 0).collect()
    }
}

/// Connections come, say any lists and go, on either edge: each is told exactly of those who want
/// to be seen by it and whom it watches.
#[tokio::test]
async fn whatever_lists_are_said_those_and_only_those_who_may_know_are_told() {
    const NAMES: [&str; 4] = ["alice", "bob", "carol", "mallory"];
    for seed in [1, 2, 3] {
        let (cluster, mut drawn) = (Cluster::start_two().await, Drawn(seed));
        let mut parties: Vec<Party> = Vec::new();
        for turn in 0..24 {
            let name = NAMES[turn % NAMES.len()];
            let mut person = match drawn.below(2) {
                0 => Person::on_first(&cluster, name).await,
                _ => Person::on_second(&cluster, name).await,
            };
            // Nobody shows itself to mallory, who watches everybody.
            let shown = drawn.some(&NAMES[..3]);
            let watched = if name == "mallory" { NAMES.to_vec() } else { drawn.some(&NAMES) };
            person.show(&shown).await;
            person.watch(&[&watched[..], &["zoe"]].concat()).await;
            parties.push(Party { person, watched, shown, is_gone: false });
            let leaving = &mut parties[usize::try_from(drawn.below(48)).unwrap() % (turn + 1)];
            if drawn.below(4) == 0 {
                leaving.person.client.connection.close(0, "");
                leaving.is_gone = true;
            }
        }
        let mut zoe = Person::on_second(&cluster, "zoe").await;
        zoe.show(&NAMES).await;
        check_who_is_told_of_whom(&mut parties, &zoe).await;
    }
}

/// Reads what everybody who is there hears until it is all there, and `last` at the end.
async fn check_who_is_told_of_whom(parties: &mut [Party], last: &Person) {
    for index in 0..parties.len() {
        if parties[index].is_gone {
            continue;
        }
        let mut missing: Vec<_> = parties
            .iter()
            .filter(|other| !other.is_gone && other.is_seen_by(&parties[index]))
            .map(|other| other.person.key.device())
            .chain([last.key.device()])
            .collect();
        while !missing.is_empty() {
            for sighting in parties[index].person.client.presence().await {
                missing.retain(|device| *device != sighting.device);
                let may_know = sighting.device == last.key.device()
                    || parties.iter().any(|other| {
                        other.person.key.device() == sighting.device
                            && other.is_seen_by(&parties[index])
                    });
                assert!(may_know, "{} sees {sighting:?}", parties[index].person.name);
            }
        }
    }
}
