//! Every request: bounded in number and time, tried again while that may help.

use std::{
    future::Future,
    iter,
    ops::ControlFlow,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use ports::StoreError;
use scylla::{
    client::session::Session, deserialize::row::DeserializeRow, response::PagingState,
    serialize::row::SerializeRow, statement::prepared::PreparedStatement,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep, timeout_at},
};

use crate::{failure::Failure, health::Health, statements::Statements, stats::Counters};

/// The time of one attempt: three fit into the time of a request, and the pauses between them,
/// since one or two of them may meet a node that does not answer.
pub(crate) fn attempt_within(within: Duration) -> Duration {
    within * 3 / 10
}

/// Pauses between attempts double from here.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What a retry costs and a success earns: at most one request in ten is tried again for long.
const RETRY_COSTS: u32 = 10;
const SUCCESS_EARNS: u32 = 1;

/// Retries that may come at once: those of every request that was under way when a node died.
const RETRIES_SAVED: u32 = 2048;

/// What a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
}

/// The connection, and what all its requests share.
pub(crate) struct Requests {
    pub(crate) session: Session,
    pub(crate) counters: Counters,
    pub(crate) health: Health,
    places: Semaphore,
    budget: Budget,
    write_within: Duration,
    read_within: Duration,
}

impl Requests {
    pub(crate) fn new(
        session: Session,
        in_flight_max: usize,
        write_within: Duration,
        read_within: Duration,
    ) -> Self {
        Self {
            session,
            counters: Counters::default(),
            health: Health::default(),
            places: Semaphore::new(in_flight_max),
            budget: Budget(AtomicU32::new(RETRIES_SAVED * RETRY_COSTS)),
            write_within,
            read_within,
        }
    }

    /// Does a request, again and again while it fails in a way that may pass and there is time and
    /// budget. All our requests may be repeated: a write carries its timestamp.
    ///
    /// # Errors
    /// [`StoreError::Retry`] when time or budget ended, [`StoreError::Stop`] for what will last.
    ///
    /// # Cancel safety
    /// A write that was begun may happen.
    pub(crate) async fn run<T, F>(
        &self,
        kind: Kind,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let within = match kind {
            Kind::Read => self.read_within,
            Kind::Write => self.write_within,
        };
        let began = Instant::now();
        let deadline = began + within;
        self.counters.requests.fetch_add(1, Relaxed);
        let mut pause = PAUSE_MIN;
        loop {
            let permit = self.place(deadline).await?;
            let _in_flight = self.counters.enter();
            let result = attempt().await;
            drop(permit);
            let failure = match result {
                Ok(done) => {
                    self.health.succeeded();
                    self.budget.earn();
                    self.counters.took(began.elapsed());
                    return Ok(done);
                }
                Err(failure) => failure,
            };
            let (Failure::Late(reason) | Failure::Passing(reason) | Failure::Lasting(reason)) =
                &failure;
            self.health.failed(reason);
            if matches!(failure, Failure::Late(_)) {
                self.counters.timeouts.fetch_add(1, Relaxed);
            }
            // The driver ends an attempt after its share of the time, so that one begun now ends
            // before the deadline.
            let next = Instant::now() + pause + attempt_within(within);
            let again = !matches!(failure, Failure::Lasting(_)) && next <= deadline;
            if !again || !self.budget.spend() {
                self.counters.failures.fetch_add(1, Relaxed);
                self.counters.took(began.elapsed());
                return Err(failure.into_store_error());
            }
            self.counters.retries.fetch_add(1, Relaxed);
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// Writes of the same kind to one partition, together.
    ///
    /// # Errors
    /// As [`Self::run`].
    ///
    /// # Cancel safety
    /// As [`Self::run`].
    pub(crate) async fn write_together<V: SerializeRow>(
        &self,
        statements: &Statements,
        statement: &PreparedStatement,
        values: Vec<V>,
    ) -> Result<(), StoreError> {
        let session = &self.session;
        match &values[..] {
            [] => Ok(()),
            [value] => {
                let attempt = async || Ok(session.execute_unpaged(statement, value).await?);
                self.run(Kind::Write, attempt).await.map(|_| ())
            }
            values => {
                let batch = statements.batch(iter::repeat_n(statement, values.len()));
                let attempt = async || Ok(session.batch(&batch, values).await?);
                self.run(Kind::Write, attempt).await.map(|_| ())
            }
        }
    }

    /// All rows of a short answer, fetched a page at a time.
    ///
    /// # Errors
    /// As [`Self::run`].
    ///
    /// # Cancel safety
    /// It only reads.
    pub(crate) async fn all_rows<R>(
        &self,
        statement: &PreparedStatement,
        values: impl SerializeRow,
    ) -> Result<Vec<R>, StoreError>
    where
        R: for<'f> DeserializeRow<'f, 'f>,
    {
        let mut rows = Vec::new();
        let mut state = PagingState::start();
        loop {
            let attempt = async || {
                let execute = self.session.execute_single_page(statement, &values, state.clone());
                let (answer, next) = execute.await?;
                let page =
                    answer.into_rows_result()?.rows::<R>()?.collect::<Result<Vec<R>, _>>()?;
                Ok((page, next))
            };
            let (page, next) = self.run(Kind::Read, attempt).await?;
            rows.extend(page);
            match next.into_paging_control_flow() {
                ControlFlow::Continue(next) => state = next,
                ControlFlow::Break(()) => return Ok(rows),
            }
        }
    }

    /// A free place; waits for one until the deadline.
    async fn place(&self, deadline: Instant) -> Result<SemaphorePermit<'_>, StoreError> {
        if let Ok(permit) = self.places.try_acquire() {
            return Ok(permit);
        }
        let busy = || StoreError::Retry("too many requests are under way".to_owned());
        match timeout_at(deadline, self.places.acquire()).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_closed)) => Err(StoreError::Retry("the store was closed".to_owned())),
            Err(_late) => {
                self.counters.failures.fetch_add(1, Relaxed);
                Err(busy())
            }
        }
    }

    /// No request begins any more.
    pub(crate) fn close(&self) {
        self.places.close();
    }

    /// Why it does not work at this time.
    pub(crate) fn trouble(&self) -> Option<String> {
        let state = self.session.get_cluster_state();
        let nodes = state.get_nodes_info();
        if nodes.iter().all(|node| !node.is_connected()) {
            return Some(format!("none of {} nodes of the database is connected", nodes.len()));
        }
        self.health.trouble()
    }
}

/// Retries that may still be made.
struct Budget(AtomicU32);

impl Budget {
    fn earn(&self) {
        let full = RETRIES_SAVED * RETRY_COSTS;
        // Usually it is full, and then nothing is written.
        if self.0.load(Relaxed) < full {
            self.0.fetch_add(SUCCESS_EARNS, Relaxed);
        }
    }

    fn spend(&self) -> bool {
        let spent = |left: u32| left.checked_sub(RETRY_COSTS);
        self.0.fetch_update(Relaxed, Relaxed, spent).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_ends_and_grows_again_with_successes() {
        let budget = Budget(AtomicU32::new(RETRY_COSTS));
        assert!(budget.spend());
        assert!(!budget.spend());
        (0..RETRY_COSTS).for_each(|_| budget.earn());
        assert!(budget.spend());
        assert!(!budget.spend());
    }
}
