//! From records to rows: what is dropped, who gets a row, what comes before it in the mailbox.

use ports::mailbox::{Batch, Row};
use wire::{Seq, UserId};

use crate::{
    mail::{
        marks::Marks,
        parse::{Copy, Parcel, Rows},
    },
    metrics::{Repeat, WorkerMetrics},
    recent::Recent,
    repeats::Repeats,
};

/// What a lane knows of the mailboxes it writes, and the rows that are not stored yet.
pub(crate) struct Resolver {
    marks: Marks,
    repeats: Repeats,
    /// The newest row of a mailbox, when known for certain.
    heads: Recent<UserId, Seq>,
    rows: Vec<Row>,
    /// For each row the one before it in its mailbox, when known.
    before: Vec<Option<Seq>>,
    metrics: WorkerMetrics,
}

/// Where a record is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) seq: Seq,
    pub(crate) log_time_ms: u64,
    /// The clock when it is processed, which tells what has expired.
    pub(crate) now_ms: u64,
}

impl Resolver {
    pub(crate) fn new(
        marks: Marks,
        repeats_remembered: usize,
        heads_remembered: usize,
        metrics: WorkerMetrics,
    ) -> Self {
        Self {
            marks,
            repeats: Repeats::new(repeats_remembered),
            heads: Recent::new(heads_remembered),
            rows: Vec::new(),
            before: Vec::new(),
            metrics,
        }
    }

    /// The rows of a record.
    pub(crate) fn add(&mut self, place: Place, rows: Rows) {
        if let Some(source) = rows.source
            && !self.marks.rise(source)
        {
            self.metrics.repeat(Repeat::Source);
            // Either it is the record a second time, then there are no rows here; or this is a
            // second pass over it, then there are. A push after it that named the row before it
            // as its predecessor would let a device skip the row here: better not to know.
            for parcel in rows.deliveries {
                parcel
                    .recipients
                    .iter()
                    .chain(&parcel.sender_copy)
                    .for_each(|user| self.forget(user));
            }
            return;
        }
        for parcel in rows.deliveries {
            if parcel.identity.is_some_and(|(id, digest)| self.repeats.is_repeat_of(id, digest)) {
                self.metrics.repeat(Repeat::Window);
                continue;
            }
            self.add_parcel(place, parcel);
        }
    }

    fn add_parcel(&mut self, place: Place, parcel: Parcel) {
        let expires_ms = place.log_time_ms.saturating_add(u64::from(parcel.ttl_s) * 1000);
        if expires_ms <= place.now_ms {
            self.metrics.expired.inc_by(parcel.recipients.len() as u64);
            return;
        }
        for user in &parcel.recipients {
            self.add_row(place, *user, expires_ms, &parcel.item);
        }
        if let Some(user) = parcel.sender_copy {
            match parcel.copy {
                Copy::Row => self.add_row(place, user, expires_ms, &parcel.item),
                Copy::None => {}
                Copy::Unsure => self.forget(&user),
            }
        }
    }

    fn add_row(&mut self, place: Place, user: UserId, expires_ms: u64, item: &bytes::Bytes) {
        let Place { seq, log_time_ms, now_ms: _ } = place;
        let before = self.heads.insert(user, seq);
        assert!(before.is_none_or(|before| before < seq), "a lane reads in order");
        self.before.push(before);
        self.rows.push(Row { user, seq, log_time_ms, expires_ms, item: item.clone() });
    }

    /// It is not known for certain what the newest row of this mailbox is.
    fn forget(&mut self, user: &UserId) {
        self.heads.remove(user);
    }

    /// Rows that wait to be stored.
    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The next rows to store, at most `rows_max`, with what is before each. The last ones carry the
    /// marks, which must not be stored before all rows they stand for. None when there is nothing.
    pub(crate) fn take(&mut self, rows_max: usize) -> Option<(Batch, Vec<Option<Seq>>)> {
        let mut batch = Batch::default();
        let before;
        if self.rows.len() > rows_max {
            let (rest, rest_before) =
                (self.rows.split_off(rows_max), self.before.split_off(rows_max));
            batch.rows = std::mem::replace(&mut self.rows, rest);
            before = std::mem::replace(&mut self.before, rest_before);
        } else {
            batch.rows = std::mem::take(&mut self.rows);
            before = std::mem::take(&mut self.before);
            self.marks.move_to(&mut batch);
        }
        (!batch.rows.is_empty() || !batch.marks.is_empty()).then_some((batch, before))
    }
}
