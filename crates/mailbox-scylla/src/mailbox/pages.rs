//! Reading rows, a page at a time.

use std::ops::ControlFlow;

use bytes::Bytes;
use ports::{
    StoreError,
    mailbox::{Range, Row, Rows},
};
use scylla::response::{PagingState, query_result::QueryRowsResult};
use wire::UserId;

use super::CqlMailbox;
use crate::{bucket, failure::Failure, requests::Kind, statements::PAGE_ROWS_MAX};

/// A guess at the bytes of an item, for how many rows to ask for.
const ITEM_BYTES_GUESSED: usize = 512;

/// Which end of a range comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    OldestFirst,
    NewestFirst,
}

/// A page that is being filled.
struct Page {
    user: UserId,
    rows: Rows,
    bytes: usize,
    rows_max: usize,
    bytes_max: usize,
    now_ms: u64,
}

impl CqlMailbox {
    pub(super) async fn read_page(&self, range: Range, order: Order) -> Result<Rows, StoreError> {
        let after = range.after.get().min(bucket::SEQ_MAX);
        let up_to = range.up_to.get().min(bucket::SEQ_MAX);
        if after >= up_to {
            return Ok(Rows::default());
        }
        let now_ms = (self.wall_clock)();
        let Range { user, rows_max, bytes_max, .. } = range;
        let mut page = Page { user, rows: Rows::default(), bytes: 0, rows_max, bytes_max, now_ms };
        let (first, last) = (bucket::of(after + 1), bucket::of(up_to));
        // Most reads go to the newest bucket alone, and need no list.
        let mut buckets = if first == last {
            vec![(first, now_ms)]
        } else {
            self.buckets(user, first, last).await?
        };
        buckets.retain(|(_, log_ms)| log_ms.saturating_add(self.bucket_keep_ms) >= now_ms);
        if order == Order::OldestFirst {
            buckets.reverse();
        }
        for (bucket, _) in buckets {
            if self.fill(&mut page, bucket, (after, up_to), order).await?.is_break() {
                break;
            }
        }
        Ok(page.rows)
    }

    /// Adds the rows of a bucket, until the page is full.
    async fn fill(
        &self,
        page: &mut Page,
        bucket: i32,
        (after, up_to): (u64, u64),
        order: Order,
    ) -> Result<ControlFlow<()>, StoreError> {
        let prepared = match order {
            Order::OldestFirst => &self.statements.rows_forward,
            Order::NewestFirst => &self.statements.rows_back,
        };
        // One more than fits tells whether there is more.
        let wanted = page.rows_max.min(page.bytes_max / ITEM_BYTES_GUESSED + 1).saturating_add(1);
        let page_rows = i32::try_from(wanted).unwrap_or(PAGE_ROWS_MAX).min(PAGE_ROWS_MAX);
        let mut statement = prepared.clone();
        statement.set_page_size(page_rows);
        let user = *page.user.as_bytes();
        let values = (user, bucket, bucket::stored(after), bucket::stored(up_to));
        let session = &self.requests.session;
        let mut state = PagingState::start();
        loop {
            let attempt = async || {
                let execute = session.execute_single_page(&statement, &values, state.clone());
                let (answer, next) = execute.await?;
                Ok((answer.into_rows_result()?, next))
            };
            let (answer, next) = self.requests.run(Kind::Read, attempt).await?;
            let added = page.add(&answer).map_err(Failure::into_store_error)?;
            if added.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            match next.into_paging_control_flow() {
                ControlFlow::Continue(next) => state = next,
                ControlFlow::Break(()) => return Ok(ControlFlow::Continue(())),
            }
        }
    }
}

impl Page {
    /// Adds what is not expired, until it is full.
    fn add(&mut self, answer: &QueryRowsResult) -> Result<ControlFlow<()>, Failure> {
        for row in answer.rows::<(i64, i64, i64, Bytes)>()? {
            let (seq, log_ms, expires_ms, item) = row?;
            let expires_ms = u64::try_from(expires_ms).unwrap_or(0);
            if expires_ms < self.now_ms {
                continue;
            }
            self.bytes += item.len();
            let full = self.rows.rows.len() >= self.rows_max || self.bytes > self.bytes_max;
            if full && !self.rows.rows.is_empty() {
                self.rows.more = true;
                return Ok(ControlFlow::Break(()));
            }
            self.rows.rows.push(Row {
                user: self.user,
                seq: bucket::read(seq),
                log_time_ms: u64::try_from(log_ms).unwrap_or(0),
                expires_ms,
                item,
            });
        }
        Ok(ControlFlow::Continue(()))
    }
}
