//! Derived records on their way to the mail log, in the order of their sources.

use std::sync::Arc;

use bytes::Bytes;
use ports::Log;
use wire::{Partition, Topic};

use crate::{
    metrics::WorkerMetrics,
    retry::{End, Retry},
};

/// Records that are not appended yet. Bounded by the lane, which appends them when there are many.
///
/// A mail partition takes a derived record only when its source is above all it has seen, so a
/// record that failed must never be overtaken by a later one. Therefore one call of the log is made
/// at a time, with as many records as there are: what fails within a call fails all that follows it
/// in the same partition, and the same call is made again until all of it is durable.
pub(crate) struct Outbound {
    log: Arc<dyn Log>,
    retry: Retry,
    metrics: WorkerMetrics,
    bytes_max: usize,
    records: Vec<(Partition, Bytes)>,
    bytes: usize,
}

impl Outbound {
    pub(crate) fn new(
        log: Arc<dyn Log>,
        retry: Retry,
        metrics: WorkerMetrics,
        bytes_max: usize,
    ) -> Self {
        Self { log, retry, metrics, bytes_max, records: Vec::new(), bytes: 0 }
    }

    pub(crate) fn extend(&mut self, records: Vec<(Partition, Bytes)>) {
        self.bytes += records.iter().map(|(_, record)| record.len()).sum::<usize>();
        self.records.extend(records);
    }

    /// Whether what waits fills a call.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// Appends everything, in order; returns when it is durable.
    pub(crate) async fn flush(&mut self) -> Result<(), End> {
        let records = std::mem::take(&mut self.records);
        self.bytes = 0;
        let mut rest = &records[..];
        while !rest.is_empty() {
            let (now, later) = rest.split_at(call_len(rest, self.bytes_max));
            self.append(now).await?;
            rest = later;
        }
        self.metrics.derived.inc_by(records.len() as u64);
        Ok(())
    }

    /// Appends these records, all or a first part at a time, so that a queue that is too full for
    /// all of them still takes some.
    async fn append(&self, mut records: &[(Partition, Bytes)]) -> Result<(), End> {
        let mut share = records.len();
        let mut backoff = self.retry.backoff();
        while !records.is_empty() {
            share = share.clamp(1, records.len());
            let failed = match self.log.try_append_owed(Topic::Mail, records[..share].to_vec()) {
                Ok(durable) => match durable.await {
                    Ok(_) => {
                        records = &records[share..];
                        backoff.reset();
                        continue;
                    }
                    Err(error) => error.to_string(),
                },
                Err(refused) => {
                    share /= 2;
                    refused.to_string()
                }
            };
            self.metrics.append_retries.inc();
            tracing::warn!(reason = failed, "derived records were not appended; trying again");
            backoff.wait(&self.retry.stop).await?;
        }
        Ok(())
    }
}

/// So many of the first records go into one call, at least one.
fn call_len(records: &[(Partition, Bytes)], bytes_max: usize) -> usize {
    let mut bytes = 0;
    let within = records.iter().take_while(|(_, record)| {
        bytes += record.len();
        bytes <= bytes_max
    });
    within.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_a_record_and_otherwise_stays_within_its_bytes() {
        let record = |len: usize| (Partition::new(0), Bytes::from(vec![0; len]));
        assert_eq!(call_len(&[record(10)], 5), 1);
        assert_eq!(call_len(&[record(3), record(2), record(1)], 5), 2);
        assert_eq!(call_len(&[record(3), record(1)], 5), 2);
    }
}
