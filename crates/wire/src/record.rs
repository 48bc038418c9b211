//! What the logs and the mailboxes hold: one byte with the format version, then the message.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::{
    error::DecodeError,
    id::{DeviceId, Epoch, Partition, Seq, Topic, TopicId, UserId, parse_users, users_to_bytes},
    limits::{EPOCH_MAX, GROUP_MEMBERS_MAX, ITEM_BYTES_MAX, RECORD_BYTES_MAX, VSHARDS},
    proto, version,
};

/// Why a record is a dead letter, bytes. Longer reasons are cut.
const DEAD_LETTER_REASON_BYTES_MAX: usize = 1024;

/// A record of the mail log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailRecord {
    /// Where a derived record comes from; none for one an edge appended.
    pub source: Option<Source>,
    /// Items and whose mailboxes they go into. All rows of a record share its position, so no user
    /// is named by two deliveries.
    pub deliveries: Vec<Delivery>,
    /// A change of the devices of the user it is addressed to, for the worker to decide: an encoded
    /// [`crate::Item`].
    pub device_change: Option<Bytes>,
}

/// A position of the group log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Source {
    /// The partition.
    pub partition: Partition,
    /// The position.
    pub seq: Seq,
}

/// An item and whose mailboxes it goes into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// These get a row.
    pub recipients: Vec<UserId>,
    /// The sender, who gets a row only for other devices: when having at least two.
    pub sender_copy: Option<UserId>,
    /// An encoded [`crate::Item`].
    pub item: Bytes,
}

/// A record of the group log: an encoded [`crate::Item`] addressed to a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRecord(pub Bytes);

/// A record of the control log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlRecord {
    /// How far a worker is with one partition.
    Heartbeat(Heartbeat),
    /// This device may not be connected any more.
    Revoked(UserId, DeviceId),
    /// The epoch and its numbers of partitions.
    EpochMap(EpochMap),
}

/// How far a worker is with one partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The worker's clock, milliseconds since 1970.
    pub now_ms: u64,
    /// The log.
    pub topic: Topic,
    /// The partition.
    pub partition: Partition,
    /// Log time of the oldest unfinished record, milliseconds since 1970; none when all are
    /// finished.
    pub oldest_ms: Option<u64>,
}

/// An epoch and its numbers of partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochMap {
    /// The generation of the logs.
    pub epoch: Epoch,
    /// Partitions of the mail log, 1 to 4096.
    pub mail_partitions: u16,
    /// Partitions of the group log, 1 to 4096.
    pub group_partitions: u16,
    /// The identity the engine gave the topic of the mail log; none when engines give none.
    pub mail_topic: Option<TopicId>,
    /// The identity of the topic of the group log, likewise.
    pub group_topic: Option<TopicId>,
}

/// A record no version can read, with where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterRecord {
    /// The log.
    pub topic: Topic,
    /// The partition.
    pub partition: Partition,
    /// The position.
    pub seq: Seq,
    /// When the log took it, milliseconds since 1970.
    pub log_time_ms: u64,
    /// Why it cannot be read; cut at 1 KiB.
    pub reason: String,
    /// The record as it was found, of any length.
    pub record: Bytes,
}

/// A mailbox row in an engine that keeps one value per row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// When the log took it, milliseconds since 1970.
    pub log_time_ms: u64,
    /// An encoded [`crate::Item`].
    pub item: Bytes,
}

impl MailRecord {
    /// The record as stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let deliveries = self.deliveries.iter().map(|delivery| proto::Delivery {
            recipients: users_to_bytes(&delivery.recipients),
            sender_copy: delivery
                .sender_copy
                .map_or_else(Bytes::new, |user| Bytes::copy_from_slice(user.as_bytes())),
            item: delivery.item.clone(),
        });
        encode(&proto::MailRecord {
            source: self.source.map(|source| proto::Source {
                partition: u32::from(source.partition.get()),
                seq: source.seq.get(),
            }),
            deliveries: deliveries.collect(),
            device_change: self.device_change.clone().unwrap_or_default(),
        })
    }

    /// The record in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError::NewerRecord`]: stop, a newer program reads it. Any other: no version reads
    /// it.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let record: proto::MailRecord = decode(bytes)?;
        let source = record.source.map(|source| {
            Ok::<_, DecodeError>(Source {
                partition: parse_partition(source.partition, "source.partition")?,
                seq: Seq::parse(source.seq, "source.seq")?,
            })
        });
        let deliveries = record.deliveries.into_iter().map(Delivery::parse);
        Ok(Self {
            source: source.transpose()?,
            deliveries: deliveries.collect::<Result<_, _>>()?,
            device_change: parse_optional_item(record.device_change, "mail_record.device_change")?,
        })
    }
}

impl Delivery {
    fn parse(delivery: proto::Delivery) -> Result<Self, DecodeError> {
        let item = parse_optional_item(delivery.item, "delivery.item")?;
        let sender_copy = match delivery.sender_copy.as_ref() {
            [] => None,
            user => Some(UserId::parse(user, "delivery.sender_copy")?),
        };
        Ok(Self {
            // A change tells the members before and after it.
            recipients: parse_users(
                &delivery.recipients,
                2 * GROUP_MEMBERS_MAX,
                "delivery.recipients",
            )?,
            sender_copy,
            item: item.ok_or(DecodeError::Missing("delivery.item"))?,
        })
    }
}

impl GroupRecord {
    /// The record as stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        encode(&proto::GroupRecord { item: self.0.clone() })
    }

    /// The record in `bytes`.
    ///
    /// # Errors
    /// As [`MailRecord::decode`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let record: proto::GroupRecord = decode(bytes)?;
        let item = parse_optional_item(record.item, "group_record.item")?;
        item.map(Self).ok_or(DecodeError::Missing("group_record.item"))
    }
}

impl ControlRecord {
    /// The record as stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        use proto::control_record::Record;
        let record = match self {
            Self::Heartbeat(heartbeat) => Record::Heartbeat(proto::Heartbeat {
                now_ms: heartbeat.now_ms,
                topic: topic_to_wire(heartbeat.topic),
                partition: u32::from(heartbeat.partition.get()),
                oldest_ms: heartbeat.oldest_ms,
            }),
            Self::Revoked(user, device) => Record::Revoked(proto::Revoked {
                user: Bytes::copy_from_slice(user.as_bytes()),
                device: Bytes::copy_from_slice(device.as_bytes()),
            }),
            Self::EpochMap(map) => Record::EpochMap(proto::EpochMap {
                epoch: u32::from(map.epoch.get()),
                mail_partitions: u32::from(map.mail_partitions),
                group_partitions: u32::from(map.group_partitions),
                mail_topic: topic_id_to_wire(map.mail_topic),
                group_topic: topic_id_to_wire(map.group_topic),
            }),
        };
        encode(&proto::ControlRecord { record: Some(record) })
    }

    /// The record in `bytes`.
    ///
    /// # Errors
    /// As [`MailRecord::decode`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        use proto::control_record::Record;
        let record: proto::ControlRecord = decode(bytes)?;
        Ok(match record.record.ok_or(DecodeError::Missing("control_record"))? {
            Record::Heartbeat(heartbeat) => Self::Heartbeat(Heartbeat {
                now_ms: heartbeat.now_ms,
                topic: parse_topic(heartbeat.topic)?,
                partition: parse_partition(heartbeat.partition, "heartbeat.partition")?,
                oldest_ms: heartbeat.oldest_ms,
            }),
            Record::Revoked(revoked) => Self::Revoked(
                UserId::parse(&revoked.user, "revoked.user")?,
                DeviceId::parse(&revoked.device, "revoked.device")?,
            ),
            Record::EpochMap(map) => Self::EpochMap(EpochMap {
                epoch: parse_epoch(map.epoch)?,
                mail_partitions: parse_partition_count(
                    map.mail_partitions,
                    "epoch_map.mail_partitions",
                )?,
                group_partitions: parse_partition_count(
                    map.group_partitions,
                    "epoch_map.group_partitions",
                )?,
                mail_topic: parse_topic_id(&map.mail_topic, "epoch_map.mail_topic")?,
                group_topic: parse_topic_id(&map.group_topic, "epoch_map.group_topic")?,
            }),
        })
    }

    /// Of two records with one key the later one says everything: a compacted log may forget the
    /// earlier. At most 4 bytes.
    ///
    /// Revocations share 65,536 keys by a hash of the device, which bounds the log. A revocation
    /// may so be forgotten for another one, after the least time the engine keeps everything: much
    /// longer than the time after which an edge that hears nothing stops serving.
    #[must_use]
    pub fn key(&self) -> Bytes {
        let mut key = BytesMut::with_capacity(4);
        match self {
            Self::Heartbeat(heartbeat) => {
                key.put_slice(match heartbeat.topic {
                    Topic::Mail => b"hm",
                    Topic::Group => b"hg",
                    Topic::Control => b"hc",
                });
                key.put_u16(heartbeat.partition.get());
            }
            Self::Revoked(user, device) => {
                let digest = Sha256::new().chain_update(user.as_bytes());
                let digest = digest.chain_update(device.as_bytes()).finalize();
                key.put_u8(b'r');
                key.put_slice(&digest[..2]);
            }
            Self::EpochMap(map) => key.put_slice(&[b'e', map.epoch.get()]),
        }
        key.freeze()
    }
}

impl DeadLetterRecord {
    /// The letter as stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut end = self.reason.len().min(DEAD_LETTER_REASON_BYTES_MAX);
        while !self.reason.is_char_boundary(end) {
            end -= 1;
        }
        let message = proto::DeadLetter {
            topic: topic_to_wire(self.topic),
            partition: u32::from(self.partition.get()),
            seq: self.seq.get(),
            log_time_ms: self.log_time_ms,
            reason: self.reason[..end].to_owned(),
            record: self.record.clone(),
        };
        // Without the limit of records: what nobody can read may be of any length.
        let mut bytes = BytesMut::with_capacity(1 + message.encoded_len());
        bytes.put_u8(version::RECORD);
        message.encode(&mut bytes).expect("a growing buffer has room");
        bytes.freeze()
    }

    /// The letter in `bytes`.
    ///
    /// # Errors
    /// As [`MailRecord::decode`].
    pub fn decode(mut bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.is_empty() {
            return Err(DecodeError::Malformed);
        }
        match bytes.get_u8() {
            version::RECORD => {}
            newer if newer > version::RECORD => return Err(DecodeError::NewerRecord(newer)),
            _ => return Err(DecodeError::Malformed),
        }
        let letter = proto::DeadLetter::decode(bytes)?;
        Ok(Self {
            topic: parse_topic(letter.topic)?,
            partition: parse_partition(letter.partition, "dead_letter.partition")?,
            seq: Seq::parse(letter.seq, "dead_letter.seq")?,
            log_time_ms: letter.log_time_ms,
            reason: letter.reason,
            record: letter.record,
        })
    }
}

impl StoredRow {
    /// The row as stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        encode(&proto::StoredRow { log_time_ms: self.log_time_ms, item: self.item.clone() })
    }

    /// The row in `bytes`.
    ///
    /// # Errors
    /// As [`MailRecord::decode`].
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let row: proto::StoredRow = decode(bytes)?;
        let item = parse_optional_item(row.item, "stored_row.item")?;
        Ok(Self {
            log_time_ms: row.log_time_ms,
            item: item.ok_or(DecodeError::Missing("stored_row.item"))?,
        })
    }
}

fn encode(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::with_capacity(1 + message.encoded_len());
    bytes.put_u8(version::RECORD);
    message.encode(&mut bytes).expect("a growing buffer has room");
    assert!(bytes.len() <= RECORD_BYTES_MAX, "items and lists of users have limits");
    bytes.freeze()
}

fn decode<M: Message + Default>(mut bytes: Bytes) -> Result<M, DecodeError> {
    if bytes.is_empty() {
        return Err(DecodeError::Malformed);
    }
    let record_len = bytes.len();
    let format = bytes.get_u8();
    // Before the limit, which a newer format may have raised: that record must not be given up.
    if format > version::RECORD {
        return Err(DecodeError::NewerRecord(format));
    }
    if format < version::RECORD {
        return Err(DecodeError::Malformed);
    }
    if record_len > RECORD_BYTES_MAX {
        return Err(DecodeError::Length("record"));
    }
    Ok(M::decode(bytes)?)
}

fn parse_optional_item(item: Bytes, field: &'static str) -> Result<Option<Bytes>, DecodeError> {
    if item.len() > ITEM_BYTES_MAX {
        return Err(DecodeError::Length(field));
    }
    Ok((!item.is_empty()).then_some(item))
}

fn parse_partition(value: u32, field: &'static str) -> Result<Partition, DecodeError> {
    let partition = u16::try_from(value).ok().filter(|partition| *partition < VSHARDS);
    partition.map(Partition::new).ok_or(DecodeError::Range(field))
}

fn topic_id_to_wire(topic: Option<TopicId>) -> Bytes {
    topic.map_or_else(Bytes::new, |topic| Bytes::copy_from_slice(topic.as_bytes()))
}

fn parse_topic_id(bytes: &[u8], field: &'static str) -> Result<Option<TopicId>, DecodeError> {
    (!bytes.is_empty()).then(|| TopicId::parse(bytes, field)).transpose()
}

fn parse_partition_count(value: u32, field: &'static str) -> Result<u16, DecodeError> {
    let count = u16::try_from(value).ok().filter(|count| (1..=VSHARDS).contains(count));
    count.ok_or(DecodeError::Range(field))
}

fn parse_epoch(value: u32) -> Result<Epoch, DecodeError> {
    let epoch = u8::try_from(value).ok().filter(|epoch| *epoch <= EPOCH_MAX);
    epoch.map(Epoch::new).ok_or(DecodeError::Range("epoch_map.epoch"))
}

fn topic_to_wire(topic: Topic) -> i32 {
    match topic {
        Topic::Mail => proto::Topic::Mail as i32,
        Topic::Group => proto::Topic::Group as i32,
        Topic::Control => proto::Topic::Control as i32,
    }
}

fn parse_topic(value: i32) -> Result<Topic, DecodeError> {
    match proto::Topic::try_from(value) {
        Ok(proto::Topic::Mail) => Ok(Topic::Mail),
        Ok(proto::Topic::Group) => Ok(Topic::Group),
        Ok(proto::Topic::Control) => Ok(Topic::Control),
        Ok(proto::Topic::Unspecified) | Err(_) => Err(DecodeError::Missing("heartbeat.topic")),
    }
}
