//! Comparing every connected device's mailbox with what it was given: what finds lost pushes.

use std::{sync::Arc, time::Duration};

use ports::{Mailbox, mailbox::Cursor};
use tokio::{sync::Notify, time::Instant};

use crate::{
    WallClock,
    cursor::Cursors,
    metrics::EdgeMetrics,
    routes::{Handle, Routes},
};

/// Users asked about in one call.
const BATCH_MAX: usize = 256;
/// A call is given up after this; the next round asks again.
const HEADS_WITHIN: Duration = Duration::from_secs(5);
/// How often it is stored that an idle device has everything, so that it is not thought to have
/// been away.
const CAUGHT_UP_EVERY_MS: u64 = 3_600_000;
/// Rounds begun early because pushes were lost are at least this far apart, however many are lost.
const EARLY_AT_MOST_EVERY: Duration = Duration::from_secs(2);

/// What the check looks at.
pub(crate) struct HeadCheck<'a> {
    pub(crate) routes: &'a Routes,
    pub(crate) mailbox: &'a dyn Mailbox,
    pub(crate) cursors: &'a Cursors,
    pub(crate) metrics: &'a EdgeMetrics,
    pub(crate) wall_clock: WallClock,
    /// Asks for a round now: pushes were lost.
    pub(crate) soon: &'a Notify,
}

impl HeadCheck<'_> {
    /// Checks every connection within `period` until dropped.
    pub(crate) async fn run(&self, period: Duration) {
        // A connection may come early in one round and late in the next: two rounds in a period.
        let round = period / 2;
        let apart = EARLY_AT_MOST_EVERY.min(round);
        let mut is_early = false;
        loop {
            let began = Instant::now();
            let mut is_asked = self.check_all(if is_early { Duration::ZERO } else { round }).await;
            if !is_asked {
                let left = round.saturating_sub(began.elapsed());
                is_asked = self.wait(left.max(apart)).await;
            }
            if is_asked && is_early {
                tokio::time::sleep(apart.saturating_sub(began.elapsed())).await;
            }
            is_early = is_asked;
        }
    }

    /// Checks every connection, spread evenly over `within`. True when pushes were lost meanwhile:
    /// who came before that must be checked again. An early round, which is not spread, goes on.
    async fn check_all(&self, within: Duration) -> bool {
        let mut handles = self.routes.all();
        // The table's order is random and differs from process to process: batches of many edges do
        // not meet at one store partition.
        let batches = handles.len().div_ceil(BATCH_MAX).max(1);
        let pause = within / u32::try_from(batches).unwrap_or(u32::MAX);
        while !handles.is_empty() {
            let rest = handles.len().saturating_sub(BATCH_MAX);
            self.check(handles.split_off(rest)).await;
            if !pause.is_zero() && !handles.is_empty() && self.wait(pause).await {
                return true;
            }
        }
        false
    }

    /// Waits; true when it was cut short.
    async fn wait(&self, duration: Duration) -> bool {
        tokio::time::timeout(duration, self.soon.notified()).await.is_ok()
    }

    async fn check(&self, handles: Vec<Arc<Handle>>) {
        let users = handles.iter().map(|handle| handle.user).collect();
        let heads = match tokio::time::timeout(HEADS_WITHIN, self.mailbox.heads(users)).await {
            Ok(Ok(heads)) => heads,
            Ok(Err(_)) | Err(_) => {
                self.metrics.store_failed.inc();
                tracing::warn!(devices = handles.len(), "heads could not be read; asked again");
                return;
            }
        };
        let now_ms = (self.wall_clock)();
        for (handle, head) in handles.iter().zip(heads) {
            // Not admitted yet: it reads its mailbox when it is.
            if handle.caught_up_ms() == 0 {
                continue;
            }
            if handle.handle_head(head) {
                self.metrics.behind.inc();
            } else if now_ms.saturating_sub(handle.caught_up_ms()) > CAUGHT_UP_EVERY_MS {
                let seq = handle.acknowledged();
                handle.set_cursor(seq, now_ms);
                let cursor = Cursor { seq, caught_up_ms: now_ms };
                self.cursors.put(handle.user, handle.device, cursor);
            }
        }
    }
}
