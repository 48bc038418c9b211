//! What the control log says: how far behind each partition is, who was revoked, and whether this
//! edge still hears it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use ports::{Log, log::ReadError};
use tokio::time::Instant;
use wire::{
    DeviceId, Epoch, Partition, Topic, UserId,
    error::DecodeError,
    record::{ControlRecord, EpochMap, Heartbeat},
};

use crate::{WallClock, metrics::EdgeMetrics};

/// Records of one read.
const BATCH_RECORDS_MAX: usize = 1024;
/// Bytes of one read.
const BATCH_BYTES_MAX: usize = 256 * 1024;
/// Between two attempts to open or read the log.
const READ_AGAIN_AFTER: Duration = Duration::from_millis(500);

/// What was heard, for every connection to look at; written by one task, [`tail`].
pub(crate) struct Control {
    began: Instant,
    /// Milliseconds after `began`, plus one; zero when nothing was heard yet.
    heard: AtomicU64,
    silence: Duration,
    lag_max_ms: u64,
    epoch: Epoch,
    /// The log was laid out anew, or otherwise than this edge has it: what it appended now might
    /// go where nobody reads.
    is_elsewhere: AtomicBool,
    /// For each partition the log time from which on records may be unfinished.
    mail: Vec<AtomicU64>,
    group: Vec<AtomicU64>,
}

impl Control {
    /// Nothing was heard yet. Records may be unfinished from `now_ms` on.
    pub(crate) fn new(log: &dyn Log, silence: Duration, lag_max_ms: u64, now_ms: u64) -> Self {
        let unfinished = |topic| {
            let count = log.partition_count(topic);
            (0..count).map(|_| AtomicU64::new(now_ms)).collect()
        };
        Self {
            began: Instant::now(),
            heard: AtomicU64::new(0),
            silence,
            lag_max_ms,
            epoch: log.epoch(),
            is_elsewhere: AtomicBool::new(false),
            mail: unfinished(Topic::Mail),
            group: unfinished(Topic::Group),
        }
    }

    /// Why nothing may be sent through this edge now; none when all is well.
    pub(crate) fn trouble(&self) -> Option<&'static str> {
        if self.is_elsewhere.load(Ordering::Relaxed) {
            Some("the log has another layout than this process knows; restart it")
        } else if self.is_heard() {
            None
        } else {
            Some("the control log is silent")
        }
    }

    /// Whether the control log was heard lately: if not, this edge may have missed a revocation.
    fn is_heard(&self) -> bool {
        let heard = self.heard.load(Ordering::Relaxed);
        heard > 0 && self.elapsed_ms() + 1 - heard <= self.silence.as_millis() as u64
    }

    /// Whether the oldest unfinished record of this partition is too old. The silence of a worker
    /// counts as lag: what came after its last heartbeat may all be unfinished.
    pub(crate) fn is_lagging(&self, topic: Topic, partition: Partition, now_ms: u64) -> bool {
        let unfinished = match topic {
            Topic::Mail => self.mail.get(usize::from(partition.get())),
            Topic::Group => self.group.get(usize::from(partition.get())),
            Topic::Control => None,
        };
        unfinished.is_some_and(|since_ms| {
            now_ms.saturating_sub(since_ms.load(Ordering::Relaxed)) > self.lag_max_ms
        })
    }

    /// A record was read. One from before the time that counts as lag is the log's past, read at
    /// the start, and says nothing about whether anybody speaks now.
    fn handle_heard(&self, now_ms: u64, log_time_ms: u64) {
        if now_ms.saturating_sub(log_time_ms) <= self.lag_max_ms {
            self.heard.store(self.elapsed_ms() + 1, Ordering::Relaxed);
        }
    }

    /// What the log looks like. An earlier epoch is past; a later one, or other numbers of
    /// partitions in this one, are for a process that was started after it.
    fn handle_epoch_map(&self, map: &EpochMap, metrics: &EdgeMetrics) {
        let counts = (usize::from(map.mail_partitions), usize::from(map.group_partitions));
        let is_same = map.epoch == self.epoch && counts == (self.mail.len(), self.group.len());
        if map.epoch < self.epoch || is_same || self.is_elsewhere.swap(true, Ordering::Relaxed) {
            return;
        }
        metrics.log_elsewhere.set(1);
        let (epoch, known) = (map.epoch, self.epoch);
        tracing::error!(%epoch, %known, ?counts, "the log has another layout; restart to use it");
    }

    fn handle_heartbeat(&self, heartbeat: Heartbeat) {
        let partitions = match heartbeat.topic {
            Topic::Mail => &self.mail,
            Topic::Group => &self.group,
            Topic::Control => return,
        };
        if let Some(since_ms) = partitions.get(usize::from(heartbeat.partition.get())) {
            since_ms.store(heartbeat.oldest_ms.unwrap_or(heartbeat.now_ms), Ordering::Relaxed);
        }
    }

    fn elapsed_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }
}

/// Why the control log cannot be read any more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TailError {
    /// The engine refuses.
    #[error("the control log cannot be read: {0}")]
    Refused(String),
    /// A record of a newer version of the program.
    #[error("the control log holds a record of a newer version: {0}")]
    Newer(DecodeError),
}

/// Reads the control log; `revoked` is called for every revocation. Ends only when the log must not
/// be read on: the edge stops then.
///
/// # Cancel safety
/// May be dropped at any time; a new call begins at the first record again, which changes nothing.
pub(crate) async fn tail(
    control: &Control,
    log: Arc<dyn Log>,
    wall_clock: WallClock,
    metrics: &EdgeMetrics,
    revoked: impl Fn(UserId, DeviceId),
) -> TailError {
    loop {
        if let Err(error) = tail_once(control, &*log, wall_clock, metrics, &revoked).await {
            return error;
        }
        tokio::time::sleep(READ_AGAIN_AFTER).await;
    }
}

/// Reads from the first record until the log has to be opened again.
async fn tail_once(
    control: &Control,
    log: &dyn Log,
    wall_clock: WallClock,
    metrics: &EdgeMetrics,
    revoked: &impl Fn(UserId, DeviceId),
) -> Result<(), TailError> {
    let mut reader = match log.open(Topic::Control, Partition::new(0)).await {
        Ok(reader) => reader,
        Err(error) => return again(error),
    };
    loop {
        let entries = match reader.next_batch(BATCH_RECORDS_MAX, BATCH_BYTES_MAX).await {
            Ok(entries) => entries,
            Err(error) => return again(error),
        };
        let now_ms = wall_clock();
        for entry in entries {
            control.handle_heard(now_ms, entry.log_time_ms);
            match ControlRecord::decode(entry.record) {
                Ok(ControlRecord::Heartbeat(heartbeat)) => control.handle_heartbeat(heartbeat),
                Ok(ControlRecord::Revoked(user, device)) => revoked(user, device),
                Ok(ControlRecord::EpochMap(map)) => control.handle_epoch_map(&map, metrics),
                Err(error @ DecodeError::NewerRecord(_)) => return Err(TailError::Newer(error)),
                Err(error) => tracing::error!(%error, "a control record cannot be read"),
            }
        }
    }
}

fn again(error: ReadError) -> Result<(), TailError> {
    match error {
        ReadError::Stop(reason) => Err(TailError::Refused(reason)),
        ReadError::Retry(_) | ReadError::Lost => {
            tracing::warn!(%error, "the control log is not read now");
            Ok(())
        }
    }
}

#[cfg(test)]
impl Control {
    /// One mail and one group partition, heard just now.
    pub(crate) fn for_test(partitions: u16, now_ms: u64) -> Self {
        let unfinished = || (0..partitions).map(|_| AtomicU64::new(now_ms)).collect();
        let control = Self {
            began: Instant::now(),
            heard: AtomicU64::new(0),
            silence: Duration::from_secs(30),
            lag_max_ms: 600_000,
            epoch: Epoch::new(1),
            is_elsewhere: AtomicBool::new(false),
            mail: unfinished(),
            group: unfinished(),
        };
        control.handle_heard(now_ms, now_ms);
        control
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(now_ms: u64, oldest_ms: Option<u64>) -> Heartbeat {
        Heartbeat { now_ms, topic: Topic::Mail, partition: Partition::new(1), oldest_ms }
    }

    #[tokio::test(start_paused = true)]
    async fn thirty_seconds_of_silence_are_not_heard() {
        let control = Control::for_test(1, 0);
        tokio::time::advance(Duration::from_secs(30)).await;
        assert!(control.is_heard());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!control.is_heard());
        control.handle_heard(1_000_000, 399_999);
        assert!(!control.is_heard(), "the log's past");
        control.handle_heard(1_000_000, 400_000);
        assert!(control.is_heard());
    }

    #[tokio::test(start_paused = true)]
    async fn a_partition_lags_when_its_oldest_unfinished_record_is_too_old() {
        let control = Control::for_test(2, 0);
        let lags = |now_ms| control.is_lagging(Topic::Mail, Partition::new(1), now_ms);
        control.handle_heartbeat(heartbeat(1_000_000, Some(400_000)));
        assert!(!lags(1_000_000));
        assert!(lags(1_000_001));
        control.handle_heartbeat(heartbeat(1_000_001, None));
        assert!(!lags(1_000_001));
        assert!(!control.is_lagging(Topic::Group, Partition::new(1), 600_000));
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_present_layout_and_earlier_epochs_are_no_trouble() {
        let metrics = EdgeMetrics::for_test();
        let is_trouble = |epoch, mail_partitions| {
            let control = Control::for_test(4, 0);
            let (mail_topic, group_topic) = (None, None);
            let epoch = Epoch::new(epoch);
            let group_partitions = 4;
            let map =
                EpochMap { epoch, mail_partitions, group_partitions, mail_topic, group_topic };
            control.handle_epoch_map(&map, &metrics);
            control.trouble().is_some()
        };
        assert!(!is_trouble(1, 4));
        assert!(!is_trouble(0, 2));
        assert_eq!(metrics.log_elsewhere.get(), 0);
        assert!(is_trouble(1, 8));
        assert!(is_trouble(2, 4));
        assert_eq!(metrics.log_elsewhere.get(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_worker_counts_as_lag() {
        let control = Control::for_test(2, 0);
        control.handle_heartbeat(heartbeat(1_000, None));
        assert!(control.is_lagging(Topic::Mail, Partition::new(1), 601_001));
    }
}
