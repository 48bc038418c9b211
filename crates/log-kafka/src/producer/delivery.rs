//! What becomes of records.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicBool, AtomicU64, Ordering::Relaxed, Ordering::SeqCst},
};

use rdkafka::{
    ClientContext, Message, Statistics,
    config::RDKafkaLogLevel,
    error::KafkaError,
    producer::{DeliveryResult, ProducerContext},
};
use wire::{Epoch, Offset, Seq};

use super::{
    admission::Admission,
    append::Ticket,
    fail_stop::{FailStop, Untold},
};
use crate::settings::{Reach, log_line};

/// Tells callers what became of their records.
pub(crate) struct Settle {
    pub(crate) admission: Admission,
    pub(crate) fail_stop: Arc<FailStop>,
    pub(crate) epoch: Epoch,
    pub(crate) reach: Reach,
    pub(crate) delivered: AtomicU64,
    pub(crate) failed: AtomicU64,
}

impl Settle {
    /// The brokers have the record; without an offset they had it before and do not say where.
    fn landed(&self, ticket: &Ticket, offset: i64) {
        let lane = ticket.lane as usize;
        self.delivered.fetch_add(1, Relaxed);
        let is_sound = self.fail_stop.leave(lane, ticket.generation);
        let failure = if ticket.append.fails {
            let is_last = ticket.append.landed_in_vain();
            is_last.then(|| (self.fail_stop.untold(vec![lane]), "a test wants it to fail"))
        } else if !is_sound {
            Some((self.fail_stop.untold(vec![lane]), "it follows one that failed"))
        } else if offset < 0 {
            Some((self.fail_stop.fail(lane), "it is durable, and the brokers do not say where"))
        } else {
            None
        };
        match failure {
            Some((untold, reason)) => ticket.append.failed(reason.into(), untold),
            None if ticket.append.fails => {}
            None => {
                let offset = Offset::new(offset.unsigned_abs());
                ticket.append.landed(ticket.index, Seq::new(self.epoch, offset));
            }
        }
        self.release(ticket);
    }

    /// It is not known what became of a record: its lane stops.
    fn doom(&self, ticket: &Ticket) -> Untold {
        let lane = ticket.lane as usize;
        if self.fail_stop.leave(lane, ticket.generation) {
            self.fail_stop.fail(lane)
        } else {
            self.fail_stop.untold(vec![lane])
        }
    }

    fn tell(&self, ticket: &Ticket, reason: String, untold: Untold) {
        ticket.append.failed(reason, untold);
        self.settle_lost(ticket);
    }

    fn settle_lost(&self, ticket: &Ticket) {
        self.failed.fetch_add(1, Relaxed);
        self.release(ticket);
    }

    /// As [`Settle::doom`], told at once.
    pub(crate) fn lost(&self, ticket: &Ticket, reason: String) {
        self.tell(ticket, reason, self.doom(ticket));
    }

    fn release(&self, ticket: &Ticket) {
        let Ticket { origin, lane, bytes, round, .. } = *ticket;
        self.admission.release(origin, lane as usize, bytes as usize, round);
    }
}

/// A record of which it is not known what became of it, why, and what keeps its lane failing.
type Lost = (Box<Ticket>, String, Untold);

/// The reports of one producer. The first failure ends it: nothing is skipped over, and everything
/// it still has is told, in order, when it has ended.
pub(crate) struct Delivery {
    settle: Arc<Settle>,
    lost: Mutex<Vec<Lost>>,
    broken: AtomicBool,
}

impl Delivery {
    pub(crate) fn new(settle: Arc<Settle>) -> Self {
        Self { settle, lost: Mutex::default(), broken: AtomicBool::new(false) }
    }

    /// Whether something failed.
    pub(crate) fn is_broken(&self) -> bool {
        self.broken.load(SeqCst)
    }

    /// Ends the producer.
    pub(crate) fn set_broken(&self) {
        self.broken.store(true, SeqCst);
    }

    /// Tells all failures, in the order of the appends. Every report is in.
    pub(crate) fn tell(&self) {
        let mut lost =
            std::mem::take(&mut *self.lost.lock().expect("no holder of this lock panics"));
        lost.sort_unstable_by_key(|(ticket, ..)| ticket.number);
        let mut lost = lost.into_iter().peekable();
        while let Some((ticket, reason, mut untold)) = lost.next() {
            let is_its = |(next, ..): &Lost| Arc::ptr_eq(&next.append, &ticket.append);
            // Who is told of an append may repeat it: all its lanes are free then.
            while let Some((next, _, more)) = lost.next_if(is_its) {
                untold.join(more);
                self.settle.settle_lost(&next);
            }
            self.settle.tell(&ticket, reason, untold);
        }
    }
}

impl Drop for Delivery {
    /// What came only while the producer was thrown away is told too.
    fn drop(&mut self) {
        self.tell();
    }
}

impl ClientContext for Delivery {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn stats(&self, _: Statistics) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.settle.reach.heard(&error, reason);
    }
}

impl ProducerContext for Delivery {
    type DeliveryOpaque = Box<Ticket>;

    fn delivery(&self, result: &DeliveryResult<'_>, ticket: Box<Ticket>) {
        match result {
            Ok(message) => {
                self.settle.reach.set_lost(false);
                self.settle.landed(&ticket, message.offset());
            }
            Err((error, _)) => {
                let untold = self.settle.doom(&ticket);
                let mut lost = self.lost.lock().expect("no holder of this lock panics");
                lost.push((ticket, error.to_string(), untold));
                drop(lost);
                self.set_broken();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::{super::admission::Origin, *};
    use crate::producer::append::Append;

    #[test]
    fn all_lanes_of_an_append_that_failed_are_free_when_it_is_told_and_not_before() {
        let settle = Arc::new(Settle {
            admission: Admission::new(100, 100_000, 2),
            fail_stop: FailStop::new(2),
            epoch: Epoch::new(1),
            reach: Reach::default(),
            delivered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        });
        let round = settle.admission.take(Origin::Client, [(0, 1), (1, 1)].into_iter()).unwrap();
        let (append, mut outcome) = Append::new(2, false);
        let delivery = Delivery::new(Arc::clone(&settle));
        for lane in 0..2 {
            let generation = settle.fail_stop.enter(lane as usize).unwrap();
            let ticket = Ticket {
                append: Arc::clone(&append),
                index: lane,
                lane,
                generation,
                bytes: 1,
                origin: Origin::Client,
                round,
                number: u64::from(lane),
            };
            let untold = settle.doom(&ticket);
            delivery.lost.lock().unwrap().push((Box::new(ticket), "cut".to_owned(), untold));
        }
        delivery.tell();
        assert!(settle.admission.is_empty());
        let failed = outcome.try_recv().unwrap();
        assert_eq!([0, 1].map(|lane| settle.fail_stop.enter(lane)), [None, None]);
        drop(failed);
        assert!([0, 1].iter().all(|lane| settle.fail_stop.enter(*lane).is_some()));
    }
}
