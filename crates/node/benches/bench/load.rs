//! The load: real clients, with stores in memory, that send as fast as what they sent arrives.

use std::{
    collections::VecDeque,
    net::Ipv4Addr,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use client::{Address, Client, Event, Roots, Servers, StaticToken, Via, store::MemoryStore};
use node::{
    clock::wall_clock_ms,
    development::{self, Development},
};
use tokio::{
    runtime::{Builder, Runtime},
    sync::Semaphore,
    task::JoinSet,
    time::sleep,
};
use wire::{auth, item::GroupChange};

use crate::measure::{Meter, Run, Shape};

const WARM_UP: Duration = Duration::from_secs(2);

/// The certificates and tokens of a run.
pub fn development(folder: &Path) -> Development {
    Development::prepare(folder, Ipv4Addr::LOCALHOST.into()).unwrap()
}

/// Threads of one side, named so that a profile tells them apart.
pub fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread().worker_threads(2).thread_name(name).enable_all().build().unwrap()
}

/// Runs one shape against the server at `address`; counts deliveries.
pub fn run(
    development: &Development,
    address: &str,
    shape: Shape,
    seconds: f64,
    payload: usize,
) -> Run {
    run_between(development, address, shape, seconds, payload, || ()).0
}

/// The same, and what `look` sees when what is measured begins and when it ends.
pub fn run_between<T>(
    development: &Development,
    address: &str,
    shape: Shape,
    seconds: f64,
    payload: usize,
    look: impl Fn() -> T,
) -> (Run, T, T) {
    let clients = runtime("client");
    let seen = clients.block_on(async {
        let delivered = Arc::new(AtomicU64::new(0));
        let _load = start_load(development, address, shape, payload, &delivered).await;
        sleep(WARM_UP).await;
        let before = look();
        let (meter, begin) = (Meter::start(), delivered.load(Ordering::Relaxed));
        sleep(Duration::from_secs_f64(seconds)).await;
        let run = meter.stop(delivered.load(Ordering::Relaxed) - begin);
        (run, before, look())
    });
    clients.shutdown_background();
    seen
}

/// Receivers first; the load begins when the last one is ready.
async fn start_load(
    development: &Development,
    address: &str,
    shape: Shape,
    payload: usize,
    delivered: &Arc<AtomicU64>,
) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let window = usize::try_from(shape.window).expect("a window is small");
    let rooms: Vec<_> = (0..shape.senders).map(|_| Arc::new(Semaphore::new(window))).collect();
    let receivers = connect_all(development, address, "receiver", shape.senders * shape.fan_out);
    let receivers = receivers.await;
    let mut addresses = Vec::new();
    for (index, client) in receivers.into_iter().enumerate() {
        addresses.push(client.user().expect("connected"));
        let first = index % shape.fan_out == 0;
        let room = first.then(|| Arc::clone(&rooms[index / shape.fan_out]));
        tasks.spawn(receive(client, Arc::clone(delivered), room));
    }
    let senders = connect_all(development, address, "sender", shape.senders).await;
    for (index, client) in senders.into_iter().enumerate() {
        let members = &addresses[index * shape.fan_out..(index + 1) * shape.fan_out];
        let to = if let [only] = members {
            Address::User(*only)
        } else {
            let group = auth::group_id(development::ISSUER, &format!("group{index}"));
            client.change_group(group, GroupChange::Create(members.to_vec())).await.unwrap();
            Address::Group(group)
        };
        tasks.spawn(send(client, to, Arc::clone(&rooms[index]), payload));
    }
    tasks
}

/// Connects so many people, all at once, in order.
async fn connect_all(
    development: &Development,
    address: &str,
    name: &str,
    count: usize,
) -> Vec<Client> {
    let connecting =
        (0..count).map(|index| connect(development, address, format!("{name}{index}")));
    futures_util::future::join_all(connecting).await
}

async fn connect(development: &Development, address: &str, name: String) -> Client {
    let servers = Servers::Quic {
        addresses: vec![address.to_owned()],
        server_name: development::SERVER_NAME.to_owned(),
        via: Via::Own(Roots::from_pem(&std::fs::read(development.ca_file()).unwrap()).unwrap()),
    };
    let token = StaticToken(development.mint(&name, wall_clock_ms()).unwrap());
    Client::connect(client::Config::new(servers, token, MemoryStore::default())).await.unwrap()
}

/// Sends whenever there is room: at most a window is not yet delivered, and never more unanswered.
async fn send(client: Client, to: Address, room: Arc<Semaphore>, payload: usize) {
    let payload = Bytes::from(vec![0x5a; payload]);
    let mut waiting = VecDeque::new();
    loop {
        let free = room.available_permits().max(1);
        let taken = u32::try_from(free).expect("a window is small");
        room.acquire_many(taken).await.expect("never closed").forget();
        for _ in 0..free {
            waiting.push_back(client.enqueue(to, payload.clone()).unwrap());
        }
        // What is delivered was accepted before.
        while waiting.len() > free {
            waiting.pop_front().expect("there are more").await.unwrap();
        }
    }
}

/// Receives, and makes room for the sender of what was delivered.
async fn receive(client: Client, delivered: Arc<AtomicU64>, room: Option<Arc<Semaphore>>) {
    let mut inbox = client.inbox();
    while let Some(event) = inbox.next().await {
        if let Event::Item(item) = event {
            item.ack();
            if item.payload().is_some() {
                delivered.fetch_add(1, Ordering::Relaxed);
                if let Some(room) = &room {
                    room.add_permits(1);
                }
            }
        }
    }
}
