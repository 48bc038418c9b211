//! The sends of a connection that wait for their answer, and which send may follow which.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use wire::{
    SendId, ServerFrame,
    client_frame::{Previous, Send},
    limits::{ANSWER_WITHIN, SEND_WINDOW},
    server_frame::BusyReason,
};

use crate::edge::{Published, Violation};

/// A send older than this is answered Retry, one second before the protocol's limit.
const RETRY_AFTER: Duration = Duration::from_secs(14);

/// Milliseconds after which an unanswered send comes again.
const RETRY_AFTER_MS: u32 = 1_000;

/// Milliseconds after which a send comes again whose predecessor was missing: none, the
/// predecessor's own answer holds the conversation back long enough.
const PREVIOUS_AFTER_MS: u32 = 0;

const _: () = assert!(RETRY_AFTER.as_millis() < ANSWER_WITHIN.as_millis());

/// Sends in flight, at most the window, and the last ones accepted, at most [`SEND_WINDOW`].
#[derive(Debug, Default)]
pub(crate) struct PublishWindow {
    window: usize,
    /// Admitted and not yet given to the driver; part of `in_flight`.
    waiting: VecDeque<Send>,
    /// When each is answered at the latest.
    in_flight: BTreeMap<SendId, Duration>,
    deadlines: BTreeSet<(Duration, SendId)>,
    accepted: BTreeSet<SendId>,
    accepted_order: VecDeque<SendId>,
}

impl PublishWindow {
    pub(crate) fn open(&mut self, window: usize) {
        self.window = window;
    }

    /// Takes a send in, or answers Busy when its predecessor is not here.
    pub(crate) fn handle_send(
        &mut self,
        now: Duration,
        send: Send,
    ) -> Result<Option<ServerFrame>, Violation> {
        if self.in_flight.len() >= self.window {
            return Err(Violation::protocol("more unanswered sends than the window allows"));
        }
        if self.in_flight.contains_key(&send.id) {
            return Err(Violation::protocol("a send again before its answer"));
        }
        if !self.may_follow(send.previous) {
            return Ok(Some(busy_previous(send.id)));
        }
        let deadline = now + RETRY_AFTER;
        self.in_flight.insert(send.id, deadline);
        self.deadlines.insert((deadline, send.id));
        self.waiting.push_back(send);
        Ok(None)
    }

    /// The next send to append.
    pub(crate) fn poll_send(&mut self) -> Option<Send> {
        self.waiting.pop_front()
    }

    /// The answers for the client: to this send unless it waits no more, and to those that may
    /// not follow it now.
    pub(crate) fn handle_published(
        &mut self,
        id: SendId,
        published: Published,
    ) -> Vec<ServerFrame> {
        if !self.forget(id) {
            return Vec::new();
        }
        let answer = match published {
            Published::Accepted => {
                self.remember_accepted(id);
                return vec![ServerFrame::Accepted(id)];
            }
            Published::Unknown { after_ms } => ServerFrame::Retry { id, after_ms },
            Published::Busy { reason, after_ms } => ServerFrame::Busy { id, after_ms, reason },
            Published::Reject(reason) => ServerFrame::Reject { id, reason },
        };
        let mut answers = vec![answer];
        self.refuse_followers(&mut answers);
        answers
    }

    /// Answers Retry to every send that is too old, oldest first.
    pub(crate) fn handle_timeout(&mut self, now: Duration) -> Vec<ServerFrame> {
        let mut answers = Vec::new();
        while let Some(&(deadline, id)) = self.deadlines.first()
            && deadline <= now
        {
            self.forget(id);
            answers.push(ServerFrame::Retry { id, after_ms: RETRY_AFTER_MS });
        }
        if !answers.is_empty() {
            self.refuse_followers(&mut answers);
        }
        answers
    }

    /// A send refused after its followers were admitted must not be overtaken by them: those not
    /// yet given out are refused too, at once, before the refused one can come again behind them.
    fn refuse_followers(&mut self, answers: &mut Vec<ServerFrame>) {
        for send in std::mem::take(&mut self.waiting) {
            if !self.in_flight.contains_key(&send.id) {
                continue;
            }
            if self.may_follow(send.previous) {
                self.waiting.push_back(send);
            } else {
                self.forget(send.id);
                answers.push(busy_previous(send.id));
            }
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.deadlines.first().map(|(deadline, _)| *deadline)
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    //= protocol#send-6
    fn may_follow(&self, previous: Option<Previous>) -> bool {
        previous.is_none_or(|previous| {
            previous.accepted
                || self.in_flight.contains_key(&previous.id)
                || self.accepted.contains(&previous.id)
        })
    }

    fn forget(&mut self, id: SendId) -> bool {
        let Some(deadline) = self.in_flight.remove(&id) else { return false };
        self.deadlines.remove(&(deadline, id));
        true
    }

    /// A send whose predecessor the client does not yet know to be accepted was sent while that
    /// one was unanswered there, hence at most a window of acceptances ago.
    fn remember_accepted(&mut self, id: SendId) {
        if self.accepted.insert(id) {
            self.accepted_order.push_back(id);
        }
        if self.accepted_order.len() > SEND_WINDOW as usize
            && let Some(oldest) = self.accepted_order.pop_front()
        {
            self.accepted.remove(&oldest);
        }
    }
}

fn busy_previous(id: SendId) -> ServerFrame {
    ServerFrame::Busy { id, after_ms: PREVIOUS_AFTER_MS, reason: BusyReason::Previous }
}
