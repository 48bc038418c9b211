//! Rows on their way to the mailboxes, and from there to connected devices.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::Arc,
};

use futures_util::FutureExt as _;
use ports::{
    Mailbox,
    mailbox::{Batch, Row},
};
use tokio::task::JoinSet;
use wire::{Partition, Seq, UserId, delivery_frame::Deliver, record::Source};

use crate::{
    lane::Context,
    mail::resolve::NewRow,
    metrics::WorkerMetrics,
    push::{self, PushQueue},
    retry::{End, Retry},
};

/// Rows that are being stored, in a few calls at a time, and those that wait for their turn.
///
/// *Order.* A mailbox has rows in one call at a time, and takes them in order; different mailboxes
/// do not wait for each other. *Marks* are stored after every row they stand for. *Bounded* by
/// [`Self::until_room`]: the lane waits.
pub(crate) struct Stores {
    mailbox: Arc<dyn Mailbox>,
    retry: Retry,
    metrics: WorkerMetrics,
    push: Option<PushQueue>,
    rows_max: usize,
    calls_max: usize,
    calls: JoinSet<Result<Call, End>>,
    /// For each call the oldest record of which it stores something.
    oldest: Vec<Seq>,
    /// The mailboxes with rows in a call.
    busy: HashSet<UserId>,
    /// In the order of the log.
    waiting: VecDeque<NewRow>,
    /// What has to be stored after all rows up to a record, by that record.
    marks: VecDeque<(Seq, Vec<(Partition, Source)>)>,
}

/// A call of the store.
struct Call {
    oldest: Seq,
    batch: Batch,
    /// For each row the one before it in its mailbox, when known.
    before: Vec<Option<Seq>>,
}

impl Stores {
    pub(crate) fn new(context: &Context) -> Self {
        Self {
            mailbox: Arc::clone(&context.engines.mailbox),
            retry: context.retry.clone(),
            metrics: context.metrics.clone(),
            push: context.push.clone(),
            rows_max: context.config.store_rows_max.max(1),
            calls_max: context.config.batches_under_way.max(1),
            calls: JoinSet::new(),
            oldest: Vec::new(),
            busy: HashSet::new(),
            waiting: VecDeque::new(),
            marks: VecDeque::new(),
        }
    }

    /// The rows that wait, to add some at the end. They are stored from the next call of another
    /// method on.
    pub(crate) fn waiting(&mut self) -> &mut VecDeque<NewRow> {
        &mut self.waiting
    }

    /// Begins to store what waits, and what must be stored after all rows up to `last`.
    pub(crate) fn begin(&mut self, last: Seq, marks: Vec<(Partition, Source)>) -> Result<(), End> {
        if !marks.is_empty() {
            self.marks.push_back((last, marks));
        }
        self.start()
    }

    /// The oldest record of which something is not stored.
    pub(crate) fn unfinished(&self) -> Option<Seq> {
        let marks = self.marks.front().map(|(last, _)| *last);
        self.unstored().into_iter().chain(marks).min()
    }

    /// Waits until something was stored; what waited for it is begun.
    ///
    /// Cancel safe: a dropped call has forgotten nothing.
    pub(crate) async fn advance(&mut self) -> Result<(), End> {
        self.start()?;
        match self.calls.join_next().await {
            Some(Ok(call)) => self.finish(call?),
            Some(Err(error)) => std::panic::resume_unwind(error.into_panic()),
            None => return Ok(()),
        }
        self.start()
    }

    /// Waits until fewer rows wait than one call takes.
    pub(crate) async fn until_room(&mut self) -> Result<(), End> {
        while self.waiting.len() >= self.rows_max {
            self.advance().await?;
        }
        Ok(())
    }

    /// Waits until every row is stored.
    pub(crate) async fn drain(&mut self) -> Result<(), End> {
        while self.unstored().is_some() {
            self.advance().await?;
        }
        Ok(())
    }

    /// The oldest record of which a row, or what is in a call, is not stored.
    fn unstored(&self) -> Option<Seq> {
        let waiting = self.waiting.front().map(|new| new.row.seq);
        self.oldest.iter().copied().chain(waiting).min()
    }

    /// Begins as many calls as there may be. A store in this process has done what it is asked when
    /// it is asked: waking a task for each call would cost as much as the call.
    fn start(&mut self) -> Result<(), End> {
        while self.oldest.len() < self.calls_max {
            let (rows, before) = self.take_rows();
            let (oldest_mark, marks) = self.take_marks(rows.first().map(|row| row.seq));
            let oldest_row = rows.first().map(|row| row.seq);
            let Some(oldest) = oldest_row.into_iter().chain(oldest_mark).min() else { break };
            self.busy.extend(rows.iter().map(|row| row.user));
            self.oldest.push(oldest);
            let (mailbox, retry) = (Arc::clone(&self.mailbox), self.retry.clone());
            let call = Call { oldest, batch: Batch { rows, marks }, before };
            let mut storing = Box::pin(async move {
                retry.until_stored(|| mailbox.append(call.batch.clone())).await?;
                Ok(call)
            });
            match storing.as_mut().now_or_never() {
                Some(stored) => self.finish(stored?),
                None => {
                    self.calls.spawn(storing);
                }
            }
        }
        Ok(())
    }

    /// Rows of mailboxes that have none in a call, with what is before each.
    fn take_rows(&mut self) -> (Vec<Row>, Vec<Option<Seq>>) {
        let waiting = std::mem::take(&mut self.waiting);
        let (mut rows, mut before) = (Vec::new(), Vec::new());
        for new in waiting {
            if rows.len() < self.rows_max && !self.busy.contains(&new.row.user) {
                rows.push(new.row);
                before.push(new.before);
            } else {
                self.waiting.push_back(new);
            }
        }
        (rows, before)
    }

    /// The marks that may go into a call with rows from `first` on, and the oldest record they are
    /// of. A store writes rows before marks, so they may go with the last rows they stand for.
    fn take_marks(&mut self, first: Option<Seq>) -> (Option<Seq>, Vec<(Partition, Source)>) {
        let is_alone = self.oldest.is_empty() && self.waiting.is_empty();
        let unstored = if is_alone { None } else { self.unstored().into_iter().chain(first).min() };
        let is_due = |last: Seq| unstored.is_none_or(|unstored| last < unstored);
        let due = self.marks.partition_point(|(last, _)| is_due(*last));
        let oldest = self.marks.front().filter(|_| due > 0).map(|(last, _)| *last);
        // The highest of each source partition says everything.
        let highest: BTreeMap<Partition, (Partition, Source)> =
            self.marks.drain(..due).flat_map(|(_, marks)| marks).map(by_source).collect();
        (oldest, highest.into_values().collect())
    }

    fn finish(&mut self, call: Call) {
        let Call { oldest, batch: Batch { rows, marks: _ }, before } = call;
        let index = self.oldest.iter().position(|other| *other == oldest);
        self.oldest.swap_remove(index.expect("it was noted when the call began"));
        self.metrics.rows.inc_by(rows.len() as u64);
        for row in &rows {
            self.busy.remove(&row.user);
        }
        let Some(push) = &self.push else { return };
        let pushes = rows.into_iter().zip(before).map(|(row, prev)| {
            let Row { user, seq, log_time_ms, expires_ms: _, item } = row;
            push::NewRow { user, deliver: Deliver { seq, prev, log_time_ms, item } }
        });
        push.offer(pushes.collect());
    }
}

fn by_source((partition, source): (Partition, Source)) -> (Partition, (Partition, Source)) {
    (source.partition, (partition, source))
}
