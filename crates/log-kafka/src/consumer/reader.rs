//! What a role reads with.

use std::sync::Arc;

use ports::{
    BoxFuture,
    log::{Entry, ReadError, Reader},
};
use tokio::sync::watch;
use wire::{Offset, Seq};

use super::lane::Lane;

/// Whether what is finished is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commits {
    /// It is.
    Kept,
    /// Each reader reads everything.
    Dropped,
}

/// A reader of one lane.
pub(crate) struct LaneReader<L> {
    lane: L,
    number: u64,
    first_unfinished: u64,
    commits: Commits,
    changed: watch::Receiver<()>,
}

impl<L: AsRef<Lane> + Send + Sync> LaneReader<L> {
    pub(crate) fn new(lane: L, number: u64, first_unfinished: u64, commits: Commits) -> Self {
        let changed = lane.as_ref().subscribe();
        Self { lane, number, first_unfinished, commits, changed }
    }

    async fn read(
        &mut self,
        records_max: usize,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, ReadError> {
        loop {
            self.changed.borrow_and_update();
            let batch = self.lane.as_ref().read(self.number, records_max, bytes_max)?;
            if let Some(batch) = batch {
                return Ok(batch);
            }
            if self.changed.changed().await.is_err() {
                return Err(ReadError::Lost);
            }
        }
    }
}

impl<L: AsRef<Lane> + Send + Sync> Reader for LaneReader<L> {
    fn next_batch(
        &mut self,
        records_max: usize,
        bytes_max: usize,
    ) -> BoxFuture<'_, Result<Vec<Entry>, ReadError>> {
        Box::pin(self.read(records_max, bytes_max))
    }

    fn first_unfinished(&self) -> Offset {
        Offset::new(self.first_unfinished)
    }

    fn commit(&mut self, position: Seq) -> BoxFuture<'_, Result<(), ReadError>> {
        let done = match self.commits {
            Commits::Kept => self.lane.as_ref().commit(self.number, position.offset().get()),
            Commits::Dropped => Ok(()),
        };
        Box::pin(std::future::ready(done))
    }
}

/// A lane of a member, which lives as long as anybody reads it.
pub(crate) struct OneOf(pub(crate) Arc<[Lane]>, pub(crate) usize);

impl AsRef<Lane> for OneOf {
    fn as_ref(&self) -> &Lane {
        &self.0[self.1]
    }
}
