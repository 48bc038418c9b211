//! A cluster in miniature: one log, one mailbox for each user, edges made of `session::edge`.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use client::{Client, Config, Servers, StaticToken, store::Store};
use link::{memory::Hub, quic::ServerEndpoint};
use session::{
    close::CloseCode,
    edge::{Admitted, EdgeSession, Effect, Published},
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinSet,
    time::Instant,
};
use wire::{
    Address, ClientFrame, DeviceId, Generation, Item, MessageId, Seq, UserId, auth,
    client_frame::{Read, Send},
    codec,
    delivery_frame::Deliver,
    entity::{Devices, Query},
    item::{Body, Verdict},
    limits::{CLIENT_FRAME_BYTES_MAX, DELIVERY_WINDOW, SEND_WINDOW},
    mesh::Origin,
    server_frame::{Answer, BusyReason, Page, Welcome},
    signal::SignalFrom,
};

pub(crate) fn user(name: &str) -> UserId {
    auth::user_id("test", name)
}

/// Shared by all edges.
#[derive(Clone)]
pub(crate) struct Cluster {
    pub(crate) hub: Hub,
    pub(crate) state: Arc<Mutex<State>>,
    changed: watch::Sender<u64>,
    /// Connections of an older number are cut.
    cut: watch::Sender<u64>,
    signals: broadcast::Sender<(Vec<UserId>, SignalFrom)>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) mailboxes: BTreeMap<UserId, Vec<(Seq, Bytes)>>,
    pub(crate) log: Vec<(Address, Bytes)>,
    pub(crate) cursors: BTreeMap<DeviceId, Seq>,
    /// Sends answered Busy before any is taken again.
    pub(crate) busy: usize,
    pub(crate) connections: usize,
    /// Who is shown to whoever watches.
    pub(crate) online: Vec<UserId>,
    /// Times presence was asked for.
    pub(crate) asked: usize,
    /// To whom the last one who said so shows itself.
    pub(crate) shown: Vec<UserId>,
    next: u64,
}

impl Cluster {
    /// A cluster with these edges, served until the test ends.
    pub(crate) fn start(edges: &[&str], tasks: &mut JoinSet<()>) -> Self {
        let cluster = Self {
            hub: Hub::new(1),
            state: Arc::default(),
            changed: watch::Sender::new(0),
            cut: watch::Sender::new(0),
            signals: broadcast::Sender::new(64),
        };
        for name in edges {
            let (cluster, mut listener) = (cluster.clone(), cluster.hub.listen(name));
            tasks.spawn(async move {
                let mut connections = JoinSet::new();
                while let Some(connection) = listener.accept().await {
                    connections.spawn(cluster.clone().serve_one(connection));
                }
            });
        }
        cluster
    }

    /// One more edge, over QUIC.
    pub(crate) fn listen(&self, endpoint: ServerEndpoint, tasks: &mut JoinSet<()>) {
        let cluster = self.clone();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Some(incoming) = endpoint.accept().await {
                let cluster = cluster.clone();
                connections.spawn(async move {
                    if let Ok(connection) = incoming.accept().await {
                        connection.set_authenticated();
                        cluster.serve_one(connection).await;
                    }
                });
            }
        });
    }

    async fn serve_one(self, connection: link::Connection) {
        self.state.lock().unwrap().connections += 1;
        let end = self.serve(&connection).await;
        connection.close(end.unwrap_or(CloseCode::Done).code(), "");
    }

    pub(crate) fn config(&self, name: &str, edges: &[&str], store: impl Store + 'static) -> Config {
        let names = edges.iter().map(ToString::to_string).collect();
        let servers = Servers::Memory { hub: self.hub.clone(), names };
        Config::new(servers, StaticToken(name.to_owned()), store)
    }

    pub(crate) async fn client(&self, name: &str, store: impl Store + 'static) -> Client {
        self.state.lock().unwrap().mailboxes.entry(user(name)).or_default();
        Client::connect(self.config(name, &["edge"], store)).await.unwrap()
    }

    /// Breaks every connection there is.
    pub(crate) fn cut(&self) {
        self.cut.send_modify(|number| *number += 1);
    }

    async fn serve(&self, connection: &link::Connection) -> Option<CloseCode> {
        let began = Instant::now();
        let mut edge = EdgeSession::new(Duration::ZERO);
        let (mut control, mut receiver) = connection.accept_bi().await.ok()?;
        let mut delivery = None;
        let (mut input, mut control_out, mut delivery_out) =
            (BytesMut::new(), BytesMut::new(), BytesMut::new());
        let mut who = None;
        let (mut changed, mut cut) = (self.changed.subscribe(), self.cut.subscribe());
        let mut signals = self.signals.subscribe();
        cut.mark_unchanged();
        loop {
            while let Some(effect) = edge.poll_effect() {
                if let Effect::Close(code) = effect {
                    return Some(code);
                }
                self.perform((&mut edge, connection), effect, &mut who, began.elapsed());
            }
            edge.poll_control(&mut control_out);
            edge.poll_delivery(began.elapsed(), &mut delivery_out, 16 * 1024);
            if who.is_some() && delivery.is_none() {
                delivery = Some(connection.open_uni().await.ok()?);
            }
            let due = edge.poll_timeout().and_then(|due| began.checked_add(due));
            let due = due.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
            tokio::select! {
                biased;
                _ = cut.changed() => {
                    link::memory::cut(connection);
                    return None;
                }
                read = receiver.read(&mut input) => {
                    if !read.ok()? {
                        return Some(CloseCode::Done);
                    }
                    while let Some(frame) =
                        codec::take_frame(&mut input, CLIENT_FRAME_BYTES_MAX).unwrap()
                    {
                        let frame = ClientFrame::decode(frame).unwrap();
                        edge.handle_frame(began.elapsed(), frame).unwrap();
                    }
                }
                wrote = control.write(&mut control_out), if !control_out.is_empty() => {
                    wrote.ok()?;
                }
                wrote = async { delivery.as_mut().unwrap().write(&mut delivery_out).await },
                    if delivery.is_some() && !delivery_out.is_empty() => wrote.ok()?,
                _ = changed.changed() => {
                    if let Some((user, _)) = who {
                        edge.handle_head(began.elapsed(), self.head(user));
                    }
                }
                said = signals.recv() => {
                    let (to, from) = said.unwrap();
                    if who.is_some_and(|(user, device)| {
                        to.contains(&user) && device != from.device
                    }) {
                        edge.handle_signal(began.elapsed(), from);
                    }
                }
                () = tokio::time::sleep_until(due) => edge.handle_timeout(began.elapsed()),
            }
        }
    }

    fn head(&self, user: UserId) -> Seq {
        let state = self.state.lock().unwrap();
        let last = state.mailboxes.get(&user).and_then(|rows| rows.last());
        last.map_or(Seq::ZERO, |(seq, _)| *seq)
    }

    fn perform(
        &self,
        (edge, connection): (&mut EdgeSession, &link::Connection),
        effect: Effect,
        who: &mut Option<(UserId, DeviceId)>,
        now: Duration,
    ) {
        match effect {
            Effect::Authenticate(hello) => {
                let user = user(&hello.proof.token);
                let device = auth::device_id(&hello.device_key);
                *who = Some((user, device));
                let stored = self.state.lock().unwrap().cursors.get(&device).copied();
                let resume_after = hello.resume_after.or(stored).unwrap_or(Seq::ZERO);
                let welcome = Welcome {
                    version: 1,
                    user,
                    device,
                    resume_after,
                    now_ms: 0,
                    send_window: SEND_WINDOW,
                    delivery_window: DELIVERY_WINDOW,
                    token_expires_ms: 3_600_000,
                    registered: false,
                };
                let token_expires = now + Duration::from_secs(3660);
                edge.handle_admitted(now, Admitted { welcome, token_expires, truncated: None });
            }
            Effect::Renew(_) => {
                edge.handle_renewed(now, now + Duration::from_secs(3660), 7_200_000);
            }
            Effect::Publish(send) => {
                let (id, who) = (send.id, who.unwrap());
                let published = self.append(send, who);
                edge.handle_published(now, id, published);
            }
            Effect::ReadMailbox { after, rows_max, .. } => {
                let rows = self.rows(who.unwrap().0);
                let head = rows.last().map_or(Seq::ZERO, |row| row.seq);
                let above: Vec<Deliver> =
                    rows.into_iter().filter(|row| row.seq > after).take(rows_max).collect();
                let more = above.last().is_some_and(|last| last.seq < head);
                edge.handle_rows(now, head, above, more);
            }
            Effect::StoreCursor { seq, .. } => {
                let mut state = self.state.lock().unwrap();
                let cursor = state.cursors.entry(who.unwrap().1).or_default();
                *cursor = seq.max(*cursor);
            }
            Effect::History(Read { request, before, limit }) => {
                let mut rows = self.rows(who.unwrap().0);
                rows.retain(|row| before.is_none_or(|before| row.seq < before));
                rows.reverse();
                let more = rows.len() > limit as usize;
                rows.truncate(limit as usize);
                edge.handle_page(Page { request, rows, more });
            }
            Effect::Query(request, Query::Devices) => {
                edge.handle_answer(request, Answer::Devices(Devices::default()));
            }
            Effect::Query(request, Query::Group(_)) => {
                let error = wire::server_frame::QueryError::NotFound;
                edge.handle_answer(request, Answer::Error(error));
            }
            Effect::Signal(signal) => {
                let (user, device) = who.unwrap();
                let from = SignalFrom { user, device, body: signal.body };
                self.signals.send((signal.to, from)).unwrap();
            }
            Effect::Watch(users) => {
                let mut state = self.state.lock().unwrap();
                state.asked += 1;
                for user in users.iter().filter(|user| state.online.contains(user)) {
                    let device = DeviceId::from_bytes([9; 8]);
                    let generation = Generation::new(1);
                    edge.handle_sighting(Origin { user: *user, device, generation }, true);
                }
            }
            Effect::Show(users) => self.state.lock().unwrap().shown = users.to_vec(),
            Effect::Datagram(datagram) => assert!(connection.send_datagram(datagram)),
            Effect::Close(_) => unreachable!(),
        }
    }

    fn rows(&self, user: UserId) -> Vec<Deliver> {
        let state = self.state.lock().unwrap();
        let rows = state.mailboxes.get(&user).into_iter().flatten();
        let deliver = |(seq, item): &(Seq, Bytes)| Deliver {
            seq: *seq,
            prev: None,
            log_time_ms: 1,
            item: item.clone(),
        };
        rows.map(deliver).collect()
    }

    fn append(&self, send: Send, (user, device): (UserId, DeviceId)) -> Published {
        let mut state = self.state.lock().unwrap();
        if state.busy > 0 {
            state.busy -= 1;
            return Published::Busy { reason: BusyReason::Overload, after_ms: 5 };
        }
        let id = MessageId { user, device, send: send.id };
        let mut item = Item { id, to: send.to, sent_ms: 1, ttl_s: 60, body: send.body };
        if let Body::Message(payload) = &item.body {
            let known = state.log.iter().any(|(to, sent)| *to == send.to && sent == payload);
            if known && payload.starts_with(b"once") {
                return Published::Accepted;
            }
            let payload = payload.clone();
            state.log.push((send.to, payload));
        }
        let recipients: Vec<UserId> = match send.to {
            Address::User(to) if to == user => vec![user],
            Address::User(to) => vec![to, user],
            Address::Group(_) => state.mailboxes.keys().copied().collect(),
        };
        if let Body::GroupChange(wire::item::GroupChange::Leave) = item.body {
            item.body = Body::Verdict(Verdict::NotAMember);
        }
        let item = item.encode();
        for recipient in recipients {
            state.next += 1;
            let seq = Seq::from_u64(state.next);
            state.mailboxes.entry(recipient).or_default().push((seq, item.clone()));
        }
        drop(state);
        self.changed.send_modify(|number| *number += 1);
        Published::Accepted
    }
}
