//! The bare relay: what the whole system could do at most on this machine if it did nothing but
//! pass frames on.
//!
//! Clients send frames over real UDP sockets on the loopback interface to one server, which answers
//! each with an *accepted* frame and passes it on to one receiver or eight. No log, no store, no
//! queue in between, no authentication; the same streams, limits and framing that clients and edges
//! use, and as many sockets. Receivers check that nothing is missing or out of order.

use std::{
    collections::BTreeMap,
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
    time::sleep,
};
use wire::{EdgeId, codec::take_frame};

use crate::measure::{Meter, Run, Shape};

const WARM_UP: Duration = Duration::from_secs(2);
const NAME: &str = "edge.bench";
const FRAME_LIMIT: usize = 128 * 1024;
/// Length of the number in front of every payload and in every answer.
const NUMBER_LEN: usize = 8;
const WRITE_BYTES_MAX: usize = 64 * 1024;

/// Runs one shape; counts deliveries.
pub fn run(shape: Shape, seconds: f64, payload: usize) -> Run {
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
    serving.spawn_on(serve(endpoint, shape.fan_out), edge.handle());

    let load = start_load(address, roots, shape, payload, Arc::clone(&counters));
    let run = clients.block_on(async {
        let _load = load.await;
        sleep(WARM_UP).await;
        let (meter, before) = (Meter::start(), counters.delivered());
        sleep(Duration::from_secs_f64(seconds)).await;
        meter.stop(counters.delivered() - before)
    });
    drop(serving);
    clients.shutdown_background();
    edge.shutdown_background();
    run
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
        let mut open = true;
        if let Some((last, rest)) = outlets.split_last_mut() {
            for outlet in rest {
                copy.extend_from_slice(&out);
                open &= write_all(&mut outlet.delivery, &mut copy).await;
            }
            open &= write_all(&mut last.delivery, &mut out).await;
        }
        open &= write_all(&mut answers, &mut accepted).await;
        if !open {
            return;
        }
    }
}

#[derive(Default)]
struct Counters {
    delivered: AtomicU64,
}

impl Counters {
    fn delivered(&self) -> u64 {
        self.delivered.load(Ordering::Relaxed)
    }
}

/// Receivers first; the load begins when the last one is ready.
async fn start_load(
    address: SocketAddr,
    roots: Roots,
    shape: Shape,
    payload: usize,
    counters: Arc<Counters>,
) -> JoinSet<()> {
    let endpoint = || ClientEndpoint::bind(roots.clone()).unwrap();
    let mut tasks = JoinSet::new();
    for index in 0..shape.senders * shape.fan_out {
        let connection = endpoint().connect(address, NAME).await.unwrap();
        let control = say_hello(&connection, 0, index / shape.fan_out).await;
        let mut delivery = connection.accept_uni().await.unwrap();
        let mut read = BytesMut::new();
        while take_frame(&mut read, FRAME_LIMIT).unwrap().is_none() {
            assert!(delivery.read(&mut read).await.unwrap());
        }
        tasks.spawn(receive(delivery, read, control, payload, Arc::clone(&counters)));
    }
    for index in 0..shape.senders {
        let connection = endpoint().connect(address, NAME).await.unwrap();
        let (frames, answers) = say_hello(&connection, 1, index).await;
        tasks.spawn(send(frames, answers, shape.window, payload));
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

/// Keeps `window` frames unanswered; those that became free together go out together.
async fn send(mut frames: Sender, mut answers: Receiver, window: u64, payload: usize) {
    let (mut sent, mut accepted) = (0_u64, 0_u64);
    let (mut out, mut read) = (BytesMut::new(), BytesMut::new());
    loop {
        while sent < accepted + window {
            put_frame(&mut out, &sent.to_be_bytes(), payload);
            sent += 1;
        }
        write_all(&mut frames, &mut out).await;
        answers.read(&mut read).await.unwrap();
        while let Some(answer) = take_frame(&mut read, FRAME_LIMIT).unwrap() {
            assert_eq!(number(&answer), accepted);
            accepted += 1;
        }
    }
}

async fn receive(
    mut delivery: Receiver,
    mut read: BytesMut,
    _control: (Sender, Receiver),
    payload: usize,
    counters: Arc<Counters>,
) {
    let mut delivered = 0_u64;
    while delivery.read(&mut read).await.unwrap() {
        let before = delivered;
        while let Some(frame) = take_frame(&mut read, FRAME_LIMIT).unwrap() {
            assert_eq!(number(&frame), delivered);
            assert_eq!(frame.len(), NUMBER_LEN + payload);
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

/// Whether the connection is still open.
async fn write_all(sender: &mut Sender, buffer: &mut BytesMut) -> bool {
    while !buffer.is_empty() {
        if sender.write(buffer).await.is_err() {
            return false;
        }
    }
    buffer.reserve(WRITE_BYTES_MAX);
    true
}
