//! The epochs of the logs, and how far each is.

use rdkafka::consumer::Consumer;
use wire::{Partition, Topic, record::EpochMap};

use super::{AdminError, EpochInfo, PartitionInfo, TopicInfo, asking, blocking};
use crate::{
    config::KafkaConfig,
    consumer::Start,
    epoch_map, identity,
    layout::{Layout, control_name},
    settings::{Asking, Reach},
};

/// All epochs that the control log knows, oldest first.
///
/// # Errors
/// [`AdminError`]. Cancel safe.
pub async fn epochs(config: &KafkaConfig) -> Result<Vec<EpochInfo>, AdminError> {
    let config = config.clone();
    blocking(move || {
        let (client, _) = asking(&config)?;
        let maps = maps(&config, &client)?;
        let last = maps.last().map(|map| map.epoch);
        let info = |map: EpochMap| {
            let layout = Layout::new(&config.prefix, map);
            let topics = [(Topic::Mail, map.mail_topic), (Topic::Group, map.group_topic)];
            let topics = topics.map(|(topic, id)| topic_info(&config, &client, &layout, topic, id));
            Ok(EpochInfo {
                epoch: map.epoch,
                current: Some(map.epoch) == last,
                topics: topics.into_iter().collect::<Result<_, AdminError>>()?,
            })
        };
        maps.into_iter().map(info).collect()
    })
    .await
}

/// The maps of all epochs, oldest first; none when there is no control log. Blocks.
pub(super) fn maps(config: &KafkaConfig, client: &Asking) -> Result<Vec<EpochMap>, AdminError> {
    let control = control_name(&config.prefix);
    let id = identity::topic_id(client.client(), &control).map_err(AdminError::Retry)?;
    if id.is_none() {
        return Ok(Vec::new());
    }
    Ok(epoch_map::read(config, &control, &Reach::default())?.into_values().collect())
}

fn topic_info(
    config: &KafkaConfig,
    client: &Asking,
    layout: &Layout,
    topic: Topic,
    id: Option<wire::TopicId>,
) -> Result<TopicInfo, AdminError> {
    let name = layout.name(topic).to_owned();
    let found_id = identity::topic_id(client.client(), &name).map_err(AdminError::Retry)?;
    let mut partitions = Vec::new();
    if found_id.is_some() {
        let start = Start::new(config, &name, &Reach::default())?;
        for number in 0..layout.count(topic) {
            let index = i32::from(number.cast_signed());
            let committed = start.committed(index)?;
            let (low, high) = start.ends(index)?;
            partitions.push(PartitionInfo {
                partition: Partition::new(number),
                start: low,
                end: high,
                committed,
                lag: high.saturating_sub(committed.unwrap_or(0)),
            });
        }
    }
    Ok(TopicInfo { topic, name, id, found_id, partitions })
}
