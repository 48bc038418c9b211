//! Faults a test can ask for; an engine has none of its own accord.

use std::{
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

/// A handle on the faults of an engine. The default has none and costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Faults(Option<Arc<State>>);

#[derive(Debug, Default)]
struct State {
    fail_appends: AtomicU64,
    refuse_appends: AtomicBool,
    fail_stores: AtomicU64,
    drop_lookups: AtomicBool,
    slow_sync_ms: AtomicU64,
    hold_syncs: Mutex<bool>,
    released: Condvar,
    fail_sync: AtomicBool,
}

impl Faults {
    /// Faults that can be switched on; give a clone to [`crate::EngineConfig::faults`].
    #[must_use]
    pub fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// The next `count` appends become durable, and their futures resolve to
    /// [`ports::log::AppendError`]. So do, without effect, appends to the same partitions until the
    /// caller was told.
    pub fn fail_appends(&self, count: u64) {
        self.state().fail_appends.store(count, SeqCst);
    }

    /// Whether appends are refused with [`ports::log::Refused::Overload`].
    pub fn refuse_appends(&self, refuse: bool) {
        self.state().refuse_appends.store(refuse, SeqCst);
    }

    /// The next `count` writes to the mailbox or the entities are stored, and answer
    /// [`ports::StoreError::Retry`].
    pub fn fail_stores(&self, count: u64) {
        self.state().fail_stores.store(count, SeqCst);
    }

    /// Whether lookups of presence find nothing: every push is lost.
    pub fn drop_lookups(&self, drop: bool) {
        self.state().drop_lookups.store(drop, SeqCst);
    }

    /// Every sync of the log takes this much longer.
    pub fn slow_sync(&self, by: Duration) {
        self.state().slow_sync_ms.store(crate::config::millis(by), SeqCst);
    }

    /// Whether syncs of the log wait until this is called with false.
    pub fn hold_syncs(&self, hold: bool) {
        *self.state().hold_syncs.lock().expect("no holder of this lock panics") = hold;
        self.state().released.notify_all();
    }

    /// The next sync of the log fails, which ends the process.
    pub fn fail_sync(&self) {
        self.state().fail_sync.store(true, SeqCst);
    }

    fn state(&self) -> &State {
        self.0.as_deref().expect("a test switches faults on `Faults::new()`, not on the default")
    }

    pub(crate) fn takes_append(&self) -> bool {
        self.0.as_ref().is_some_and(|state| take(&state.fail_appends))
    }

    pub(crate) fn refuses(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.refuse_appends.load(SeqCst))
    }

    pub(crate) fn takes_store(&self) -> bool {
        self.0.as_ref().is_some_and(|state| take(&state.fail_stores))
    }

    pub(crate) fn drops_lookup(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.drop_lookups.load(SeqCst))
    }

    /// Runs before a sync of the log; false when it is to fail.
    pub(crate) fn before_sync(&self) -> bool {
        let Some(state) = &self.0 else { return true };
        let mut hold = state.hold_syncs.lock().expect("no holder of this lock panics");
        let slow = Duration::from_millis(state.slow_sync_ms.load(SeqCst));
        if !slow.is_zero() {
            // Nobody tells, so it lasts as long as it says.
            let waited = state.released.wait_timeout(hold, slow);
            hold = waited.expect("no holder of this lock panics").0;
        }
        while *hold {
            hold = state.released.wait(hold).expect("no holder of this lock panics");
        }
        !state.fail_sync.swap(false, SeqCst)
    }
}

/// Counts one down; whether there was one.
fn take(count: &AtomicU64) -> bool {
    count.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok()
}
