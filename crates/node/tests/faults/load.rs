//! Honest clients under way, and a ledger of what they were promised and what they got.
//!
//! The ledger is kept here, outside the cluster. A message is written down when its sender is told
//! that it was accepted, and again on each device it reaches. At the end every device must have
//! seen every message of its conversations once, in the order in which they were sent.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use client::{
    Address, Client, Config, Event, GroupChange, Roots, Sending, Servers, StaticToken, Via,
    group_id, store::MemoryStore,
};
use node::{
    clock::wall_clock_ms,
    development::{self, Development},
};
use tokio::{
    sync::{Notify, mpsc},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

/// A delivery that takes longer than this is late.
const LATE: Duration = Duration::from_secs(1);
/// What is to happen is given so long, on any machine.
const WITHIN: Duration = Duration::from_secs(180);
const PAYLOAD_LEN: usize = 256;

/// How much is sent, and to whom.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Conversations of two; the receiver has two devices.
    pub(crate) pairs: usize,
    /// Groups of one sender and [`MEMBERS`] receivers.
    pub(crate) groups: usize,
    /// Between two messages of one conversation.
    pub(crate) every: Duration,
}

/// Receivers of a group.
const MEMBERS: usize = 4;

impl Default for Shape {
    fn default() -> Self {
        Self { pairs: 10, groups: 2, every: Duration::from_millis(200) }
    }
}

/// Clients that send and receive until [`Load::finish`].
pub(crate) struct Load {
    ledger: Arc<Ledger>,
    stop: CancellationToken,
    senders: JoinSet<()>,
    receivers: JoinSet<()>,
}

/// What happened, by conversation.
struct Ledger {
    began: Instant,
    conversations: Vec<Conversation>,
    /// Something was delivered or accepted.
    changed: Notify,
}

#[derive(Default)]
struct Conversation {
    /// Messages given to the sender's client.
    sent: AtomicU64,
    /// Of those, accepted.
    accepted: AtomicU64,
    devices: Mutex<Vec<Device>>,
}

/// What one device has seen of one conversation.
#[derive(Default)]
struct Device {
    /// The number of the newest message; the first has 1.
    newest: u64,
    /// When that was sent, since the ledger began.
    newest_sent: Duration,
    /// How long it took.
    took: Duration,
    /// When a delivery was late the last time, since the ledger began.
    late: Option<Duration>,
    wrong: Vec<String>,
}

impl Load {
    /// Connects everybody to these edges and begins to send.
    pub(crate) async fn start(development: &Development, edges: &[String], shape: Shape) -> Self {
        let count = shape.pairs + shape.groups;
        let conversations = (0..count).map(|_| Conversation::default()).collect();
        let began = Instant::now();
        let ledger = Arc::new(Ledger { began, conversations, changed: Notify::new() });
        let mut load = Self {
            ledger,
            stop: CancellationToken::new(),
            senders: JoinSet::new(),
            receivers: JoinSet::new(),
        };
        let place = Place { development, edges, run: wall_clock_ms() };
        for pair in 0..shape.pairs {
            let person = format!("receiver{pair}");
            let mut user = None;
            for _device in 0..2 {
                let client = place.connect(&person, pair + 1).await;
                user = client.user();
                load.receive(client, pair);
            }
            let sender = place.connect(&format!("sender{pair}"), pair).await;
            load.send(sender, Address::User(user.unwrap()), pair, shape.every);
        }
        for index in 0..shape.groups {
            let conversation = shape.pairs + index;
            let mut members = Vec::new();
            for member in 0..MEMBERS {
                let person = format!("member{index}-{member}");
                let client = place.connect(&person, member).await;
                members.push(client.user().unwrap());
                load.receive(client, conversation);
            }
            let sender = place.connect(&format!("founder{index}"), index).await;
            let group = group_id(development::ISSUER, &format!("group{}-{index}", place.run));
            sender.change_group(group, GroupChange::Create(members)).await.unwrap();
            load.send(sender, Address::Group(group), conversation, shape.every);
        }
        load.well_again("at the start").await;
        load
    }

    fn receive(&mut self, client: Client, conversation: usize) {
        let ledger = Arc::clone(&self.ledger);
        let device = {
            let mut devices = ledger.conversations[conversation].devices.lock().unwrap();
            devices.push(Device::default());
            devices.len() - 1
        };
        self.receivers.spawn(async move {
            let mut inbox = client.inbox();
            while let Some(event) = inbox.next().await {
                match event {
                    Event::Item(item) => {
                        if let Some(payload) = item.payload() {
                            ledger.delivered(conversation, device, payload.clone());
                        }
                        item.ack();
                    }
                    Event::Truncated(_) | Event::Conflict(_) | Event::Undecodable(_) => {
                        ledger.wrong(conversation, device, format!("{event:?}"));
                    }
                    Event::Result { receipt, .. } => receipt.ack(),
                    Event::CaughtUp(_) | Event::Accepted(_) | Event::Rejected(..) => {}
                    #[allow(unreachable_patterns, reason = "events that carry no message")]
                    _ => {}
                }
            }
        });
    }

    fn send(&mut self, client: Client, to: Address, index: usize, every: Duration) {
        let (answers, mut waiting) = mpsc::channel::<Sending>(100_000);
        let ledger = Arc::clone(&self.ledger);
        self.senders.spawn(async move {
            while let Some(sending) = waiting.recv().await {
                sending.await.unwrap();
                ledger.conversations[index].accepted.fetch_add(1, Ordering::SeqCst);
                ledger.changed.notify_waiters();
            }
        });
        let (ledger, stop) = (Arc::clone(&self.ledger), self.stop.clone());
        self.senders.spawn(async move {
            let mut ticks = interval(every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut number = 1;
            loop {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    _ = ticks.tick() => {}
                }
                // A full outbox is what a person sees as "waiting for the network".
                if let Ok(sending) = client.enqueue(to, message(ledger.began, index, number)) {
                    ledger.conversations[index].sent.store(number, Ordering::SeqCst);
                    answers.send(sending).await.unwrap();
                    number += 1;
                }
            }
            drop(answers);
            // The client answers as long as it is there.
            ledger.until(|| ledger.conversations[index].is_accepted()).await;
        });
    }

    /// Waits until what is sent from now on is delivered in time everywhere, and says how long that
    /// took.
    pub(crate) async fn well_again(&self, since: &str) -> Duration {
        let asked = Instant::now();
        let from = self.ledger.began.elapsed();
        self.ledger.until(|| self.ledger.is_well(from)).await;
        let late = self.ledger.late().filter(|late| *late > from);
        let took = late.map_or_else(|| asked.elapsed(), |late| late - from);
        println!("well again {since}: after {:.1} s", took.as_secs_f64());
        took
    }

    /// Goes on sending for so long, whatever becomes of it.
    pub(crate) async fn lasts(&self, for_long: Duration) {
        timeout(for_long, std::future::pending::<()>()).await.ok();
    }

    /// Waits until so many more messages were accepted in all.
    pub(crate) async fn goes_on(&self, more: u64) {
        let wanted = self.ledger.accepted() + more;
        self.ledger.until(|| self.ledger.accepted() >= wanted).await;
    }

    /// Stops sending and waits for the rest. Everything accepted was delivered to every device,
    /// once and in order.
    pub(crate) async fn finish(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.senders.join_next().await {
            ended.unwrap();
        }
        let ledger = Arc::clone(&self.ledger);
        ledger.until(|| ledger.is_complete()).await;
        self.receivers.shutdown().await;
        let mut deliveries = 0;
        for (index, conversation) in ledger.conversations.iter().enumerate() {
            let sent = conversation.sent.load(Ordering::SeqCst);
            assert!(sent > 0, "nothing was sent in conversation {index}");
            for (number, device) in conversation.devices.lock().unwrap().iter().enumerate() {
                assert_eq!(device.wrong, [""; 0], "conversation {index}, device {number}");
                assert_eq!(device.newest, sent, "conversation {index}, device {number}");
                deliveries += sent;
            }
        }
        println!(
            "{} messages accepted, {deliveries} deliveries: 0 lost, 0 twice, 0 out of order",
            ledger.accepted()
        );
    }
}

impl Ledger {
    fn delivered(&self, conversation: usize, device: usize, payload: Bytes) {
        let now = self.began.elapsed();
        let (found, number, sent) = read(payload);
        let mut devices = self.conversations[conversation].devices.lock().unwrap();
        let device = &mut devices[device];
        if found != conversation || number != device.newest + 1 {
            device.wrong.push(format!("{number} of {found} came after {}", device.newest));
        }
        device.newest = device.newest.max(number);
        device.newest_sent = sent;
        device.took = now.saturating_sub(sent);
        if device.took > LATE {
            device.late = Some(now);
        }
        drop(devices);
        self.changed.notify_waiters();
    }

    fn wrong(&self, conversation: usize, device: usize, what: String) {
        self.conversations[conversation].devices.lock().unwrap()[device].wrong.push(what);
    }

    fn accepted(&self) -> u64 {
        self.conversations.iter().map(|one| one.accepted.load(Ordering::SeqCst)).sum()
    }

    /// Every device has something that was sent after `from` and came in time.
    fn is_well(&self, from: Duration) -> bool {
        self.conversations.iter().all(|conversation| {
            let devices = conversation.devices.lock().unwrap();
            devices.iter().all(|device| device.newest_sent > from && device.took <= LATE)
        })
    }

    fn late(&self) -> Option<Duration> {
        let of =
            |one: &Conversation| one.devices.lock().unwrap().iter().filter_map(|d| d.late).max();
        self.conversations.iter().filter_map(of).max()
    }

    fn is_complete(&self) -> bool {
        self.conversations.iter().all(|conversation| {
            let sent = conversation.sent.load(Ordering::SeqCst);
            let devices = conversation.devices.lock().unwrap();
            devices.iter().all(|device| device.newest >= sent || !device.wrong.is_empty())
        })
    }

    async fn until(&self, mut is_so: impl FnMut() -> bool) {
        let wait = async {
            loop {
                let changed = self.changed.notified();
                let mut changed = std::pin::pin!(changed);
                changed.as_mut().enable();
                if is_so() {
                    return;
                }
                changed.await;
            }
        };
        if timeout(WITHIN, wait).await.is_err() {
            panic!("not within {WITHIN:?}:\n{}", self.picture());
        }
    }

    /// How far everybody is, for a person who has to find out why.
    fn picture(&self) -> String {
        let line = |(index, one): (usize, &Conversation)| {
            let (sent, accepted) = (&one.sent, &one.accepted);
            let devices = one.devices.lock().unwrap();
            let seen: Vec<_> = devices.iter().map(|d| (d.newest, &d.wrong)).collect();
            format!("{index}: {sent:?} sent, {accepted:?} accepted, seen {seen:?}\n")
        };
        self.conversations.iter().enumerate().map(line).collect()
    }
}

impl Conversation {
    fn is_accepted(&self) -> bool {
        self.accepted.load(Ordering::SeqCst) >= self.sent.load(Ordering::SeqCst)
    }
}

/// Where clients connect.
struct Place<'a> {
    development: &'a Development,
    edges: &'a [String],
    /// People of another run have other names.
    run: u64,
}

impl Place<'_> {
    /// A new device of a person. Each prefers another edge, and takes any.
    async fn connect(&self, person: &str, preferred: usize) -> Client {
        let mut addresses = self.edges.to_vec();
        addresses.rotate_left(preferred % self.edges.len());
        let servers = Servers::Quic {
            addresses,
            server_name: development::SERVER_NAME.to_owned(),
            via: Via::Own(
                Roots::from_pem(&std::fs::read(self.development.ca_file()).unwrap()).unwrap(),
            ),
        };
        let person = format!("{person}-{}", self.run);
        let token = StaticToken(self.development.mint(&person, wall_clock_ms()).unwrap());
        let config = Config {
            connect_within: WITHIN,
            reconnect_max: Duration::from_secs(2),
            ..Config::new(servers, token, MemoryStore::default())
        };
        Client::connect(config).await.unwrap()
    }
}

fn message(began: Instant, conversation: usize, number: u64) -> Bytes {
    let mut bytes = BytesMut::with_capacity(PAYLOAD_LEN);
    bytes.put_u64(conversation as u64);
    bytes.put_u64(number);
    bytes.put_u64(began.elapsed().as_micros() as u64);
    bytes.resize(PAYLOAD_LEN, number as u8);
    bytes.freeze()
}

fn read(mut payload: Bytes) -> (usize, u64, Duration) {
    assert_eq!(payload.len(), PAYLOAD_LEN);
    let (conversation, number) = (payload.get_u64() as usize, payload.get_u64());
    let sent = Duration::from_micros(payload.get_u64());
    assert!(payload.iter().all(|byte| *byte == number as u8), "the payload is as it was sent");
    (conversation, number, sent)
}
