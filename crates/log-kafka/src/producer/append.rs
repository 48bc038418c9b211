//! One append on its way.

use std::sync::{Arc, Mutex};

use ports::log::AppendError;
use tokio::sync::oneshot;
use wire::Seq;

use super::{admission::Origin, fail_stop::Untold};

/// What an append resolves to; a failure keeps its lanes failing until it is told.
pub(crate) type Outcome = Result<Vec<Seq>, (AppendError, Untold)>;

/// One append, told when all its records are durable or when the first is known to have failed.
pub(crate) struct Append {
    state: Mutex<State>,
    /// A test wants it to fail when all its records are durable.
    pub(crate) fails: bool,
}

struct State {
    reply: Option<oneshot::Sender<Outcome>>,
    positions: Vec<Seq>,
    missing: usize,
}

impl Append {
    pub(crate) fn new(records: usize, fails: bool) -> (Arc<Self>, oneshot::Receiver<Outcome>) {
        let (reply, outcome) = oneshot::channel();
        let positions = vec![Seq::ZERO; records];
        let state = State { reply: Some(reply), positions, missing: records };
        (Arc::new(Self { state: Mutex::new(state), fails }), outcome)
    }

    /// The record is durable at this position.
    pub(crate) fn landed(&self, index: u32, position: Seq) {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        state.positions[index as usize] = position;
        state.missing -= 1;
        if state.missing == 0
            && let Some(reply) = state.reply.take()
        {
            let positions = std::mem::take(&mut state.positions);
            drop(state);
            // The caller may have gone; it is appended all the same.
            let _ = reply.send(Ok(positions));
        }
    }

    /// One more is durable of an append that fails; whether it was the last.
    pub(crate) fn landed_in_vain(&self) -> bool {
        let mut state = self.state.lock().expect("no holder of this lock panics");
        state.missing -= 1;
        state.missing == 0
    }

    /// It is not known whether the record is durable.
    pub(crate) fn failed(&self, reason: String, untold: Untold) {
        let reply = self.state.lock().expect("no holder of this lock panics").reply.take();
        // Without a reply to send the caller knows of a failure or has gone: it is told.
        if let Some(reply) = reply {
            let _ = reply.send(Err((AppendError(reason), untold)));
        }
    }
}

/// A record on its way.
pub(crate) struct Ticket {
    pub(crate) append: Arc<Append>,
    /// Which of its records.
    pub(crate) index: u32,
    pub(crate) lane: u32,
    pub(crate) generation: u64,
    pub(crate) bytes: u32,
    pub(crate) origin: Origin,
    pub(crate) round: u64,
    /// Counts records, to answer failures in the order of their appends.
    pub(crate) number: u64,
}
