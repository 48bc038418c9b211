//! Pushes to edges.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::BytesMut;
use link::{Connection, Receiver, memory::MemoryListener};
use ports::{
    BoxFuture, Presence, StoreError,
    presence::{Lease, Renewed, Route},
};
use tokio::time::timeout;
use wire::{
    Address, EdgeId, Generation, Item, UserId, codec,
    item::Body,
    limits::MESH_FRAME_BYTES_MAX,
    mesh::{MeshFrame, Push},
};

use crate::house::{House, config, device, user};

const WITHIN: Duration = Duration::from_secs(20);
const LEASE: Duration = Duration::from_secs(3600);

pub(crate) struct Edge {
    listener: MemoryListener,
    stream: Option<(Connection, Receiver)>,
    buffer: BytesMut,
    waiting: Vec<Push>,
    /// Frames so far that said that pushes were lost.
    told: usize,
}

impl Edge {
    pub(crate) async fn new(house: &House, id: u64) -> Self {
        let address = format!("edge-{id}");
        let listener = house.hub.listen(&address);
        let lease = Lease { edge: EdgeId::new(id), address };
        house.engines.presence.renew_lease(lease, LEASE).await.unwrap();
        Self { listener, stream: None, buffer: BytesMut::new(), waiting: Vec::new(), told: 0 }
    }

    /// The next push, over a new link when the old one is gone.
    pub(crate) async fn next(&mut self) -> Push {
        timeout(WITHIN, self.next_push()).await.expect("a push arrives")
    }

    async fn next_push(&mut self) -> Push {
        loop {
            if let Some(push) = self.next_event().await {
                return push;
            }
        }
    }

    /// The next push, or that some were lost.
    async fn next_event(&mut self) -> Option<Push> {
        loop {
            if !self.waiting.is_empty() {
                return Some(self.waiting.remove(0));
            }
            if let Some(frame) = codec::take_frame(&mut self.buffer, MESH_FRAME_BYTES_MAX).unwrap()
            {
                let frame = MeshFrame::decode(frame).unwrap();
                self.waiting = frame.pushes;
                if frame.lost {
                    self.told += 1;
                    return None;
                }
                continue;
            }
            if let Some((_, stream)) = &mut self.stream
                && let Ok(true) = stream.read(&mut self.buffer).await
            {
                continue;
            }
            self.buffer.clear();
            self.stream = None;
            let connection = self.listener.accept().await.unwrap();
            let stream = connection.accept_uni().await.unwrap();
            self.stream = Some((connection, stream));
        }
    }
}

pub(crate) async fn attach(house: &House, number: u16, edge: u64, device_number: u8) {
    let user = user(number);
    let (device, generation) = (device(user, device_number), Generation::new(1));
    let route = Route { user, device, edge: EdgeId::new(edge), generation };
    house.engines.presence.attach(vec![route]).await.unwrap();
}

pub(crate) fn text(push: &Push) -> String {
    let item = Item::decode(push.deliver.item.clone()).unwrap();
    let Body::Message(text) = item.body else { panic!("a message") };
    String::from_utf8(text.to_vec()).unwrap()
}

#[tokio::test]
async fn a_row_is_pushed_to_every_connected_device_and_names_the_one_before() {
    let house = House::new(2);
    let (mut one, mut two) = (Edge::new(&house, 1).await, Edge::new(&house, 2).await);
    attach(&house, 2, 1, 1).await;
    attach(&house, 2, 1, 2).await;
    attach(&house, 2, 2, 3).await;
    let running = house.start(config());
    let mut before = None;
    for step in 0..50 {
        house.say(user(1), Address::User(user(2)), &format!("{step}")).await;
        let push = one.next().await;
        assert_eq!((text(&push), push.user), (format!("{step}"), user(2)));
        assert_eq!(push.routes.len(), 2);
        assert_eq!(push.deliver.prev, before);
        before = Some(push.deliver.seq);
        let other = two.next().await;
        assert_eq!((other.deliver, other.routes.len()), (push.deliver, 1));
    }
    // Rows are there before their pushes.
    assert_eq!(house.rows(user(2)).await.len(), 50);
    running.stop().await;
}

#[tokio::test]
async fn a_push_names_the_row_before_it_also_after_a_restart() {
    let house = House::new(1);
    house.say(user(1), Address::User(user(2)), "a").await;
    house.work().await;
    let mut edge = Edge::new(&house, 1).await;
    attach(&house, 2, 1, 1).await;
    let running = house.start(config());
    house.say(user(1), Address::User(user(2)), "b").await;
    let push = edge.next().await;
    let rows = house.rows(user(2)).await;
    assert_eq!((push.deliver.prev, push.deliver.seq), (Some(rows[0].0), rows[1].0));
    running.stop().await;
}

#[tokio::test]
async fn a_broken_link_is_opened_again() {
    let house = House::new(1);
    let mut edge = Edge::new(&house, 1).await;
    attach(&house, 2, 1, 1).await;
    let running = house.start(config());
    house.say(user(1), Address::User(user(2)), "first").await;
    assert_eq!(text(&edge.next().await), "first");
    house.hub.cut("edge-1");
    let arrives = async {
        // Some are lost until the link is there again.
        let mut step = 0;
        loop {
            house.say(user(1), Address::User(user(2)), &format!("{step}")).await;
            step += 1;
            let push = timeout(Duration::from_millis(5), edge.next_push()).await;
            if let Ok(push) = push {
                return push;
            }
        }
    };
    let push = timeout(WITHIN, arrives).await.unwrap();
    assert!(push.deliver.prev.is_some());
    assert!(edge.told > 0, "the edge looks for what was lost meanwhile");
    running.stop().await;
}

#[tokio::test]
async fn an_edge_is_told_when_there_was_no_room_for_its_pushes() {
    let house = House::new(1);
    let mut edge = Edge::new(&house, 1).await;
    attach(&house, 2, 1, 1).await;
    // All of them wait before the worker starts: they come to the queue together.
    for step in 0..300 {
        house.say(user(1), Address::User(user(2)), &format!("{step}")).await;
    }
    let running = house.start(worker::WorkerConfig { push_edge_queued: 4, ..config() });
    let told = async { while edge.next_event().await.is_some() {} };
    timeout(WITHIN, told).await.expect("the edge is told");
    house.settle().await;
    assert_eq!(house.rows(user(2)).await.len(), 300);
    assert!(running.count("pushes_total", "overflow") > 0);
    running.stop().await;
}

#[tokio::test]
async fn nothing_waits_for_presence_or_for_an_edge() {
    let house = House::new(1);
    let lease = Lease { edge: EdgeId::new(9), address: "nobody".to_owned() };
    house.engines.presence.renew_lease(lease, LEASE).await.unwrap();
    attach(&house, 2, 9, 1).await;
    let running = house.start(config());
    for step in 0..300 {
        house.say(user(1), Address::User(user(2)), &format!("{step}")).await;
    }
    house.settle().await;
    assert_eq!(house.rows(user(2)).await.len(), 300);
    running.stop().await;
}

/// Presence that answers nothing while it is down.
struct Outage {
    presence: Arc<dyn Presence>,
    is_down: AtomicBool,
}

impl Outage {
    fn fails<T>(&self) -> Option<BoxFuture<'_, Result<T, StoreError>>> {
        let failed = || -> BoxFuture<'_, _> {
            Box::pin(async { Err(StoreError::Retry("an outage".to_owned())) })
        };
        self.is_down.load(SeqCst).then(failed)
    }
}

impl Presence for Outage {
    fn lookup(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Route>, StoreError>> {
        self.fails().unwrap_or_else(|| self.presence.lookup(users))
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        self.fails().unwrap_or_else(|| self.presence.leases())
    }

    fn renew_lease(
        &self,
        lease: Lease,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<Renewed, StoreError>> {
        self.presence.renew_lease(lease, ttl)
    }

    fn release_lease(&self, edge: EdgeId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.presence.release_lease(edge)
    }

    fn attach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.presence.attach(routes)
    }

    fn detach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.presence.detach(routes)
    }
}

#[tokio::test]
async fn after_an_outage_of_presence_every_edge_is_told() {
    let mut house = House::new(1);
    let mut edges = [Edge::new(&house, 1).await, Edge::new(&house, 2).await];
    attach(&house, 2, 1, 1).await;
    let presence = Arc::clone(&house.engines.presence);
    let outage = Arc::new(Outage { presence, is_down: AtomicBool::new(true) });
    house.engines.presence = Arc::clone(&outage) as Arc<dyn Presence>;
    let sweep = Duration::from_millis(5);
    let running = house.start(worker::WorkerConfig { push_sweep_every: sweep, ..config() });
    house.say(user(1), Address::User(user(2)), "unheard").await;
    running.until_counted("pushes_total").await;
    outage.is_down.store(false, SeqCst);
    for edge in &mut edges {
        let told = timeout(WITHIN, edge.next_event()).await.expect("the edge is told");
        assert_eq!(told, None);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_switch_turns_pushes_off() {
    let house = House::new(1);
    let _edge = Edge::new(&house, 1).await;
    attach(&house, 2, 1, 1).await;
    let running = house.start(worker::WorkerConfig { push_enabled: false, ..config() });
    house.say(user(1), Address::User(user(2)), "a").await;
    house.settle().await;
    assert_eq!(running.count("pushes_total", ""), 0);
    running.stop().await;
    assert_eq!(house.texts(user(2)).await, ["a"]);
}
