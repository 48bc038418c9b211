//! What a client receives: rows in order, each shown once, acknowledged by the application.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use wire::{
    Address, DeviceId, Item, MessageId, Seq, UserId,
    delivery_frame::Deliver,
    item::{Body, DeviceChange},
};

use crate::{
    client::{Event, Outcome},
    repeats::{Digest, Repeats, Sighting},
    restored::StoreChange,
};

/// What was processed meanwhile is stored together.
const STORE_DELAY: Duration = Duration::from_millis(25);

/// An `Ack` waits so long for company: alone it costs a packet both ways. What was not told comes
/// again on the next connection, and is not shown again.
const ACK_DELAY: Duration = Duration::from_millis(500);

/// Processed rows after which an `Ack` waits no longer, well below a delivery window.
const ACK_ROWS: u32 = 128;

/// Bytes of processed rows after which an `Ack` waits no longer, well below a delivery window.
const ACK_BYTES: usize = 128 * 1024;

const _: () = assert!(ACK_ROWS * 4 <= wire::limits::DELIVERY_WINDOW);
const _: () = assert!(ACK_BYTES * 4 <= wire::limits::DELIVERY_WINDOW_BYTES);

/// Whether other frames go with an `Ack`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Company {
    Alone,
    Others,
}

/// The inbox of a device. At most a delivery window of rows is pending.
#[derive(Debug)]
pub(crate) struct Inbox {
    device: DeviceId,
    /// Everything up to here was processed by the application; none before the first `Welcome`.
    cursor: Option<Seq>,
    cursor_stored: Option<Seq>,
    /// Everything up to here was received, on this connection or an earlier one.
    received: Seq,
    /// Rows above the cursor.
    pending: BTreeMap<Seq, Pending>,
    /// Rows processed before a restart though not everything before them.
    ahead: BTreeSet<Seq>,
    repeats: Repeats,
    connection: Option<Connection>,
    /// Rows processed since the last `Ack`, and their bytes.
    untold: u32,
    untold_bytes: usize,
    /// Whether a row was processed since the driver last looked.
    has_news: bool,
    changes: Vec<StoreChange>,
}

#[derive(Debug)]
struct Connection {
    user: UserId,
    /// Everything up to here was given on this connection: no `Ack` goes above.
    given: Seq,
    acknowledged: Seq,
    /// When the next `Ack` goes by itself; none while there is nothing to tell.
    ack_due: Option<Duration>,
    /// When the driver looks for what was processed meanwhile; none when it is to be told.
    look_due: Option<Duration>,
    /// A gap was seen: rows are taken again from where they fit.
    resyncing: bool,
    resync: Option<Seq>,
}

impl Connection {
    /// Something after `received` is missing: once, until it has come.
    fn ask_again(&mut self, received: Seq) {
        if !self.resyncing {
            self.resyncing = true;
            //= protocol#recv-3: what an earlier connection gave, this one does not know of.
            self.resync = Some(received.min(self.given));
        }
    }
}

#[derive(Debug)]
struct Pending {
    processed: bool,
    bytes: usize,
    message: Option<(MessageId, Address, Digest)>,
}

impl Inbox {
    pub(crate) fn new(
        device: DeviceId,
        cursor: Option<Seq>,
        ahead: BTreeSet<Seq>,
        repeats: Repeats,
    ) -> Self {
        Self {
            device,
            cursor,
            cursor_stored: cursor,
            received: cursor.unwrap_or(Seq::ZERO),
            pending: BTreeMap::new(),
            ahead,
            repeats,
            connection: None,
            untold: 0,
            untold_bytes: 0,
            has_news: false,
            changes: Vec::new(),
        }
    }

    pub(crate) fn cursor(&self) -> Option<Seq> {
        self.cursor
    }

    /// Delivery starts after `resume_after`. Returns where it starts when rows are skipped by that.
    pub(crate) fn handle_welcome(&mut self, user: UserId, resume_after: Seq) -> Option<Seq> {
        self.connection = Some(Connection {
            user,
            given: resume_after,
            acknowledged: resume_after,
            ack_due: None,
            look_due: None,
            resyncing: false,
            resync: None,
        });
        let skipped = self.cursor.is_some() && resume_after > self.received;
        self.received = self.received.max(resume_after);
        self.cursor.get_or_insert(resume_after);
        self.advance();
        skipped.then_some(resume_after)
    }

    pub(crate) fn handle_disconnected(&mut self) {
        self.connection = None;
    }

    /// Takes a row when it is the next one; asks for a resync when something is missing before it.
    pub(crate) fn handle_deliver(&mut self, deliver: Deliver, events: &mut VecDeque<Event>) {
        let Some(connection) = &mut self.connection else { return };
        let seq = deliver.seq;
        //= protocol#recv-2
        if seq <= self.received {
            connection.given = connection.given.max(seq);
            return;
        }
        if deliver.prev.is_none_or(|prev| prev > self.received) {
            connection.ask_again(self.received);
            return;
        }
        connection.resyncing = false;
        connection.given = connection.given.max(seq);
        let user = connection.user;
        self.received = seq;
        let pending = self.take(user, deliver, events);
        self.pending.insert(seq, pending);
        self.advance();
    }

    /// After `prev` there is nothing up to `head`. Returns whether everything up to there was
    /// given: not when something before `prev` is missing.
    pub(crate) fn handle_caught_up(&mut self, head: Seq, prev: Seq) -> bool {
        let Some(connection) = &mut self.connection else { return false };
        //= protocol#recv-4
        if prev > self.received {
            connection.ask_again(self.received);
            return false;
        }
        // Also the answer to a resync whose rows are all gone.
        connection.resyncing = false;
        connection.given = connection.given.max(head);
        // The row at the head may have expired: nothing will name a position before it again.
        self.received = self.received.max(head);
        self.advance();
        true
    }

    /// The application has processed the row; in any order. Returns whether the driver has to
    /// look: later ones are told together.
    pub(crate) fn acknowledge(&mut self, seq: Seq) -> bool {
        let Some(pending) = self.pending.get_mut(&seq) else { return false };
        if std::mem::replace(&mut pending.processed, true) {
            return false;
        }
        let bytes = pending.bytes;
        if self.pending.first_key_value().is_some_and(|(first, _)| *first == seq) {
            self.advance();
        } else {
            self.changes.push(StoreChange::ProcessedAhead(seq));
        }
        let had_much = self.has_much_to_tell();
        self.untold += 1;
        self.untold_bytes += bytes;
        let had_news = std::mem::replace(&mut self.has_news, true);
        // Unless it looks by itself soon, the driver has to be told: to store, and to set a time at
        // which it looks again. Without a connection it sets none.
        match &self.connection {
            None => true,
            Some(connection) if had_news || connection.look_due.is_some() => {
                !had_much && self.has_much_to_tell()
            }
            Some(_) => true,
        }
    }

    fn has_much_to_tell(&self) -> bool {
        self.untold >= ACK_ROWS || self.untold_bytes >= ACK_BYTES
    }

    pub(crate) fn poll_resync(&mut self) -> Option<Seq> {
        self.connection.as_mut()?.resync.take()
    }

    /// The position to acknowledge now: at once in company of other frames, otherwise when enough
    /// has gathered.
    pub(crate) fn poll_ack(&mut self, now: Duration, company: Company) -> Option<Seq> {
        let much = self.has_much_to_tell();
        let connection = self.connection.as_mut()?;
        if connection.look_due.is_none_or(|due| due <= now) {
            connection.look_due = std::mem::take(&mut self.has_news).then_some(now + STORE_DELAY);
        }
        let seq = self.cursor?.min(connection.given);
        if seq <= connection.acknowledged {
            return None;
        }
        let due = *connection.ack_due.get_or_insert(now + ACK_DELAY);
        if company == Company::Alone && now < due && !much {
            return None;
        }
        connection.ack_due = None;
        connection.acknowledged = seq;
        (self.untold, self.untold_bytes) = (0, 0);
        Some(seq)
    }

    /// When the next `Ack` goes by itself, or the driver looks for what was processed.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let connection = self.connection.as_ref()?;
        [connection.ack_due, connection.look_due].into_iter().flatten().min()
    }

    /// The next `Ack` goes at once.
    pub(crate) fn flush(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.ack_due = Some(Duration::ZERO);
        }
    }

    pub(crate) fn poll_changes(&mut self, changes: &mut Vec<StoreChange>) {
        changes.append(&mut self.changes);
        if self.cursor != self.cursor_stored {
            self.cursor_stored = self.cursor;
            changes.extend(self.cursor.map(StoreChange::Cursor));
        }
    }

    /// Rows given to the application and not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.pending.values().filter(|pending| !pending.processed).count()
    }

    fn take(&mut self, user: UserId, row: Deliver, events: &mut VecDeque<Event>) -> Pending {
        let Deliver { seq, log_time_ms, item, .. } = row;
        let bytes = item.len();
        let hidden = Pending { processed: true, bytes, message: None };
        let item = match Item::decode(item) {
            Ok(item) => item,
            Err(error) => {
                events.push_back(Event::Undecodable { seq, error });
                return hidden;
            }
        };
        let Some(show) = self.showing(user, &item) else { return hidden };
        let (id, to, digest) = (item.id, item.to, item.digest());
        match self.repeats.check(&id, to, &digest) {
            Sighting::Repeat => return hidden,
            // A change that went twice was decided twice: the first Result is the one.
            Sighting::Conflict if show == Showing::Result => return hidden,
            Sighting::Conflict => {
                events.push_back(Event::Conflict { seq, id });
                return hidden;
            }
            Sighting::New => self.repeats.insert(&id, to, digest),
        }
        let message = Some((id, to, digest));
        if self.ahead.remove(&seq) {
            return Pending { processed: true, bytes, message };
        }
        events.push_back(match show {
            Showing::Item => Event::Item { seq, log_time_ms, item },
            Showing::Result => {
                let outcome = match item.body {
                    Body::Verdict(verdict) => Outcome::Refused(verdict),
                    body @ (Body::Message(_) | Body::GroupChange(_) | Body::DeviceChange(_)) => {
                        Outcome::Happened(body)
                    }
                };
                Event::Result { seq, id: id.send, outcome }
            }
        });
        Pending { processed: false, bytes, message }
    }

    /// How an item is shown; not at all when it is this device's own, or a Result of another one.
    fn showing(&self, user: UserId, item: &Item) -> Option<Showing> {
        let is_own = item.id.device == self.device && item.id.user == user;
        match (&item.body, is_own) {
            (Body::Verdict(_), true) => Some(Showing::Result),
            (Body::Verdict(_), false) => None,
            // The edge asked for it when this device first connected.
            (Body::DeviceChange(DeviceChange::Register { .. }), true) => None,
            (Body::GroupChange(_) | Body::DeviceChange(_), true) => Some(Showing::Result),
            // A note to self has no other way back.
            (Body::Message(_), true) => (item.to == Address::User(user)).then_some(Showing::Item),
            (Body::Message(_) | Body::GroupChange(_) | Body::DeviceChange(_), false) => {
                Some(Showing::Item)
            }
        }
    }

    //= protocol#recv-5: only a contiguous prefix is acknowledged.
    fn advance(&mut self) {
        let Some(mut cursor) = self.cursor else { return };
        while let Some(first) = self.pending.first_entry()
            && first.get().processed
        {
            cursor = cursor.max(*first.key());
            if let Some((id, to, digest)) = first.remove().message {
                self.changes.push(StoreChange::Processed(id, to, digest));
            }
        }
        if self.pending.is_empty() {
            cursor = cursor.max(self.received);
        }
        self.cursor = Some(cursor);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Showing {
    Item,
    Result,
}
