//! How far devices are, gathered and stored together.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use ports::{Mailbox, mailbox::Cursor};
use tokio_util::sync::CancellationToken;
use wire::{DeviceId, UserId};

use crate::metrics::EdgeMetrics;

/// Cursors stored by one call.
const BATCH_MAX: usize = 256;
/// Devices whose cursor waits. At the limit further ones are dropped: a stored cursor may lag, the
/// client's own decides.
const WAITING_MAX: usize = 1 << 20;
/// Storing a batch is given up after this, and tried again with the next.
const STORE_WITHIN: Duration = Duration::from_secs(5);

type Waiting = HashMap<(UserId, DeviceId), Cursor>;

/// Cursors that wait to be stored; a later one of a device replaces an earlier one.
#[derive(Default)]
pub(crate) struct Cursors(Mutex<Waiting>);

impl Cursors {
    pub(crate) fn put(&self, user: UserId, device: DeviceId, cursor: Cursor) {
        let mut waiting = self.lock();
        if waiting.len() < WAITING_MAX || waiting.contains_key(&(user, device)) {
            waiting
                .entry((user, device))
                .and_modify(|present| *present = newer(*present, cursor))
                .or_insert(cursor);
        }
    }

    /// Stores what waits every `period` until `finish`, and then once more.
    ///
    /// # Cancel safety
    /// What was being stored when dropped may be lost.
    pub(crate) async fn keep_storing(
        &self,
        mailbox: &dyn Mailbox,
        metrics: &EdgeMetrics,
        period: Duration,
        finish: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let is_last = tokio::select! {
                biased;
                () = finish.cancelled() => true,
                _ = ticks.tick() => false,
            };
            self.flush(mailbox, metrics).await;
            if is_last {
                return;
            }
        }
    }

    /// Stores everything that waits; what could not be stored waits on.
    async fn flush(&self, mailbox: &dyn Mailbox, metrics: &EdgeMetrics) {
        let waiting = std::mem::take(&mut *self.lock());
        if waiting.is_empty() {
            return;
        }
        let cursors: Vec<_> =
            waiting.into_iter().map(|((user, device), cursor)| (user, device, cursor)).collect();
        for batch in cursors.chunks(BATCH_MAX) {
            let stored =
                tokio::time::timeout(STORE_WITHIN, mailbox.store_cursors(batch.to_vec())).await;
            if let Ok(Ok(())) = stored {
                metrics.cursors.inc_by(batch.len() as u64);
                continue;
            }
            metrics.store_failed.inc();
            tracing::warn!(cursors = batch.len(), "cursors were not stored and wait on");
            for (user, device, cursor) in batch {
                self.put(*user, *device, *cursor);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The cursor that stays of two: as [`Mailbox::store_cursors`] decides.
fn newer(a: Cursor, b: Cursor) -> Cursor {
    if (b.seq, b.caught_up_ms) >= (a.seq, a.caught_up_ms) { b } else { a }
}

#[cfg(test)]
mod tests {
    use wire::Seq;

    use super::*;

    #[test]
    fn the_higher_cursor_waits_whichever_came_last() {
        let cursors = Cursors::default();
        let (user, device) = (UserId::from_bytes([1; 16]), DeviceId::from_bytes([2; 8]));
        let at = |seq, caught_up_ms| Cursor { seq: Seq::from_u64(seq), caught_up_ms };
        for cursor in [at(5, 1), at(7, 1), at(6, 9), at(7, 3)] {
            cursors.put(user, device, cursor);
        }
        assert_eq!(cursors.lock().get(&(user, device)), Some(&at(7, 3)));
    }
}
