//! What the handles of a client and its driver share: the session, and who waits for what.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use session::client::{ClientSession, Event as SessionEvent, HistoryPage, Outcome};
use tokio::sync::{Notify, oneshot, watch};
use wire::{
    RunId, SendId, Seq,
    server_frame::{Answer, QueryError},
    signal::SignalFrom,
};

use crate::{
    client::Accepted,
    decision::Decision,
    error::{ChangeError, Closed, RequestError, SendError},
    hints::{self, Hint},
    inbox::Pending,
    status::Status,
};

/// Events that wait for the application, beyond which nothing more is read from the delivery
/// stream. Above a delivery window, so that items alone never reach it.
pub(crate) const INBOX_MAX: usize = 2048;

const _: () = assert!(INBOX_MAX > wire::limits::DELIVERY_WINDOW as usize);

/// Shared by the handles and the driver. The lock is held for a few map operations, never across
/// an await.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// There is something to do for the driver.
    pub(crate) work: Notify,
    /// There is something in the inbox or among the hints, or there never will be.
    pub(crate) arrived: Notify,
    /// A send was answered: there may be room in the outbox.
    pub(crate) answered: Notify,
    pub(crate) status: watch::Sender<Status>,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) session: ClientSession,
    /// Sends of other runs were queued before this process started.
    run: RunId,
    pub(crate) sends: BTreeMap<SendId, oneshot::Sender<Result<Accepted, SendError>>>,
    /// Who waits for a decision; nobody when it was found elsewhere already.
    pub(crate) changes: BTreeMap<SendId, Option<oneshot::Sender<Decision>>>,
    pub(crate) pages: BTreeMap<u32, oneshot::Sender<HistoryPage>>,
    pub(crate) answers: BTreeMap<u32, oneshot::Sender<Result<Answer, RequestError>>>,
    pub(crate) inbox: VecDeque<Pending>,
    pub(crate) hints: hints::Waiting,
    pub(crate) closed: Option<Closed>,
}

/// Something the driver itself has to see to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Notice {
    TokenNeeded,
    Unresponsive,
    Drain { deadline: std::time::Duration, jitter: std::time::Duration },
}

impl Shared {
    pub(crate) fn new(session: ClientSession, run: RunId) -> Self {
        let state = State {
            session,
            run,
            sends: BTreeMap::new(),
            changes: BTreeMap::new(),
            pages: BTreeMap::new(),
            answers: BTreeMap::new(),
            inbox: VecDeque::new(),
            hints: hints::Waiting::default(),
            closed: None,
        };
        Self {
            state: Mutex::new(state),
            work: Notify::new(),
            arrived: Notify::new(),
            answered: Notify::new(),
            status: watch::Sender::new(Status::Connecting("no attempt has ended yet".into())),
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn acknowledge(&self, seq: Seq) {
        if self.lock().session.acknowledge(seq) {
            self.work.notify_one();
        }
    }

    /// Reports events, whose changes are durable now.
    pub(crate) fn report(&self, events: Vec<SessionEvent>) -> Vec<Notice> {
        if events.is_empty() {
            return Vec::new();
        }
        let mut notices = Vec::new();
        let acknowledges = events.iter().any(|event| matches!(event, SessionEvent::Result { .. }));
        let mut state = self.lock();
        for event in events {
            match event {
                SessionEvent::TokenNeeded => notices.push(Notice::TokenNeeded),
                SessionEvent::Unresponsive => notices.push(Notice::Unresponsive),
                SessionEvent::Drain { deadline, jitter } => {
                    notices.push(Notice::Drain { deadline, jitter });
                }
                SessionEvent::Connected(welcome) => {
                    self.status.send_replace(Status::Connected(welcome.user));
                }
                SessionEvent::Accepted(_)
                | SessionEvent::Rejected(..)
                | SessionEvent::Result { .. }
                | SessionEvent::Item { .. }
                | SessionEvent::Conflict { .. }
                | SessionEvent::Undecodable { .. }
                | SessionEvent::Truncated(_)
                | SessionEvent::CaughtUp(_)
                | SessionEvent::Page(_)
                | SessionEvent::Answer(..)
                | SessionEvent::Signal(_)
                | SessionEvent::Online(_)
                | SessionEvent::Offline(_) => state.report(event),
            }
        }
        drop(state);
        self.arrived.notify_waiters();
        self.answered.notify_waiters();
        if acknowledges {
            self.work.notify_one();
        }
        notices
    }

    /// The end: whoever waits is told.
    pub(crate) fn close(&self, reason: Closed) {
        let mut state = self.lock();
        state.closed.get_or_insert(reason.clone());
        state.sends.clear();
        state.changes.clear();
        state.pages.clear();
        state.answers.clear();
        drop(state);
        self.status.send_if_modified(|status| {
            let first = !matches!(status, Status::Closed(_));
            if first {
                *status = Status::Closed(reason);
            }
            first
        });
        self.arrived.notify_waiters();
        self.answered.notify_waiters();
    }

    pub(crate) fn closed(&self) -> Closed {
        self.lock().closed.clone().unwrap_or(Closed::Here)
    }
}

/// Nobody waits for it.
struct Untold;

impl State {
    /// Tells whoever waits for the decision about a change.
    fn decide(&mut self, id: SendId, decision: Decision) -> Result<(), Untold> {
        match self.changes.remove(&id) {
            Some(Some(waiter)) => waiter.send(decision).map_err(|_| Untold),
            Some(None) => Ok(()),
            None => Err(Untold),
        }
    }

    /// Tells whoever waits for this, or the inbox.
    fn report(&mut self, event: SessionEvent) {
        match event {
            SessionEvent::Accepted(id) => {
                if let Some(waiter) = self.sends.remove(&id) {
                    let _ = waiter.send(Ok(Accepted { id }));
                } else if id.run != self.run {
                    self.inbox.push_back(Pending::Accepted(id));
                }
            }
            SessionEvent::Rejected(id, reason) => {
                let error = SendError::Rejected(reason);
                if let Some(waiter) = waiting(self.sends.remove(&id)) {
                    let _ = waiter.send(Err(error));
                } else if self.decide(id, Err(ChangeError::Send(error))).is_err() {
                    self.inbox.push_back(Pending::Rejected(id, reason));
                }
            }
            SessionEvent::Result { seq, id, outcome } => {
                let decision = match &outcome {
                    Outcome::Happened(_) => Ok(()),
                    Outcome::Refused(verdict) => Err(ChangeError::Refused(*verdict)),
                };
                match self.decide(id, decision) {
                    // The driver is told of it by whoever reports.
                    Ok(()) => drop(self.session.acknowledge(seq)),
                    Err(Untold) => self.inbox.push_back(Pending::Result(seq, id, outcome)),
                }
            }
            SessionEvent::Item { seq, log_time_ms, item } => {
                self.inbox.push_back(Pending::Item(seq, log_time_ms, item));
            }
            SessionEvent::Conflict { seq, id } => {
                tracing::warn!(seq = seq.get(), "a second body under one message id");
                self.inbox.push_back(Pending::Conflict(id));
            }
            SessionEvent::Undecodable { seq, error } => {
                tracing::warn!(seq = seq.get(), %error, "an item this version does not know");
                self.inbox.push_back(Pending::Undecodable(seq));
            }
            SessionEvent::Truncated(from) => self.inbox.push_back(Pending::Truncated(from)),
            SessionEvent::CaughtUp(head) => {
                // Of several in a row only the last says anything.
                if let Some(Pending::CaughtUp(_)) = self.inbox.back() {
                    self.inbox.pop_back();
                }
                self.inbox.push_back(Pending::CaughtUp(head));
            }
            SessionEvent::Page(page) => {
                if let Some(waiter) = self.pages.remove(&page.request) {
                    let _ = waiter.send(page);
                }
            }
            SessionEvent::Answer(request, answer) => {
                if let Some(waiter) = self.answers.remove(&request) {
                    let _ = waiter.send(answered(answer));
                }
            }
            SessionEvent::Signal(SignalFrom { user, device, body }) => {
                self.hints.push(Hint::Signal { from: user, device, body });
            }
            SessionEvent::Online(user) => self.hints.push(Hint::Online(user)),
            SessionEvent::Offline(user) => self.hints.push(Hint::Offline(user)),
            SessionEvent::Connected(_)
            | SessionEvent::Drain { .. }
            | SessionEvent::TokenNeeded
            | SessionEvent::Unresponsive => {}
        }
    }
}

fn answered(answer: Answer) -> Result<Answer, RequestError> {
    match answer {
        Answer::Error(QueryError::NotFound) => Err(RequestError::NotFound),
        Answer::Error(QueryError::Unavailable) => Err(RequestError::Unavailable),
        answer @ (Answer::Devices(_) | Answer::Group(_)) => Ok(answer),
    }
}

/// Whoever waits for an answer, unless it has gone away: then the answer belongs to the inbox.
fn waiting<T>(waiter: Option<oneshot::Sender<T>>) -> Option<oneshot::Sender<T>> {
    waiter.filter(|waiter| !waiter.is_closed())
}
