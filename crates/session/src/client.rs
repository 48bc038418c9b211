//! The client's half of a connection, and what goes on between connections.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};

use wire::{
    Address, ClientFrame, Counter, DecodeError, DeliveryFrame, DeviceId, Item, RunId, SendId, Seq,
    ServerFrame, UserId,
    client_frame::{Hello, Proof, Send},
    delivery_frame::Deliver,
    entity::Query,
    item::Body,
    limits::{PAGE_ROWS_MAX, PAYLOAD_BYTES_MAX},
    server_frame::Welcome,
    signal::Datagram,
    version::PROTOCOL,
};

use crate::{
    close::CloseCode,
    edge::Violation,
    inbox::{Company, Inbox},
    outbox::Outbox,
    requests::{Request, Requests},
    sightings::Sightings,
};
pub use crate::{
    event::{Event, Greeting, HistoryPage, Outcome},
    outbox::{Full, Limits},
    requests::WAITING_MAX as REQUESTS_WAITING_MAX,
    restored::{Restored, StoreChange},
    sightings::SignalError,
};

/// A fresh token is asked for so long before the old one ends, or after four fifths of its life
/// when that is later.
const TOKEN_MARGIN: Duration = Duration::from_secs(60);
/// Asked for and not given, a token is asked for again after this.
const TOKEN_AGAIN: Duration = Duration::from_secs(10);

/// A device and its conversation with one edge after another.
///
/// After every call the driver takes what is ready, in this order and as one:
/// [`Self::poll_changes`], [`Self::poll_control`], [`Self::poll_event`]. It makes the changes
/// durable before it transmits those bytes or reports those events. That keeps the promises: a
/// send that left has a place in the store, and an acknowledged item is not shown again after a
/// restart.
#[derive(Debug)]
pub struct ClientSession {
    run: RunId,
    counter: u64,
    user: Option<UserId>,
    state: State,
    outbox: Outbox,
    inbox: Inbox,
    requests: Requests,
    sightings: Sightings,
    changes: Vec<StoreChange>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
enum State {
    Disconnected,
    /// `Hello` is to be sent, or its answer is awaited.
    Greeting(Option<Box<Hello>>),
    Open(Open),
}

#[derive(Debug)]
struct Open {
    /// The edge's clock, milliseconds since 1970, at session time zero.
    clock_ms: i128,
    token: Token,
    draining: bool,
}

#[derive(Debug)]
enum Token {
    Good { renew_at: Duration },
    Asked { again_at: Duration },
    Given(Box<Proof>),
    Sent,
}

/// Why a send was not queued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnqueueError {
    /// Try again when something was answered.
    #[error(transparent)]
    Full(#[from] Full),
    /// The cluster would never take it.
    #[error("a payload over 64 KiB: send a reference to an attachment instead")]
    PayloadSize,
}

/// As many requests wait as may: try again when one was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many requests wait for their answer")]
pub struct TooManyRequests;

impl ClientSession {
    /// A device that starts from what its store holds. `run` is drawn at random at every start.
    #[must_use]
    pub fn new(device: DeviceId, run: RunId, limits: Limits, restored: Restored) -> Self {
        let Restored { user, cursor, ahead, outbox, accepted, repeats } = restored;
        Self {
            run,
            counter: 0,
            user,
            state: State::Disconnected,
            outbox: Outbox::new(limits, outbox, accepted),
            inbox: Inbox::new(device, cursor, ahead, repeats),
            requests: Requests::default(),
            sightings: Sightings::default(),
            changes: Vec::new(),
            events: VecDeque::new(),
        }
    }

    /// Queues a send. Its id never changes, across connections and restarts. `ttl_s` 0 is the
    /// cluster's default.
    ///
    /// # Errors
    /// When as much waits as may, or when the send could never be accepted.
    pub fn enqueue(&mut self, to: Address, ttl_s: u32, body: Body) -> Result<SendId, EnqueueError> {
        if let Body::Message(payload) = &body
            && payload.len() > PAYLOAD_BYTES_MAX
        {
            return Err(EnqueueError::PayloadSize);
        }
        let id = SendId { run: self.run, counter: Counter::new(self.counter + 1) };
        let change = self.outbox.enqueue(Send { id, to, previous: None, ttl_s, body })?;
        self.counter += 1;
        self.changes.push(change);
        Ok(id)
    }

    /// The application has processed the item at this position; in any order. Several are stored
    /// together, within 25 ms, and told together, with other frames or half a second after the
    /// first at the latest. Returns whether the driver has to poll now, to store and to learn of
    /// these times.
    pub fn acknowledge(&mut self, seq: Seq) -> bool {
        self.inbox.acknowledge(seq)
    }

    /// What is acknowledged is told by the next [`Self::poll_control`], without waiting for more.
    pub fn flush(&mut self) {
        self.inbox.flush();
    }

    /// Asks for the newest `limit` rows before a position; answered by [`Event::Page`].
    ///
    /// # Errors
    /// When too many requests wait.
    pub fn read_history(
        &mut self,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<u32, TooManyRequests> {
        let limit = limit.clamp(1, PAGE_ROWS_MAX);
        self.requests.ask(Request::Page { before, limit }).ok_or(TooManyRequests)
    }

    /// Asks a question; answered by [`Event::Answer`].
    ///
    /// # Errors
    /// When too many requests wait.
    pub fn query(&mut self, query: Query) -> Result<u32, TooManyRequests> {
        self.requests.ask(Request::Query(query)).ok_or(TooManyRequests)
    }

    /// Queues a signal for the connected devices of these users, 1 to 32, with an opaque body of at
    /// most 1 KiB. It arrives at most once, perhaps never, and only if it can leave about now.
    ///
    /// # Errors
    /// When it does not leave. [`SignalError::NotNow`] is nothing to act on.
    pub fn signal(&mut self, to: &[UserId], body: Bytes) -> Result<(), SignalError> {
        let is_open = self.is_open();
        self.sightings.signal(to, body, is_open)
    }

    /// Wants to know whether these users, at most 256 in place of those before, are connected. Only
    /// those who show themselves to this user are ever [`Event::Online`].
    ///
    /// # Errors
    /// [`SignalError::Users`] when there are too many.
    pub fn watch(&mut self, users: &[UserId]) -> Result<(), SignalError> {
        self.sightings.watch(users)
    }

    /// Shows to these users, at most 256 in place of those before, that this device is connected.
    ///
    /// # Errors
    /// [`SignalError::Users`] when there are too many.
    pub fn show(&mut self, users: &[UserId]) -> Result<(), SignalError> {
        self.sightings.show(users)
    }

    /// Whether a device of this user is connected, as far as is known.
    #[must_use]
    pub fn is_online(&self, user: UserId) -> bool {
        self.sightings.is_online(user)
    }

    /// A connection is there; the greeting goes first.
    pub fn handle_connected(&mut self, greeting: Greeting) {
        self.handle_disconnected();
        self.state = State::Greeting(Some(Box::new(Hello {
            versions: vec![PROTOCOL],
            agent: greeting.agent,
            device_key: greeting.device_key,
            proof: greeting.proof,
            resume_after: self.inbox.cursor(),
        })));
    }

    /// The connection is gone; everything unanswered goes again on the next one.
    pub fn handle_disconnected(&mut self) {
        self.state = State::Disconnected;
        self.outbox.handle_disconnected();
        self.inbox.handle_disconnected();
        self.requests.handle_disconnected();
        self.sightings.handle_disconnected();
    }

    /// Takes a frame of the control stream. `random` spreads what comes again.
    ///
    /// # Errors
    /// When the edge broke a rule: close with the code and connect again.
    pub fn handle_control(
        &mut self,
        now: Duration,
        frame: ServerFrame,
        random: u32,
    ) -> Result<(), Violation> {
        let is_welcome = matches!(frame, ServerFrame::Welcome(_));
        match (&self.state, is_welcome) {
            (State::Disconnected, _) => return Ok(()),
            (State::Greeting(None), true) | (State::Open(_), false) => {}
            (State::Greeting(_), _) => {
                return Err(Violation::protocol("a frame before Welcome"));
            }
            (State::Open(_), true) => return Err(Violation::protocol("a second Welcome")),
        }
        match frame {
            ServerFrame::Welcome(welcome) => return self.handle_welcome(now, welcome),
            ServerFrame::Renewed(expires_ms) => self.handle_renewed(now, expires_ms),
            ServerFrame::Accepted(id) => {
                if let Some(change) = self.outbox.handle_accepted(id) {
                    self.changes.push(change);
                    self.events.push_back(Event::Accepted(id));
                }
            }
            ServerFrame::Busy { id, after_ms, .. } | ServerFrame::Retry { id, after_ms } => {
                self.outbox.handle_again(id, now + spread(after_ms, random));
                self.outbox.handle_timeout(now);
            }
            ServerFrame::Reject { id, reason } => {
                if let Some(change) = self.outbox.handle_rejected(id) {
                    self.changes.push(change);
                    self.events.push_back(Event::Rejected(id, reason));
                }
            }
            ServerFrame::Page(page) => {
                if self.requests.handle_answer(page.request) {
                    let rows = page.rows.into_iter().map(history_row).collect();
                    let (request, more) = (page.request, page.more);
                    self.events.push_back(Event::Page(HistoryPage { request, rows, more }));
                }
            }
            ServerFrame::Answer(request, answer) => {
                if self.requests.handle_answer(request) {
                    self.events.push_back(Event::Answer(request, answer));
                }
            }
            ServerFrame::Drain { deadline_ms, jitter_ms } => {
                self.handle_drain(deadline_ms, jitter_ms);
            }
            ServerFrame::Presence(sightings) => {
                self.sightings.handle_presence(now, sightings, &mut self.events);
            }
        }
        Ok(())
    }

    fn handle_welcome(&mut self, now: Duration, welcome: Welcome) -> Result<(), Violation> {
        if welcome.version != PROTOCOL {
            let reason = "the edge chose a version that was not offered";
            return Err(Violation { code: CloseCode::Version, reason });
        }
        match self.user {
            None => {
                self.user = Some(welcome.user);
                self.changes.push(StoreChange::User(welcome.user));
            }
            Some(user) if user == welcome.user => {}
            Some(_) => {
                let reason = "the token names another user than the one this store belongs to";
                return Err(Violation { code: CloseCode::Unauthenticated, reason });
            }
        }
        let clock_ms = i128::from(welcome.now_ms) - as_i128(now.as_millis());
        let token = token_until(now, clock_ms, welcome.token_expires_ms);
        self.state = State::Open(Open { clock_ms, token, draining: false });
        self.outbox.handle_welcome(welcome.send_window as usize);
        self.sightings.handle_welcome();
        self.events.push_back(Event::Connected(welcome));
        if let Some(from) = self.inbox.handle_welcome(welcome.user, welcome.resume_after) {
            self.events.push_back(Event::Truncated(from));
        }
        Ok(())
    }

    fn handle_renewed(&mut self, now: Duration, expires_ms: u64) {
        if let State::Open(open) = &mut self.state {
            open.token = token_until(now, open.clock_ms, expires_ms);
        }
    }

    fn handle_drain(&mut self, deadline_ms: u32, jitter_ms: u32) {
        if let State::Open(open) = &mut self.state
            && !std::mem::replace(&mut open.draining, true)
        {
            self.events.push_back(Event::Drain {
                deadline: Duration::from_millis(deadline_ms.into()),
                jitter: Duration::from_millis(jitter_ms.into()),
            });
        }
    }

    /// Takes a frame of the delivery stream. One that comes before `Welcome`, which is on the
    /// other stream, has to be kept back by the driver: [`Self::is_open`].
    pub fn handle_delivery(&mut self, frame: DeliveryFrame) {
        match frame {
            DeliveryFrame::Deliver(deliver) => {
                self.inbox.handle_deliver(deliver, &mut self.events);
            }
            DeliveryFrame::CaughtUp { head, prev } => {
                if self.inbox.handle_caught_up(head, prev) {
                    self.events.push_back(Event::CaughtUp(head));
                }
            }
            DeliveryFrame::Truncated(from) => self.events.push_back(Event::Truncated(from)),
        }
    }

    //= protocol#conn-9
    /// Takes a datagram. One that is not understood, or comes before `Welcome`, is ignored.
    pub fn handle_datagram(&mut self, datagram: Bytes) {
        if let (State::Open(_), Ok(Datagram::Signal(signal))) =
            (&self.state, Datagram::decode(datagram))
        {
            self.events.push_back(Event::Signal(signal));
        }
    }

    /// A fresh token, signed for this connection. Ignored when none is needed any more.
    pub fn handle_token(&mut self, proof: Proof) {
        if let State::Open(open) = &mut self.state
            && let Token::Asked { .. } = open.token
        {
            open.token = Token::Given(Box::new(proof));
        }
    }

    /// The time [`Self::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.sightings.handle_timeout(now, &mut self.events);
        self.outbox.handle_timeout(now);
        if self.outbox.is_overdue(now) {
            self.events.push_back(Event::Unresponsive);
        }
        if let State::Open(open) = &mut self.state {
            match open.token {
                Token::Good { renew_at: at } | Token::Asked { again_at: at } if at <= now => {
                    open.token = Token::Asked { again_at: now + TOKEN_AGAIN };
                    self.events.push_back(Event::TokenNeeded);
                }
                Token::Good { .. } | Token::Asked { .. } | Token::Given(_) | Token::Sent => {}
            }
        }
    }

    /// When [`Self::handle_timeout`] is due; it may change with every call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let sightings = self.sightings.poll_timeout();
        let State::Open(open) = &self.state else { return sightings };
        let token = match open.token {
            Token::Good { renew_at: at } | Token::Asked { again_at: at } => Some(at),
            Token::Given(_) | Token::Sent => None,
        };
        let others = [self.outbox.poll_timeout(), self.inbox.poll_timeout(), sightings];
        token.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// Changes to make durable before what was polled since is transmitted or reported.
    pub fn poll_changes(&mut self) -> Vec<StoreChange> {
        let mut changes = std::mem::take(&mut self.changes);
        self.inbox.poll_changes(&mut changes);
        changes
    }

    /// Appends control frames until `out` holds about `room` bytes or nothing is left to say.
    pub fn poll_control(&mut self, now: Duration, out: &mut BytesMut, room: usize) {
        match &mut self.state {
            State::Disconnected => return,
            State::Greeting(hello) => {
                if let Some(hello) = hello.take() {
                    ClientFrame::Hello(*hello).encode(out);
                }
                return;
            }
            State::Open(open) => {
                if let Token::Given(_) = open.token
                    && let Token::Given(proof) = std::mem::replace(&mut open.token, Token::Sent)
                {
                    ClientFrame::Renew(*proof).encode(out);
                }
            }
        }
        if let Some(after) = self.inbox.poll_resync() {
            ClientFrame::Resync(after).encode(out);
        }
        while out.len() < room
            && let Some(request) = self.requests.poll()
        {
            request.encode(out);
        }
        while out.len() < room
            && self.may_send()
            && let Some(send) = self.outbox.poll(now)
        {
            ClientFrame::Send(send).encode(out);
        }
        self.sightings.poll(out, room);
        let company = if out.is_empty() { Company::Alone } else { Company::Others };
        if let Some(seq) = self.inbox.poll_ack(now, company) {
            ClientFrame::Ack(seq).encode(out);
        }
    }

    /// What to tell the application.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// `Welcome` has come on this connection.
    #[must_use]
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open(_))
    }

    /// Sends that wait for their answer.
    #[must_use]
    pub fn unanswered(&self) -> usize {
        self.outbox.len()
    }

    /// Sends of this connection that wait for their answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.outbox.in_flight()
    }

    /// Whether this send waits for its answer.
    #[must_use]
    pub fn is_unanswered(&self, id: SendId) -> bool {
        self.outbox.contains(id)
    }

    /// Items given to the application that it has not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.inbox.unacknowledged()
    }

    /// Everything up to here is processed; none before the first connection.
    #[must_use]
    pub fn cursor(&self) -> Option<Seq> {
        self.inbox.cursor()
    }

    /// The user of this device, once known.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        self.user
    }

    /// A leaving edge takes nothing more.
    fn may_send(&self) -> bool {
        matches!(&self.state, State::Open(open) if !open.draining)
    }
}

fn history_row(row: Deliver) -> (Seq, u64, Result<Item, DecodeError>) {
    (row.seq, row.log_time_ms, Item::decode(row.item))
}

/// The delay and up to half of it more, so that what was refused together comes back apart.
fn spread(after_ms: u32, random: u32) -> Duration {
    let after_ms = u64::from(after_ms);
    Duration::from_millis(after_ms + ((after_ms * u64::from(random)) >> 33))
}

fn token_until(now: Duration, clock_ms: i128, expires_ms: u64) -> Token {
    let left_ms = i128::from(expires_ms) - clock_ms - as_i128(now.as_millis());
    let left = Duration::from_millis(u64::try_from(left_ms).unwrap_or(0));
    let wait = left.saturating_sub(TOKEN_MARGIN).max(left * 4 / 5);
    Token::Good { renew_at: now + wait }
}

fn as_i128(millis: u128) -> i128 {
    i128::try_from(millis).unwrap_or(i128::MAX)
}
