//! `posthorn admin topics`: the topics of the log on Kafka.

use std::time::Duration;

use clap::{Args, Subcommand};
use log_kafka::admin::{self, Wanted};

use crate::{
    catalogue::Code,
    cli::{NodeArgs, OutputArgs},
    command::admin::{
        engines::{kafka, kafka_failed},
        steps::{ApplyArgs, Plan},
    },
    config::{
        self, Config,
        value::{NotValid, Value as _},
    },
    failure::{Failure, Outcome},
    findings,
};

/// Shown below the help.
pub const EXAMPLES: &str = "Examples:
  posthorn admin topics plan --config posthorn.toml
  posthorn admin topics apply --config posthorn.toml --mail-partitions 24 --yes
  posthorn admin topics check --config posthorn.toml

Partitions are how many workers can share the work; they are fixed within an epoch, so choose twice
what you expect to need. An edge or worker that starts before its topics are there waits for them.";

/// What is enough to begin with, and for six workers with two lanes each.
const PARTITIONS: u16 = 12;

/// What can be done with topics.
#[derive(Debug, Subcommand)]
pub enum TopicsCommand {
    /// Print the steps that make the topics, and which of them are done
    Plan(TopicsArgs),
    /// Take the steps that are not done; a dry run without --yes
    ///
    /// May be given again at any time: it goes on where it ended, and does nothing when all is
    /// done.
    Apply(TopicsApplyArgs),
    /// Look whether topics and brokers are as they must be
    Check(TopicsCheckArgs),
}

/// Arguments of `topics plan`.
#[derive(Debug, Args)]
pub struct TopicsArgs {
    /// Partitions of the log of mailboxes
    #[arg(long, value_name = "COUNT", default_value_t = PARTITIONS)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub mail_partitions: u16,
    /// Partitions of the log of groups
    #[arg(long, value_name = "COUNT", default_value_t = PARTITIONS)]
    #[arg(value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub group_partitions: u16,
    /// Brokers that keep each record [default: 3; 1 with kafka.unsafe_replication]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub replication: Option<u16>,
    /// Brokers that must have a record before it counts as accepted [default: 2; 1 with
    /// kafka.unsafe_replication]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u16).range(1..=64))]
    pub min_insync: Option<u16>,
    /// How long records are kept, such as 72h or 7d [default: kafka.log_keep]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub log_retention: Option<Duration>,
    /// Which cluster.
    #[command(flatten)]
    pub node: NodeArgs,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `topics apply`.
#[derive(Debug, Args)]
pub struct TopicsApplyArgs {
    /// What is wanted.
    #[command(flatten)]
    pub wanted: TopicsArgs,
    /// Whether something is changed.
    #[command(flatten)]
    pub apply: ApplyArgs,
}

/// Arguments of `topics check`.
#[derive(Debug, Args)]
pub struct TopicsCheckArgs {
    /// Which cluster.
    #[command(flatten)]
    pub node: NodeArgs,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Does what is asked.
///
/// # Errors
/// When Kafka cannot be reached or refuses; for `check`, when something is wrong.
///
/// # Cancel safety
/// Some steps may have been taken; giving the command again takes the rest.
pub async fn run(command: TopicsCommand) -> Outcome {
    match command {
        TopicsCommand::Plan(args) => {
            let (config, wanted) = read(&args)?;
            plan(&config, &wanted, args.output).await?.show()
        }
        TopicsCommand::Apply(args) => apply(args).await,
        TopicsCommand::Check(args) => {
            let loaded = config::load(args.node.config.as_deref(), &args.node.set)?;
            let kafka = kafka(&loaded.config)?;
            let found = admin::check(&kafka, loaded.config.node.retention).await;
            findings::print(&found, args.output.format)
        }
    }
}

async fn apply(args: TopicsApplyArgs) -> Outcome {
    let (config, wanted) = read(&args.wanted)?;
    let plan = plan(&config, &wanted, args.wanted.output).await?;
    if !args.apply.yes {
        return plan.show_dry();
    }
    let mut progress = plan.begin()?;
    admin::apply(&kafka(&config)?, &wanted, |step| progress.taken(step))
        .await
        .map_err(|error| kafka_failed(&error))?;
    progress.end()
}

async fn plan(config: &Config, wanted: &Wanted, output: OutputArgs) -> Outcome<Plan> {
    let kafka = kafka(config)?;
    let steps = admin::plan(&kafka, wanted).await.map_err(|error| kafka_failed(&error))?;
    let subject = format!("Topics {}.* of Kafka at {}", kafka.prefix, kafka.brokers.join(", "));
    Ok(Plan { subject, apply: "posthorn admin topics apply --yes", steps, output })
}

fn read(args: &TopicsArgs) -> Outcome<(Config, Wanted)> {
    let config = config::load(args.node.config.as_deref(), &args.node.set)?.config;
    let (replication, min_insync) = match config.kafka.unsafe_replication {
        true => (1, 1),
        false => (3, 2),
    };
    let wanted = Wanted {
        mail_partitions: args.mail_partitions,
        group_partitions: args.group_partitions,
        replication: args.replication.unwrap_or(replication),
        min_insync: args.min_insync.unwrap_or(min_insync),
        log_retention: args.log_retention.unwrap_or(config.kafka.log_keep),
    };
    if wanted.min_insync > wanted.replication {
        let what = format!(
            "{} copies can never be in sync when there are {}",
            wanted.min_insync, wanted.replication
        );
        return Err(Failure::new(Code::SettingsConflict, what)
            .at("--min-insync, --replication")
            .remedy("3 copies of which 2 must be in sync survive the loss of any broker"));
    }
    Ok((config, wanted))
}

/// A duration of the command line.
fn duration(text: &str) -> Result<Duration, String> {
    let valid = Duration::parse(text).and_then(|some| match some.is_zero() {
        true => Err(NotValid),
        false => Ok(some),
    });
    valid.map_err(|_| format!("expected {}", Duration::EXPECTED))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: TopicsArgs,
    }

    fn wanted(line: &str) -> Outcome<Wanted> {
        let line = format!("plan --set node.engines=cluster {line}");
        read(&Line::try_parse_from(line.split_whitespace()).unwrap().args).map(|(_, wanted)| wanted)
    }

    #[test]
    fn what_is_not_said_is_safe_unless_safety_is_switched_off() {
        let safe = wanted("").unwrap();
        assert_eq!((safe.replication, safe.min_insync, safe.mail_partitions), (3, 2, 12));
        let one = wanted("--set kafka.unsafe_replication=true --set kafka.log_keep=1h").unwrap();
        assert_eq!((one.replication, one.min_insync), (1, 1));
        assert_eq!(one.log_retention, Duration::from_secs(3600));
        let said = wanted("--mail-partitions 7 --replication 5 --log-retention 2d").unwrap();
        assert_eq!((said.mail_partitions, said.replication, said.min_insync), (7, 5, 2));
        assert_eq!(said.log_retention, Duration::from_secs(2 * 86_400));
    }

    #[test]
    fn more_copies_in_sync_than_there_are_is_refused() {
        let failure = wanted("--replication 1").unwrap_err();
        assert_eq!(failure.code(), Code::SettingsConflict);
    }
}
