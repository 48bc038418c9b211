//! Topics and the epoch map: what is missing, and making it.

use std::{collections::BTreeMap, time::Duration};

use ports::operate::Step;
use rdkafka::{
    admin::{
        AdminClient, AdminOptions, AlterConfig, ConfigSource, NewTopic, ResourceSpecifier,
        TopicReplication,
    },
    consumer::Consumer,
};
use tokio::time::{Instant, sleep};
use wire::{
    Epoch, Topic,
    record::{ControlRecord, EpochMap},
};

use super::{AdminError, Wanted, asking, blocking};
use crate::{
    config::KafkaConfig,
    epoch_map,
    layout::{Layout, control_name, dead_letters_name, group_name, mail_name},
    native::{Described, describe_topics},
    producer::{Origin, Publisher},
    settings::{Events, Reach, base},
};

/// The brokers have this long for one request.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);
/// How often brokers are asked whether they know a new topic.
const KNOWN_EVERY: Duration = Duration::from_millis(100);
/// The first epoch of a cluster; the one of embedded engines is 0.
const FIRST_EPOCH: Epoch = Epoch::new(1);
/// The control log keeps everything for this long before it forgets what was replaced.
const COMPACTION_LAG_MS: &str = "3600000";

/// A topic that should be there.
struct Target {
    name: String,
    partitions: u16,
    settings: BTreeMap<&'static str, String>,
    why: &'static str,
}

/// What is there.
struct Present {
    topics: Vec<Option<Described>>,
    maps: BTreeMap<Epoch, EpochMap>,
}

/// What one step does.
enum Action {
    Nothing,
    Create(usize),
    Set(usize),
    WriteMap,
}

/// What would have to be done so that everything is as wanted.
///
/// # Errors
/// [`AdminError`]. Cancel safe.
pub async fn plan(config: &KafkaConfig, wanted: &Wanted) -> Result<Vec<Step>, AdminError> {
    let steps = steps(config, wanted).await?;
    Ok(steps.into_iter().map(|(step, _)| step).collect())
}

/// Does what is to be done, and tells each step when it is done. Doing it again changes nothing.
///
/// # Errors
/// [`AdminError`]: what was told is done. Cancel safe: a dropped call may go on where it was.
pub async fn apply(
    config: &KafkaConfig,
    wanted: &Wanted,
    mut on_step: impl FnMut(&Step),
) -> Result<(), AdminError> {
    let steps = steps(config, wanted).await?;
    let targets = targets(config, wanted, current_epoch(config).await?);
    let client: AdminClient<Events> = base(config).create_with_context(Events(Reach::default()))?;
    for (mut step, action) in steps {
        match action {
            Action::Nothing => {}
            Action::Create(index) => create(&client, &targets[index], wanted.replication).await?,
            Action::Set(index) => set(&client, &targets[index]).await?,
            Action::WriteMap => write_map(config, wanted).await?,
        }
        step.done = true;
        on_step(&step);
    }
    blocking(move || {
        drop(client);
        Ok(())
    })
    .await
}

fn targets(config: &KafkaConfig, wanted: &Wanted, epoch: Epoch) -> [Target; 4] {
    let prefix = &config.prefix;
    let common = BTreeMap::from([
        ("message.timestamp.type", "LogAppendTime".to_owned()),
        ("min.insync.replicas", wanted.min_insync.to_string()),
        ("unclean.leader.election.enable", "false".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("cleanup.policy", "delete".to_owned()),
        ("retention.bytes", "-1".to_owned()),
        ("max.message.bytes", "1048588".to_owned()),
    ]);
    let with = |more: &[(&'static str, &str)]| {
        let mut settings = common.clone();
        settings.extend(more.iter().map(|(key, value)| (*key, (*value).to_owned())));
        settings
    };
    let retention_ms = wanted.log_retention.as_millis().to_string();
    [
        Target {
            name: control_name(prefix),
            partitions: 1,
            settings: with(&[
                ("cleanup.policy", "compact"),
                ("min.compaction.lag.ms", COMPACTION_LAG_MS),
                ("segment.ms", COMPACTION_LAG_MS),
                ("retention.ms", "-1"),
            ]),
            why: "carries the epoch map, revocations and how far the workers are",
        },
        Target {
            name: mail_name(prefix, epoch),
            partitions: wanted.mail_partitions,
            settings: with(&[("retention.ms", &retention_ms)]),
            why: "holds what goes into mailboxes",
        },
        Target {
            name: group_name(prefix, epoch),
            partitions: wanted.group_partitions,
            settings: with(&[("retention.ms", &retention_ms)]),
            why: "holds what groups decide",
        },
        Target {
            name: dead_letters_name(prefix),
            partitions: 1,
            // A letter is a record and where it was found.
            settings: with(&[("retention.ms", "-1"), ("max.message.bytes", "2097152")]),
            why: "keeps what no version can read",
        },
    ]
}

async fn current_epoch(config: &KafkaConfig) -> Result<Epoch, AdminError> {
    let config = config.clone();
    blocking(move || {
        let (client, _) = asking(&config)?;
        let control = control_name(&config.prefix);
        let found = describe_topics(client.client(), &[&control], ANSWER_WITHIN);
        let is_there = found.map_err(AdminError::Retry)?[0].is_some();
        if !is_there {
            return Ok(FIRST_EPOCH);
        }
        let maps = epoch_map::read(&config, &control, &Reach::default())?;
        Ok(maps.last_key_value().map_or(FIRST_EPOCH, |(epoch, _)| *epoch))
    })
    .await
}

async fn steps(config: &KafkaConfig, wanted: &Wanted) -> Result<Vec<(Step, Action)>, AdminError> {
    let epoch = current_epoch(config).await?;
    let targets = targets(config, wanted, epoch);
    let present = present(config, &targets).await?;
    let mut steps = Vec::new();
    for (index, (target, found)) in targets.iter().zip(&present.topics).enumerate() {
        let Target { name, partitions, why, .. } = target;
        let what = format!("create topic {name} with {partitions} partitions");
        let action = match found {
            None => Action::Create(index),
            Some(found) if found.partitions == usize::from(*partitions) => Action::Nothing,
            Some(found) => {
                let what =
                    format!("topic {name} has {} partitions, not {partitions}", found.partitions);
                return Err(AdminError::refused(
                    what,
                    "ask for as many as there are: within an \
                    epoch their number never changes",
                ));
            }
        };
        steps.push(step(what, why, action));
    }
    for (index, (target, found)) in targets.iter().zip(&present.topics).enumerate() {
        let differing = match found {
            // It is made with them.
            None => Vec::new(),
            Some(_) => differing(config, target).await?,
        };
        let list = if differing.is_empty() { "as wanted".into() } else { differing.join(", ") };
        let action = if differing.is_empty() { Action::Nothing } else { Action::Set(index) };
        let what = format!("settings of topic {}: {list}", target.name);
        steps.push(step(what, "nothing accepted is lost, and order is kept", action));
    }
    let what = format!("write the map of epoch {epoch} to {}", targets[0].name);
    let why = "binds the epoch to the identities of its topics";
    steps.push(step(what, why, map_action(&present, epoch)?));
    Ok(steps)
}

fn step(what: String, why: &str, action: Action) -> (Step, Action) {
    let done = matches!(action, Action::Nothing);
    (Step { what, why: why.to_owned(), done }, action)
}

/// Whether the map has to be written.
fn map_action(present: &Present, epoch: Epoch) -> Result<Action, AdminError> {
    let Some(map) = present.maps.get(&epoch) else { return Ok(Action::WriteMap) };
    let found = [present.topics[1], present.topics[2]];
    let ids = found.map(|topic| topic.map(|topic| topic.id));
    if ids == [map.mail_topic, map.group_topic] {
        return Ok(Action::Nothing);
    }
    Err(AdminError::refused(
        format!("the topics are not those of the map of epoch {epoch}"),
        "positions of another topic mean nothing: begin a new epoch",
    ))
}

async fn present(config: &KafkaConfig, targets: &[Target; 4]) -> Result<Present, AdminError> {
    let names = targets.each_ref().map(|target| target.name.clone());
    let config = config.clone();
    blocking(move || {
        let (client, _) = asking(&config)?;
        let control = control_name(&config.prefix);
        let names = names.each_ref().map(String::as_str);
        let topics = describe_topics(client.client(), &names, ANSWER_WITHIN);
        let topics = topics.map_err(AdminError::Retry)?;
        let maps = match topics[0] {
            Some(_) => epoch_map::read(&config, &control, &Reach::default())?,
            None => BTreeMap::new(),
        };
        Ok(Present { topics, maps })
    })
    .await
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(ANSWER_WITHIN)).operation_timeout(Some(ANSWER_WITHIN))
}

async fn create(
    client: &AdminClient<Events>,
    target: &Target,
    replication: u16,
) -> Result<(), AdminError> {
    let partitions = i32::from(target.partitions.cast_signed());
    let replication = TopicReplication::Fixed(i32::from(replication.cast_signed()));
    let mut topic = NewTopic::new(&target.name, partitions, replication);
    for (key, value) in &target.settings {
        topic = topic.set(key, value);
    }
    let created = client.create_topics([&topic], &options()).await?;
    match created.into_iter().next() {
        Some(Ok(_) | Err((_, rdkafka::types::RDKafkaErrorCode::TopicAlreadyExists))) => Ok(()),
        Some(Err((name, code))) => Err(AdminError::refused(
            format!("topic {name} was not created: {code}"),
            "look at the number of brokers, their settings and what this user may do",
        )),
        None => Err(AdminError::Retry("no answer about the new topic".into())),
    }
}

/// Settings a topic has otherwise than wanted.
async fn differing(config: &KafkaConfig, target: &Target) -> Result<Vec<String>, AdminError> {
    let client: AdminClient<Events> = base(config).create_with_context(Events(Reach::default()))?;
    let found = overrides(&client, &target.name, Settings::All).await?;
    let wanted = target.settings.iter();
    let differing = wanted.filter(|(key, value)| found.get(**key) != Some(value));
    Ok(differing.map(|(key, value)| format!("{key}={value}")).collect())
}

/// Which settings of a topic.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Settings {
    All,
    /// Those of the topic itself.
    Own,
}

async fn overrides(
    client: &AdminClient<Events>,
    name: &str,
    which: Settings,
) -> Result<BTreeMap<String, String>, AdminError> {
    let found = client.describe_configs([&ResourceSpecifier::Topic(name)], &options()).await?;
    let found = found.into_iter().next().ok_or(AdminError::Retry("no settings".into()))?;
    let found = found.map_err(|code| AdminError::Retry(code.to_string()))?;
    let own =
        |source: &ConfigSource| which == Settings::All || *source == ConfigSource::DynamicTopic;
    let entries = found.entries.into_iter().filter(|entry| own(&entry.source));
    Ok(entries.filter_map(|entry| Some((entry.name, entry.value?))).collect())
}

/// Sets what is wanted and leaves what the topic has besides: this request replaces all of them.
async fn set(client: &AdminClient<Events>, target: &Target) -> Result<(), AdminError> {
    let mut all = overrides(client, &target.name, Settings::Own).await?;
    all.extend(target.settings.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    let mut change = AlterConfig::new(ResourceSpecifier::Topic(&target.name));
    for (key, value) in &all {
        change = change.set(key, value);
    }
    let changed = client.alter_configs([&change], &options()).await?;
    match changed.into_iter().next() {
        Some(Ok(_)) => Ok(()),
        Some(Err((_, code))) => Err(AdminError::refused(
            format!("settings of topic {} were not changed: {code}", target.name),
            "look at what this user may do",
        )),
        None => Err(AdminError::Retry("no answer about the settings".into())),
    }
}

async fn write_map(config: &KafkaConfig, wanted: &Wanted) -> Result<(), AdminError> {
    let epoch = current_epoch(config).await?;
    let targets = targets(config, wanted, epoch);
    // Not all brokers know new topics at once.
    let until = Instant::now() + ANSWER_WITHIN;
    let (mail, group) = loop {
        let present = present(config, &targets).await?;
        if let (Some(mail), Some(group)) = (present.topics[1], present.topics[2]) {
            break (mail, group);
        }
        if Instant::now() > until {
            return Err(AdminError::Retry("the brokers do not know the new topics yet".into()));
        }
        sleep(KNOWN_EVERY).await;
    };
    let map = EpochMap {
        epoch,
        mail_partitions: wanted.mail_partitions,
        group_partitions: wanted.group_partitions,
        mail_topic: Some(mail.id),
        group_topic: Some(group.id),
    };
    let record = ControlRecord::EpochMap(map).encode();
    append(config, map, Topic::Control, 0, record).await.map(|_| ())
}

/// Appends one record with a producer of its own.
pub(super) async fn append(
    config: &KafkaConfig,
    map: EpochMap,
    topic: Topic,
    partition: u16,
    record: bytes::Bytes,
) -> Result<wire::Seq, AdminError> {
    let layout = std::sync::Arc::new(Layout::new(&config.prefix, map));
    let lane = layout.lane(topic, wire::Partition::new(partition));
    let publisher = Publisher::start(config, &layout, &Reach::default())?;
    let retry = |error: String| AdminError::Retry(error);
    let answer = publisher.append(vec![(lane, record)], Origin::Owed);
    let answer = answer.map_err(|refused| retry(refused.to_string()))?;
    let done = tokio::time::timeout(ANSWER_WITHIN, answer).await;
    blocking(move || {
        publisher.stop();
        Ok(())
    })
    .await?;
    let done = done.map_err(|_| retry("the record was not taken in time".into()))?;
    let positions = done.map_err(|error| retry(error.to_string()))?;
    Ok(positions[0])
}
