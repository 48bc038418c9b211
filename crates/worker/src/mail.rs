//! The mail log: records to rows, changes of devices to decisions, rows to pushes.

mod devices;
mod marks;
mod parse;
mod registry;
mod resolve;

use std::collections::HashSet;

use ports::log::Entry;
use wire::{
    Address, Item, Topic, UserId,
    delivery_frame::Deliver,
    item::{Body, DeviceChange, Verdict},
    record::ControlRecord,
    shard::partition_of,
};

use crate::{
    heartbeat::append_control,
    lane::{Context, Process, Processed},
    mail::{
        marks::Marks,
        parse::{Change, Copy, Parcel, Parsed, Rows, parse},
        registry::Registry,
        resolve::{Place, Resolver},
    },
    metrics::{Alarm, Repeat},
    push::NewRow,
    retry::End,
};

/// A lane of the mail log.
pub(crate) struct MailLane {
    context: Context,
    resolver: Resolver,
    registry: Registry,
}

impl Process for MailLane {
    async fn begin(context: Context) -> Result<Self, End> {
        let marks =
            context.retry.until_stored(|| context.engines.mailbox.marks(context.partition)).await?;
        let resolver = Resolver::new(
            Marks::new(context.partition, marks),
            context.config.repeats_remembered,
            context.config.heads_remembered,
            context.metrics.clone(),
        );
        let registry = Registry::new(&context);
        Ok(Self { context, resolver, registry })
    }

    /// Rows are stored before anything that comes after them in the log is decided, and everything
    /// is stored before the batch is finished.
    async fn process(&mut self, batch: &[Entry]) -> Result<Processed, End> {
        let mut end = None;
        let mut count = batch.len();
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
                    (count, end) = (index, Some(End::Alarm(Alarm::NewerRecord, error.to_string())));
                    break;
                }
            }
        }
        self.store().await?;
        Ok(Processed { count, end })
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
        self.resolver.add(place, rows);
        if self.resolver.len() >= self.context.config.store_rows_max {
            self.store().await?;
        }
        Ok(())
    }

    /// Two lanes must never decide about one user.
    fn is_elsewhere(&self, change: &Change) -> bool {
        let partitions = self.context.engines.log.partition_count(Topic::Mail);
        partition_of(Address::User(change.user), partitions) != self.context.partition
    }

    /// Stores the rows that wait, and offers them to be pushed.
    async fn store(&mut self) -> Result<(), End> {
        let Context { engines, retry, config, metrics, push, .. } = &self.context;
        while let Some((batch, before)) = self.resolver.take(config.store_rows_max) {
            retry.until_stored(|| engines.mailbox.append(batch.clone())).await?;
            metrics.rows.inc_by(batch.rows.len() as u64);
            if let Some(push) = push {
                let rows = batch.rows.into_iter().zip(before).map(|(row, prev)| NewRow {
                    user: row.user,
                    deliver: Deliver {
                        seq: row.seq,
                        prev,
                        log_time_ms: row.log_time_ms,
                        item: row.item,
                    },
                });
                push.offer(rows.collect());
            }
        }
        Ok(())
    }

    /// Decides about a change of devices, or learns what was decided, and does what follows.
    async fn change(&mut self, place: Place, change: Change) -> Result<(), End> {
        self.store().await?;
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
