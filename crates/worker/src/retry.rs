//! How a lane ends, and how it tries again until then.

use std::{future::Future, time::Duration};

use ports::{StoreError, log::ReadError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::metrics::{Alarm, WorkerMetrics};

/// Why a lane does not go on.
#[derive(Debug)]
pub(crate) enum End {
    /// The worker was asked to stop.
    Stopped,
    /// Another reader has the partition: wait until it is given back.
    Lost,
    /// The partition must be opened again.
    Reopen(String),
    /// Someone must act: the lane stays where it is.
    Alarm(Alarm, String),
}

/// Pauses that double up to a limit.
pub(crate) struct Backoff {
    min: Duration,
    next: Duration,
    max: Duration,
}

impl Backoff {
    pub(crate) fn new(min: Duration, max: Duration) -> Self {
        Self { min, next: min, max }
    }

    /// Waits the next pause.
    ///
    /// # Errors
    /// [`End::Stopped`] as soon as the worker stops.
    pub(crate) async fn wait(&mut self, stop: &CancellationToken) -> Result<(), End> {
        let pause = self.advance();
        tokio::select! {
            biased;
            () = stop.cancelled() => Err(End::Stopped),
            () = sleep(pause) => Ok(()),
        }
    }

    /// The next pause, which the caller waits itself.
    pub(crate) fn advance(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        pause
    }

    /// It went well: the next pause is a short one again.
    pub(crate) fn reset(&mut self) {
        self.next = self.min;
    }
}

/// Does the same again until it is known to have happened.
#[derive(Clone)]
pub(crate) struct Retry {
    pub(crate) min: Duration,
    pub(crate) max: Duration,
    pub(crate) stop: CancellationToken,
    pub(crate) metrics: WorkerMetrics,
}

impl Retry {
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff::new(self.min, self.max)
    }

    /// `attempt` until it succeeds.
    ///
    /// # Errors
    /// [`End::Stopped`], or [`End::Alarm`] when it would never succeed.
    pub(crate) async fn until_stored<T, F>(&self, mut attempt: impl FnMut() -> F) -> Result<T, End>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut backoff = self.backoff();
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(StoreError::Stop(reason)) => return Err(End::Alarm(Alarm::Store, reason)),
                Err(StoreError::Retry(reason)) => {
                    self.metrics.store_retries.inc();
                    tracing::warn!(reason, "the store failed; doing the same again");
                    backoff.wait(&self.stop).await?;
                }
            }
        }
    }

    /// `attempt` until the records are durable.
    ///
    /// # Errors
    /// [`End::Stopped`].
    pub(crate) async fn until_appended<T, E, F>(
        &self,
        mut attempt: impl FnMut() -> F,
    ) -> Result<T, End>
    where
        E: std::fmt::Display,
        F: Future<Output = Result<T, E>>,
    {
        let mut backoff = self.backoff();
        loop {
            match attempt().await {
                Ok(done) => return Ok(done),
                Err(error) => {
                    self.metrics.append_retries.inc();
                    tracing::warn!(%error, "an append failed; doing the same again");
                    backoff.wait(&self.stop).await?;
                }
            }
        }
    }
}

impl From<ReadError> for End {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Retry(reason) => Self::Reopen(reason),
            ReadError::Lost => Self::Lost,
            ReadError::Stop(reason) => Self::Alarm(Alarm::Log, reason),
        }
    }
}
