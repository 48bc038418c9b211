//! What was done to the cluster and what happened to it, and what it makes of the run.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::{
    clock::RunClock,
    report::summary::{Event, EventKind, Outcome, Reason},
    view::Board,
};

/// What was done to the cluster and what happened to it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: RunClock,
    board: Arc<Board>,
    written: Mutex<Written>,
}

/// Everything in a journal.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// In the order of time.
    pub events: Vec<Event>,
    /// What the run is not worth because of it.
    pub reasons: Vec<Reason>,
    /// What a reader should know, in sentences.
    pub notes: Vec<String>,
}

impl Journal {
    /// Nothing happened yet.
    #[must_use]
    pub fn new(clock: RunClock, board: Arc<Board>) -> Self {
        Self(Arc::new(Inner { clock, board, written: Mutex::default() }))
    }

    /// Something was done or happened now; it is shown, too.
    pub fn event(&self, kind: EventKind, text: impl Into<String>) {
        let text = text.into();
        self.0.board.say(text.clone());
        let at_s = self.0.clock.now_ns() as f64 / 1e9;
        self.lock().events.push(Event { at_s, kind, text });
    }

    /// Something takes from what the run is worth.
    pub fn reason(&self, outcome: Outcome, phase: Option<&str>, text: impl Into<String>) {
        let phase = phase.map(str::to_owned);
        self.lock().reasons.push(Reason { outcome, phase, text: text.into() });
    }

    /// Something a reader should know.
    pub fn note(&self, sentence: impl Into<String>) {
        self.lock().notes.push(sentence.into());
    }

    /// Everything in it.
    #[must_use]
    pub fn written(&self) -> Written {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.0.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
