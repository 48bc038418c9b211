//! What a connected device is given: the mailbox in order, from pushes where they are contiguous
//! and from reads where they are not.

use std::{collections::VecDeque, time::Duration};

use bytes::BytesMut;

use wire::{
    DeliveryFrame, Seq,
    delivery_frame::Deliver,
    limits::{DELIVERY_WINDOW, DELIVERY_WINDOW_BYTES, ITEM_BYTES_MAX},
};

use crate::edge::{Effect, Violation};

/// Rows that wait to be written. Pushes beyond it are dropped and read later.
const QUEUE_ROWS_MAX: usize = 256;
/// Bytes of rows that wait to be written, beyond which likewise.
const QUEUE_BYTES_MAX: usize = 256 * 1024;
/// A read that failed, or found nothing where something must be, is repeated after this; doubled
/// each time up to [`READ_AGAIN_MAX`].
const READ_AGAIN_MIN: Duration = Duration::from_millis(100);
const READ_AGAIN_MAX: Duration = Duration::from_secs(5);
/// A device that has had everything for so long has that stored again, far more often than
/// anything expires and seldom enough to cost nothing.
const CAUGHT_UP_AGAIN: Duration = Duration::from_secs(6 * 3600);

const _: () = assert!(QUEUE_BYTES_MAX > ITEM_BYTES_MAX);
const _: () = assert!(QUEUE_BYTES_MAX <= DELIVERY_WINDOW_BYTES);
const _: () = assert!(QUEUE_ROWS_MAX <= DELIVERY_WINDOW as usize);

/// The delivery of one connection.
#[derive(Debug, Default)]
pub(crate) struct Delivery {
    open: bool,
    window: usize,
    truncated: Option<Seq>,
    /// Everything up to here is in the queue or was given.
    last: Seq,
    /// Everything up to here was given to the client, at some time on this connection.
    given: Seq,
    /// Where the client is when it has read what was written so far.
    client_at: Seq,
    acknowledged: Seq,
    queue: VecDeque<Deliver>,
    queue_bytes: usize,
    /// Given and not acknowledged: position and bytes.
    unacknowledged: VecDeque<(Seq, usize)>,
    unacknowledged_bytes: usize,
    /// Tell the client that it has everything up to here, once that is written.
    caught_up: Option<Seq>,
    /// The highest position known to exist.
    head: Seq,
    reading: Reading,
    cursor_dirty: bool,
    caught_up_stored: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reading {
    /// Everything known was read.
    #[default]
    Idle,
    /// A read is needed.
    Wanted { failures: u32 },
    /// A read is needed, later.
    Later { at: Duration, failures: u32 },
    /// A read is under way.
    UnderWay { fate: Fate, failures: u32 },
}

/// What to do when the read under way ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Take it.
    Take,
    /// Take it and read again: something was missed after it began.
    TakeAndReadAgain,
    /// It began at a place that is no longer the right one.
    Discard,
}

impl Delivery {
    pub(crate) fn open(&mut self, resume_after: Seq, window: usize, truncated: Option<Seq>) {
        self.open = true;
        self.window = window;
        self.truncated = truncated;
        self.last = resume_after;
        self.given = resume_after;
        self.client_at = resume_after;
        self.acknowledged = resume_after;
        self.head = resume_after;
        self.reading = Reading::Wanted { failures: 0 };
    }

    //= protocol#recv-2: the device would take it, otherwise the mailbox is read.
    pub(crate) fn handle_push(&mut self, deliver: Deliver) {
        if !self.open || deliver.seq <= self.last {
            return;
        }
        self.head = self.head.max(deliver.seq);
        let contiguous = deliver.prev.is_some_and(|prev| prev <= self.last);
        if contiguous && self.queue_has_room(deliver.item.len()) {
            self.queue(deliver);
        } else {
            self.want_read();
        }
    }

    pub(crate) fn handle_behind(&mut self) {
        if self.open {
            self.want_read();
        }
    }

    pub(crate) fn handle_head(&mut self, now: Duration, head: Seq) {
        if !self.open {
            return;
        }
        self.head = self.head.max(head);
        if self.head > self.last {
            self.want_read();
        } else if self.is_caught_up()
            && self.caught_up_stored.is_none_or(|stored| now >= stored + CAUGHT_UP_AGAIN)
        {
            self.caught_up_stored = Some(now);
            self.cursor_dirty = true;
        }
    }

    pub(crate) fn handle_rows(&mut self, now: Duration, head: Seq, rows: Vec<Deliver>, more: bool) {
        let Reading::UnderWay { fate, failures } = self.reading else { return };
        if fate == Fate::Discard {
            self.reading = Reading::Wanted { failures };
            return;
        }
        let before = self.last;
        for row in rows {
            // Otherwise a push was faster than the read.
            if row.seq > self.last {
                self.queue(row);
            }
        }
        self.head = self.head.max(head).max(self.last);
        if !more {
            self.reached(now, head);
        }
        let progress = self.last > before;
        let again = more || fate == Fate::TakeAndReadAgain || self.head > self.last;
        self.reading = match (again, progress || fate == Fate::TakeAndReadAgain) {
            (false, _) => Reading::Idle,
            (true, true) => Reading::Wanted { failures: 0 },
            // A store that does not show what it told of: do not ask in a circle.
            (true, false) => later(now, failures),
        };
        self.cursor_dirty |= self.is_caught_up();
    }

    /// A read came to the head it saw. The row at the head may be gone; the head counts as given.
    fn reached(&mut self, now: Duration, head: Seq) {
        self.last = self.last.max(head);
        self.caught_up = Some(self.last);
        self.caught_up_stored = Some(now);
    }

    pub(crate) fn handle_read_failed(&mut self, now: Duration) {
        if let Reading::UnderWay { failures, .. } = self.reading {
            self.reading = later(now, failures);
        }
    }

    //= protocol#recv-5: never above what this connection was given; cursors never move back.
    pub(crate) fn handle_ack(&mut self, seq: Seq) -> Result<(), Violation> {
        if seq > self.given {
            return Err(Violation::protocol("an Ack above what was delivered"));
        }
        if seq <= self.acknowledged {
            return Ok(());
        }
        self.acknowledged = seq;
        while let Some(&(oldest, bytes)) = self.unacknowledged.front()
            && oldest <= seq
        {
            self.unacknowledged.pop_front();
            self.unacknowledged_bytes -= bytes;
        }
        self.cursor_dirty = true;
        Ok(())
    }

    /// Everything above `after` is read and given again.
    pub(crate) fn handle_resync(&mut self, after: Seq) -> Result<(), Violation> {
        if after > self.given {
            return Err(Violation::protocol("a Resync above what was delivered"));
        }
        self.last = after.max(self.acknowledged);
        self.client_at = self.last;
        self.queue.clear();
        self.queue_bytes = 0;
        self.caught_up = None;
        while let Some(&(newest, bytes)) = self.unacknowledged.back()
            && newest > self.last
        {
            self.unacknowledged.pop_back();
            self.unacknowledged_bytes -= bytes;
        }
        self.reading = match self.reading {
            Reading::UnderWay { failures, .. } => {
                Reading::UnderWay { fate: Fate::Discard, failures }
            }
            Reading::Idle | Reading::Wanted { .. } => Reading::Wanted { failures: 0 },
            Reading::Later { at, failures } => Reading::Later { at, failures },
        };
        Ok(())
    }

    pub(crate) fn handle_timeout(&mut self, now: Duration) {
        if let Reading::Later { at, failures } = self.reading
            && at <= now
        {
            self.reading = Reading::Wanted { failures };
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        match self.reading {
            Reading::Later { at, .. } => Some(at),
            Reading::Idle | Reading::Wanted { .. } | Reading::UnderWay { .. } => None,
        }
    }

    pub(crate) fn poll_effect(&mut self) -> Option<Effect> {
        if self.cursor_dirty {
            self.cursor_dirty = false;
            let caught_up = self.is_caught_up();
            return Some(Effect::StoreCursor { seq: self.acknowledged, caught_up });
        }
        let Reading::Wanted { failures } = self.reading else { return None };
        // Half a queue at a time, and only what the client's window takes: no row is read to wait.
        let rows_room = self.window.saturating_sub(self.unacknowledged.len() + self.queue.len());
        let bytes_room =
            DELIVERY_WINDOW_BYTES.saturating_sub(self.unacknowledged_bytes + self.queue_bytes);
        let queue_is_low =
            self.queue.len() <= QUEUE_ROWS_MAX / 2 && self.queue_bytes <= QUEUE_BYTES_MAX / 2;
        if !queue_is_low || rows_room == 0 || bytes_room < ITEM_BYTES_MAX {
            return None;
        }
        self.reading = Reading::UnderWay { fate: Fate::Take, failures };
        Some(Effect::ReadMailbox {
            after: self.last,
            rows_max: rows_room.min(QUEUE_ROWS_MAX / 2),
            bytes_max: bytes_room.min(QUEUE_BYTES_MAX / 2),
        })
    }

    /// Appends frames while `out` is below `room` and the client's window takes them.
    pub(crate) fn poll(&mut self, out: &mut BytesMut, room: usize) {
        if let Some(from) = self.truncated.take() {
            DeliveryFrame::Truncated(from).encode(out);
        }
        loop {
            self.write_caught_up(out);
            if out.len() >= room || !self.window_takes_next() {
                return;
            }
            let Some(deliver) = self.queue.pop_front() else { return };
            let bytes = deliver.item.len();
            self.queue_bytes -= bytes;
            self.unacknowledged.push_back((deliver.seq, bytes));
            self.unacknowledged_bytes += bytes;
            self.given = self.given.max(deliver.seq);
            self.client_at = deliver.seq;
            DeliveryFrame::Deliver(deliver).encode(out);
        }
    }

    /// Appends `CaughtUp` when every row up to its position is written.
    fn write_caught_up(&mut self, out: &mut BytesMut) {
        let Some(head) = self.caught_up else { return };
        if self.queue.front().is_none_or(|next| next.seq > head) {
            self.caught_up = None;
            let prev = self.client_at.min(head);
            self.given = self.given.max(head);
            self.client_at = self.client_at.max(head);
            DeliveryFrame::CaughtUp { head, prev }.encode(out);
        }
    }

    pub(crate) fn cursor(&self) -> Option<(Seq, bool)> {
        self.open.then(|| (self.acknowledged, self.is_caught_up()))
    }

    fn is_caught_up(&self) -> bool {
        self.reading == Reading::Idle && self.acknowledged >= self.head.max(self.last)
    }

    fn window_takes_next(&self) -> bool {
        self.queue.front().is_some_and(|next| {
            self.unacknowledged.is_empty()
                || (self.unacknowledged.len() < self.window
                    && self.unacknowledged_bytes + next.item.len() <= DELIVERY_WINDOW_BYTES)
        })
    }

    fn queue_has_room(&self, bytes: usize) -> bool {
        self.queue.len() < QUEUE_ROWS_MAX && self.queue_bytes + bytes <= QUEUE_BYTES_MAX
    }

    /// Queues the next row. Its `prev` becomes the place where the client will be, between which
    /// and the row there is nothing: so the client sees a gap exactly if this session made one.
    fn queue(&mut self, mut deliver: Deliver) {
        debug_assert!(deliver.seq > self.last, "a queue in order");
        deliver.prev = Some(self.queue.back().map_or(self.client_at, |before| before.seq));
        self.last = deliver.seq;
        self.queue_bytes += deliver.item.len();
        self.queue.push_back(deliver);
    }

    fn want_read(&mut self) {
        self.reading = match self.reading {
            Reading::Idle => Reading::Wanted { failures: 0 },
            Reading::UnderWay { fate: Fate::Take, failures } => {
                Reading::UnderWay { fate: Fate::TakeAndReadAgain, failures }
            }
            reading @ (Reading::Wanted { .. }
            | Reading::Later { .. }
            | Reading::UnderWay {
                fate: Fate::TakeAndReadAgain | Fate::Discard, ..
            }) => reading,
        };
    }
}

fn later(now: Duration, failures: u32) -> Reading {
    let wait = READ_AGAIN_MIN.saturating_mul(1 << failures.min(10)).min(READ_AGAIN_MAX);
    Reading::Later { at: now + wait, failures: failures.saturating_add(1) }
}
