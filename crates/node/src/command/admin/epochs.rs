//! `posthorn admin epochs`: the logs of a cluster and how far the workers are.

use std::fmt::Write as _;

use clap::Args;
use log_kafka::admin::{self, EpochInfo, PartitionInfo, TopicInfo};
use serde::Serialize;
use wire::Topic;

use crate::{
    cli::{Format, NodeArgs, OutputArgs},
    command::admin::engines::{kafka, kafka_failed},
    config,
    failure::Outcome,
    output,
};

/// Shown below the help.
pub const EXAMPLES: &str = "Examples:
  posthorn admin epochs --config posthorn.toml
  posthorn admin epochs --config posthorn.toml -o json | jq '[.partitions[].lag] | add'

An epoch is a generation of the logs: a fixed number of partitions, and the high bits of every
position. Lag is records that no worker has finished.";

/// Arguments of `epochs`.
#[derive(Debug, Args)]
pub struct EpochsArgs {
    /// Which cluster.
    #[command(flatten)]
    pub node: NodeArgs,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A log of an epoch as JSON.
#[derive(Serialize)]
struct Line<'a> {
    epoch: u8,
    current: bool,
    log: &'static str,
    topic: &'a str,
    id: Option<String>,
    found_id: Option<String>,
    partitions: Vec<Numbers>,
}

/// A partition as JSON.
#[derive(Serialize)]
struct Numbers {
    partition: u16,
    start: u64,
    committed: Option<u64>,
    end: u64,
    lag: u64,
}

/// Prints all epochs.
///
/// # Errors
/// When Kafka cannot be reached.
///
/// # Cancel safety
/// Nothing is changed.
pub async fn run(args: EpochsArgs) -> Outcome {
    let loaded = config::load(args.node.config.as_deref(), &args.node.set)?;
    let kafka = kafka(&loaded.config)?;
    let epochs = admin::epochs(&kafka).await.map_err(|error| kafka_failed(&error))?;
    match args.output.format {
        Format::Json => epochs.iter().try_for_each(|epoch| {
            epoch.topics.iter().try_for_each(|topic| output::json(&line(epoch, topic)))
        }),
        Format::Text => output::print(&text(&epochs)),
    }
}

fn line<'a>(epoch: &EpochInfo, topic: &'a TopicInfo) -> Line<'a> {
    let numbers = |one: &PartitionInfo| Numbers {
        partition: one.partition.get(),
        start: one.start,
        committed: one.committed,
        end: one.end,
        lag: one.lag,
    };
    Line {
        epoch: epoch.epoch.get(),
        current: epoch.current,
        log: log(topic.topic),
        topic: &topic.name,
        id: topic.id.map(|id| id.to_string()),
        found_id: topic.found_id.map(|id| id.to_string()),
        partitions: topic.partitions.iter().map(numbers).collect(),
    }
}

fn text(epochs: &[EpochInfo]) -> String {
    if epochs.is_empty() {
        return "There is no epoch yet: `posthorn admin topics apply --yes` makes the first.\n"
            .to_owned();
    }
    let mut text = String::new();
    for epoch in epochs {
        let state = if epoch.current { "in use" } else { "an earlier one" };
        let _ = writeln!(text, "Epoch {}, {state}", epoch.epoch);
        for topic in &epoch.topics {
            topic_text(&mut text, topic);
        }
    }
    text
}

fn topic_text(text: &mut String, topic: &TopicInfo) {
    let TopicInfo { topic: of, name, id, found_id, partitions } = topic;
    let id_text = id.map_or_else(|| "none".to_owned(), |id| id.to_string());
    let count = partitions.len();
    let _ = writeln!(text, "\n  {} log: topic {name}, {count} partitions, id {id_text}", log(*of));
    match found_id {
        None => {
            let _ = writeln!(text, "  WRONG: the topic is gone. Workers stand and skip nothing.");
        }
        Some(found) if Some(found) != id.as_ref() => {
            let _ = writeln!(
                text,
                "  WRONG: there is another topic of this name, with id {found}. Workers stand and \
                 skip nothing."
            );
        }
        Some(_) => {}
    }
    let _ = writeln!(
        text,
        "  {:>9}  {:>14}  {:>14}  {:>14}  {:>10}",
        "PARTITION", "START", "COMMITTED", "END", "LAG"
    );
    for one in partitions {
        let committed = one.committed.map_or_else(|| "-".to_owned(), |some| some.to_string());
        let _ = writeln!(
            text,
            "  {:>9}  {:>14}  {committed:>14}  {:>14}  {:>10}",
            one.partition.get(),
            one.start,
            one.end,
            one.lag
        );
    }
    let lag: u64 = partitions.iter().map(|one| one.lag).sum();
    let _ = writeln!(text, "  {:>9}  {:>14}  {:>14}  {:>14}  {lag:>10}", "all", "", "", "");
}

fn log(topic: Topic) -> &'static str {
    match topic {
        Topic::Mail => "mail",
        Topic::Group => "group",
        Topic::Control => "control",
    }
}

#[cfg(test)]
mod tests {
    use wire::{Epoch, Partition, TopicId};

    use super::*;

    fn epoch(found_id: Option<TopicId>) -> EpochInfo {
        let partition = |number, committed, lag| PartitionInfo {
            partition: Partition::new(number),
            start: 0,
            end: 125,
            committed,
            lag,
        };
        EpochInfo {
            epoch: Epoch::new(1),
            current: true,
            topics: vec![TopicInfo {
                topic: Topic::Mail,
                name: "posthorn.mail.e1".to_owned(),
                id: Some(TopicId::from_bytes([1; 16])),
                found_id,
                partitions: vec![partition(0, Some(123), 2), partition(1, None, 125)],
            }],
        }
    }

    #[test]
    fn each_partition_has_a_line_and_the_lag_is_summed() {
        let expected = "\
Epoch 1, in use

  mail log: topic posthorn.mail.e1, 2 partitions, id 01010101010101010101010101010101
  PARTITION           START       COMMITTED             END         LAG
          0               0             123             125           2
          1               0               -             125         125
        all                                                         127
";
        assert_eq!(text(&[epoch(Some(TopicId::from_bytes([1; 16])))]), expected);
    }

    #[test]
    fn a_topic_that_is_gone_or_another_is_said_to_be_wrong() {
        assert!(text(&[epoch(None)]).contains("WRONG: the topic is gone"));
        let other = text(&[epoch(Some(TopicId::from_bytes([2; 16])))]);
        assert!(other.contains("WRONG: there is another topic"), "{other}");
        assert!(text(&[]).contains("no epoch yet"));
    }
}
