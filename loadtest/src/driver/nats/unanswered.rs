//! Publishes of a device that wait for the server's acknowledgement.

use std::{collections::BTreeSet, pin::Pin};

use async_nats::jetstream::context::{PublishAckFuture, PublishError, PublishErrorKind};
use futures_util::{FutureExt as _, StreamExt as _, stream::FuturesUnordered};

use crate::driver::{Outcome, answers::Answers};

/// As many publishes wait at most, give or take a message of two parts.
pub(super) const UNANSWERED_MAX: usize = 1024;

/// What was published and not answered.
#[derive(Default)]
pub(super) struct Unanswered {
    tickets: BTreeSet<u64>,
    parts: FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    answers: Answers,
}

/// One part of a message was answered.
pub(super) struct Answer {
    ticket: u64,
    parts: u8,
    outcome: Outcome,
}

impl Unanswered {
    pub(super) fn is_empty(&self) -> bool {
        self.tickets.is_empty()
    }

    pub(super) fn has_room(&self) -> bool {
        self.parts.len() < UNANSWERED_MAX
    }

    /// A part of a message was published, or could not be.
    pub(super) fn add(
        &mut self,
        ticket: u64,
        parts: u8,
        published: Result<PublishAckFuture, PublishError>,
    ) {
        self.tickets.insert(ticket);
        self.parts.push(match published {
            Ok(answer) => answer
                .into_future()
                .map(move |answered| Answer { ticket, parts, outcome: outcome(answered.err()) })
                .boxed(),
            Err(error) => {
                let outcome = outcome(Some(error));
                std::future::ready(Answer { ticket, parts, outcome }).boxed()
            }
        });
    }

    /// The next answer; for ever when none is to come.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn next(&mut self) -> Answer {
        match self.parts.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Takes an answer; gives that of its message when it is the last.
    pub(super) fn take(&mut self, answer: Answer) -> Option<(u64, Outcome)> {
        let Answer { ticket, parts, outcome } = answer;
        let outcome = self.answers.part(ticket, parts, outcome)?;
        self.tickets.remove(&ticket);
        Some((ticket, outcome))
    }

    /// Nobody will wait any more; whose answers are missing.
    pub(super) fn give_up(&mut self) -> BTreeSet<u64> {
        self.parts.clear();
        std::mem::take(&mut self.tickets)
    }
}

/// What an answer means.
fn outcome(error: Option<PublishError>) -> Outcome {
    let Some(error) = error else { return Outcome::Accepted };
    match error.kind() {
        // The answer is missing, not the message.
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => Outcome::Unknown,
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::MaxPayloadExceeded
        | PublishErrorKind::Other => Outcome::Rejected(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(kind: PublishErrorKind) -> Result<PublishAckFuture, PublishError> {
        Err(PublishError::new(kind))
    }

    #[tokio::test]
    async fn a_missing_answer_is_unknown_and_a_refusal_rejected() {
        let mut unanswered = Unanswered::default();
        unanswered.add(1, 1, failed(PublishErrorKind::TimedOut));
        unanswered.add(2, 1, failed(PublishErrorKind::StreamNotFound));
        let mut told = Vec::new();
        while !unanswered.is_empty() {
            let answer = unanswered.next().await;
            told.extend(unanswered.take(answer));
        }
        told.sort_by_key(|(ticket, _)| *ticket);
        let refused = Outcome::Rejected("no stream found for given subject".to_owned());
        assert_eq!(told, [(1, Outcome::Unknown), (2, refused)]);
    }

    #[tokio::test]
    async fn what_is_given_up_is_named_once() {
        let mut unanswered = Unanswered::default();
        unanswered.add(5, 2, failed(PublishErrorKind::TimedOut));
        unanswered.add(5, 2, failed(PublishErrorKind::TimedOut));
        assert_eq!(unanswered.give_up(), BTreeSet::from([5]));
        assert!(unanswered.is_empty() && unanswered.has_room());
    }
}
