//! The edge's half of a connection: admits, publishes, delivers, takes acknowledgements.

use std::{collections::VecDeque, time::Duration};

use bytes::{Bytes, BytesMut};

use wire::{
    ClientFrame, SendId, Seq, ServerFrame,
    client_frame::{Hello, Proof, Read, Send},
    delivery_frame::Deliver,
    entity::Query,
    limits::AUTHENTICATE_WITHIN,
    mesh::Origin,
    server_frame::{Answer, BusyReason, Page, RejectReason, Welcome},
    signal::{Signal, SignalFrom},
};

use crate::{
    close::CloseCode,
    delivery::Delivery,
    publish::PublishWindow,
    signals::{Signals, Users},
};

/// Pages and answers asked for and not yet written. One more is a protocol error.
pub const REQUESTS_MAX: usize = 2;

/// Control frames that wait to be written. A client that makes more does not read: it is closed.
pub const CONTROL_FRAMES_MAX: usize = 1024;

/// Milliseconds after which a send that met a full or leaving edge comes again.
const BUSY_AFTER_MS: u32 = 200;

/// One connection, seen from the edge.
///
/// The driver gives it frames and answers, and after every call takes what is ready:
/// [`Self::poll_effect`] until it is empty, [`Self::poll_control`], [`Self::poll_delivery`], and
/// the time of the next [`Self::handle_timeout`]. Bounded in everything: sends by the window, rows
/// by the delivery window, control frames by [`CONTROL_FRAMES_MAX`].
#[derive(Debug)]
pub struct EdgeSession {
    state: State,
    publish: PublishWindow,
    delivery: Delivery,
    signals: Signals,
    control: VecDeque<ServerFrame>,
    effects: VecDeque<Effect>,
    requests: usize,
    renewing: bool,
    draining: bool,
}

#[derive(Debug)]
enum State {
    /// Waits for `Hello`.
    Silent { until: Duration },
    /// `Hello` is being checked.
    Authenticating { until: Duration },
    /// Everything is allowed.
    Open { token_expires: Duration },
    /// [`Effect::Close`] was given out; nothing happens any more.
    Closed,
}

/// A device that may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Admitted {
    /// What the client is told; its windows hold from now on.
    pub welcome: Welcome,
    /// Session time at which the connection ends without a fresh token, leeway included.
    pub token_expires: Duration,
    /// Rows below this may have been dropped before this device read them.
    pub truncated: Option<Seq>,
}

/// What the driver has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Check this and answer with [`EdgeSession::handle_admitted`], or close.
    Authenticate(Hello),
    /// Check this and answer with [`EdgeSession::handle_renewed`], or close.
    Renew(Proof),
    /// Append this, after all earlier ones, and answer with [`EdgeSession::handle_published`].
    ///
    /// The answer to an earlier one may make the next never come: a driver that decides at once
    /// (a full queue, a limit) answers before it takes the next effect.
    Publish(Send),
    /// Look at the head, then read `(after, head]`; answer with [`EdgeSession::handle_rows`] or
    /// [`EdgeSession::handle_read_failed`]. At most one is outstanding.
    ReadMailbox {
        /// Rows above this.
        after: Seq,
        /// At most so many.
        rows_max: usize,
        /// About so many bytes, at least one row.
        bytes_max: usize,
    },
    /// Store how far the device is. A later one replaces an earlier one.
    StoreCursor {
        /// Everything up to here is processed.
        seq: Seq,
        /// That was everything there is.
        caught_up: bool,
    },
    /// Read a page and answer with [`EdgeSession::handle_page`].
    History(Read),
    /// Answer with [`EdgeSession::handle_answer`] under this request number.
    Query(u32, Query),
    /// Hand this to the connected devices of its users, but for this one.
    Signal(Signal),
    /// These are watched, in place of those before: ask for their presence, answered at any time by
    /// [`EdgeSession::handle_sighting`]. Comes again and again, since answers run out.
    Watch(Users),
    /// These may know that this device is connected, in place of those before: tell those who are
    /// new, and those who are gone.
    Show(Users),
    /// Send this datagram now, or not at all.
    Datagram(Bytes),
    /// Write what is ready and close; the last effect.
    Close(CloseCode),
}

/// What became of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// All of it is durable.
    Accepted,
    /// It is not known whether it, or a part of it, was appended.
    Unknown {
        /// Milliseconds until it should come again.
        after_ms: u32,
    },
    /// Nothing was appended.
    Busy {
        /// Why.
        reason: BusyReason,
        /// Milliseconds until it should come again.
        after_ms: u32,
    },
    /// Nothing was appended and nothing ever will be.
    Reject(RejectReason),
}

/// The client broke a rule: the driver closes the connection with this.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Violation {
    /// The close code.
    pub code: CloseCode,
    /// For the peer's developer; holds no user data.
    pub reason: &'static str,
}

impl Violation {
    pub(crate) const fn protocol(reason: &'static str) -> Self {
        Self { code: CloseCode::ProtocolError, reason }
    }
}

impl EdgeSession {
    /// A connection just made. It has [`AUTHENTICATE_WITHIN`] to authenticate.
    #[must_use]
    pub fn new(now: Duration) -> Self {
        Self {
            state: State::Silent { until: now + AUTHENTICATE_WITHIN },
            publish: PublishWindow::default(),
            delivery: Delivery::default(),
            signals: Signals::new(),
            control: VecDeque::new(),
            effects: VecDeque::new(),
            requests: 0,
            renewing: false,
            draining: false,
        }
    }

    /// Takes a frame of the control stream.
    ///
    /// # Errors
    /// When the client broke a rule: close with the code. The session does nothing any more.
    pub fn handle_frame(&mut self, now: Duration, frame: ClientFrame) -> Result<(), Violation> {
        let taken = match self.state {
            State::Silent { until } => self.handle_hello(until, frame),
            State::Authenticating { .. } => {
                Err(Violation::protocol("a frame before the answer to Hello"))
            }
            State::Open { .. } => self.handle_open_frame(now, frame),
            State::Closed => Ok(()),
        };
        if taken.is_err() {
            self.state = State::Closed;
        }
        taken
    }

    fn handle_hello(&mut self, until: Duration, frame: ClientFrame) -> Result<(), Violation> {
        let ClientFrame::Hello(hello) = frame else {
            return Err(Violation::protocol("the first frame is not Hello"));
        };
        if !hello.versions.contains(&wire::version::PROTOCOL) {
            let reason = "no protocol version in common";
            return Err(Violation { code: CloseCode::Version, reason });
        }
        self.state = State::Authenticating { until };
        self.effects.push_back(Effect::Authenticate(hello));
        Ok(())
    }

    fn handle_open_frame(&mut self, now: Duration, frame: ClientFrame) -> Result<(), Violation> {
        if self.control.len() >= CONTROL_FRAMES_MAX {
            let reason = "the client does not read its control stream";
            return Err(Violation { code: CloseCode::SlowReader, reason });
        }
        match frame {
            ClientFrame::Hello(_) => Err(Violation::protocol("a second Hello")),
            ClientFrame::Renew(_) if self.renewing => {
                Err(Violation::protocol("a second Renew before the answer"))
            }
            ClientFrame::Renew(proof) => {
                self.renewing = true;
                self.effects.push_back(Effect::Renew(proof));
                Ok(())
            }
            ClientFrame::Send(send) => self.handle_send(now, send),
            ClientFrame::Ack(seq) => self.delivery.handle_ack(seq),
            ClientFrame::Resync(after) => self.delivery.handle_resync(after),
            ClientFrame::Read(read) => self.handle_request(Effect::History(read)),
            ClientFrame::Query(request, query) => {
                self.handle_request(Effect::Query(request, query))
            }
            ClientFrame::Signal(signal) => {
                self.signals.handle_sent(now, signal);
                Ok(())
            }
            ClientFrame::Watch(users) => {
                self.signals.handle_watch(now, users);
                Ok(())
            }
            ClientFrame::Show(users) => {
                self.signals.handle_show(now, users);
                Ok(())
            }
        }
    }

    fn handle_send(&mut self, now: Duration, send: Send) -> Result<(), Violation> {
        if self.draining {
            let (id, reason) = (send.id, BusyReason::Draining);
            self.control.push_back(ServerFrame::Busy { id, after_ms: BUSY_AFTER_MS, reason });
            return Ok(());
        }
        if let Some(busy) = self.publish.handle_send(now, send)? {
            self.control.push_back(busy);
        }
        Ok(())
    }

    fn handle_request(&mut self, effect: Effect) -> Result<(), Violation> {
        if self.requests >= REQUESTS_MAX {
            return Err(Violation::protocol("more requests than allowed at once"));
        }
        self.requests += 1;
        self.effects.push_back(effect);
        Ok(())
    }

    /// The device may go on: `Welcome` is sent and delivery starts.
    pub fn handle_admitted(&mut self, _now: Duration, admitted: Admitted) {
        let State::Authenticating { .. } = self.state else { return };
        let Admitted { welcome, token_expires, truncated } = admitted;
        self.state = State::Open { token_expires };
        self.publish.open(welcome.send_window as usize);
        self.signals.open(welcome.device);
        self.delivery.open(welcome.resume_after, welcome.delivery_window as usize, truncated);
        self.control.push_back(ServerFrame::Welcome(welcome));
        if self.draining {
            self.effects.push_back(Effect::Close(CloseCode::GoingAway));
            self.state = State::Closed;
        }
    }

    /// The fresh token is good until `token_expires` of session time, leeway included.
    pub fn handle_renewed(
        &mut self,
        _now: Duration,
        token_expires: Duration,
        token_expires_ms: u64,
    ) {
        let State::Open { .. } = self.state else { return };
        self.state = State::Open { token_expires };
        self.renewing = false;
        self.control.push_back(ServerFrame::Renewed(token_expires_ms));
    }

    /// What became of a send; ignored when the send waits no more.
    pub fn handle_published(&mut self, _now: Duration, id: SendId, published: Published) {
        self.control.extend(self.publish.handle_published(id, published));
    }

    /// A push for this device.
    pub fn handle_push(&mut self, _now: Duration, deliver: Deliver) {
        self.delivery.handle_push(deliver);
    }

    /// Pushes were lost: the mailbox is read.
    pub fn handle_behind(&mut self, _now: Duration) {
        self.delivery.handle_behind();
    }

    /// The head of the mailbox, from a head check.
    pub fn handle_head(&mut self, now: Duration, head: Seq) {
        self.delivery.handle_head(now, head);
    }

    /// The answer to [`Effect::ReadMailbox`]: the head as it was before the read, and the rows.
    pub fn handle_rows(&mut self, now: Duration, head: Seq, rows: Vec<Deliver>, more: bool) {
        self.delivery.handle_rows(now, head, rows, more);
    }

    /// The mailbox could not be read; it is read again later.
    pub fn handle_read_failed(&mut self, now: Duration) {
        self.delivery.handle_read_failed(now);
    }

    /// The answer to [`Effect::History`].
    pub fn handle_page(&mut self, page: Page) {
        self.control.push_back(ServerFrame::Page(page));
    }

    /// The answer to [`Effect::Query`].
    pub fn handle_answer(&mut self, request: u32, answer: Answer) {
        self.control.push_back(ServerFrame::Answer(request, answer));
    }

    /// A signal for this device.
    pub fn handle_signal(&mut self, now: Duration, signal: SignalFrom) {
        if let State::Open { .. } = self.state {
            self.signals.handle_signal(now, signal);
        }
    }

    /// A device that shows itself to this user is connected, or is not any more. Nothing is told
    /// about a user who is not watched.
    pub fn handle_sighting(&mut self, from: Origin, is_online: bool) {
        self.signals.handle_sighting(from, is_online);
    }

    /// This edge goes away: the client is told, and later sends are Busy.
    pub fn handle_drain(&mut self, _now: Duration, deadline_ms: u32, jitter_ms: u32) {
        if self.draining {
            return;
        }
        self.draining = true;
        match self.state {
            State::Open { .. } => {
                self.control.push_back(ServerFrame::Drain { deadline_ms, jitter_ms });
            }
            State::Silent { .. } => {
                self.state = State::Closed;
                self.effects.push_back(Effect::Close(CloseCode::GoingAway));
            }
            State::Authenticating { .. } | State::Closed => {}
        }
    }

    /// The time [`Self::poll_timeout`] named has come.
    pub fn handle_timeout(&mut self, now: Duration) {
        let ended = match self.state {
            // Not Unauthenticated: a client stops for good when it is refused twice, and here only
            // its network or this edge is slow.
            State::Silent { until } | State::Authenticating { until } => {
                (until <= now).then_some(CloseCode::Unavailable)
            }
            State::Open { token_expires } => {
                (token_expires <= now).then_some(CloseCode::TokenExpired)
            }
            State::Closed => return,
        };
        if let Some(code) = ended {
            self.state = State::Closed;
            self.effects.push_back(Effect::Close(code));
            return;
        }
        self.control.extend(self.publish.handle_timeout(now));
        self.delivery.handle_timeout(now);
        self.signals.handle_timeout(now);
    }

    /// When [`Self::handle_timeout`] is due; it may change with every call.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let ends = match self.state {
            State::Silent { until } | State::Authenticating { until } => until,
            State::Open { token_expires } => token_expires,
            State::Closed => return None,
        };
        let others = [self.publish.poll_timeout(), self.delivery.poll_timeout()];
        let others = others.into_iter().chain([self.signals.poll_timeout()]);
        others.flatten().chain([ends]).min()
    }

    /// The next thing to do.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if let Some(effect) = self.effects.pop_front() {
            return Some(effect);
        }
        let State::Open { .. } = self.state else { return None };
        if let Some(send) = self.publish.poll_send() {
            return Some(Effect::Publish(send));
        }
        self.delivery.poll_effect().or_else(|| self.signals.poll_effect())
    }

    /// Appends every control frame that is ready.
    pub fn poll_control(&mut self, out: &mut BytesMut) {
        for frame in self.control.drain(..) {
            // A request is outstanding until its answer is on the way, so that answers nobody
            // reads do not pile up.
            if matches!(frame, ServerFrame::Page(_) | ServerFrame::Answer(..)) {
                self.requests = self.requests.saturating_sub(1);
            }
            frame.encode(out);
        }
        if let State::Open { .. } = self.state {
            self.signals.poll_control(out);
        }
    }

    /// Appends delivery frames until `out` holds about `room` bytes or the client's window is full.
    pub fn poll_delivery(&mut self, _now: Duration, out: &mut BytesMut, room: usize) {
        if let State::Open { .. } = self.state {
            self.delivery.poll(out, room);
        }
    }

    /// Signals and sightings dropped since this was asked last, because there were too many.
    #[must_use]
    pub fn take_shed(&mut self) -> u64 {
        self.signals.take_shed()
    }

    /// Sends that wait for their answer.
    #[must_use]
    pub fn sends_in_flight(&self) -> usize {
        self.publish.in_flight()
    }

    /// The position last acknowledged, and whether that is the head; none before admission.
    #[must_use]
    pub fn cursor(&self) -> Option<(Seq, bool)> {
        self.delivery.cursor()
    }
}
