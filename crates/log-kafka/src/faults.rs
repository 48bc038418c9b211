//! Faults a test can ask for; the log has none of its own accord.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering::SeqCst},
};

/// A handle on the faults of a log. The default has none and costs nothing.
#[derive(Clone, Debug, Default)]
pub struct Faults(Option<Arc<State>>);

#[derive(Debug, Default)]
struct State {
    fail_appends: AtomicU64,
    refuse_appends: AtomicBool,
}

impl Faults {
    /// Faults that can be switched on; give a clone to [`crate::KafkaConfig::faults`].
    #[must_use]
    pub fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// The next `count` appends become durable, and their futures resolve to
    /// [`ports::log::AppendError`]. So do appends to the same partitions until the caller was told.
    pub fn fail_appends(&self, count: u64) {
        if let Some(state) = &self.0 {
            state.fail_appends.store(count, SeqCst);
        }
    }

    /// Whether appends are refused with [`ports::log::Refused::Overload`].
    pub fn refuse_appends(&self, refuse: bool) {
        if let Some(state) = &self.0 {
            state.refuse_appends.store(refuse, SeqCst);
        }
    }

    pub(crate) fn takes_append(&self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        self.0
            .as_ref()
            .is_some_and(|state| state.fail_appends.fetch_update(SeqCst, SeqCst, take).is_ok())
    }

    pub(crate) fn refuses(&self) -> bool {
        self.0.as_ref().is_some_and(|state| state.refuse_appends.load(SeqCst))
    }
}
