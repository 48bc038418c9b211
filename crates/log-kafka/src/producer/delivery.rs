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
        self.failed.fetch_add(1, Relaxed);
        ticket.append.failed(reason, untold);
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

/// The reports of one producer. The first failure ends it: nothing is skipped over, and everything
/// it still has is told, in order, when it has ended.
pub(crate) struct Delivery {
    settle: Arc<Settle>,
    lost: Mutex<Vec<(Box<Ticket>, String, Untold)>>,
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
        for (ticket, reason, untold) in lost {
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
