//! A device that reads slowly.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::time::{Sleep, sleep};

/// How long a device waits after each delivery, as whoever holds it says.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace(Arc<AtomicU64>);

impl Pace {
    /// So long from now on; zero is not at all.
    pub(super) fn set(&self, pause: Duration) {
        let pause_us = u64::try_from(pause.as_micros()).unwrap_or(u64::MAX);
        self.0.store(pause_us, Ordering::Relaxed);
    }
}

/// The wait after a delivery.
#[derive(Debug, Default)]
pub(super) struct Pause {
    pace: Pace,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Pause {
    pub(super) fn new(pace: Pace) -> Self {
        Self { pace, sleep: None }
    }

    /// Something was delivered: a pause begins, if there are any.
    pub(super) fn begin(&mut self) {
        let pause_us = self.pace.0.load(Ordering::Relaxed);
        if pause_us > 0 {
            self.sleep = Some(Box::pin(sleep(Duration::from_micros(pause_us))));
        }
    }

    /// Whether nothing may be taken now.
    pub(super) fn is_on(&self) -> bool {
        self.sleep.is_some()
    }

    /// Waits for its end; for ever when there is none.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(super) async fn over(&mut self) {
        match &mut self.sleep {
            Some(sleep) => sleep.await,
            None => std::future::pending().await,
        }
        self.sleep = None;
    }
}
