//! The mail log: records to rows, changes of devices to decisions, rows to pushes.

mod devices;
mod marks;
mod parse;
mod registry;
mod resolve;
mod stores;

use std::collections::HashSet;

use ports::log::Entry;
use wire::{
    Address, Item, Seq, Topic, UserId,
    item::{Body, DeviceChange, Verdict},
    record::ControlRecord,
    shard::partition_of,
};

use crate::{
    heartbeat::append_control,
    lane::{Context, Process, Taken},
    mail::{
        marks::Marks,
        parse::{Change, Copy, Parcel, Parsed, Rows, parse},
        registry::Registry,
        resolve::{Place, Resolver},
        stores::Stores,
    },
    metrics::{Alarm, Repeat},
    recall::Recalled,
    repeats::Key,
    retry::End,
};

/// A lane of the mail log.
///
/// Rows are stored before anything that comes after them in the log is decided, and everything is
/// stored before a record counts as finished.
pub(crate) struct MailLane {
    context: Context,
    resolver: Resolver,
    registry: Registry,
    stores: Stores,
}

impl Process for MailLane {
    fn recall(entry: Entry) -> Recalled {
        let mut recalled = Recalled { seq: entry.seq, messages: Vec::new(), users: Vec::new() };
        match parse(&entry) {
            Parsed::Rows(rows) => {
                for parcel in rows.deliveries {
                    recalled.messages.extend(parcel.direct.as_ref().map(Key::of));
                    recalled.users.extend(parcel.recipients);
                    recalled.users.extend(parcel.sender_copy);
                }
            }
            Parsed::Change(change) => recalled.users.push(change.user),
            Parsed::Newer(_) | Parsed::Unreadable(_) => {}
        }
        recalled
    }

    async fn begin(context: Context, recalled: Vec<Recalled>) -> Result<Self, End> {
        let marks =
            context.retry.until_stored(|| context.engines.mailbox.marks(context.partition)).await?;
        let mut resolver = Resolver::new(
            Marks::new(context.partition, marks),
            context.config.repeats_remembered,
            context.config.heads_remembered,
            context.metrics.clone(),
        );
        recalled.into_iter().for_each(|recalled| resolver.recall(recalled));
        let (registry, stores) = (Registry::new(&context), Stores::new(&context));
        Ok(Self { context, resolver, registry, stores })
    }

    async fn take(&mut self, batch: &[Entry]) -> Result<Taken, End> {
        let mut taken = Taken { count: batch.len(), end: None };
        let records: Vec<Parsed> = batch.iter().map(parse).collect();
        self.registry.load(senders(&records)).await?;
        let now_ms = (self.context.wall_clock)();
        for (index, (entry, parsed)) in batch.iter().zip(records).enumerate() {
            let place = Place { seq: entry.seq, log_time_ms: entry.log_time_ms, now_ms };
            match parsed {
                Parsed::Rows(rows) => self.add(place, rows).await?,
                Parsed::Change(change) if self.is_elsewhere(&change) => {
                    self.context.put_aside(entry, "a user of another partition").await?;
                }
                Parsed::Change(change) => self.change(place, change).await?,
                Parsed::Unreadable(reason) => self.context.put_aside(entry, &reason).await?,
                Parsed::Newer(error) => {
                    let end = Some(End::Alarm(Alarm::NewerRecord, error.to_string()));
                    taken = Taken { count: index, end };
                    break;
                }
            }
        }
        if let Some(last) = batch[..taken.count].last() {
            self.stores.begin(last.seq, self.resolver.take_marks())?;
        }
        Ok(taken)
    }

    fn unfinished(&self) -> Option<Seq> {
        self.stores.unfinished()
    }

    async fn advance(&mut self) -> Result<(), End> {
        self.stores.advance().await
    }
}

/// Whose devices decide about a copy in these records.
fn senders(records: &[Parsed]) -> HashSet<UserId> {
    fn parcels(parsed: &Parsed) -> &[Parcel] {
        match parsed {
            Parsed::Rows(rows) => &rows.deliveries,
            Parsed::Change(_) | Parsed::Newer(_) | Parsed::Unreadable(_) => &[],
        }
    }
    records.iter().flat_map(parcels).filter_map(|parcel| parcel.sender_copy).collect()
}

impl MailLane {
    async fn add(&mut self, place: Place, mut rows: Rows) -> Result<(), End> {
        for parcel in &mut rows.deliveries {
            if let Some(user) = parcel.sender_copy {
                parcel.copy = self.registry.copy(user, place.seq).await?;
            }
        }
        self.resolver.add(place, rows, self.stores.waiting());
        self.stores.until_room().await
    }

    /// Two lanes must never decide about one user.
    fn is_elsewhere(&self, change: &Change) -> bool {
        let partitions = self.context.engines.log.partition_count(Topic::Mail);
        partition_of(Address::User(change.user), partitions) != self.context.partition
    }

    /// Decides about a change of devices, or learns what was decided, and does what follows.
    async fn change(&mut self, place: Place, change: Change) -> Result<(), End> {
        self.stores.drain().await?;
        let Some(decision) = self.registry.decide(place, &change).await? else {
            self.context.metrics.repeat(Repeat::Decided);
            return Ok(());
        };
        let (bytes, told) = match (decision.verdict, &change.change) {
            (Verdict::Done, DeviceChange::Register { .. }) => (change.bytes, decision.told),
            (Verdict::Done, DeviceChange::Revoke(device)) => {
                self.announce(ControlRecord::Revoked(change.user, *device)).await?;
                (change.bytes, decision.told)
            }
            // The edge that asked reads the decision.
            (_, DeviceChange::Register { .. }) => return Ok(()),
            (verdict, DeviceChange::Revoke(_)) => {
                let result = Item { body: Body::Verdict(verdict), ..change.item.clone() };
                (result.encode(), vec![change.item.id.user])
            }
        };
        let parcel = Parcel {
            recipients: told,
            sender_copy: None,
            copy: Copy::None,
            item: bytes,
            ttl_s: change.item.ttl_s,
            direct: None,
        };
        self.add(place, Rows { source: None, deliveries: vec![parcel] }).await
    }

    /// Tells every process.
    async fn announce(&self, record: ControlRecord) -> Result<(), End> {
        let (log, records) = (self.context.engines.log.as_ref(), [record]);
        self.context.retry.until_appended(|| append_control(log, &records)).await
    }
}
