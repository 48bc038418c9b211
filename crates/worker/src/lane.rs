//! One partition of one log: open, read a batch, process it, commit, and again.

use std::{future::Future, sync::Arc, time::Duration};

use ports::{
    Engines,
    log::{DeadLetter, Entry, ReadError, Reader},
};
use tokio::time::timeout;
use wire::{Partition, Seq, Topic};

use crate::{
    config::WorkerConfig,
    group::GroupLane,
    mail::MailLane,
    metrics::{Alarm, WorkerMetrics},
    progress::Progress,
    push::PushQueue,
    retry::{Backoff, End, Retry},
    worker::WallClock,
};

/// A partition with nothing to read for so long is caught up.
const IDLE_AFTER: Duration = Duration::from_millis(20);

/// What a lane works with.
#[derive(Clone)]
pub(crate) struct Context {
    pub(crate) topic: Topic,
    pub(crate) partition: Partition,
    pub(crate) config: Arc<WorkerConfig>,
    pub(crate) engines: Engines,
    pub(crate) metrics: WorkerMetrics,
    pub(crate) wall_clock: WallClock,
    pub(crate) retry: Retry,
    pub(crate) push: Option<PushQueue>,
    pub(crate) progress: Arc<Progress>,
}

/// What a lane does with the records of its log.
pub(crate) trait Process: Sized + Send {
    /// A new start at a partition that was just opened: nothing is remembered of an earlier one.
    fn begin(context: Context) -> impl Future<Output = Result<Self, End>> + Send;

    /// Does everything that follows from these records, in order; doing it again changes nothing.
    /// Returns at a record it cannot go beyond.
    fn process(&mut self, batch: &[Entry]) -> impl Future<Output = Result<Processed, End>> + Send;
}

/// How far a batch was processed.
#[derive(Debug)]
pub(crate) struct Processed {
    /// So many of its first records are finished.
    pub(crate) count: usize,
    /// Why not all.
    pub(crate) end: Option<End>,
}

/// Runs the lane until the worker stops or someone must act.
pub(crate) async fn run(context: Context) {
    let end = match context.topic {
        Topic::Mail => reopen::<MailLane>(&context).await,
        Topic::Group => reopen::<GroupLane>(&context).await,
        Topic::Control => unreachable!("a worker has lanes of the mail and the group log only"),
    };
    let Context { topic, partition, .. } = context;
    match end {
        End::Stopped | End::Reopen(_) => tracing::debug!(?topic, %partition, "lane ended"),
        End::Alarm(alarm, reason) => {
            context.metrics.alarm(alarm);
            context.progress.alarmed((context.wall_clock)());
            tracing::error!(?topic, %partition, ?alarm, reason, "the lane stands: act");
        }
    }
}

/// Opens the partition again and again; returns what ends the lane for good.
async fn reopen<P: Process>(context: &Context) -> End {
    let mut backoff = context.retry.backoff();
    loop {
        match open_and_work::<P>(context, &mut backoff).await {
            End::Reopen(reason) => {
                let Context { topic, partition, .. } = context;
                tracing::warn!(?topic, %partition, reason, "opening the partition again");
            }
            end @ (End::Stopped | End::Alarm(..)) => return end,
        }
        context.progress.stalled((context.wall_clock)());
        if let Err(end) = backoff.wait(&context.retry.stop).await {
            return end;
        }
    }
}

async fn open_and_work<P: Process>(context: &Context, backoff: &mut Backoff) -> End {
    let work = async {
        let mut reader = context.engines.log.open(context.topic, context.partition).await?;
        let mut process = P::begin(context.clone()).await?;
        context.metrics.opened.inc();
        context.progress.running();
        loop {
            let batch = next_batch(context, reader.as_mut()).await?;
            context.progress.busy(batch.first().map_or(0, |entry| entry.log_time_ms));
            let Processed { count, end } = process.process(&batch).await?;
            if let Some(last) = batch[..count].last() {
                commit(context, reader.as_mut(), last.seq).await?;
            }
            context.metrics.records(context.topic, count);
            if let Some(end) = end {
                context.progress.busy(batch[count].log_time_ms);
                return Err::<(), End>(end);
            }
            backoff.reset();
        }
    };
    let Err(end) = work.await else { return End::Stopped };
    end
}

/// The next records, at least one.
async fn next_batch(context: &Context, reader: &mut dyn Reader) -> Result<Vec<Entry>, End> {
    let WorkerConfig { batch_records_max, batch_bytes_max, .. } = *context.config;
    let read = async {
        let mut backoff = context.retry.backoff();
        loop {
            let next = reader.next_batch(batch_records_max, batch_bytes_max);
            let read = match timeout(IDLE_AFTER, next).await {
                Ok(read) => read,
                Err(_) => {
                    context.progress.caught_up();
                    reader.next_batch(batch_records_max, batch_bytes_max).await
                }
            };
            match read {
                Ok(batch) => return Ok(batch),
                Err(ReadError::Retry(reason)) => {
                    context.progress.stalled((context.wall_clock)());
                    tracing::warn!(reason, "the log cannot be read; trying again");
                    backoff.wait(&context.retry.stop).await?;
                }
                Err(error @ (ReadError::Lost | ReadError::Stop(_))) => return Err(error.into()),
            }
        }
    };
    tokio::select! {
        biased;
        () = context.retry.stop.cancelled() => Err(End::Stopped),
        read = read => read,
    }
}

async fn commit(context: &Context, reader: &mut dyn Reader, position: Seq) -> Result<(), End> {
    let mut backoff = context.retry.backoff();
    loop {
        match reader.commit(position).await {
            Ok(()) => return Ok(()),
            Err(ReadError::Retry(reason)) => {
                tracing::warn!(reason, "a commit failed; trying again");
                backoff.wait(&context.retry.stop).await?;
            }
            Err(error @ (ReadError::Lost | ReadError::Stop(_))) => return Err(error.into()),
        }
    }
}

impl Context {
    /// Keeps a record nobody can read, durably, and raises an alarm.
    pub(crate) async fn put_aside(&self, entry: &Entry, reason: &str) -> Result<(), End> {
        let letter = DeadLetter {
            topic: self.topic,
            partition: self.partition,
            entry: entry.clone(),
            reason: reason.to_owned(),
        };
        self.retry.until_appended(|| self.engines.log.append_dead_letter(letter.clone())).await?;
        self.metrics.alarm(Alarm::DeadLetter);
        let Self { topic, partition, .. } = self;
        tracing::error!(?topic, %partition, seq = ?entry.seq, reason, "a record was put aside");
        Ok(())
    }
}
