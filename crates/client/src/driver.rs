//! The task of a client: connects, moves bytes, stores, reports, and connects again.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use link::error::LinkError;
use session::{
    client::{Event, Greeting, StoreChange},
    close::CloseCode,
    edge::Violation,
};
use tokio::{
    sync::futures::Notified,
    time::{Instant, sleep, sleep_until, timeout},
};
use tokio_util::sync::CancellationToken;
use wire::{DeliveryFrame, ServerFrame, client_frame::Proof};

use crate::{
    config::{BoxFuture, Config, TokenError},
    connection::{Live, Moved, Network},
    error::Closed,
    key::{self, DeviceKey},
    shared::{INBOX_MAX, Notice, Shared},
    status::Status,
};

/// Control bytes gathered before they are written.
const WRITE_BYTES: usize = 16 * 1024;
/// An edge answers `Hello` within this: it may have to register the device, which takes 5 s.
const WELCOME_WITHIN: Duration = Duration::from_secs(15);
/// A token source has this long.
const TOKEN_WITHIN: Duration = Duration::from_secs(30);
/// A connection that lasted so long was a good one: the next attempt comes at once.
const GOOD_AFTER: Duration = Duration::from_secs(10);
/// A refused token is tried again, freshly, so often before the client gives up.
const REFUSED_MAX: u32 = 2;
/// The edge has this long to read the last bytes.
const FINISH_WITHIN: Duration = Duration::from_secs(1);

pub(crate) struct Driver {
    config: Arc<Config>,
    key: DeviceKey,
    network: Network,
    shared: Arc<Shared>,
    stop: CancellationToken,
    began: Instant,
    /// Attempts so far: which server comes next.
    attempts: usize,
    /// Attempts since the last good connection: how long to wait.
    failures: u32,
    refused: u32,
    was_connected: bool,
}

/// Why a connection, or the attempt at one, ended.
enum End {
    /// The client ends.
    Closed(Closed),
    /// The edge refused the token.
    Refused,
    /// Connect again after the usual delay.
    Again(String),
    /// The edge broke a rule: likewise.
    Broken(String),
    /// The edge goes away and the time to leave has come: connect again at once.
    Leave,
    /// The application wants to end, and everything is done.
    Stopped,
}

/// What goes on besides moving bytes.
#[derive(Default)]
struct Errands {
    welcome_by: Option<Instant>,
    /// The edge goes away: leave between these, once everything sent here is answered.
    leave: Option<(Instant, Instant)>,
    is_unresponsive: bool,
    stop_by: Option<Instant>,
    token: Option<BoxFuture<'static, Result<String, TokenError>>>,
}

impl Driver {
    pub(crate) fn new(
        config: Config,
        key: DeviceKey,
        network: Network,
        shared: Arc<Shared>,
        stop: CancellationToken,
    ) -> Self {
        let began = Instant::now();
        Self {
            // Clients of one list start at different places in it.
            attempts: usize::from(u16::from_be_bytes(key::random())),
            config: Arc::new(config),
            key,
            network,
            shared,
            stop,
            began,
            failures: 0,
            refused: 0,
            was_connected: false,
        }
    }

    /// Runs until the client ends.
    pub(crate) async fn run(mut self) {
        let reason = loop {
            match self.live_once().await {
                End::Closed(reason) => break reason,
                End::Stopped => break Closed::Here,
                End::Leave => self.set_connecting("the edge went away".into()),
                End::Refused => {
                    self.refused += 1;
                    self.failures += 1;
                    if self.refused >= REFUSED_MAX {
                        break Closed::Unauthenticated;
                    }
                    self.set_connecting("the cluster refused the token".into());
                }
                End::Again(problem) | End::Broken(problem) => {
                    tracing::debug!(problem, "not connected");
                    self.failures += 1;
                    self.set_connecting(problem);
                }
            }
        };
        tracing::info!(%reason, "client ends");
        self.shared.close(reason);
        self.network.wait_idle(FINISH_WITHIN).await;
    }

    fn set_connecting(&self, problem: String) {
        self.shared.status.send_replace(Status::Connecting(problem));
    }

    /// One attempt, and the connection that comes of it.
    async fn live_once(&mut self) -> End {
        let mut live = match self.reach().await {
            Ok(live) => live,
            Err(end) => return end,
        };
        let connected = Instant::now();
        let end = self.serve(&mut live).await;
        self.shared.lock().session.handle_disconnected();
        let (code, reason) = match &end {
            End::Stopped => {
                live.finish(FINISH_WITHIN).await;
                (CloseCode::Done, "")
            }
            End::Leave | End::Again(_) => (CloseCode::Done, "the client connects again"),
            End::Closed(Closed::WrongUser) => (CloseCode::Unauthenticated, "another user"),
            End::Closed(_) | End::Refused => (CloseCode::Done, "the client ends"),
            End::Broken(_) => (CloseCode::ProtocolError, "the edge broke a rule"),
        };
        live.close(code.code(), reason);
        if connected.elapsed() >= GOOD_AFTER {
            self.failures = 0;
        } else if let End::Leave = end {
            self.failures += 1;
        }
        end
    }

    /// Waits, gets a token, and connects; meanwhile what is queued is stored.
    async fn reach(&mut self) -> Result<Live, End> {
        let delay = self.backoff();
        self.attempts = self.attempts.wrapping_add(1);
        let (config, network, key) =
            (Arc::clone(&self.config), self.network.clone(), self.key.clone());
        let attempt = self.attempts;
        let mut reaching: BoxFuture<'static, Result<(Live, Greeting), LinkError>> =
            Box::pin(async move {
                sleep(delay).await;
                let token = timeout(TOKEN_WITHIN, config.token.token()).await;
                let token = token.map_err(|_| LinkError::TimedOut)?;
                let token = token.map_err(|error| LinkError::Unreachable(error.to_string()))?;
                let connection = network.dial(&config.servers, attempt).await?;
                let live = Live::open(connection).await?;
                let proof = key.prove(token, &live.exporter());
                let agent = config.agent.clone();
                Ok((live, Greeting { agent, device_key: key.public(), proof }))
            });
        let (stop, shared) = (self.stop.clone(), Arc::clone(&self.shared));
        loop {
            self.pump(None).await.map_err(End::Closed)?;
            // Until the next connection only what is known of others runs out.
            let due = self.shared.lock().session.poll_timeout();
            let due = due.and_then(|due| self.began.checked_add(due));
            tokio::select! {
                biased;
                () = stop.cancelled() => {
                    // Not connected: there is nothing to wait for, only to keep.
                    self.pump(None).await.map_err(End::Closed)?;
                    return Err(End::Stopped);
                }
                () = shared.work.notified() => {}
                () = until(due) => {
                    self.shared.lock().session.handle_timeout(self.began.elapsed());
                }
                reached = &mut reaching => {
                    let (live, greeting) = reached.map_err(|error| self.unreached(error))?;
                    self.shared.lock().session.handle_connected(greeting);
                    return Ok(live);
                }
            }
        }
    }

    fn unreached(&self, error: LinkError) -> End {
        match error {
            LinkError::Untrusted(problem) if !self.was_connected => {
                End::Closed(Closed::Untrusted(problem))
            }
            LinkError::Closed(closed) => ended(closed.code, closed.to_string()),
            LinkError::Untrusted(_)
            | LinkError::StreamStopped
            | LinkError::TimedOut
            | LinkError::Unreachable(_) => End::Again(error.to_string()),
        }
    }

    /// Full jitter: anything up to the bound, which doubles with every failure.
    fn backoff(&self) -> Duration {
        if self.failures == 0 {
            return Duration::ZERO;
        }
        let doubled = self.config.reconnect_min.saturating_mul(1 << (self.failures - 1).min(16));
        part_of(doubled.min(self.config.reconnect_max))
    }

    /// Serves a connection until it ends.
    async fn serve(&mut self, live: &mut Live) -> End {
        let (stop, shared) = (self.stop.clone(), Arc::clone(&self.shared));
        let mut errands =
            Errands { welcome_by: Some(Instant::now() + WELCOME_WITHIN), ..Errands::default() };
        let mut stopped = std::pin::pin!(stop.cancelled());
        let mut timer = std::pin::pin!(sleep_until(self.began));
        let mut armed: Option<Instant> = None;
        loop {
            if errands.stop_by.is_some() {
                self.shared.lock().session.flush();
            }
            let notices = match self.pump(Some(&mut live.out)).await {
                Ok(notices) => notices,
                Err(reason) => return End::Closed(reason),
            };
            self.attend(notices, &mut errands);
            if let Some(end) = self.is_over(live, &mut errands) {
                return end;
            }
            let (may_deliver, due) = self.next(&errands);
            // A later deadline is noticed when the earlier one fires: it moves all the time.
            if let Some(due) = due
                && armed.is_none_or(|armed| due < armed)
            {
                armed = Some(due);
                timer.as_mut().reset(due);
            }
            let work: Notified<'_> = shared.work.notified();
            let moved = tokio::select! {
                biased;
                () = &mut stopped, if errands.stop_by.is_none() => {
                    errands.stop_by = Some(Instant::now() + self.config.close_within);
                    continue;
                }
                () = work => continue,
                token = token(&mut errands.token) => {
                    errands.token = None;
                    self.renew(token, live);
                    continue;
                }
                moved = live.moved(may_deliver) => moved,
                () = &mut timer, if armed.is_some() => {
                    armed = None;
                    self.shared.lock().session.handle_timeout(self.began.elapsed());
                    continue;
                }
            };
            let taken = match moved {
                Ok(Moved::Written) => Ok(()),
                Ok(Moved::Control) => self.take_control(live),
                Ok(Moved::Delivery) => self.take_delivery(live),
                Ok(Moved::Datagram(datagram)) => {
                    self.shared.lock().session.handle_datagram(datagram);
                    Ok(())
                }
                Err(LinkError::Closed(closed)) => Err(ended(closed.code, closed.to_string())),
                Err(error) => Err(End::Again(error.to_string())),
            };
            if let Err(end) = taken {
                // What arrived before the end counts.
                return match self.pump(None).await {
                    Ok(_) => end,
                    Err(reason) => End::Closed(reason),
                };
            }
        }
    }

    /// Stores what changed; only then has it been said and done.
    async fn pump(&mut self, out: Option<&mut BytesMut>) -> Result<Vec<Notice>, Closed> {
        let mut ready = BytesMut::new();
        let (changes, events) = {
            let mut state = self.shared.lock();
            let changes = state.session.poll_changes();
            if let Some(out) = &out
                && out.len() < WRITE_BYTES
            {
                let room = WRITE_BYTES - out.len();
                state.session.poll_control(self.began.elapsed(), &mut ready, room);
            }
            let mut events: Vec<Event> = Vec::new();
            events.extend(std::iter::from_fn(|| state.session.poll_event()));
            (changes, events)
        };
        self.commit(changes).await?;
        if let Some(out) = out {
            out.unsplit(ready);
        }
        Ok(self.shared.report(events))
    }

    async fn commit(&self, changes: Vec<StoreChange>) -> Result<(), Closed> {
        if changes.is_empty() {
            return Ok(());
        }
        let store = Arc::clone(&self.config.store);
        let committed = if store.blocks() {
            let commit = tokio::task::spawn_blocking(move || store.commit(changes));
            commit.await.map_err(|error| Closed::Store(error.to_string()))?
        } else {
            store.commit(changes)
        };
        committed.map_err(|error| Closed::Store(error.to_string()))
    }

    fn attend(&mut self, notices: Vec<Notice>, errands: &mut Errands) {
        for notice in notices {
            match notice {
                Notice::TokenNeeded => {
                    let config = Arc::clone(&self.config);
                    errands.token = Some(Box::pin(async move {
                        let token = timeout(TOKEN_WITHIN, config.token.token()).await;
                        token.unwrap_or_else(|_| Err(TokenError("not in time".into())))
                    }));
                }
                Notice::Unresponsive => errands.is_unresponsive = true,
                Notice::Drain { deadline, jitter } => {
                    let (wait, now) = (part_of(jitter).min(deadline), Instant::now());
                    errands.leave = Some((now + wait, now + deadline));
                }
            }
        }
    }

    /// Whether this connection has done what it is for.
    fn is_over(&mut self, live: &Live, errands: &mut Errands) -> Option<End> {
        let (now, state) = (Instant::now(), self.shared.lock());
        if state.session.is_open() {
            if errands.welcome_by.take().is_some() {
                self.was_connected = true;
                self.refused = 0;
            }
        } else if errands.welcome_by.is_some_and(|by| by <= now) {
            return Some(End::Again("no answer to the greeting".into()));
        }
        if errands.is_unresponsive {
            return Some(End::Again("the edge does not answer".into()));
        }
        //= protocol#drain-1
        if let Some((from, by)) = errands.leave
            && ((from <= now && state.session.in_flight() == 0) || by <= now)
        {
            return Some(End::Leave);
        }
        let by = errands.stop_by?;
        let is_done = state.session.unanswered() == 0 && live.out.is_empty();
        (is_done || by <= now).then_some(End::Stopped)
    }

    /// Whether the delivery stream may be read, and when the next deadline is.
    fn next(&self, errands: &Errands) -> (bool, Option<Instant>) {
        let state = self.shared.lock();
        let may_deliver = state.session.is_open() && state.inbox.len() < INBOX_MAX;
        let session = state.session.poll_timeout().and_then(|due| self.began.checked_add(due));
        let now = Instant::now();
        let leave = errands.leave.map(|(from, by)| if from <= now { by } else { from });
        let own = [errands.welcome_by, leave, errands.stop_by];
        (may_deliver, own.into_iter().flatten().chain(session).min())
    }

    fn renew(&self, token: Result<String, TokenError>, live: &Live) {
        match token {
            Ok(token) => {
                let proof: Proof = self.key.prove(token, &live.exporter());
                self.shared.lock().session.handle_token(proof);
            }
            // The session asks again, until the connection ends with the old token.
            Err(error) => tracing::warn!(%error, "no fresh token"),
        }
    }

    fn take_control(&self, live: &mut Live) -> Result<(), End> {
        let now = self.began.elapsed();
        let mut state = self.shared.lock();
        while let Some(frame) = live.take_control().map_err(malformed)? {
            let frame = ServerFrame::decode(frame).map_err(malformed)?;
            let random = u32::from_be_bytes(key::random());
            let handled = state.session.handle_control(now, frame, random);
            handled.map_err(broken)?;
        }
        Ok(())
    }

    fn take_delivery(&self, live: &mut Live) -> Result<(), End> {
        let mut state = self.shared.lock();
        while let Some(frame) = live.take_delivery().map_err(malformed)? {
            let frame = DeliveryFrame::decode(frame).map_err(malformed)?;
            state.session.handle_delivery(frame);
        }
        Ok(())
    }
}

/// What the edge's close code means for the client.
fn ended(code: Option<u32>, problem: String) -> End {
    match code.and_then(CloseCode::from_code) {
        Some(CloseCode::Revoked) => End::Closed(Closed::Revoked),
        Some(CloseCode::Displaced) => End::Closed(Closed::Displaced),
        Some(CloseCode::TooManyDevices) => End::Closed(Closed::TooManyDevices),
        Some(CloseCode::Version) => End::Closed(Closed::Version),
        Some(CloseCode::Unauthenticated) => End::Refused,
        Some(CloseCode::GoingAway) => End::Leave,
        Some(
            CloseCode::Done
            | CloseCode::ProtocolError
            | CloseCode::TokenExpired
            | CloseCode::TooManyConnections
            | CloseCode::SlowReader
            | CloseCode::Unavailable,
        )
        | None => End::Again(problem),
    }
}

/// The edge broke a rule, or is not ours.
fn broken(violation: Violation) -> End {
    match violation.code {
        CloseCode::Unauthenticated => End::Closed(Closed::WrongUser),
        CloseCode::Version => End::Closed(Closed::Version),
        CloseCode::Done
        | CloseCode::GoingAway
        | CloseCode::ProtocolError
        | CloseCode::Revoked
        | CloseCode::Displaced
        | CloseCode::TokenExpired
        | CloseCode::TooManyConnections
        | CloseCode::TooManyDevices
        | CloseCode::SlowReader
        | CloseCode::Unavailable => {
            tracing::warn!(reason = violation.reason, "the edge broke a rule");
            End::Broken(violation.reason.into())
        }
    }
}

fn malformed(error: wire::DecodeError) -> End {
    tracing::warn!(%error, "a frame that is none");
    End::Broken(error.to_string())
}

/// A random part of a duration.
fn part_of(whole: Duration) -> Duration {
    let random = u32::from_be_bytes(key::random());
    whole.mul_f64(f64::from(random) / f64::from(u32::MAX))
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

async fn token(
    job: &mut Option<BoxFuture<'static, Result<String, TokenError>>>,
) -> Result<String, TokenError> {
    match job {
        Some(job) => job.await,
        None => std::future::pending().await,
    }
}
