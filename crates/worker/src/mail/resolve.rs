//! From records to rows: what is dropped, who gets a row, what comes before it in the mailbox.

use std::collections::VecDeque;

use ports::mailbox::Row;
use wire::{Partition, Seq, UserId, record::Source};

use crate::{
    mail::{
        marks::Marks,
        parse::{Copy, Parcel, Rows},
    },
    metrics::{Repeat, WorkerMetrics},
    recall::Recalled,
    recent::Recent,
    repeats::Repeats,
};

/// What a lane knows of the mailboxes it writes.
pub(crate) struct Resolver {
    marks: Marks,
    repeats: Repeats,
    /// No row of the mailbox is newer. A device that does not have what is here reads its mailbox,
    /// so too high costs a read, and too low would hide a row.
    heads: Recent<UserId, Seq>,
    metrics: WorkerMetrics,
}

/// A row and the one before it in its mailbox, when known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewRow {
    pub(crate) row: Row,
    pub(crate) before: Option<Seq>,
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
            metrics,
        }
    }

    /// Remembers a record from before the first one to be resolved, in order.
    pub(crate) fn recall(&mut self, recalled: Recalled) {
        for message in recalled.messages {
            self.repeats.remember(message);
        }
        for user in recalled.users {
            self.heads.insert(user, recalled.seq);
        }
    }

    /// Adds the rows of a record to those that wait to be stored.
    pub(crate) fn add(&mut self, place: Place, rows: Rows, waiting: &mut VecDeque<NewRow>) {
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
            // Most senders have one device: what has no row needs no memory either.
            if parcel.recipients.is_empty() && parcel.copy == Copy::None {
                continue;
            }
            if parcel.direct.as_ref().is_some_and(|item| self.repeats.is_repeat(item)) {
                self.metrics.repeat(Repeat::Window);
                continue;
            }
            self.add_parcel(place, parcel, waiting);
        }
    }

    fn add_parcel(&mut self, place: Place, parcel: Parcel, waiting: &mut VecDeque<NewRow>) {
        let expires_ms = place.log_time_ms.saturating_add(u64::from(parcel.ttl_s) * 1000);
        if expires_ms <= place.now_ms {
            self.metrics.expired.inc_by(parcel.recipients.len() as u64);
            return;
        }
        let Place { seq, log_time_ms, now_ms: _ } = place;
        let mut add_row = |user: UserId| {
            let before = self.heads.insert(user, seq);
            assert!(before.is_none_or(|before| before < seq), "a lane reads in order");
            let row = Row { user, seq, log_time_ms, expires_ms, item: parcel.item.clone() };
            waiting.push_back(NewRow { row, before });
        };
        parcel.recipients.iter().copied().for_each(&mut add_row);
        if let Some(user) = parcel.sender_copy {
            match parcel.copy {
                Copy::Row => add_row(user),
                Copy::None => {}
                Copy::Unsure => self.forget(&user),
            }
        }
    }

    /// It is not known for certain what the newest row of this mailbox is.
    fn forget(&mut self, user: &UserId) {
        self.heads.remove(user);
    }

    /// What has to be stored after the rows so far, before their records are finished.
    pub(crate) fn take_marks(&mut self) -> Vec<(Partition, Source)> {
        self.marks.take_raised()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use prometheus::Registry;
    use wire::{Address, Counter, DeviceId, Item, MessageId, RunId, SendId, item::Body};

    use super::*;
    use crate::repeats::Key;

    const NOW_MS: u64 = 1_000_000;

    fn user(number: u8) -> UserId {
        UserId::from_bytes([number; 16])
    }

    fn resolver() -> Resolver {
        let metrics = WorkerMetrics::new(&Registry::new()).unwrap();
        Resolver::new(Marks::new(Partition::new(0), Vec::new()), 100, 100, metrics)
    }

    fn place(seq: u64) -> Place {
        Place { seq: Seq::from_u64(seq), log_time_ms: NOW_MS - 60_000 + seq, now_ms: NOW_MS }
    }

    fn parcel(recipients: &[u8]) -> Parcel {
        Parcel {
            recipients: recipients.iter().copied().map(user).collect(),
            sender_copy: None,
            copy: Copy::None,
            item: Bytes::from_static(b"item"),
            ttl_s: 3600,
            direct: None,
        }
    }

    fn direct(id: u64, recipients: &[u8]) -> Rows {
        let send = SendId { run: RunId::new(1), counter: Counter::new(id) };
        let id = MessageId { user: user(1), device: DeviceId::from_bytes([1; 8]), send };
        let (to, body) = (Address::User(user(2)), Body::Message(Bytes::from_static(b"text")));
        let item = Item { id, to, sent_ms: 0, ttl_s: 3600, body };
        let parcel = Parcel { direct: Some(item), ..parcel(recipients) };
        Rows { source: None, deliveries: vec![parcel] }
    }

    fn derived(seq: u64, recipients: &[u8]) -> Rows {
        let source = Source { partition: Partition::new(3), seq: Seq::from_u64(seq) };
        Rows { source: Some(source), deliveries: vec![parcel(recipients)] }
    }

    fn copy(user_number: u8, copy: Copy) -> Rows {
        let parcel = Parcel { sender_copy: Some(user(user_number)), copy, ..parcel(&[]) };
        Rows { source: None, deliveries: vec![parcel] }
    }

    /// The rows as text: position>user, and the position before when known.
    #[track_caller]
    fn check(steps: Vec<(u64, Rows)>, expected: &str) {
        let (mut resolver, mut waiting) = (resolver(), VecDeque::new());
        for (seq, rows) in steps {
            resolver.add(place(seq), rows, &mut waiting);
        }
        let show = |NewRow { row, before }: &NewRow| {
            let before = before.map_or_else(String::new, |before| format!("({before})"));
            format!("{}>{}{before}", row.seq, row.user.as_bytes()[0])
        };
        let rows: Vec<String> = waiting.iter().map(show).collect();
        assert_eq!(rows.join(" "), expected);
    }

    #[test]
    fn a_row_names_the_one_before_it_in_its_mailbox() {
        let steps = vec![(1, direct(1, &[1])), (2, direct(2, &[1, 2])), (5, direct(3, &[2, 1]))];
        check(steps, "1>1 2>1(1) 2>2 5>2(2) 5>1(2)");
    }

    #[test]
    fn a_repeat_of_a_direct_message_has_no_row() {
        check(vec![(1, direct(1, &[1])), (2, direct(1, &[1])), (3, direct(2, &[1]))], "1>1 3>1(1)");
    }

    #[test]
    fn a_derived_record_has_rows_once_and_after_it_the_row_before_is_not_known() {
        let steps = vec![
            (1, derived(10, &[1])),
            (2, derived(11, &[1, 2])),
            (3, derived(10, &[1])),
            (4, derived(12, &[1])),
            (5, derived(13, &[1, 2])),
        ];
        check(steps, "1>1 2>1(1) 2>2 4>1 5>1(4) 5>2(2)");
    }

    #[test]
    fn a_sender_has_a_row_only_for_other_devices() {
        let steps = vec![
            (1, direct(1, &[7])),
            (2, copy(7, Copy::Row)),
            (3, copy(7, Copy::None)),
            (4, direct(2, &[7])),
            (5, copy(7, Copy::Unsure)),
            (6, direct(3, &[7])),
        ];
        check(steps, "1>7 2>7(1) 4>7(2) 6>7");
    }

    #[test]
    fn what_has_expired_has_no_row() {
        let mut rows = direct(1, &[1]);
        rows.deliveries[0].ttl_s = 59;
        check(vec![(1, rows)], "");
        let mut rows = direct(1, &[1]);
        rows.deliveries[0].ttl_s = 60;
        check(vec![(1, rows)], "1>1");
    }

    #[test]
    fn a_mark_rises_also_without_rows_and_is_taken_once() {
        let (mut resolver, mut waiting) = (resolver(), VecDeque::new());
        resolver.add(place(1), derived(10, &[]), &mut waiting);
        assert_eq!((waiting.len(), resolver.take_marks().len()), (0, 1));
        assert_eq!(resolver.take_marks(), vec![]);
    }

    #[test]
    fn what_was_read_again_is_known_and_comes_before() {
        let (mut resolver, mut waiting) = (resolver(), VecDeque::new());
        let Rows { deliveries, .. } = direct(1, &[1]);
        let item = deliveries[0].direct.clone().unwrap();
        let messages = vec![Key::of(&item)];
        resolver.recall(Recalled { seq: Seq::from_u64(5), messages, users: vec![user(1)] });
        resolver.add(place(6), direct(1, &[1]), &mut waiting);
        resolver.add(place(7), direct(2, &[1]), &mut waiting);
        let rows: Vec<_> = waiting.iter().map(|new| (new.row.seq.get(), new.before)).collect();
        assert_eq!(rows, [(7, Some(Seq::from_u64(5)))]);
    }
}
