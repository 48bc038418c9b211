//! The epoch maps of the control log.

use std::{collections::BTreeMap, time::Duration};

use rdkafka::{
    Message, Offset as Place, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::{KafkaError, KafkaResult},
};
use tokio::time::Instant;
use wire::{
    Epoch,
    record::{ControlRecord, EpochMap},
};

use crate::{
    config::KafkaConfig,
    settings::{Events, Reach, base},
};

/// Reading the control log may take this long.
const READ_WITHIN: Duration = Duration::from_secs(30);

/// All epoch maps, the newest of each epoch. Blocks.
///
/// # Errors
/// The log cannot be read now.
pub(crate) fn read(
    config: &KafkaConfig,
    control: &str,
    reach: &Reach,
) -> KafkaResult<BTreeMap<Epoch, EpochMap>> {
    let mut maps = BTreeMap::new();
    read_all(config, control, 0, reach, |_, record, _| {
        if let Ok(ControlRecord::EpochMap(map)) = ControlRecord::decode(record.to_vec().into()) {
            maps.insert(map.epoch, map);
        }
        true
    })?;
    Ok(maps)
}

/// Gives all records that are in the only partition of a topic now to `take`, which ends it with
/// false: offset, record and log time in milliseconds. Blocks.
///
/// # Errors
/// The log cannot be read now.
pub(crate) fn read_all(
    config: &KafkaConfig,
    topic: &str,
    from: u64,
    reach: &Reach,
    mut take: impl FnMut(u64, &[u8], u64) -> bool,
) -> KafkaResult<()> {
    let mut settings = base(config);
    settings
        .set("group.id", topic)
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("enable.partition.eof", "true")
        .set("auto.offset.reset", "earliest");
    let client: BaseConsumer<Events> = settings.create_with_context(Events(reach.clone()))?;
    let mut list = TopicPartitionList::new();
    let from = i64::try_from(from).ok().filter(|from| *from > 0);
    list.add_partition_offset(topic, 0, from.map_or(Place::Beginning, Place::Offset))?;
    client.assign(&list)?;
    let until = Instant::now() + READ_WITHIN;
    loop {
        match client.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let offset = message.offset().max(0).unsigned_abs();
                let time_ms = message.timestamp().to_millis().unwrap_or(0).max(0).unsigned_abs();
                if !take(offset, message.payload().unwrap_or_default(), time_ms) {
                    return Ok(());
                }
            }
            Some(Err(KafkaError::PartitionEOF(_))) => return Ok(()),
            Some(Err(error)) => tracing::debug!(%error, topic, "reading all of a topic"),
            None => {}
        }
        if Instant::now() > until {
            return Err(KafkaError::NoMessageReceived);
        }
    }
}
