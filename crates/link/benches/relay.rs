//! The bare relay: what the whole system could do at most on this machine if it did nothing but
//! pass frames on.
//!
//! Clients send frames of 256 bytes of payload over real UDP sockets on the loopback interface to
//! one server, which answers each with an *accepted* frame and passes it on to one receiver
//! (direct) or eight (group). No log, no store, no queue in between, no authentication; the same
//! streams, limits and framing that clients and edges use. Every sender keeps 64 frames
//! unanswered. Receivers check that nothing is missing or out of order.
//!
//! Server and clients run on threads of their own, so that the CPU time of each is told apart:
//! `cargo bench -p link --bench relay -- [direct|group] [seconds]`.
#![allow(clippy::unwrap_used, missing_docs)]

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::{BufMut as _, BytesMut};
use link::{
    Connection, Receiver, Sender,
    config::ServerConfig,
    quic::{ClientEndpoint, ServerEndpoint},
    secret::MasterSecret,
    tls::{Certificate, Roots},
};
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::{Instant, sleep},
};
use wire::{EdgeId, codec::take_frame};

const RECEIVERS: usize = 200;
const GROUP_LEN: usize = 8;
const WINDOW: u64 = 64;
const PAYLOAD_LEN: usize = 256;
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED_SECONDS: u64 = 8;
const NAME: &str = "edge.bench";
const FRAME_LIMIT: usize = 1024;
/// UDP sockets the clients share, as a load generator would.
const CLIENT_SOCKETS: usize = 8;
/// Length of the number in front of every payload and in every answer.
const NUMBER_LEN: usize = 8;
const WRITE_BYTES_MAX: usize = 64 * 1024;

fn main() {
    // Cargo passes `--bench` to every benchmark.
    let asked: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let seconds = asked.iter().find_map(|word| word.parse().ok()).unwrap_or(MEASURED_SECONDS);
    let only = asked.iter().find(|word| word.parse::<u64>().is_err());
    for (shape, fan_out) in [("direct", 1), ("group", GROUP_LEN)] {
        if only.is_none_or(|only| only == shape) {
            measure(shape, fan_out, Duration::from_secs(seconds));
        }
    }
}

/// Runs one shape and prints a line of figures.
fn measure(shape: &str, fan_out: usize, duration: Duration) {
    let (edge, clients) = (runtime("edge"), runtime("client"));
    let (certificate, roots) = certificate();
    let counters = Arc::new(Counters::default());
    let config = ServerConfig {
        certificate,
        edge: EdgeId::new(1),
        secret: MasterSecret::random(),
        previous_secret: None,
    };
    let endpoint = {
        let _inside = edge.enter();
        ServerEndpoint::bind((Ipv4Addr::LOCALHOST, 0).into(), config).unwrap()
    };
    let address = endpoint.local_addr().unwrap();
    let mut serving = JoinSet::new();
    serving.spawn_on(serve(endpoint, fan_out), edge.handle());

    let load = start_load(address, roots, fan_out, Arc::clone(&counters));
    let (_load, figures) = clients.block_on(async {
        let load = load.await;
        sleep(WARM_UP).await;
        let before = Figures::now(&counters);
        sleep(duration).await;
        (load, Figures::now(&counters).since(&before))
    });
    figures.print(shape, RECEIVERS / fan_out, fan_out);
}

fn runtime(name: &str) -> Runtime {
    Builder::new_multi_thread().worker_threads(2).thread_name(name).enable_all().build().unwrap()
}

fn certificate() -> (Certificate, Roots) {
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    let certificate = Certificate::from_pem(
        made.cert.pem().as_bytes(),
        made.signing_key.serialize_pem().as_bytes(),
    );
    (certificate.unwrap(), Roots::from_pem(made.cert.pem().as_bytes()).unwrap())
}

/// Delivery streams by the number of their sender, until that sender comes.
type Waiting = Arc<Mutex<BTreeMap<u64, Vec<Outlet>>>>;

/// Where frames for one receiver go. Holds the connection open.
struct Outlet {
    delivery: Sender,
    _control: (Sender, Receiver),
}

async fn serve(endpoint: ServerEndpoint, fan_out: usize) {
    let waiting = Waiting::default();
    let mut tasks = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        let waiting = Arc::clone(&waiting);
        tasks.spawn(async move {
            let connection = incoming.accept().await.unwrap();
            connection.set_authenticated();
            serve_connection(connection, &waiting, fan_out).await;
        });
    }
}

/// A connection says with its first frame whether it sends (1) or receives (0), and the sender's
/// number.
async fn serve_connection(connection: Connection, waiting: &Waiting, fan_out: usize) {
    let (answers, mut frames) = connection.accept_bi().await.unwrap();
    let mut read = BytesMut::new();
    let hello = loop {
        if let Some(hello) = take_frame(&mut read, FRAME_LIMIT).unwrap() {
            break hello;
        }
        assert!(frames.read(&mut read).await.unwrap());
    };
    let sender = number(&hello[1..]);
    if hello[0] == 0 {
        let mut delivery = connection.open_uni().await.unwrap();
        write_all(&mut delivery, &mut BytesMut::from(&[1, 0][..])).await;
        let outlet = Outlet { delivery, _control: (answers, frames) };
        waiting.lock().unwrap().entry(sender).or_default().push(outlet);
    } else {
        let outlets = waiting.lock().unwrap().remove(&sender).unwrap();
        assert_eq!(outlets.len(), fan_out);
        relay(frames, read, answers, outlets).await;
    }
}

/// Passes on all whole frames of a read with one write per receiver, then accepts them with one.
async fn relay(
    mut frames: Receiver,
    mut read: BytesMut,
    mut answers: Sender,
    mut outlets: Vec<Outlet>,
) {
    let (mut out, mut accepted) = (BytesMut::new(), BytesMut::new());
    let mut copy = BytesMut::new();
    while matches!(frames.read(&mut read).await, Ok(true)) {
        while let Some(frame) = take_frame(&mut read, FRAME_LIMIT).unwrap() {
            put_frame(&mut accepted, &frame[..NUMBER_LEN], 0);
            put_frame(&mut out, &frame, 0);
        }
        if let Some((last, rest)) = outlets.split_last_mut() {
            for outlet in rest {
                copy.extend_from_slice(&out);
                write_all(&mut outlet.delivery, &mut copy).await;
            }
            write_all(&mut last.delivery, &mut out).await;
        }
        write_all(&mut answers, &mut accepted).await;
    }
}

#[derive(Default)]
struct Counters {
    accepted: AtomicU64,
    delivered: AtomicU64,
}

/// Receivers first; the load begins when the last one is ready.
async fn start_load(
    address: SocketAddr,
    roots: Roots,
    fan_out: usize,
    counters: Arc<Counters>,
) -> JoinSet<()> {
    let endpoint = |_| ClientEndpoint::bind(roots.clone()).unwrap();
    let sockets: Vec<ClientEndpoint> = (0..CLIENT_SOCKETS).map(endpoint).collect();
    let mut tasks = JoinSet::new();
    for index in 0..RECEIVERS {
        let connection = sockets[index % CLIENT_SOCKETS].connect(address, NAME).await.unwrap();
        let control = say_hello(&connection, 0, index / fan_out).await;
        let mut delivery = connection.accept_uni().await.unwrap();
        let mut read = BytesMut::new();
        while take_frame(&mut read, FRAME_LIMIT).unwrap().is_none() {
            assert!(delivery.read(&mut read).await.unwrap());
        }
        tasks.spawn(receive(delivery, read, control, Arc::clone(&counters)));
    }
    for index in 0..RECEIVERS / fan_out {
        let connection = sockets[index % CLIENT_SOCKETS].connect(address, NAME).await.unwrap();
        let (frames, answers) = say_hello(&connection, 1, index).await;
        tasks.spawn(send(frames, answers, Arc::clone(&counters)));
    }
    tasks
}

async fn say_hello(connection: &Connection, role: u8, sender: usize) -> (Sender, Receiver) {
    let (mut control, answers) = connection.open_bi().await.unwrap();
    let mut hello = BytesMut::new();
    let sender = u64::try_from(sender).unwrap().to_be_bytes();
    put_frame(&mut hello, &[&[role][..], &sender].concat(), 0);
    write_all(&mut control, &mut hello).await;
    (control, answers)
}

/// Keeps [`WINDOW`] frames unanswered; those that became free together go out together.
async fn send(mut frames: Sender, mut answers: Receiver, counters: Arc<Counters>) {
    let (mut sent, mut accepted) = (0_u64, 0_u64);
    let (mut out, mut read) = (BytesMut::new(), BytesMut::new());
    loop {
        while sent < accepted + WINDOW {
            put_frame(&mut out, &sent.to_be_bytes(), PAYLOAD_LEN);
            sent += 1;
        }
        write_all(&mut frames, &mut out).await;
        let before = accepted;
        answers.read(&mut read).await.unwrap();
        while let Some(answer) = take_frame(&mut read, FRAME_LIMIT).unwrap() {
            assert_eq!(number(&answer), accepted);
            accepted += 1;
        }
        counters.accepted.fetch_add(accepted - before, Ordering::Relaxed);
    }
}

async fn receive(
    mut delivery: Receiver,
    mut read: BytesMut,
    _control: (Sender, Receiver),
    counters: Arc<Counters>,
) {
    let mut delivered = 0_u64;
    while delivery.read(&mut read).await.unwrap() {
        let before = delivered;
        while let Some(frame) = take_frame(&mut read, FRAME_LIMIT).unwrap() {
            assert_eq!(number(&frame), delivered);
            assert_eq!(frame.len(), NUMBER_LEN + PAYLOAD_LEN);
            delivered += 1;
        }
        counters.delivered.fetch_add(delivered - before, Ordering::Relaxed);
    }
}

/// Appends a frame of `head` and `tail_len` bytes more, with its length.
fn put_frame(out: &mut BytesMut, head: &[u8], tail_len: usize) {
    let len = u16::try_from(head.len() + tail_len).unwrap();
    assert!(len < 1 << 14, "two bytes of length carry 14 bits");
    if len < 0x80 {
        out.put_u8(len.to_le_bytes()[0]);
    } else {
        out.put_u16_le((len & 0x7f) | 0x80 | ((len >> 7) << 8));
    }
    out.put_slice(head);
    out.put_bytes(0x5a, tail_len);
}

fn number(frame: &[u8]) -> u64 {
    u64::from_be_bytes(frame[..NUMBER_LEN].try_into().unwrap())
}

async fn write_all(sender: &mut Sender, buffer: &mut BytesMut) {
    while !buffer.is_empty() {
        sender.write(buffer).await.unwrap();
    }
    buffer.reserve(WRITE_BYTES_MAX);
}

/// Counts and CPU time at one moment, or between two.
struct Figures {
    at: Instant,
    accepted: u64,
    delivered: u64,
    cpu: BTreeMap<String, Duration>,
    seconds: f64,
}

impl Figures {
    fn now(counters: &Counters) -> Self {
        Self {
            at: Instant::now(),
            accepted: counters.accepted.load(Ordering::Relaxed),
            delivered: counters.delivered.load(Ordering::Relaxed),
            cpu: cpu_by_thread_name(),
            seconds: 0.0,
        }
    }

    fn since(mut self, before: &Self) -> Self {
        self.accepted -= before.accepted;
        self.delivered -= before.delivered;
        self.seconds = (self.at - before.at).as_secs_f64();
        for (name, cpu) in &mut self.cpu {
            *cpu -= before.cpu.get(name).copied().unwrap_or_default();
        }
        self
    }

    #[allow(clippy::cast_precision_loss)]
    fn print(&self, shape: &str, senders: usize, fan_out: usize) {
        let per_second = |count: u64| count as f64 / self.seconds;
        let cpu = |name: &str| self.cpu.get(name).map_or(0.0, Duration::as_secs_f64);
        let per_message = |seconds: f64| seconds * 1e6 / self.accepted as f64;
        let (edge, clients) = (cpu("edge"), cpu("client"));
        println!(
            "{shape}: {senders} senders to {fan_out} each: {:.0} messages/s accepted, \
             {:.0} deliveries/s; CPU per message {:.2} us = server {:.2} + clients {:.2}; \
             {:.2} cores busy",
            per_second(self.accepted),
            per_second(self.delivered),
            per_message(edge + clients),
            per_message(edge),
            per_message(clients),
            (edge + clients) / self.seconds,
        );
    }
}

/// Time each thread has run, as Linux counts it in nanoseconds, summed by name. The main thread
/// drives the clients' runtime for a moment only and is left out.
fn cpu_by_thread_name() -> BTreeMap<String, Duration> {
    let mut sums: BTreeMap<String, Duration> = BTreeMap::new();
    for thread in fs::read_dir("/proc/self/task").unwrap() {
        let thread = thread.unwrap().path();
        let name = fs::read_to_string(thread.join("comm")).unwrap();
        let run = fs::read_to_string(thread.join("schedstat")).unwrap();
        let nanoseconds = run.split_whitespace().next().unwrap().parse().unwrap();
        *sums.entry(name.trim().to_owned()).or_default() += Duration::from_nanos(nanoseconds);
    }
    sums
}
