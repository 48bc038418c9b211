//! Whether the topics are those of the epoch map, and safe.

use std::time::Duration;

use rdkafka::{
    admin::{AdminClient, AdminOptions, ConfigResource, ResourceSpecifier},
    client::Client,
    error::KafkaError,
};
use wire::{Topic, TopicId};

use crate::{
    OpenError,
    config::KafkaConfig,
    layout::Layout,
    native::{Described, describe_topics},
    settings::{Events, Reach, base},
};

/// The brokers have this long for one answer.
pub(crate) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What to do about a topic that is not the one of the epoch map.
const OTHER_TOPIC: &str = "positions of another topic mean nothing here: begin a new epoch";

/// A topic that is not what the epoch map says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mismatch {
    pub(crate) topic: Topic,
    pub(crate) what: String,
    /// There is no such topic: a broker that starts may not know it yet.
    pub(crate) is_gone: bool,
}

/// Compares the topics of the epoch map with those there are. Blocks.
///
/// # Errors
/// Why the brokers did not say.
pub(crate) fn compare(client: &Client<Events>, layout: &Layout) -> Result<Vec<Mismatch>, String> {
    let topics = [Topic::Mail, Topic::Group];
    let names = topics.map(|topic| layout.name(topic));
    let found = describe_topics(client, &names, ANSWER_WITHIN)?;
    let demands = topics.into_iter().zip(found);
    Ok(demands.filter_map(|(topic, found)| mismatch(layout, topic, found)).collect())
}

fn mismatch(layout: &Layout, topic: Topic, found: Option<Described>) -> Option<Mismatch> {
    let name = layout.name(topic);
    let Some(found) = found else {
        return Some(Mismatch { topic, what: format!("topic {name} is gone"), is_gone: true });
    };
    let wanted = match topic {
        Topic::Mail => layout.map.mail_topic,
        Topic::Group => layout.map.group_topic,
        Topic::Control => None,
    };
    let count = usize::from(layout.count(topic));
    let what = if wanted != Some(found.id) {
        let wanted = wanted.map_or_else(|| "none".to_owned(), |id| id.to_string());
        format!("topic {name} has the id {}, the epoch map says {wanted}", found.id)
    } else if found.partitions != count {
        format!("topic {name} has {} partitions, the epoch map says {count}", found.partitions)
    } else {
        return None;
    };
    Some(Mismatch { topic, what, is_gone: false })
}

/// Refuses topics that are not those of the epoch map. Blocks.
pub(crate) fn demand(client: &Client<Events>, layout: &Layout) -> Result<(), OpenError> {
    let found = compare(client, layout).map_err(OpenError::Unreachable)?;
    match found.into_iter().next() {
        None => Ok(()),
        Some(Mismatch { what, .. }) => {
            Err(OpenError::Refused { what, remedy: OTHER_TOPIC.to_owned() })
        }
    }
}

/// The identity of a topic, if there is one. Blocks.
pub(crate) fn topic_id(client: &Client<Events>, name: &str) -> Result<Option<TopicId>, String> {
    let found = describe_topics(client, &[name], ANSWER_WITHIN)?;
    Ok(found.into_iter().next().flatten().map(|found| found.id))
}

/// A setting of a topic that does not keep what was accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unsafe {
    /// Topic and setting.
    pub(crate) about: String,
    pub(crate) found: String,
    pub(crate) remedy: String,
}

/// What a topic must have. Development may do with less of what `lenient` names.
struct Rule {
    setting: &'static str,
    is_met: fn(&str) -> bool,
    needed: &'static str,
    lenient: bool,
}

const RULES: [Rule; 4] = [
    Rule {
        setting: "min.insync.replicas",
        is_met: |value| value.parse().is_ok_and(|count: u32| count >= 2),
        needed: "at least 2",
        lenient: true,
    },
    Rule {
        setting: "unclean.leader.election.enable",
        is_met: |value| value == "false",
        needed: "false",
        lenient: false,
    },
    Rule {
        setting: "message.timestamp.type",
        is_met: |value| value == "LogAppendTime",
        needed: "LogAppendTime",
        lenient: false,
    },
    Rule {
        setting: "cleanup.policy",
        is_met: |value| value == "delete",
        needed: "delete",
        lenient: false,
    },
];

/// Settings of these topics that do not keep what was accepted.
///
/// # Errors
/// Why the brokers did not say. Cancel safe.
pub(crate) async fn unsafe_settings(
    config: &KafkaConfig,
    layout: &Layout,
    reach: &Reach,
) -> Result<Vec<Unsafe>, String> {
    let text = |error: KafkaError| error.to_string();
    let mut client: AdminClient<Events> =
        base(config).create_with_context(Events(reach.clone())).map_err(text)?;
    let topics = [Topic::Mail, Topic::Group];
    let names = topics.map(|topic| layout.name(topic));
    let mut found = Vec::new();
    if !config.unsafe_replication {
        let asked = names.map(str::to_owned);
        let asking = tokio::task::spawn_blocking(move || {
            let names = asked.each_ref().map(String::as_str);
            let described = describe_topics(client.inner(), &names, ANSWER_WITHIN);
            (client, described)
        });
        let described;
        (client, described) = asking.await.map_err(|error| error.to_string())?;
        for (name, described) in names.iter().zip(described?) {
            let replicas = described.map_or(0, |described| described.replicas);
            if replicas < 3 {
                found.push(Unsafe {
                    about: format!("replication of {name}"),
                    found: format!("{replicas}, needed are 3"),
                    remedy: "give its partitions 3 replicas (kafka-reassign-partitions)".into(),
                });
            }
        }
    }
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WITHIN));
    let resources = names.map(ResourceSpecifier::Topic);
    let settings = client.describe_configs(&resources, &options).await.map_err(text)?;
    for (name, settings) in names.iter().zip(settings) {
        let settings = settings.map_err(|code| code.to_string())?;
        let rules = RULES.iter().filter(|rule| !(rule.lenient && config.unsafe_replication));
        found.extend(rules.filter_map(|rule| broken(rule, name, &settings)));
    }
    // Waits for its thread.
    let _ = tokio::task::spawn_blocking(move || drop(client)).await;
    Ok(found)
}

fn broken(rule: &Rule, name: &str, settings: &ConfigResource) -> Option<Unsafe> {
    let value = settings.get(rule.setting).and_then(|entry| entry.value.as_deref());
    let value = value.unwrap_or("unknown");
    (!(rule.is_met)(value)).then(|| Unsafe {
        about: format!("{} of {name}", rule.setting),
        found: format!("{value}, needed is {}", rule.needed),
        remedy: "run `posthorn admin topics apply`".into(),
    })
}
