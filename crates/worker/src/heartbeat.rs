//! What a worker says on the control log: that it lives, and how far it is.

use std::{sync::Arc, time::Duration};

use ports::{Log, log::Refused};
use tokio::{
    sync::Notify,
    time::{MissedTickBehavior, interval, timeout},
};
use wire::{
    Partition, Topic,
    record::{ControlRecord, Heartbeat},
};

use crate::{
    metrics::WorkerMetrics,
    progress::{Progress, State},
    retry::Retry,
    worker::WallClock,
};

/// A heartbeat that is not written after this is given up: a later one says more.
const WRITE_WITHIN: Duration = Duration::from_secs(5);

/// Appends records to the control log and waits until they are durable.
pub(crate) async fn append_control(log: &dyn Log, records: &[ControlRecord]) -> Result<(), String> {
    let records = records.iter().map(|record| (Partition::new(0), record.encode())).collect();
    let append = log.try_append_owed(Topic::Control, records);
    let append = append.map_err(|refused: Refused| refused.to_string())?;
    append.await.map(drop).map_err(|error| error.to_string())
}

/// Says how far the lanes are.
pub(crate) struct Heart {
    pub(crate) log: Arc<dyn Log>,
    pub(crate) lanes: Vec<Arc<Progress>>,
    /// A lane has opened its partition: say so now.
    pub(crate) opened: Arc<Notify>,
    pub(crate) every: Duration,
    pub(crate) wall_clock: WallClock,
    pub(crate) retry: Retry,
    pub(crate) metrics: WorkerMetrics,
}

impl Heart {
    /// Runs until the worker stops: a heartbeat of every partition, and of one as soon as it is
    /// open.
    pub(crate) async fn run(self) {
        let stop = self.retry.stop.clone();
        let beat = async {
            let mut ticks = interval(self.every);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    _ = ticks.tick() => {}
                    () = self.opened.notified() => {}
                }
                self.beat().await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = beat => {}
        }
    }

    fn measure(&self, topic: Topic, now_ms: u64) {
        let lanes = || self.lanes.iter().filter(|lane| lane.topic == topic);
        let oldest_ms = lanes().filter_map(|lane| lane.oldest_ms()).min().unwrap_or(now_ms);
        self.metrics.lag(topic, now_ms.saturating_sub(oldest_ms));
        for state in [State::Waiting, State::Running, State::Standing] {
            let count = lanes().filter(|lane| lane.state() == state).count();
            self.metrics.lanes(topic, state, count);
        }
    }

    async fn beat(&self) {
        let now_ms = (self.wall_clock)();
        [Topic::Mail, Topic::Group].iter().for_each(|topic| self.measure(*topic, now_ms));
        // A lane that does not have its partition knows nothing about it.
        let known = self.lanes.iter().filter(|lane| lane.state() != State::Waiting);
        let records: Vec<ControlRecord> = known
            .map(|lane| {
                ControlRecord::Heartbeat(Heartbeat {
                    now_ms,
                    topic: lane.topic,
                    partition: lane.partition,
                    oldest_ms: lane.oldest_ms(),
                })
            })
            .collect();
        if records.is_empty() {
            return;
        }
        let append = append_control(self.log.as_ref(), &records);
        let failed = match timeout(WRITE_WITHIN, append).await {
            Ok(Ok(())) => return,
            Ok(Err(reason)) => reason,
            Err(_) => "no answer in time".to_owned(),
        };
        self.metrics.heartbeats_failed.inc();
        tracing::warn!(reason = failed, "a heartbeat was not written");
    }
}
