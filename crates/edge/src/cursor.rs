//! How far devices are, gathered and stored together.

use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use ports::{Mailbox, mailbox::Cursor};
use tokio_util::sync::CancellationToken;
use wire::{DeviceId, UserId};

use crate::metrics::EdgeMetrics;

/// Cursors stored by one call.
const BATCH_MAX: usize = 256;
/// Devices whose cursor waits. At the limit further ones are dropped: a stored cursor may lag, the
/// client's own decides.
const WAITING_MAX: usize = 1 << 20;
/// Storing a batch is given up after this, and what waits is tried again later.
const STORE_WITHIN: Duration = Duration::from_secs(5);
/// After a failure nothing is stored for so long: a store in trouble is not pressed.
const PAUSE: Duration = Duration::from_secs(2);
/// Batches stored at once, so that a round trip each does not bound them.
const BATCHES_AT_ONCE: usize = 4;

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
            let is_stored = self.flush(mailbox, metrics).await;
            if is_last {
                return;
            }
            if !is_stored {
                tokio::select! {
                    biased;
                    () = finish.cancelled() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
    }

    /// Stores everything that waits; what could not be stored waits on. Whether all was. After a
    /// failure no further batch is begun.
    async fn flush(&self, mailbox: &dyn Mailbox, metrics: &EdgeMetrics) -> bool {
        let waiting = std::mem::take(&mut *self.lock());
        let cursors: Vec<_> =
            waiting.into_iter().map(|((user, device), cursor)| (user, device, cursor)).collect();
        let is_failing = AtomicBool::new(false);
        let stores = cursors.chunks(BATCH_MAX).map(|batch| {
            let is_failing = &is_failing;
            async move {
                if is_failing.load(Ordering::Relaxed) {
                    self.put_back(batch);
                } else if !self.store(mailbox, metrics, batch).await {
                    is_failing.store(true, Ordering::Relaxed);
                }
            }
        });
        stream::iter(stores).for_each_concurrent(BATCHES_AT_ONCE, |store| store).await;
        !is_failing.into_inner()
    }

    /// Stores a batch; whether it was.
    async fn store(
        &self,
        mailbox: &dyn Mailbox,
        metrics: &EdgeMetrics,
        batch: &[(UserId, DeviceId, Cursor)],
    ) -> bool {
        let store = mailbox.store_cursors(batch.to_vec());
        let is_stored = matches!(tokio::time::timeout(STORE_WITHIN, store).await, Ok(Ok(())));
        if is_stored {
            metrics.cursors.inc_by(batch.len() as u64);
        } else {
            metrics.store_failed.inc();
            tracing::warn!(cursors = batch.len(), "cursors were not stored and wait on");
            self.put_back(batch);
        }
        is_stored
    }

    fn put_back(&self, batch: &[(UserId, DeviceId, Cursor)]) {
        batch.iter().for_each(|(user, device, cursor)| self.put(*user, *device, *cursor));
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
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::AtomicUsize;

    use ports::{
        BoxFuture, StoreError,
        mailbox::{Batch, Range, Rows},
    };
    use wire::{Partition, Seq, record::Source};

    use super::*;

    const DEVICE: DeviceId = DeviceId::from_bytes([2; 8]);

    fn at(seq: u64, caught_up_ms: u64) -> Cursor {
        Cursor { seq: Seq::from_u64(seq), caught_up_ms }
    }

    #[test]
    fn the_higher_cursor_waits_whichever_came_last() {
        let cursors = Cursors::default();
        let user = UserId::from_bytes([1; 16]);
        for cursor in [at(5, 1), at(7, 1), at(6, 9), at(7, 3)] {
            cursors.put(user, DEVICE, cursor);
        }
        assert_eq!(cursors.lock().get(&(user, DEVICE)), Some(&at(7, 3)));
    }

    /// Stores nothing until so many calls were made.
    struct Failing {
        calls: AtomicUsize,
        fail: usize,
        stored: AtomicUsize,
    }

    impl Mailbox for Failing {
        fn store_cursors(
            &self,
            cursors: Vec<(UserId, DeviceId, Cursor)>,
        ) -> BoxFuture<'_, Result<(), StoreError>> {
            let fails = self.calls.fetch_add(1, Ordering::Relaxed) < self.fail;
            if !fails {
                self.stored.fetch_add(cursors.len(), Ordering::Relaxed);
            }
            let failure = || Err(StoreError::Retry("as asked for".to_owned()));
            Box::pin(async move { if fails { failure() } else { Ok(()) } })
        }

        fn append(&self, _: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
            unreachable!("only cursors are stored")
        }

        fn marks(&self, _: Partition) -> BoxFuture<'_, Result<Vec<Source>, StoreError>> {
            unreachable!("only cursors are stored")
        }

        fn heads(&self, _: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Seq>, StoreError>> {
            unreachable!("only cursors are stored")
        }

        fn read(&self, _: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
            unreachable!("only cursors are stored")
        }

        fn read_back(&self, _: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
            unreachable!("only cursors are stored")
        }

        fn cursor(
            &self,
            _: UserId,
            _: DeviceId,
        ) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
            unreachable!("only cursors are stored")
        }

        fn erase(&self, _: UserId, _: Seq) -> BoxFuture<'_, Result<(), StoreError>> {
            unreachable!("only cursors are stored")
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_is_left_alone_for_a_while_and_loses_nothing() {
        const DEVICES: usize = 20 * BATCH_MAX;
        let cursors = Cursors::default();
        for number in 0..DEVICES {
            let user = UserId::from_bytes((number as u128).to_be_bytes());
            cursors.put(user, DEVICE, at(1, 1));
        }
        let (calls, stored) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let mailbox = Failing { calls, fail: 2 * BATCHES_AT_ONCE, stored };
        let metrics = EdgeMetrics::for_test();
        let period = Duration::from_millis(200);
        let storing = cursors.keep_storing(&mailbox, &metrics, period, CancellationToken::new());
        tokio::time::timeout(PAUSE / 2, storing).await.unwrap_err();
        assert!(mailbox.calls.load(Ordering::Relaxed) <= BATCHES_AT_ONCE);
        assert_eq!(cursors.lock().len(), DEVICES);
        let storing = cursors.keep_storing(&mailbox, &metrics, period, CancellationToken::new());
        tokio::time::timeout(10 * PAUSE, storing).await.unwrap_err();
        assert_eq!(mailbox.stored.load(Ordering::Relaxed), DEVICES);
        assert!(cursors.lock().is_empty());
    }
}
