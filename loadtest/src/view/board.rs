//! What there is to show, told by the run and read by the view.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    clock::RunClock,
    report::summary::{Kinds, Load, Rates, Spread},
};

/// Sentences that wait to be shown; older ones go first when nobody looks.
const SAID_MAX: usize = 1000;

/// What there is to show.
#[derive(Debug)]
pub struct Board {
    clock: RunClock,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    shown: Shown,
    said: VecDeque<String>,
}

/// How a run stands.
#[derive(Clone, Debug, Default)]
pub struct Shown {
    /// What is being done.
    pub stage: Stage,
    /// What happened each second, of late; none before there was any load.
    pub rates: Option<Rates>,
    /// How long things took, of late.
    pub latency: Kinds<Spread>,
    /// Devices that are connected.
    pub connections: u64,
    /// Devices there are.
    pub devices: u64,
    /// What went wrong so far.
    pub errors: u64,
    /// Sends that wait for their outcome.
    pub waiting: u64,
    /// What the cluster uses.
    pub server: Option<Load>,
    /// What this program uses.
    pub own: Option<Load>,
}

/// What is being done.
#[derive(Clone, Debug, Default)]
pub struct Stage {
    /// What, in a few words.
    pub name: String,
    /// More of it, such as the rate that is tried.
    pub detail: String,
    /// How much of how much is done; none when that cannot be said.
    pub done: Option<(u64, u64)>,
    /// When it began, and how long it is to last: then time is what is done.
    pub lasts: Option<(u64, Duration)>,
}

impl Stage {
    /// How much of it is done, 0 to 1, at this time.
    #[must_use]
    pub fn share(&self, now_ns: u64) -> Option<f64> {
        if let Some((began_ns, lasts)) = self.lasts {
            let passed = now_ns.saturating_sub(began_ns) as f64 / 1e9;
            return Some((passed / lasts.as_secs_f64().max(1e-9)).min(1.0));
        }
        let (done, of) = self.done?;
        Some(if of == 0 { 1.0 } else { (done as f64 / of as f64).min(1.0) })
    }
}

impl Board {
    /// Nothing to show yet.
    #[must_use]
    pub fn new(clock: RunClock) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Something else is being done.
    pub fn begin(&self, stage: Stage) {
        self.lock().shown.stage = stage;
    }

    /// So much of it is done.
    pub fn done(&self, done: usize, of: usize) {
        self.lock().shown.stage.done = Some((done as u64, of as u64));
    }

    /// The figures changed.
    pub fn update(&self, update: impl FnOnce(&mut Shown)) {
        update(&mut self.lock().shown);
    }

    /// A sentence to be shown once, and to stay.
    pub fn say(&self, sentence: impl Into<String>) {
        let mut state = self.lock();
        if state.said.len() >= SAID_MAX {
            state.said.pop_front();
        }
        state.said.push_back(sentence.into());
    }

    /// How the run stands.
    #[must_use]
    pub fn shown(&self) -> Shown {
        self.lock().shown.clone()
    }

    /// The sentences that were not shown yet.
    pub(super) fn take_said(&self) -> Vec<String> {
        self.lock().said.drain(..).collect()
    }

    pub(super) fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
