//! How Kafka stands, for the people who run it.

use std::time::Duration;

use ports::operate::{Finding, State};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use wire::{Topic, record::EpochMap};

use super::{AdminError, EpochInfo, asking, blocking, dead_letters, epochs};
use crate::{
    config::KafkaConfig,
    identity::{self, ANSWER_WITHIN},
    layout::Layout,
    settings::{Events, Reach, base},
};

/// The log is the redo log of the mailboxes: it should be kept over a long week-end.
const RETENTION_MIN: Duration = Duration::from_secs(72 * 3600);
/// What to do when topics or the epoch map are not there.
const APPLY: &str = "run `posthorn admin topics apply`";

/// How everything stands; `retention` is how long rows of mailboxes are kept. Cancel safe.
pub async fn check(config: &KafkaConfig, retention: Duration) -> Vec<Finding> {
    let mut findings = Vec::new();
    match look(config, retention, &mut findings).await {
        Ok(()) => {}
        Err(AdminError::Refused { what, remedy }) => {
            findings.push(wrong("answers", what, &remedy));
        }
        Err(error @ AdminError::Retry(_)) => {
            let remedy = "look at the brokers, their addresses, and the user and certificates";
            findings.push(wrong("answers", error.to_string(), remedy));
        }
    }
    findings
}

fn finding(state: State, about: &str, found: impl Into<String>, remedy: &str) -> Finding {
    let (about, remedy) = (format!("kafka: {about}"), remedy.to_owned());
    Finding { state, about, found: found.into(), remedy }
}

fn good(about: &str, found: impl Into<String>) -> Finding {
    finding(State::Good, about, found, "")
}

fn wrong(about: &str, found: impl Into<String>, remedy: &str) -> Finding {
    finding(State::Wrong, about, found, remedy)
}

async fn look(
    config: &KafkaConfig,
    retention: Duration,
    findings: &mut Vec<Finding>,
) -> Result<(), AdminError> {
    findings.push(brokers(config).await?);
    let epochs = epochs(config).await?;
    let Some(epoch) = epochs.iter().find(|epoch| epoch.current) else {
        findings.push(wrong("epoch map", "there is none", APPLY));
        return Ok(());
    };
    topics(epoch, findings);
    let layout = Layout::new(&config.prefix, map_of(epoch));
    let reach = Reach::default();
    let broken = identity::unsafe_settings(config, &layout, &reach).await;
    let broken = broken.map_err(AdminError::Retry)?;
    if broken.is_empty() {
        let found = if config.unsafe_replication {
            finding(
                State::Doubtful,
                "settings of the topics",
                "replication is not looked at",
                "for development only: turn unsafe replication off",
            )
        } else {
            good("settings of the topics", "nothing accepted is lost with one broker")
        };
        findings.push(found);
    }
    findings.extend(broken.into_iter().map(|it| wrong(&it.about, it.found, &it.remedy)));
    for topic in [Topic::Mail, Topic::Group] {
        findings.push(kept(config, layout.name(topic), retention).await?);
    }
    let letters = dead_letters(config, None, 1000).await?.len();
    findings.push(if letters == 0 {
        good("dead letters", "none")
    } else {
        let found = format!("{letters}{}", if letters == 1000 { " or more" } else { "" });
        let remedy = "look at them with `posthorn admin deadletters list`";
        finding(State::Doubtful, "dead letters", found, remedy)
    });
    Ok(())
}

async fn brokers(config: &KafkaConfig) -> Result<Finding, AdminError> {
    let asked = config.clone();
    let count = blocking(move || {
        let (_, found) = asking(&asked)?;
        Ok(found.brokers().len())
    })
    .await?;
    let found = format!("{count} reachable");
    Ok(if count >= 3 || config.unsafe_replication {
        good("brokers", found)
    } else {
        finding(State::Doubtful, "brokers", found, "three are needed to lose one of them")
    })
}

fn map_of(epoch: &EpochInfo) -> EpochMap {
    let count = |index: usize| {
        let topic = epoch.topics.get(index);
        topic.and_then(|topic| u16::try_from(topic.partitions.len()).ok()).unwrap_or(0)
    };
    let id = |index: usize| epoch.topics.get(index).and_then(|topic| topic.id);
    EpochMap {
        epoch: epoch.epoch,
        mail_partitions: count(0),
        group_partitions: count(1),
        mail_topic: id(0),
        group_topic: id(1),
    }
}

/// Identities, and whether something was deleted or lost before it was read.
fn topics(epoch: &EpochInfo, findings: &mut Vec<Finding>) {
    for topic in &epoch.topics {
        let about = format!("topic {}", topic.name);
        findings.push(match topic.found_id {
            None => wrong(&about, "is gone", "begin a new epoch"),
            Some(found) if Some(found) != topic.id => {
                wrong(&about, "is not the one of the epoch map", "begin a new epoch")
            }
            Some(_) => {
                let lag: u64 = topic.partitions.iter().map(|partition| partition.lag).sum();
                good(&about, format!("{} partitions, {lag} behind", topic.partitions.len()))
            }
        });
        for partition in &topic.partitions {
            let about = format!("partition {} of {}", partition.partition, topic.name);
            let committed = partition.committed.unwrap_or(0);
            let found =
                format!("committed to {committed}, holds {} to {}", partition.start, partition.end);
            if committed < partition.start {
                findings.push(wrong(
                    &about,
                    found,
                    "unread records were deleted: raise retention.ms",
                ));
            } else if committed > partition.end {
                findings.push(wrong(&about, found, "its end was lost: begin a new epoch"));
            }
        }
    }
}

/// How long a log is kept.
async fn kept(
    config: &KafkaConfig,
    name: &str,
    retention: Duration,
) -> Result<Finding, AdminError> {
    let client: AdminClient<Events> = base(config).create_with_context(Events(Reach::default()))?;
    let options = AdminOptions::new().request_timeout(Some(ANSWER_WITHIN));
    let found = client.describe_configs([&ResourceSpecifier::Topic(name)], &options).await?;
    let found = found.into_iter().next().and_then(Result::ok);
    let value = found.as_ref().and_then(|found| found.get("retention.ms"));
    let value = value.and_then(|entry| entry.value.clone()).unwrap_or_default();
    let about = format!("retention.ms of {name}");
    let kept = value.parse().ok().map(Duration::from_millis);
    Ok(match kept {
        Some(kept) if kept > retention => finding(
            State::Doubtful,
            &about,
            format!("{value}, longer than rows of mailboxes are kept"),
            "keep the log for less: memberships are forgotten before it is",
        ),
        Some(kept) if kept < RETENTION_MIN => finding(
            State::Doubtful,
            &about,
            format!("{value}, less than 72 hours"),
            "workers that stand for longer lose records: keep the log for longer",
        ),
        Some(_) => good(&about, value),
        None => wrong(&about, value, "records must be kept for a limited time"),
    })
}
