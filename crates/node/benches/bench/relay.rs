//! The bare relay: what the whole system could do at most on this machine if its servers did
//! nothing but pass frames on.
//!
//! The same clients send the same frames over the same QUIC connections. The server answers every
//! send with *accepted* and writes it to its receivers at once: no log, no store, no queue between
//! connections, no authentication, no limits.

use std::{
    collections::HashMap,
    net::Ipv4Addr,
    sync::{Arc, Mutex},
};

use bytes::BytesMut;
use link::{
    Receiver, Sender,
    config::ServerConfig,
    quic::{Incoming, ServerEndpoint},
    secret::MasterSecret,
    tls::Certificate,
};
use node::{clock::wall_clock_ms, development::Development};
use tokio::task::JoinSet;
use wire::{
    Address, ClientFrame, DeliveryFrame, DeviceId, EdgeId, Item, MessageId, Seq, ServerFrame,
    UserId, auth, client_frame,
    codec::take_frame,
    delivery_frame::Deliver,
    item::{Body, GroupChange},
    limits::{CLIENT_FRAME_BYTES_MAX, DELIVERY_WINDOW, SEND_WINDOW},
    server_frame::Welcome,
    version,
};

use crate::{
    load,
    measure::{Run, Shape},
};

/// Runs one shape; counts deliveries.
pub fn run(shape: Shape, seconds: f64, payload: usize) -> Run {
    let folder = tempfile::tempdir().unwrap();
    let development = load::development(folder.path());
    let runtime = load::runtime("relay");
    let endpoint = {
        let _inside = runtime.enter();
        ServerEndpoint::bind((Ipv4Addr::LOCALHOST, 0).into(), config(&development)).unwrap()
    };
    let address = endpoint.local_addr().unwrap().to_string();
    let mut serving = JoinSet::new();
    serving.spawn_on(serve(endpoint), runtime.handle());
    let run = load::run(&development, &address, shape, seconds, payload);
    drop(serving);
    runtime.shutdown_background();
    run
}

fn config(development: &Development) -> ServerConfig {
    let certificate = std::fs::read(development.certificate_file()).unwrap();
    let key = std::fs::read(development.key_file()).unwrap();
    ServerConfig {
        certificate: Certificate::from_pem(&certificate, &key).unwrap(),
        edge: EdgeId::new(1),
        secret: MasterSecret::random(),
        previous_secret: None,
    }
}

/// Where users are delivered to, until a sender takes them.
type Outlets = Arc<Mutex<HashMap<UserId, Outlet>>>;

/// The delivery stream of one user, and the last position written to it.
struct Outlet {
    delivery: Sender,
    seq: u64,
    out: BytesMut,
}

async fn serve(endpoint: ServerEndpoint) {
    let outlets = Outlets::default();
    let mut tasks = JoinSet::new();
    while let Some(incoming) = endpoint.accept().await {
        tasks.spawn(serve_connection(incoming, Arc::clone(&outlets)));
    }
}

async fn serve_connection(incoming: Incoming, outlets: Outlets) {
    let connection = incoming.accept().await.unwrap();
    connection.set_authenticated();
    let (mut answers, mut frames) = connection.accept_bi().await.unwrap();
    let mut read = BytesMut::new();
    let Some(ClientFrame::Hello(hello)) = next(&mut frames, &mut read).await else { return };
    let device = auth::device_id(&hello.device_key);
    let user = UserId::from_bytes(hello.device_key[..16].try_into().unwrap());
    let outlet =
        Outlet { delivery: connection.open_uni().await.unwrap(), seq: 0, out: BytesMut::new() };
    outlets.lock().unwrap().insert(user, outlet);
    let mut out = BytesMut::new();
    ServerFrame::Welcome(welcome(user, device)).encode(&mut out);
    write_all(&mut answers, &mut out).await;
    relay(frames, read, answers, outlets, (user, device)).await;
}

/// Passes on all whole frames of a read with one write for each receiver, then answers with one.
async fn relay(
    mut frames: Receiver,
    mut read: BytesMut,
    mut answers: Sender,
    outlets: Outlets,
    (user, device): (UserId, DeviceId),
) {
    let mut receivers: Vec<Outlet> = Vec::new();
    // The maker of a group waits for the Result.
    let mut own: Option<Outlet> = None;
    let mut out = BytesMut::new();
    while let Some(frame) = next(&mut frames, &mut read).await {
        let mut waiting = Some(frame);
        while let Some(frame) = waiting.take().or_else(|| take(&mut read)) {
            // Acknowledgements have nowhere to go.
            let ClientFrame::Send(send) = frame else { continue };
            ServerFrame::Accepted(send.id).encode(&mut out);
            take_receivers(&mut receivers, &outlets, &send);
            let is_change = matches!(send.body, Body::GroupChange(_));
            let item = item(user, device, send).encode();
            receivers.iter_mut().for_each(|receiver| receiver.put(item.clone()));
            if is_change {
                own = outlets.lock().unwrap().remove(&user);
                own.iter_mut().for_each(|own| own.put(item.clone()));
            }
        }
        let mut open = true;
        for receiver in receivers.iter_mut().chain(&mut own) {
            open &= write_all(&mut receiver.delivery, &mut receiver.out).await;
        }
        if !(open && write_all(&mut answers, &mut out).await) {
            return;
        }
    }
}

/// The first send says who the receivers are: a user, or the members of a new group.
fn take_receivers(receivers: &mut Vec<Outlet>, outlets: &Outlets, send: &client_frame::Send) {
    if !receivers.is_empty() {
        return;
    }
    let mut outlets = outlets.lock().unwrap();
    let mut take = |user: &UserId| receivers.push(outlets.remove(user).unwrap());
    match (&send.body, send.to) {
        (Body::GroupChange(GroupChange::Create(members)), _) => members.iter().for_each(take),
        (_, Address::User(user)) => take(&user),
        (_, Address::Group(_)) => {}
    }
}

impl Outlet {
    fn put(&mut self, item: bytes::Bytes) {
        let prev = Some(Seq::from_u64(self.seq));
        self.seq += 1;
        let (seq, log_time_ms) = (Seq::from_u64(self.seq), 1);
        DeliveryFrame::Deliver(Deliver { seq, prev, log_time_ms, item }).encode(&mut self.out);
    }
}

fn item(user: UserId, device: DeviceId, send: client_frame::Send) -> Item {
    let id = MessageId { user, device, send: send.id };
    Item { id, to: send.to, sent_ms: 1, ttl_s: 60, body: send.body }
}

fn welcome(user: UserId, device: DeviceId) -> Welcome {
    let now_ms = wall_clock_ms();
    Welcome {
        version: version::PROTOCOL,
        user,
        device,
        resume_after: Seq::ZERO,
        now_ms,
        send_window: SEND_WINDOW,
        delivery_window: DELIVERY_WINDOW,
        token_expires_ms: now_ms + 3_600_000,
        registered: true,
    }
}

async fn next(frames: &mut Receiver, read: &mut BytesMut) -> Option<ClientFrame> {
    loop {
        if let Some(frame) = take(read) {
            return Some(frame);
        }
        if !matches!(frames.read(read).await, Ok(true)) {
            return None;
        }
    }
}

fn take(read: &mut BytesMut) -> Option<ClientFrame> {
    let frame = take_frame(read, CLIENT_FRAME_BYTES_MAX).unwrap()?;
    Some(ClientFrame::decode(frame).unwrap())
}

/// Whether the connection is still open.
async fn write_all(sender: &mut Sender, buffer: &mut BytesMut) -> bool {
    while !buffer.is_empty() {
        if sender.write(buffer).await.is_err() {
            return false;
        }
    }
    true
}
