//! Derived records on their way to the mail log, in the order of their sources.

use std::{
    collections::VecDeque,
    future::{Future as _, poll_fn},
    pin::Pin,
    sync::Arc,
    task::Poll,
};

use bytes::Bytes;
use futures_util::future::{MaybeDone, maybe_done};
use ports::{BoxFuture, Log, log::AppendError};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use wire::{Partition, Seq, Topic};

use crate::{
    lane::Context,
    metrics::WorkerMetrics,
    retry::{Backoff, End},
};

/// Records that are being appended, in a few calls at a time, and those that wait for their turn.
///
/// A mail partition takes a derived record only when its source is above all it has seen, so a
/// record that failed must never be overtaken by a later one. The log makes sure of that while a
/// failure is not told: it fails what follows in the same partition. Therefore, once a call has
/// failed, nothing is appended until all calls have ended, and then those that failed come first.
///
/// *Bounded* by [`Self::until_room`]: the lane waits.
pub(crate) struct Outbound {
    log: Arc<dyn Log>,
    stop: CancellationToken,
    metrics: WorkerMetrics,
    bytes_max: usize,
    calls_max: usize,
    /// In the order in which they were made.
    calls: VecDeque<Call>,
    /// Of calls that failed, in order; come before `waiting`.
    failed: VecDeque<Derived>,
    waiting: VecDeque<Derived>,
    waiting_bytes: usize,
    /// Records of one call at most, so that a queue that is too full for all of them takes some.
    share: usize,
    backoff: Backoff,
    /// Nothing is appended before this.
    again_at: Option<Instant>,
}

/// A record that follows from a record of the group log.
struct Derived {
    source: Seq,
    partition: Partition,
    record: Bytes,
}

/// A call of the log.
struct Call {
    records: Vec<Derived>,
    durable: MaybeDone<BoxFuture<'static, Result<Vec<Seq>, AppendError>>>,
}

impl Outbound {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            log: Arc::clone(&context.engines.log),
            stop: context.retry.stop.clone(),
            metrics: context.metrics.clone(),
            bytes_max: context.config.derive_bytes_max,
            calls_max: context.config.batches_under_way.max(1),
            calls: VecDeque::new(),
            failed: VecDeque::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            share: usize::MAX,
            backoff: context.retry.backoff(),
            again_at: None,
        }
    }

    /// Adds what follows from the record at `source`, which is later than those before.
    pub(crate) fn extend(&mut self, source: Seq, records: Vec<(Partition, Bytes)>) {
        self.waiting_bytes += records.iter().map(|(_, record)| record.len()).sum::<usize>();
        let derived =
            records.into_iter().map(|(partition, record)| Derived { source, partition, record });
        self.waiting.extend(derived);
    }

    /// Begins to append what waits.
    pub(crate) fn begin(&mut self) {
        if self.again_at.is_some_and(|again_at| Instant::now() < again_at) {
            return;
        }
        self.again_at = None;
        while self.failed.is_empty() && self.calls.len() < self.calls_max {
            let records = self.take();
            if records.is_empty() {
                return;
            }
            let copies = records.iter().map(|one| (one.partition, one.record.clone())).collect();
            match self.log.try_append_owed(Topic::Mail, copies) {
                Ok(durable) => {
                    self.calls.push_back(Call { records, durable: maybe_done(durable) });
                }
                Err(refused) => {
                    self.share = (records.len() / 2).max(1);
                    self.put_back(records);
                    self.pause(&refused);
                    return;
                }
            }
        }
    }

    /// The source of the oldest record that is not durable.
    pub(crate) fn unfinished(&self) -> Option<Seq> {
        let called = self.calls.front().and_then(|call| call.records.first());
        let oldest = [self.failed.front(), called, self.waiting.front()];
        oldest.into_iter().flatten().map(|derived| derived.source).min()
    }

    /// Waits until something is durable or may be appended again; what waited for it is begun.
    ///
    /// Cancel safe: a dropped call has forgotten nothing.
    pub(crate) async fn advance(&mut self) -> Result<(), End> {
        self.begin();
        if !self.calls.is_empty() {
            let outcome = first_outcome(&mut self.calls).await;
            let Call { records, .. } = self.calls.pop_front().expect("it was the first");
            self.end(records, outcome);
        } else if let Some(again_at) = self.again_at {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(End::Stopped),
                () = sleep_until(again_at) => self.again_at = None,
            }
        }
        self.begin();
        Ok(())
    }

    /// Waits until fewer bytes wait than one call takes.
    pub(crate) async fn until_room(&mut self) -> Result<(), End> {
        while self.waiting_bytes >= self.bytes_max {
            self.advance().await?;
        }
        Ok(())
    }

    fn end(&mut self, records: Vec<Derived>, outcome: Result<Vec<Seq>, AppendError>) {
        match outcome {
            Ok(_) => {
                self.metrics.derived.inc_by(records.len() as u64);
                self.share = self.share.saturating_mul(2);
                self.backoff.reset();
            }
            Err(error) => {
                self.failed.extend(records);
                self.pause(&error);
            }
        }
        if self.calls.is_empty() {
            let failed = std::mem::take(&mut self.failed).into();
            self.put_back(failed);
        }
    }

    /// The records of the next call, at least one when there is one.
    fn take(&mut self) -> Vec<Derived> {
        let len = call_len(&self.waiting, self.share, self.bytes_max);
        let records: Vec<Derived> = self.waiting.drain(..len).collect();
        self.waiting_bytes -= bytes(&records);
        records
    }

    /// Puts records before all that wait.
    fn put_back(&mut self, records: Vec<Derived>) {
        self.waiting_bytes += bytes(&records);
        records.into_iter().rev().for_each(|derived| self.waiting.push_front(derived));
    }

    fn pause(&mut self, reason: &dyn std::fmt::Display) {
        self.metrics.append_retries.inc();
        tracing::warn!(%reason, "derived records were not appended; trying again");
        self.again_at = Some(Instant::now() + self.backoff.advance());
    }
}

/// The outcome of the first call; there is one. The others are told theirs too: a failure that is
/// not told keeps a partition failing for everybody.
///
/// Cancel safe: a dropped call has forgotten nothing.
async fn first_outcome(calls: &mut VecDeque<Call>) -> Result<Vec<Seq>, AppendError> {
    poll_fn(|context| {
        for call in calls.iter_mut() {
            let _ = Pin::new(&mut call.durable).poll(context);
        }
        let first = calls.front_mut().expect("there is a first call");
        Pin::new(&mut first.durable).take_output().map_or(Poll::Pending, Poll::Ready)
    })
    .await
}

fn bytes(records: &[Derived]) -> usize {
    records.iter().map(|derived| derived.record.len()).sum()
}

/// So many of the first records go into one call, at least one.
fn call_len(waiting: &VecDeque<Derived>, records_max: usize, bytes_max: usize) -> usize {
    let mut bytes = 0;
    let within = waiting.iter().take(records_max).take_while(|derived| {
        bytes += derived.record.len();
        bytes <= bytes_max
    });
    within.count().max(1).min(waiting.len())
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_call_that_fails_is_told_while_one_before_it_waits() {
        let (telling, is_told) = oneshot::channel::<()>();
        let fails = async move {
            drop(telling);
            Err(AppendError("as asked for".into()))
        };
        let call = |durable: BoxFuture<'static, Result<Vec<Seq>, AppendError>>| Call {
            records: Vec::new(),
            durable: maybe_done(durable),
        };
        let mut calls = VecDeque::from([call(Box::pin(pending())), call(Box::pin(fails))]);
        tokio::select! {
            biased;
            _ = first_outcome(&mut calls) => panic!("the first waits for ever"),
            told = is_told => assert!(told.is_err()),
        }
        calls.pop_front();
        assert!(first_outcome(&mut calls).await.is_err(), "it is not forgotten");
        let mut calls = VecDeque::from([call(Box::pin(ready(Ok(Vec::new()))))]);
        assert_eq!(first_outcome(&mut calls).await, Ok(Vec::new()));
    }

    #[test]
    fn a_call_has_a_record_and_otherwise_stays_within_its_records_and_bytes() {
        let len = |lens: &[usize], records_max| {
            let derived = |len: &usize| Derived {
                source: Seq::ZERO,
                partition: Partition::new(0),
                record: Bytes::from(vec![0; *len]),
            };
            call_len(&lens.iter().map(derived).collect(), records_max, 5)
        };
        assert_eq!(len(&[], 9), 0);
        assert_eq!(len(&[10], 9), 1);
        assert_eq!(len(&[3, 2, 1], 9), 2);
        assert_eq!(len(&[3, 1], 9), 2);
        assert_eq!(len(&[1, 1, 1], 2), 2);
    }
}
