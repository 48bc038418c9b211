//! One partition of one log: open, read batches, process them, commit what is finished.

use std::{collections::VecDeque, future::Future, sync::Arc, time::Duration};

use ports::{
    Engines,
    log::{DeadLetter, Entry, ReadError, Reader},
};
use tokio::{task::yield_now, time::sleep};
use wire::{Offset, Partition, Seq, Topic};

use crate::{
    config::WorkerConfig,
    group::GroupLane,
    mail::MailLane,
    metrics::{Alarm, WorkerMetrics},
    progress::Progress,
    push::PushQueue,
    recall::{Recalled, recall},
    retry::{Backoff, End, Retry},
    worker::WallClock,
};

/// A partition with nothing to read for so long is caught up.
const IDLE_AFTER: Duration = Duration::from_millis(20);
/// How often a lane that neither reads nor commits looks whether it still has its partition: a
/// store that does not answer must not hide that another process has it.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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
///
/// Records are taken in order, and what follows from them happens in that order wherever it
/// matters; it may still be under way when later ones are taken. Doing it all again changes
/// nothing. Dropping it ends what is under way, done or not.
pub(crate) trait Process: Sized + Send {
    /// What a lane that begins after this record should remember of it.
    fn recall(entry: Entry) -> Recalled;

    /// A new start at a partition that was just opened: nothing is remembered of an earlier one but
    /// what was read again, oldest first.
    fn begin(
        context: Context,
        recalled: Vec<Recalled>,
    ) -> impl Future<Output = Result<Self, End>> + Send;

    /// Begins everything that follows from these records. Returns at a record it cannot go beyond.
    fn take(&mut self, batch: &[Entry]) -> impl Future<Output = Result<Taken, End>> + Send;

    /// The oldest record taken of which something is under way; none when all are finished.
    fn unfinished(&self) -> Option<Seq>;

    /// Waits until something that is under way has ended.
    ///
    /// Cancel safe: a dropped call has forgotten nothing.
    fn advance(&mut self) -> impl Future<Output = Result<(), End>> + Send;
}

/// How far a batch was taken.
#[derive(Debug)]
pub(crate) struct Taken {
    /// So many of its first records are finished or under way.
    pub(crate) count: usize,
    /// Why not all.
    pub(crate) end: Option<End>,
}

/// Batches that are not finished, in order.
struct UnderWay {
    batches: VecDeque<Batch>,
    bytes: usize,
    /// What is committed; none when nothing ever was.
    committed: Option<Seq>,
}

struct Batch {
    last: Seq,
    first_log_time_ms: u64,
    records: usize,
    bytes: usize,
}

/// What a lane does next.
enum Next {
    /// The worker ends.
    Stop,
    /// Something that was under way has ended.
    Advanced,
    /// There are records.
    Take(Vec<Entry>),
    /// There are none, and nothing is under way.
    CaughtUp,
    /// Nothing has happened for a while.
    Look,
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
        End::Stopped | End::Lost | End::Reopen(_) => {
            context.progress.waiting();
            tracing::debug!(?topic, %partition, "lane ended");
        }
        End::Alarm(alarm, reason) => {
            context.metrics.alarm(alarm);
            context.progress.standing((context.wall_clock)());
            tracing::error!(?topic, %partition, ?alarm, reason, "the lane stands: act");
        }
    }
}

/// Opens the partition again and again; returns what ends the lane for good.
async fn reopen<P: Process>(context: &Context) -> End {
    let Context { topic, partition, .. } = context;
    let mut backoff = context.retry.backoff();
    loop {
        match open_and_work::<P>(context, &mut backoff).await {
            // Partitions are shared out anew whenever a process comes or goes.
            End::Lost => {
                tracing::info!(?topic, %partition, "another process has the partition; waiting");
                backoff.reset();
            }
            End::Reopen(reason) => {
                tracing::warn!(?topic, %partition, reason, "opening the partition again");
            }
            end @ (End::Stopped | End::Alarm(..)) => return end,
        }
        context.progress.waiting();
        if let Err(end) = backoff.wait(&context.retry.stop).await {
            return end;
        }
    }
}

async fn open_and_work<P: Process>(context: &Context, backoff: &mut Backoff) -> End {
    let opened = tokio::select! {
        biased;
        () = context.retry.stop.cancelled() => Err(End::Stopped),
        opened = open::<P>(context) => opened,
    };
    let (mut reader, mut process) = match opened {
        Ok(opened) => opened,
        Err(end) => return end,
    };
    context.metrics.opened.inc();
    context.progress.running();
    let Context { topic, partition, .. } = context;
    tracing::debug!(?topic, %partition, "the partition is open");
    match work(context, reader.as_mut(), &mut process, backoff).await {
        Ok(never) => match never {},
        Err(end) => end,
    }
}

/// Waits for the partition, and reads again what was finished last before going on after it.
async fn open<P: Process>(context: &Context) -> Result<(Box<dyn Reader>, P), End> {
    let (log, topic, partition) = (&context.engines.log, context.topic, context.partition);
    let mut reader = log.open(topic, partition).await?;
    let first_unfinished = reader.first_unfinished();
    let mut recalled = Vec::new();
    if let Some(again) = recall::<P>(context, first_unfinished).await {
        // Reading again has taken the partition from the first reader.
        reader = log.open(topic, partition).await?;
        // Elsewhere meanwhile it may have gone on: then there is a gap behind what was read, and a
        // push would name the wrong row as the one before it.
        if reader.first_unfinished() == first_unfinished {
            recalled = again;
        }
    }
    Ok((reader, P::begin(context.clone(), recalled).await?))
}

/// Takes batches as long as there is room for what follows from them, and commits what is finished.
async fn work<P: Process>(
    context: &Context,
    reader: &mut dyn Reader,
    process: &mut P,
    backoff: &mut Backoff,
) -> Result<std::convert::Infallible, End> {
    let mut under_way = UnderWay::new(context, reader.first_unfinished());
    let mut is_caught_up = false;
    loop {
        let is_idle = under_way.batches.is_empty() && !is_caught_up;
        let next = tokio::select! {
            biased;
            () = context.retry.stop.cancelled() => Next::Stop,
            advanced = process.advance(), if !under_way.batches.is_empty() => {
                advanced?;
                Next::Advanced
            }
            batch = read(context, reader), if under_way.has_room(&context.config) => {
                Next::Take(batch?)
            }
            () = sleep(IDLE_AFTER), if is_idle => Next::CaughtUp,
            () = sleep(LOOK_EVERY), if !under_way.batches.is_empty() => Next::Look,
        };
        match next {
            Next::Stop => {
                finish(context, reader, process, &mut under_way).await?;
                return Err(End::Stopped);
            }
            Next::Advanced => {}
            Next::Look => under_way.look(context, reader).await?,
            Next::CaughtUp => {
                context.progress.caught_up();
                is_caught_up = true;
                continue;
            }
            Next::Take(batch) => {
                is_caught_up = false;
                if under_way.batches.is_empty() {
                    context.progress.busy(batch[0].log_time_ms);
                }
                let Taken { count, end } = tokio::select! {
                    biased;
                    taken = process.take(&batch) => taken?,
                    lost = under_way.until_lost(context, reader) => return Err(lost),
                };
                under_way.add(&batch[..count]);
                if let Some(end) = end {
                    finish(context, reader, process, &mut under_way).await?;
                    context.progress.busy(batch[count].log_time_ms);
                    return Err(end);
                }
                // A store that answers at once must not keep the thread from everybody else.
                yield_now().await;
            }
        }
        if under_way.commit(context, reader, process.unfinished()).await? {
            backoff.reset();
        }
    }
}

/// Waits for all that is under way, and commits it.
async fn finish<P: Process>(
    context: &Context,
    reader: &mut dyn Reader,
    process: &mut P,
    under_way: &mut UnderWay,
) -> Result<(), End> {
    loop {
        under_way.commit(context, reader, process.unfinished()).await?;
        if under_way.batches.is_empty() {
            return Ok(());
        }
        process.advance().await?;
    }
}

/// The next records, at least one.
///
/// Cancel safe: a dropped call has read nothing.
async fn read(context: &Context, reader: &mut dyn Reader) -> Result<Vec<Entry>, End> {
    let WorkerConfig { batch_records_max, batch_bytes_max, .. } = *context.config;
    let mut backoff = context.retry.backoff();
    loop {
        match reader.next_batch(batch_records_max, batch_bytes_max).await {
            Ok(batch) => return Ok(batch),
            Err(ReadError::Retry(reason)) => {
                context.progress.stalled((context.wall_clock)());
                tracing::warn!(reason, "the log cannot be read; trying again");
                backoff.wait(&context.retry.stop).await?;
            }
            Err(error @ (ReadError::Lost | ReadError::Stop(_))) => return Err(error.into()),
        }
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

impl UnderWay {
    fn new(context: &Context, first_unfinished: Offset) -> Self {
        let last = first_unfinished.get().checked_sub(1).map(Offset::new);
        let committed = last.map(|last| Seq::new(context.engines.log.epoch(), last));
        Self { batches: VecDeque::new(), bytes: 0, committed }
    }

    /// Fails when the partition is lost: to commit the same again changes nothing else.
    async fn look(&self, context: &Context, reader: &mut dyn Reader) -> Result<(), End> {
        match self.committed {
            Some(committed) => commit(context, reader, committed).await,
            None => Ok(()),
        }
    }

    /// Waits until the partition is lost.
    async fn until_lost(&self, context: &Context, reader: &mut dyn Reader) -> End {
        loop {
            sleep(LOOK_EVERY).await;
            if let Err(end) = self.look(context, reader).await {
                return end;
            }
        }
    }

    /// Whether another batch may be taken.
    fn has_room(&self, config: &WorkerConfig) -> bool {
        self.batches.len() < config.batches_under_way.max(1) && self.bytes < config.batch_bytes_max
    }

    fn add(&mut self, batch: &[Entry]) {
        let (Some(first), Some(last)) = (batch.first(), batch.last()) else { return };
        let bytes = batch.iter().map(|entry| entry.record.len()).sum();
        self.bytes += bytes;
        self.batches.push_back(Batch {
            last: last.seq,
            first_log_time_ms: first.log_time_ms,
            records: batch.len(),
            bytes,
        });
    }

    /// Commits the batches below the oldest unfinished record; whether there were any.
    async fn commit(
        &mut self,
        context: &Context,
        reader: &mut dyn Reader,
        unfinished: Option<Seq>,
    ) -> Result<bool, End> {
        let is_finished = |batch: &Batch| unfinished.is_none_or(|oldest| batch.last < oldest);
        let (mut finished, mut records) = (None, 0);
        while self.batches.front().is_some_and(is_finished) {
            let batch = self.batches.pop_front().expect("there is a first one");
            self.bytes -= batch.bytes;
            records += batch.records;
            finished = Some(batch.last);
        }
        let Some(finished) = finished else { return Ok(false) };
        commit(context, reader, finished).await?;
        self.committed = Some(finished);
        context.metrics.records(context.topic, records);
        if let Some(oldest) = self.batches.front() {
            context.progress.busy(oldest.first_log_time_ms);
        }
        Ok(true)
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
