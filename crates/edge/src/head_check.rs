//! Comparing every connected device's mailbox with what it was given: what finds lost pushes.

use std::{sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use ports::{Mailbox, mailbox::Cursor};
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

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
/// Calls under way at once, so that a slow store does not stretch a round.
const CALLS_AT_ONCE: usize = 4;
/// After a call that failed no other one begins for so long: a store in trouble is not pressed.
const PAUSE: Duration = Duration::from_secs(1);
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
        let pace = within / u32::try_from(batches).unwrap_or(u32::MAX);
        let (mut due, mut calls) = (Instant::now(), FuturesUnordered::new());
        while !handles.is_empty() {
            let rest = handles.len().saturating_sub(BATCH_MAX);
            calls.push(self.check(handles.split_off(rest)));
            due += pace;
            while !handles.is_empty() {
                tokio::select! {
                    biased;
                    Some(is_checked) = calls.next() => {
                        if !is_checked {
                            due = due.max(Instant::now() + PAUSE);
                        }
                    }
                    () = self.soon.notified(), if !pace.is_zero() => return true,
                    () = sleep_until(due), if calls.len() < CALLS_AT_ONCE => break,
                }
            }
        }
        while calls.next().await.is_some() {}
        false
    }

    /// Waits; true when it was cut short.
    async fn wait(&self, duration: Duration) -> bool {
        tokio::time::timeout(duration, self.soon.notified()).await.is_ok()
    }

    /// Compares the heads of some mailboxes; whether the store answered.
    async fn check(&self, handles: Vec<Arc<Handle>>) -> bool {
        let users = handles.iter().map(|handle| handle.user).collect();
        let heads = match tokio::time::timeout(HEADS_WITHIN, self.mailbox.heads(users)).await {
            Ok(Ok(heads)) => heads,
            Ok(Err(_)) | Err(_) => {
                self.metrics.store_failed.inc();
                tracing::warn!(devices = handles.len(), "heads could not be read; asked again");
                return false;
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
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::{AtomicUsize, Ordering};

    use ports::{
        BoxFuture, StoreError,
        mailbox::{Batch, Range, Rows},
    };
    use prometheus::Registry;
    use wire::{DeviceId, Partition, Seq, UserId, record::Source};

    use super::*;

    const CONNECTIONS: usize = 2 * BATCH_MAX + 100;
    const PERIOD: Duration = Duration::from_secs(60);
    const SECOND: Duration = Duration::from_secs(1);

    /// Counts the users whose heads are asked for.
    #[derive(Default)]
    struct Heads {
        asked: AtomicUsize,
        /// How long an answer takes.
        latency: Duration,
        fails: bool,
        calls: AtomicUsize,
        calls_most: AtomicUsize,
        /// Told at every question, as if pushes were lost all the time.
        lost: Option<Arc<Notify>>,
    }

    impl Mailbox for Heads {
        fn heads(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Seq>, StoreError>> {
            self.asked.fetch_add(users.len(), Ordering::Relaxed);
            self.lost.iter().for_each(|lost| lost.notify_one());
            let calls = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
            self.calls_most.fetch_max(calls, Ordering::Relaxed);
            Box::pin(async move {
                tokio::time::timeout(self.latency, std::future::pending::<()>()).await.ok();
                self.calls.fetch_sub(1, Ordering::Relaxed);
                let fails = || StoreError::Retry("as asked for".to_owned());
                if self.fails { Err(fails()) } else { Ok(vec![Seq::ZERO; users.len()]) }
            })
        }

        fn append(&self, _: Batch) -> BoxFuture<'_, Result<(), StoreError>> {
            unreachable!("only heads are asked for")
        }

        fn marks(&self, _: Partition) -> BoxFuture<'_, Result<Vec<Source>, StoreError>> {
            unreachable!("only heads are asked for")
        }

        fn read(&self, _: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
            unreachable!("only heads are asked for")
        }

        fn read_back(&self, _: Range) -> BoxFuture<'_, Result<Rows, StoreError>> {
            unreachable!("only heads are asked for")
        }

        fn cursor(
            &self,
            _: UserId,
            _: DeviceId,
        ) -> BoxFuture<'_, Result<Option<Cursor>, StoreError>> {
            unreachable!("only heads are asked for")
        }

        fn store_cursors(
            &self,
            _: Vec<(UserId, DeviceId, Cursor)>,
        ) -> BoxFuture<'_, Result<(), StoreError>> {
            unreachable!("only heads are asked for")
        }

        fn erase(&self, _: UserId, _: Seq) -> BoxFuture<'_, Result<(), StoreError>> {
            unreachable!("only heads are asked for")
        }
    }

    /// How many heads are asked for within a time.
    async fn asked(mailbox: &Heads, soon: &Notify, within: Duration) -> usize {
        let routes = Routes::new(1);
        for number in 0..CONNECTIONS {
            let user = UserId::from_bytes((number as u128).to_be_bytes());
            routes.attach(user, DeviceId::from_bytes([0; 8]), 1);
        }
        let check = HeadCheck {
            routes: &routes,
            mailbox,
            cursors: &Cursors::default(),
            metrics: &EdgeMetrics::register(&Registry::new()).unwrap(),
            wall_clock: || 0,
            soon,
        };
        tokio::time::timeout(within, check.run(PERIOD)).await.unwrap_err();
        mailbox.asked.load(Ordering::Relaxed)
    }

    #[tokio::test(start_paused = true)]
    async fn a_round_is_spread_over_half_a_period() {
        let (mailbox, soon) = (Heads::default(), Notify::new());
        assert_eq!(asked(&mailbox, &soon, SECOND).await, BATCH_MAX);
        let mailbox = Heads::default();
        assert_eq!(asked(&mailbox, &soon, PERIOD / 2 - SECOND).await, CONNECTIONS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_store_does_not_stretch_a_round_and_has_few_calls_at_once() {
        let heads = Heads { latency: 4 * SECOND, ..Heads::default() };
        assert_eq!(asked(&heads, &Notify::new(), PERIOD / 2 - SECOND).await, CONNECTIONS);
        let (heads, soon) = (Heads { latency: 4 * SECOND, ..Heads::default() }, Notify::new());
        soon.notify_one();
        asked(&heads, &soon, 3 * SECOND).await;
        assert!(heads.calls_most.load(Ordering::Relaxed) <= CALLS_AT_ONCE);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_fails_is_asked_seldom_also_when_pushes_are_lost() {
        let soon = Arc::new(Notify::new());
        let lost = Some(Arc::clone(&soon));
        let heads = Heads { fails: true, lost, ..Heads::default() };
        let calls = asked(&heads, &soon, PERIOD).await.div_ceil(BATCH_MAX);
        let rounds = PERIOD.as_secs() / EARLY_AT_MOST_EVERY.as_secs();
        assert!(calls <= CALLS_AT_ONCE * rounds as usize, "{calls}");
    }

    #[tokio::test(start_paused = true)]
    async fn when_pushes_were_lost_everybody_is_checked_at_once() {
        let (mailbox, soon) = (Heads::default(), Notify::new());
        soon.notify_one();
        // The round under way had begun with one batch.
        let all = BATCH_MAX + CONNECTIONS;
        assert_eq!(asked(&mailbox, &soon, SECOND).await, all);
    }

    #[tokio::test(start_paused = true)]
    async fn when_pushes_are_lost_all_the_time_rounds_keep_their_distance() {
        let soon = Arc::new(Notify::new());
        let mailbox = Heads { lost: Some(Arc::clone(&soon)), ..Heads::default() };
        let rounds = asked(&mailbox, &soon, PERIOD - SECOND).await / CONNECTIONS;
        let at_most = PERIOD.as_secs() / EARLY_AT_MOST_EVERY.as_secs();
        assert_eq!(rounds as u64, at_most);
    }
}
