//! That pushes were dropped, on its way to whoever must hear of it.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

/// Pushes were dropped and those they were for do not know yet. However many, it is told once: a
/// lasting overflow costs one more flag a frame.
#[derive(Default)]
pub(crate) struct Losses {
    untold: AtomicBool,
    wake: Notify,
}

impl Losses {
    /// Pushes were dropped.
    pub(crate) fn add(&self) {
        if !self.untold.swap(true, Ordering::AcqRel) {
            self.wake.notify_one();
        }
    }

    /// Whether there is something to tell.
    pub(crate) fn is_untold(&self) -> bool {
        self.untold.load(Ordering::Acquire)
    }

    /// Whether there is something to tell, which is being told now.
    pub(crate) fn take(&self) -> bool {
        self.untold.swap(false, Ordering::AcqRel)
    }

    /// Waits until there may be something to tell.
    ///
    /// # Cancel safety
    /// Cancel safe: what there is to tell stays until it is taken.
    pub(crate) async fn noticed(&self) {
        self.wake.notified().await;
    }
}
