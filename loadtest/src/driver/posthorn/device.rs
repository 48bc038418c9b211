//! A connected device: one client of the SDK, and one task that hears what happens to it.

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use client::{Accepted, Client, Closed, Event, Inbox, SendId, Sending, Status, Statuses};
use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{sync::Notify, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::kept::Lease;
use crate::{
    driver::{
        BoxFuture, Device, Outcome, SendError, Sink, Told,
        pause::{Pace, Pause},
    },
    population::ConversationIndex,
};

/// Events taken from the inbox before others have their turn.
const EVENTS_AT_ONCE: usize = 64;

/// A connected device.
pub(super) struct Connected {
    client: Arc<Client>,
    desk: Arc<Desk>,
    task: JoinSet<()>,
}

/// What the handle and the task share.
struct Desk {
    lease: Lease,
    sink: Sink,
    /// Sends whose answers the task has yet to wait for; no more than the SDK's outbox has.
    sent: Mutex<VecDeque<Answering>>,
    /// There are some.
    has_sent: Notify,
    /// Takes nothing more from the inbox.
    quiet: CancellationToken,
    is_quiet: Notify,
    pace: Pace,
}

/// A send that waits for its answer.
struct Answering {
    ticket: u64,
    sending: Sending,
}

/// What the task waits for.
struct Listener {
    desk: Arc<Desk>,
    inbox: Inbox,
    statuses: Statuses,
    answers: FuturesUnordered<Answering>,
    is_up: bool,
    pause: Pause,
}

impl Connected {
    /// Begins to hear for a client that is connected.
    pub(super) fn start(lease: Lease, client: Client, sink: Sink) -> Self {
        let client = Arc::new(client);
        lease.ground.kept(lease.device).handle_connected(&client, &sink);
        let desk = Arc::new(Desk {
            lease,
            sink,
            sent: Mutex::default(),
            has_sent: Notify::new(),
            quiet: CancellationToken::new(),
            is_quiet: Notify::new(),
            pace: Pace::default(),
        });
        let listener = Listener {
            desk: Arc::clone(&desk),
            inbox: client.inbox(),
            statuses: client.statuses(),
            answers: FuturesUnordered::new(),
            is_up: false,
            pause: Pause::new(desk.pace.clone()),
        };
        let mut task = JoinSet::new();
        task.spawn(listener.run());
        Self { client, desk, task }
    }
}

impl Device for Connected {
    fn send(&self, ticket: u64, to: ConversationIndex, payload: Bytes) -> Result<(), SendError> {
        let Lease { ground, device } = &self.desk.lease;
        let address = ground.address(*device, to);
        match self.client.enqueue(address, payload) {
            Ok(sending) => {
                self.desk.sent().push_back(Answering { ticket, sending });
                self.desk.has_sent.notify_one();
                Ok(())
            }
            Err(client::SendError::Full) => Err(SendError::Full),
            Err(client::SendError::Closed(_)) => Err(SendError::Gone),
            Err(error @ (client::SendError::PayloadSize | client::SendError::Rejected(_))) => {
                self.desk.tell_outcome(ticket, Outcome::Rejected(error.to_string()));
                Ok(())
            }
        }
    }

    fn rebind(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.desk.lease.ground.settings.devices_per_socket.get() == 1,
            "this device shares its socket with others, which would move too"
        );
        Ok(self.client.rebind()?)
    }

    fn read_slowly(&self, pause: Duration) {
        self.desk.pace.set(pause);
    }

    fn disconnect(self: Box<Self>) -> BoxFuture<'static, ()> {
        let Self { client, desk, mut task } = *self;
        Box::pin(async move {
            desk.quiet.cancel();
            // From here on nothing is heard, so that all that was is acknowledged by the end.
            desk.is_quiet.notified().await;
            match Arc::try_unwrap(client) {
                Ok(client) => client.close().await,
                // Somebody makes a group with it at this moment.
                Err(client) => drop(client),
            }
            while task.join_next().await.is_some() {}
        })
    }
}

impl Desk {
    fn sent(&self) -> MutexGuard<'_, VecDeque<Answering>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, told: Told) {
        self.sink.hear(self.lease.device, told);
    }

    fn tell_outcome(&self, ticket: u64, outcome: Outcome) {
        self.tell(Told::Outcome { ticket, outcome });
    }

    fn kept(&self) -> MutexGuard<'_, super::Kept> {
        self.lease.ground.kept(self.lease.device)
    }

    /// A send of this connection was answered, or the connection ended first.
    fn handle_answer(&self, answered: Answered) {
        let Answered { id, ticket, answer } = answered;
        match answer {
            Ok(Accepted { .. }) => self.tell_outcome(ticket, Outcome::Accepted),
            // It is in the store's outbox and goes again on the next connection.
            Err(client::SendError::Closed(_)) => self.kept().owe(id, ticket),
            Err(
                error @ (client::SendError::Full
                | client::SendError::PayloadSize
                | client::SendError::Rejected(_)),
            ) => self.tell_outcome(ticket, Outcome::Rejected(error.to_string())),
        }
    }

    /// Something came in. Returns whether it was a delivery.
    fn handle_event(&self, event: Event) -> bool {
        match event {
            Event::Item(item) => {
                let is_message = item.payload().is_some();
                if let Some(payload) = item.payload() {
                    self.tell(Told::Delivery(payload.clone()));
                }
                item.ack();
                return is_message;
            }
            Event::Result { outcome, receipt, .. } => {
                if let client::Outcome::Refused(verdict) = outcome {
                    self.tell(Told::TakenBack(format!("{verdict:?}")));
                }
                receipt.ack();
            }
            Event::Accepted(id) => {
                let ticket = self.kept().take_owed(id);
                if let Some(ticket) = ticket {
                    self.tell_outcome(ticket, Outcome::Accepted);
                }
            }
            Event::Rejected(id, reason) => {
                let ticket = self.kept().take_owed(id);
                if let Some(ticket) = ticket {
                    self.tell_outcome(ticket, Outcome::Rejected(format!("{reason:?}")));
                }
            }
            Event::CaughtUp(_) => self.tell(Told::CaughtUp),
            Event::Truncated(_) => self.tell(Told::Truncated),
            Event::Conflict(_) => self.tell(Told::Conflict),
            Event::Undecodable(_) => self.tell(Told::Delivery(Bytes::new())),
        }
        false
    }
}

impl Listener {
    async fn run(mut self) {
        let desk = Arc::clone(&self.desk);
        let mut quiet = std::pin::pin!(desk.quiet.cancelled());
        loop {
            let is_paused = self.pause.is_on();
            tokio::select! {
                biased;
                () = &mut quiet => break,
                status = self.statuses.next() => {
                    if !self.handle_status(status) {
                        break;
                    }
                }
                () = desk.has_sent.notified() => self.await_answers(),
                Some(answered) = self.answers.next() => desk.handle_answer(answered),
                () = self.pause.over(), if is_paused => {}
                event = self.inbox.next(), if !is_paused => match event {
                    Some(event) => self.take(event),
                    None => break,
                },
            }
        }
        desk.is_quiet.notify_one();
        self.finish().await;
    }

    /// Takes an event, and some that wait behind it.
    fn take(&mut self, mut event: Event) {
        for _ in 0..EVENTS_AT_ONCE {
            if self.desk.handle_event(event) {
                self.pause.begin();
            }
            if self.pause.is_on() || self.desk.quiet.is_cancelled() {
                return;
            }
            match self.inbox.try_next() {
                Some(next) => event = next,
                None => return,
            }
        }
        if self.desk.handle_event(event) {
            self.pause.begin();
        }
    }

    /// Returns whether the client goes on.
    fn handle_status(&mut self, status: Option<Status>) -> bool {
        let was_up = self.is_up;
        match status {
            Some(Status::Connected(_)) => {
                if was_up {
                    self.desk.tell(Told::Down("the connection was replaced".into()));
                }
                self.is_up = true;
                self.desk.tell(Told::Up);
                true
            }
            Some(Status::Connecting(problem)) => {
                self.is_up = false;
                // Of several failed attempts in a row only the first changes anything.
                if was_up {
                    self.desk.tell(Told::Down(problem));
                }
                true
            }
            Some(Status::Closed(Closed::Here)) | None => false,
            Some(Status::Closed(reason)) => {
                self.desk.tell(Told::Down(reason.to_string()));
                false
            }
        }
    }

    fn await_answers(&mut self) {
        let sent = std::mem::take(&mut *self.desk.sent());
        self.answers.extend(sent);
    }

    /// Waits for the last answers: when the client has ended, all are there.
    async fn finish(&mut self) {
        loop {
            self.await_answers();
            match self.answers.next().await {
                Some(answered) => self.desk.handle_answer(answered),
                None if self.desk.sent().is_empty() => break,
                None => {}
            }
        }
    }
}

/// Answers that nobody waited for to the end: the device was dropped, or it crashed.
impl Drop for Listener {
    fn drop(&mut self) {
        self.await_answers();
        let mut kept = self.desk.kept();
        for Answering { ticket, sending, .. } in std::mem::take(&mut self.answers) {
            kept.owe(sending.id, ticket);
        }
    }
}

/// The answer of a send.
struct Answered {
    id: SendId,
    ticket: u64,
    answer: Result<Accepted, client::SendError>,
}

impl Future for Answering {
    type Output = Answered;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Answered> {
        let answer = ready!(Pin::new(&mut self.sending).poll(context));
        let Self { ticket, sending } = &*self;
        Poll::Ready(Answered { id: sending.id, ticket: *ticket, answer })
    }
}
