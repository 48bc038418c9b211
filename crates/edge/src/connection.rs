//! One client connection: a task that owns its session, its streams and everything under way.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};
use link::LinkError;
use ports::mailbox::Cursor;
use session::{
    close::CloseCode,
    edge::{EdgeSession, Effect, Published, Violation},
    signals::Users,
};
use wire::{
    ClientFrame, Seq, UserId,
    auth::DEVICE_KEY_LEN,
    client_frame::{Proof, Send},
    codec::take_frame,
    limits::{AUTHENTICATE_WITHIN, CLIENT_FRAME_BYTES_MAX, HELLO_BYTES_MAX, SEND_WINDOW},
    server_frame::BusyReason,
};

use crate::{
    admission::{self, Admission, Registration},
    budget::Budget,
    catchup::CaughtUp,
    edge::Shared,
    ending::{End, Leave},
    jobs::{self, Done, InFlight, Job},
    listener::HalfOpen,
    publish::{Publishing, Sender},
    routes::{Handle, Waiting},
    signals::Fate,
};

/// Bytes of one write: what QUIC packs well, and what a delivery buffer is filled up to.
const WRITE_BYTES: usize = 16 * 1024;
/// Capacity an empty buffer keeps.
const KEPT_BYTES: usize = 64 * 1024;
/// Sightings for which an empty queue keeps room.
const KEPT_SIGHTINGS: usize = 64;
/// Bytes of answers beyond which further ones stay in the session, which bounds them.
const CONTROL_BYTES: usize = 4 * WRITE_BYTES;
/// Appends the log has not answered. More than the window because the session answers Retry after a
/// while and lets the client send again; at the limit sends are Busy.
const APPENDS_MAX: usize = 4 * SEND_WINDOW as usize;
/// What is left to write when a connection is closed has this long.
const LAST_WRITE_WITHIN: Duration = Duration::from_millis(200);
/// The control stream goes before the delivery stream.
const CONTROL_PRIORITY: i32 = 10;

/// Serves a connection until it ends.
///
/// # Cancel safety
/// Dropping it ends the connection; what was accepted stays accepted.
pub(crate) async fn serve(shared: Arc<Shared>, connection: link::Connection, half_open: HalfOpen) {
    let session = admission::new_session(&shared);
    let accepted = tokio::time::timeout(AUTHENTICATE_WITHIN, connection.accept_bi());
    let accepted = tokio::select! {
        biased;
        () = shared.draining.cancelled() => {
            connection.close(CloseCode::GoingAway.code(), "going away");
            return;
        }
        accepted = accepted => accepted,
    };
    let Ok(Ok((control, receiver))) = accepted else {
        connection.close(CloseCode::Unavailable.code(), "no Hello in time");
        return;
    };
    control.set_priority(CONTROL_PRIORITY);
    let metrics = shared.metrics.clone();
    let mut driver = Driver::new(shared, connection.clone(), session, control, half_open);
    let end = driver.run(receiver).await;
    driver.say_goodbye(&end);
    let (code, reason) = match end {
        End::Gone => (CloseCode::Done, ""),
        End::Close(code) => (code, ""),
        End::Violation(Violation { code, reason }) => (code, reason),
    };
    driver.write_last().await;
    // The route goes before the connection: what is pushed from now on would be lost.
    drop(driver);
    metrics.count_closed(code);
    connection.close(code.code(), reason);
}

/// The device of an admitted connection.
struct Admitted {
    registration: Registration,
    user: UserId,
    device_key: [u8; DEVICE_KEY_LEN],
    sender: Sender,
    delivery: link::Sender,
}

struct Driver {
    shared: Arc<Shared>,
    connection: link::Connection,
    session: EdgeSession,
    control: link::Sender,
    admitted: Option<Admitted>,
    /// Counts this connection as not yet authenticated.
    half_open: Option<HalfOpen>,
    appends: FuturesUnordered<InFlight>,
    jobs: FuturesUnordered<Job>,
    input: BytesMut,
    control_out: BytesMut,
    delivery_out: BytesMut,
    /// Since when the client has taken no byte of waiting answers.
    stalled_since: Option<Duration>,
    waiting: Waiting,
    leave: Option<Leave>,
}

impl Driver {
    fn new(
        shared: Arc<Shared>,
        connection: link::Connection,
        session: EdgeSession,
        control: link::Sender,
        half_open: HalfOpen,
    ) -> Self {
        Self {
            shared,
            connection,
            session,
            control,
            admitted: None,
            half_open: Some(half_open),
            appends: FuturesUnordered::new(),
            jobs: FuturesUnordered::new(),
            input: BytesMut::new(),
            control_out: BytesMut::new(),
            delivery_out: BytesMut::new(),
            stalled_since: None,
            waiting: Waiting::default(),
            leave: None,
        }
    }

    async fn run(&mut self, receiver: link::Receiver) -> End {
        match self.drive(receiver).await {
            Ok(never) => match never {},
            Err(end) => end,
        }
    }

    /// One event at a time, then everything that is ready goes out together. Writing comes last, so
    /// that it waits for what is ready to be written with it.
    async fn drive(
        &mut self,
        mut receiver: link::Receiver,
    ) -> Result<std::convert::Infallible, End> {
        let shared = self.shared.clone();
        // A token of its own: connections do not meet at one lock.
        let draining = shared.draining.child_token();
        let mut draining = std::pin::pin!(draining.cancelled());
        let mut timer = std::pin::pin!(tokio::time::sleep_until(shared.began));
        let mut armed: Option<Duration> = None;
        loop {
            self.pump()?;
            let due = self.due();
            // A later deadline is noticed when the earlier one fires: sends move it all the time.
            if due.is_some_and(|due| armed.is_none_or(|armed| due < armed)) {
                armed = due;
                timer.as_mut().reset(shared.began + due.unwrap_or_default());
            }
            let admitted = self.admitted.as_mut();
            let (handle, delivery) = match admitted {
                Some(admitted) => {
                    (Some(admitted.registration.handle.clone()), Some(&mut admitted.delivery))
                }
                None => (None, None),
            };
            tokio::select! {
                biased;
                () = ready(handle.as_deref()) => self.handle_waiting()?,
                () = &mut draining, if self.leave.is_none() => self.handle_drain(),
                Some(done) = self.appends.next(), if !self.appends.is_empty() => {
                    self.handle_append(done);
                    // One flush of the log answers many: take them all before anything is polled.
                    while let Some(Some(done)) = self.appends.next().now_or_never() {
                        self.handle_append(done);
                    }
                }
                Some(done) = self.jobs.next(), if !self.jobs.is_empty() => self.handle_done(done)?,
                () = &mut timer, if armed.is_some() => {
                    armed = None;
                    self.handle_timeout()?;
                }
                read = receiver.read(&mut self.input) => {
                    if !read? {
                        return Err(End::Close(CloseCode::Done));
                    }
                    self.handle_input()?;
                }
                wrote = self.control.write(&mut self.control_out),
                    if !self.control_out.is_empty() =>
                {
                    wrote?;
                    shrink(&mut self.control_out);
                    self.stalled_since =
                        (!self.control_out.is_empty()).then(|| self.shared.now());
                }
                wrote = write(delivery, &mut self.delivery_out),
                    if !self.delivery_out.is_empty() => wrote?,
            }
        }
    }

    /// Does what the session asks for, and gathers what it has to say.
    fn pump(&mut self) -> Result<(), End> {
        while let Some(effect) = self.session.poll_effect() {
            self.perform(effect)?;
        }
        let shed = self.session.take_shed();
        if shed > 0 {
            self.shared.metrics.count_hints(Fate::Rate, shed);
        }
        let now = self.shared.now();
        // What is not taken counts as unanswered: a client that does not read asks no more.
        if self.control_out.len() < CONTROL_BYTES {
            self.session.poll_control(&mut self.control_out);
        }
        if self.control_out.is_empty() {
            self.stalled_since = None;
        } else if self.control_out.len() > self.shared.config.control_bytes_max {
            return Err(End::Close(CloseCode::SlowReader));
        } else {
            self.stalled_since.get_or_insert(now);
        }
        if self.delivery_out.len() < WRITE_BYTES {
            self.session.poll_delivery(now, &mut self.delivery_out, WRITE_BYTES);
        }
        if let Some(leave) = &mut self.leave {
            let is_settled = self.session.sends_in_flight() == 0 && self.control_out.is_empty();
            if leave.is_due(now, is_settled) {
                return Err(End::Close(CloseCode::GoingAway));
            }
        }
        Ok(())
    }

    fn perform(&mut self, effect: Effect) -> Result<(), End> {
        match effect {
            Effect::Authenticate(hello) => {
                self.jobs.push(jobs::admit(&self.shared, &self.connection, hello));
            }
            Effect::Renew(proof) => self.renew(proof),
            Effect::Publish(send) => self.publish(send),
            Effect::ReadMailbox { after, rows_max, bytes_max } => {
                self.read_mailbox(after, rows_max, bytes_max);
            }
            Effect::StoreCursor { seq, caught_up } => self.store_cursor(seq, caught_up),
            Effect::History(read) => self.jobs.push(jobs::page(&self.shared, self.user(), read)),
            Effect::Query(request, query) => {
                self.jobs.push(jobs::answer(&self.shared, self.user(), request, query));
            }
            Effect::Signal(signal) => {
                self.shared.exchange.signal(&self.shared.metrics, self.handle(), signal);
            }
            Effect::Watch(users) => self.shared.exchange.watch(&self.shared, self.handle(), users),
            Effect::Show(users) => {
                self.shared.exchange.show(&self.shared.metrics, self.handle(), users);
            }
            Effect::Datagram(datagram) => {
                if !self.connection.send_datagram(datagram) {
                    self.shared.metrics.count_hints(Fate::Full, 1);
                }
            }
            Effect::Close(code) => {
                self.session.poll_control(&mut self.control_out);
                return Err(End::Close(code));
            }
        }
        Ok(())
    }

    fn publish(&mut self, send: Send) {
        let (id, began) = (send.id, self.shared.now());
        let Some(admitted) = &mut self.admitted else { return };
        let publishing = if self.appends.len() < APPENDS_MAX {
            self.shared.publisher.try_publish(&mut admitted.sender, began, send)
        } else {
            let (reason, after_ms) = (BusyReason::Overload, 1_000);
            Publishing::Answered(Published::Busy { reason, after_ms })
        };
        match publishing {
            Publishing::Answered(published) => {
                self.session.handle_published(began, id, published);
            }
            Publishing::UnderWay(append) => self.appends.push(InFlight { id, began, append }),
            Publishing::Unsized(append, charged) => {
                self.appends.push(InFlight { id, began, append });
                self.jobs.push(jobs::size(&self.shared, charged));
            }
        }
    }

    fn renew(&mut self, proof: Proof) {
        let Some(admitted) = &self.admitted else { return };
        let Admitted { user, device_key, .. } = *admitted;
        let exporter = self.connection.export_keying_material();
        self.jobs.push(jobs::renew(&self.shared, exporter, user, device_key, proof));
    }

    fn read_mailbox(&mut self, after: Seq, rows_max: usize, bytes_max: usize) {
        self.shared.metrics.catch_ups.inc();
        let read = jobs::read(&self.shared, self.user(), after, rows_max, bytes_max);
        self.jobs.push(read);
    }

    fn store_cursor(&mut self, seq: Seq, caught_up: bool) {
        let Some(admitted) = &self.admitted else { return };
        let handle = &admitted.registration.handle;
        let caught_up_ms =
            if caught_up { (self.shared.wall_clock)() } else { handle.caught_up_ms() };
        handle.set_cursor(seq, caught_up_ms);
        self.shared.cursors.put(handle.user, handle.device, Cursor { seq, caught_up_ms });
    }

    fn handle_append(&mut self, done: <InFlight as Future>::Output) {
        let (id, began, outcome) = done;
        let now = self.shared.now();
        self.shared.metrics.append_seconds.observe((now - began).as_secs_f64());
        let published = self.shared.publisher.published(outcome);
        self.session.handle_published(now, id, published);
    }

    fn handle_done(&mut self, done: Done) -> Result<(), End> {
        let now = self.shared.now();
        match done {
            Done::Admission(admission) => self.handle_admission(admission.map_err(End::Close)?),
            Done::Renewal(identity) => {
                let identity = identity.map_err(End::Close)?;
                let expires = admission::session_time(&self.shared, identity);
                self.session.handle_renewed(now, expires, identity.expires_ms);
            }
            Done::Rows(Ok(CaughtUp { head, rows, more })) => {
                self.session.handle_rows(now, head, rows, more);
            }
            Done::Rows(Err(error)) => {
                self.shared.metrics.store_failed.inc();
                tracing::warn!(%error, "a mailbox could not be read and is read again");
                self.session.handle_read_failed(now);
            }
            Done::Page(page) => self.session.handle_page(page),
            Done::Answer(request, answer) => self.session.handle_answer(request, answer),
            Done::Size(charged, size) => {
                if let Some(admitted) = &mut self.admitted {
                    admitted.sender.charge(charged, size);
                }
            }
        }
        Ok(())
    }

    fn handle_admission(&mut self, admission: Admission) {
        let Admission { registration, admitted, device_key, delivery } = admission;
        let (shared, now) = (&self.shared, self.shared.now());
        let config = &shared.config;
        let budget = Budget::new(now, config.send_bytes_per_s, config.send_bytes_burst);
        let (user, device) = (admitted.welcome.user, admitted.welcome.device);
        let sender = Sender::new(user, device, &shared.publisher, budget);
        self.session.handle_admitted(now, admitted);
        self.half_open = None;
        self.admitted = Some(Admitted { registration, user, device_key, sender, delivery });
    }

    /// Takes what others left for this connection.
    fn handle_waiting(&mut self) -> Result<(), End> {
        let Some(admitted) = &self.admitted else { return Ok(()) };
        let now = self.shared.now();
        admitted.registration.handle.take(&mut self.waiting);
        if let Some(code) = self.waiting.close.take() {
            return Err(End::Close(code));
        }
        for deliver in self.waiting.pushes.drain(..) {
            self.session.handle_push(now, deliver);
        }
        if std::mem::take(&mut self.waiting.behind) {
            self.session.handle_behind(now);
        }
        if let Some(head) = self.waiting.head.take() {
            self.session.handle_head(now, head);
        }
        for signal in self.waiting.signals.drain(..) {
            self.session.handle_signal(now, signal);
        }
        for (from, is_online) in self.waiting.sightings.drain(..) {
            self.session.handle_sighting(from, is_online);
        }
        if self.waiting.sightings.capacity() > KEPT_SIGHTINGS {
            self.waiting.sightings = Vec::new();
        }
        Ok(())
    }

    /// Takes the whole frames of what has arrived.
    fn handle_input(&mut self) -> Result<(), End> {
        let now = self.shared.now();
        loop {
            let limit =
                if self.admitted.is_some() { CLIENT_FRAME_BYTES_MAX } else { HELLO_BYTES_MAX };
            let malformed = |_| Violation {
                code: CloseCode::ProtocolError,
                reason: "a frame that is malformed or over its limit",
            };
            let Some(bytes) = take_frame(&mut self.input, limit).map_err(malformed)? else {
                shrink(&mut self.input);
                return Ok(());
            };
            let frame = ClientFrame::decode(bytes).map_err(malformed)?;
            self.session.handle_frame(now, frame)?;
        }
    }

    fn handle_timeout(&mut self) -> Result<(), End> {
        let now = self.shared.now();
        let slow = Duration::from_millis(self.shared.config.slow_reader_ms);
        if self.stalled_since.is_some_and(|since| now >= since + slow) {
            return Err(End::Close(CloseCode::SlowReader));
        }
        self.session.handle_timeout(now);
        Ok(())
    }

    fn handle_drain(&mut self) {
        let now = self.shared.now();
        let config = &self.shared.config;
        let deadline_ms = u32::try_from(config.drain_within_ms).unwrap_or(u32::MAX);
        let jitter_ms = u32::try_from(config.drain_jitter_ms).unwrap_or(u32::MAX);
        self.session.handle_drain(now, deadline_ms, jitter_ms);
        self.leave = Some(Leave::new(
            now + Duration::from_millis(config.drain_jitter_ms),
            now + config.drain_within(),
        ));
    }

    /// The next time at which something is due, in session time.
    fn due(&self) -> Option<Duration> {
        let slow = Duration::from_millis(self.shared.config.slow_reader_ms);
        let stalled = self.stalled_since.map(|since| since + slow);
        let leave = self.leave.as_ref().map(Leave::due);
        [self.session.poll_timeout(), stalled, leave].into_iter().flatten().min()
    }

    /// Writes what the client should still hear.
    async fn write_last(&mut self) {
        let writing = async {
            while !self.control_out.is_empty() {
                if self.control.write(&mut self.control_out).await.is_err() {
                    return;
                }
            }
        };
        // Whoever does not read in time learns it from the close code.
        tokio::time::timeout(LAST_WRITE_WITHIN, writing).await.ok();
    }

    /// Tells those to whom this connection showed itself that it is over. Not when its client is on
    /// its way to another one: the end of a drain, and a later connection of the device.
    fn say_goodbye(&self, end: &End) {
        let comes_again =
            self.shared.draining.is_cancelled() || matches!(end, End::Close(CloseCode::Displaced));
        let (Some(admitted), false) = (&self.admitted, comes_again) else { return };
        let handle = &admitted.registration.handle;
        self.shared.exchange.show(&self.shared.metrics, handle, Users::default());
    }

    fn user(&self) -> UserId {
        self.handle().user
    }

    fn handle(&self) -> &Handle {
        let admitted = self.admitted.as_ref();
        &admitted.expect("only an admitted client's frames ask for this").registration.handle
    }
}

/// Gives back the memory of a burst; an idle connection keeps little.
fn shrink(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > KEPT_BYTES {
        *buffer = BytesMut::new();
    }
}

/// Waits until something waits for the connection; for ever before it has a place in the table.
async fn ready(handle: Option<&Handle>) {
    match handle {
        Some(handle) => handle.ready().await,
        None => std::future::pending().await,
    }
}

async fn write(
    delivery: Option<&mut link::Sender>,
    buffer: &mut BytesMut,
) -> Result<(), LinkError> {
    match delivery {
        Some(delivery) => delivery.write(buffer).await,
        None => std::future::pending().await,
    }
}
