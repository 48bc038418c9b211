//! Reading a mailbox: to catch up, oldest first, and as history, newest first.

use std::{future::Future, time::Duration};

use ports::{
    Mailbox, StoreError,
    mailbox::{Range, Row},
};
use wire::{
    Seq, UserId, client_frame::Read, delivery_frame::Deliver, limits::PAGE_BYTES_MAX,
    server_frame::Page,
};

/// Attempts of one operation on a store; the waits between them add up to less than a second.
const ATTEMPTS: u32 = 4;
/// Wait after the first failed attempt, doubled after each.
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// An attempt is given up after this.
const ATTEMPT_WITHIN: Duration = Duration::from_secs(2);
/// A read of many rows is given up after this; the session asks again.
const READ_WITHIN: Duration = Duration::from_secs(5);

/// What a read for catching up found.
pub(crate) struct CaughtUp {
    /// The head, as it was before the rows were read.
    pub(crate) head: Seq,
    pub(crate) rows: Vec<Deliver>,
    /// There may be more up to the head.
    pub(crate) more: bool,
}

/// The rows after `after`. Every row names the one before it, so that a device can tell that
/// nothing is missing.
pub(crate) async fn read(
    mailbox: &dyn Mailbox,
    user: UserId,
    after: Seq,
    rows_max: usize,
    bytes_max: usize,
) -> Result<CaughtUp, StoreError> {
    let found = read_rows(mailbox, user, after, rows_max, bytes_max);
    tokio::time::timeout(READ_WITHIN, found).await.unwrap_or_else(|_| Err(no_answer()))
}

async fn read_rows(
    mailbox: &dyn Mailbox,
    user: UserId,
    after: Seq,
    rows_max: usize,
    bytes_max: usize,
) -> Result<CaughtUp, StoreError> {
    // The head first: every row up to it is there, so none can appear below what is read now.
    let head = head(mailbox, user).await?;
    if head <= after {
        return Ok(CaughtUp { head, rows: Vec::new(), more: false });
    }
    let range = Range { user, after, up_to: head, rows_max, bytes_max };
    let found = mailbox.read(range).await?;
    let mut prev = after;
    let deliver = |row: Row| {
        let deliver = deliver(row, Some(prev));
        prev = deliver.seq;
        deliver
    };
    Ok(CaughtUp { head, rows: found.rows.into_iter().map(deliver).collect(), more: found.more })
}

/// A page of history. When the mailbox cannot be read the page is empty and says that there is
/// more.
pub(crate) async fn page(mailbox: &dyn Mailbox, user: UserId, read: Read) -> Page {
    let found = attempt(async || {
        let head = head(mailbox, user).await?;
        let below =
            read.before.map_or(head, |before| Seq::from_u64(before.get().saturating_sub(1)));
        let up_to = head.min(below);
        let rows_max = read.limit as usize;
        let range = Range { user, after: Seq::ZERO, up_to, rows_max, bytes_max: PAGE_BYTES_MAX };
        if up_to == Seq::ZERO {
            return Ok(ports::mailbox::Rows::default());
        }
        mailbox.read_back(range).await
    });
    match found.await {
        Ok(found) => Page {
            request: read.request,
            rows: found.rows.into_iter().map(|row| deliver(row, None)).collect(),
            more: found.more,
        },
        Err(error) => {
            tracing::warn!(%error, "a page of history could not be read");
            Page { request: read.request, rows: Vec::new(), more: true }
        }
    }
}

pub(crate) async fn head(mailbox: &dyn Mailbox, user: UserId) -> Result<Seq, StoreError> {
    let heads = mailbox.heads(vec![user]).await?;
    heads.first().copied().ok_or_else(|| StoreError::Stop("no head for a user".to_owned()))
}

/// Does an operation on a store, a few times when it fails.
pub(crate) async fn attempt<T, F: Future<Output = Result<T, StoreError>>>(
    mut operation: impl FnMut() -> F,
) -> Result<T, StoreError> {
    let mut wait = AGAIN_AFTER;
    for _ in 1..ATTEMPTS {
        if let Ok(Ok(done)) = tokio::time::timeout(ATTEMPT_WITHIN, operation()).await {
            return Ok(done);
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    match tokio::time::timeout(ATTEMPT_WITHIN, operation()).await {
        Ok(outcome) => outcome,
        Err(_) => Err(no_answer()),
    }
}

fn no_answer() -> StoreError {
    StoreError::Retry("no answer in time".to_owned())
}

fn deliver(row: Row, prev: Option<Seq>) -> Deliver {
    Deliver { seq: row.seq, prev, log_time_ms: row.log_time_ms, item: row.item }
}
