//! The group log: messages and changes of groups to decisions and derived records.

mod decide;
mod derive;
mod history;
mod outbound;
mod rosters;

use bytes::Bytes;
use ports::log::Entry;
use wire::{
    Address, DecodeError, GroupId, Item, Seq, Topic,
    item::{Body, GroupChange, Verdict},
    record::{GroupRecord, Source},
    shard::partition_of,
};

use crate::{
    group::{
        derive::{ByPartition, derive},
        outbound::Outbound,
        rosters::{Rosters, Route},
    },
    lane::{Context, Process, Taken},
    metrics::{Alarm, Repeat},
    recall::Recalled,
    repeats::{Key, Repeats},
    retry::End,
};

/// A lane of the group log.
///
/// Everything is derived in the order of the log; a second pass over a position derives the same
/// again, and the mail lanes know it by its source.
pub(crate) struct GroupLane {
    context: Context,
    rosters: Rosters,
    repeats: Repeats,
    outbound: Outbound,
}

/// Where a record is.
#[derive(Clone, Copy, Debug)]
struct Place {
    seq: Seq,
    log_time_ms: u64,
}

/// A record of the group log.
struct Asked {
    group: GroupId,
    item: Item,
    bytes: Bytes,
}

/// Why a record is not processed.
enum Unread {
    Newer(DecodeError),
    Unreadable(String),
}

impl Process for GroupLane {
    fn recall(entry: Entry) -> Recalled {
        let item =
            GroupRecord::decode(entry.record).and_then(|GroupRecord(item)| Item::decode(item));
        let messages = item.iter().map(Key::of).collect();
        Recalled { seq: entry.seq, messages, users: Vec::new() }
    }

    async fn begin(context: Context, recalled: Vec<Recalled>) -> Result<Self, End> {
        let outbound = Outbound::new(&context);
        let rosters = Rosters::new(&context);
        let mut repeats = Repeats::new(context.config.repeats_remembered);
        for message in recalled.into_iter().flat_map(|recalled| recalled.messages) {
            repeats.remember(message);
        }
        Ok(Self { context, rosters, repeats, outbound })
    }

    async fn take(&mut self, batch: &[Entry]) -> Result<Taken, End> {
        let records: Vec<_> = batch.iter().map(|entry| self.read(entry)).collect();
        let asked = records.iter().flatten().map(|asked| asked.group);
        self.rosters.load(asked.collect()).await?;
        for (index, (entry, record)) in batch.iter().zip(records).enumerate() {
            match record {
                Ok(asked) => self.follow(entry, asked).await?,
                Err(Unread::Unreadable(reason)) => self.context.put_aside(entry, &reason).await?,
                Err(Unread::Newer(error)) => {
                    let end = End::Alarm(Alarm::NewerRecord, error.to_string());
                    return Ok(Taken { count: index, end: Some(end) });
                }
            }
            self.outbound.until_room().await?;
        }
        self.outbound.begin();
        Ok(Taken { count: batch.len(), end: None })
    }

    fn unfinished(&self) -> Option<Seq> {
        self.outbound.unfinished()
    }

    async fn advance(&mut self) -> Result<(), End> {
        self.outbound.advance().await
    }
}

impl GroupLane {
    fn read(&self, entry: &Entry) -> Result<Asked, Unread> {
        let unreadable = |reason: &str| Unread::Unreadable(reason.to_owned());
        let GroupRecord(bytes) = GroupRecord::decode(entry.record.clone())?;
        let item = Item::decode(bytes.clone())?;
        let Address::Group(group) = item.to else {
            return Err(unreadable("not addressed to a group"));
        };
        let partitions = self.context.engines.log.partition_count(Topic::Group);
        if partition_of(item.to, partitions) != self.context.partition {
            // Two lanes must never decide about one group.
            return Err(unreadable("a group of another partition"));
        }
        Ok(Asked { group, item, bytes })
    }

    /// Derives what follows from a record.
    async fn follow(&mut self, entry: &Entry, asked: Asked) -> Result<(), End> {
        let place = Place { seq: entry.seq, log_time_ms: entry.log_time_ms };
        match &asked.item.body {
            // Whatever became of the first one, its sender is told.
            Body::Message(_) | Body::GroupChange(_) if self.repeats.is_repeat(&asked.item) => {
                self.context.metrics.repeat(Repeat::Window);
                Ok(())
            }
            Body::Message(_) => self.message(place, asked).await,
            Body::GroupChange(change) => self.change(place, &asked, change).await,
            Body::DeviceChange(_) | Body::Verdict(_) => {
                self.context.put_aside(entry, "neither a message nor a change of a group").await
            }
        }
    }

    async fn message(&mut self, place: Place, asked: Asked) -> Result<(), End> {
        let Asked { group, item, bytes } = asked;
        let sender = item.id.user;
        match self.rosters.route(group, sender, place.seq).await? {
            Route::Members(members) => {
                let records = derive(self.source(place), &members, Some(sender), &bytes);
                self.outbound.extend(place.seq, records);
            }
            Route::Refused(verdict) => self.refuse(place, &item, verdict),
        }
        Ok(())
    }

    async fn change(
        &mut self,
        place: Place,
        asked: &Asked,
        change: &GroupChange,
    ) -> Result<(), End> {
        let Asked { group, item, bytes } = asked;
        let Some(decision) = self.rosters.decide(*group, item, change, place).await? else {
            self.context.metrics.repeat(Repeat::Decided);
            return Ok(());
        };
        if decision.verdict == Verdict::Done {
            // The sender is told like everybody: to it, the change is the Result.
            let told = self.rosters.homes(decision.told);
            self.outbound.extend(place.seq, derive(self.source(place), &told, None, bytes));
        } else {
            self.refuse(place, item, decision.verdict);
        }
        Ok(())
    }

    /// Tells the sender, and nobody else, what was decided.
    fn refuse(&mut self, place: Place, item: &Item, verdict: Verdict) {
        let result = Item { body: Body::Verdict(verdict), ..item.clone() };
        let sender = ByPartition::from([(self.rosters.home(item.id.user), vec![item.id.user])]);
        let records = derive(self.source(place), &sender, None, &result.encode());
        self.outbound.extend(place.seq, records);
    }

    fn source(&self, place: Place) -> Source {
        Source { partition: self.context.partition, seq: place.seq }
    }
}

impl From<DecodeError> for Unread {
    fn from(error: DecodeError) -> Self {
        match error {
            DecodeError::NewerRecord(_) => Self::Newer(error),
            DecodeError::Malformed
            | DecodeError::Missing(_)
            | DecodeError::Length(_)
            | DecodeError::Range(_)
            | DecodeError::FrameSize { .. } => Self::Unreadable(error.to_string()),
        }
    }
}
