//! `posthorn admin schema`: keyspace and tables in ScyllaDB or Cassandra.

use clap::{Args, Subcommand};
use mailbox_scylla::{
    CqlConfig,
    schema::{self, Wanted},
};

use crate::{
    catalogue::Code,
    cli::{NodeArgs, OutputArgs},
    clock::wall_clock_ms,
    command::admin::{
        engines::{cql, schema_failed},
        steps::{ApplyArgs, Plan},
    },
    config,
    failure::{Failure, Outcome},
    findings,
};

/// Shown below the help.
pub const EXAMPLES: &str = "Examples:
  posthorn admin schema plan --config posthorn.toml
  posthorn admin schema apply --config posthorn.toml --replication dc1=3 --yes
  posthorn admin schema apply --config posthorn.toml --replication dc1=3,dc2=3 --yes
  posthorn admin schema check --config posthorn.toml

One `apply` at a time. Edges and workers never change the schema: they wait for one they know, and
refuse a newer one.";

/// Copies in the datacentre that is used.
const COPIES: u16 = 3;

/// What can be done with the schema.
#[derive(Debug, Subcommand)]
pub enum SchemaCommand {
    /// Print the steps that make keyspace and tables, and which of them are done
    Plan(SchemaArgs),
    /// Take the steps that are not done; a dry run without --yes
    ///
    /// May be given again at any time: it goes on where it ended, and does nothing when all is
    /// done.
    Apply(SchemaApplyArgs),
    /// Look whether keyspace, tables and servers are as they must be
    Check(SchemaCheckArgs),
}

/// Arguments of `schema plan`.
#[derive(Debug, Args)]
pub struct SchemaArgs {
    /// Servers that keep each row, by datacentre [default: 3 in the one that is used; 1 with
    /// cql.unsafe_replication]
    #[arg(long, value_name = "DC=COUNT", value_delimiter = ',', value_parser = copies)]
    pub replication: Vec<(String, u16)>,
    /// Which cluster.
    #[command(flatten)]
    pub node: NodeArgs,
    /// How results are printed.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Arguments of `schema apply`.
#[derive(Debug, Args)]
pub struct SchemaApplyArgs {
    /// What is wanted.
    #[command(flatten)]
    pub wanted: SchemaArgs,
    /// Whether something is changed.
    #[command(flatten)]
    pub apply: ApplyArgs,
}

/// Arguments of `schema check`.
#[derive(Debug, Args)]
pub struct SchemaCheckArgs {
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
/// When the database cannot be reached or refuses; for `check`, when something is wrong.
///
/// # Cancel safety
/// Some steps may have been taken; giving the command again takes the rest.
pub async fn run(command: SchemaCommand) -> Outcome {
    match command {
        SchemaCommand::Plan(args) => {
            let (config, wanted) = read(&args).await?;
            plan(&config, &wanted, args.output).await?.show()
        }
        SchemaCommand::Apply(args) => apply(args).await,
        SchemaCommand::Check(args) => {
            let loaded = config::load(args.node.config.as_deref(), &args.node.set)?;
            let found = schema::check(&cql(&loaded.config)?, wall_clock_ms).await;
            findings::print(&found, args.output.format)
        }
    }
}

async fn apply(args: SchemaApplyArgs) -> Outcome {
    let (config, wanted) = read(&args.wanted).await?;
    let plan = plan(&config, &wanted, args.wanted.output).await?;
    if !args.apply.yes {
        return plan.show_dry();
    }
    let mut progress = plan.begin()?;
    schema::apply(&config, &wanted, |step| progress.taken(step))
        .await
        .map_err(|error| schema_failed(&error))?;
    progress.end()
}

async fn plan(config: &CqlConfig, wanted: &Wanted, output: OutputArgs) -> Outcome<Plan> {
    let steps = schema::plan(config, wanted).await.map_err(|error| schema_failed(&error))?;
    let subject = format!("Keyspace {} at {}", config.keyspace, config.nodes.join(", "));
    Ok(Plan { subject, apply: "posthorn admin schema apply --yes", steps, output })
}

async fn read(args: &SchemaArgs) -> Outcome<(CqlConfig, Wanted)> {
    let loaded = config::load(args.node.config.as_deref(), &args.node.set)?;
    let config = cql(&loaded.config)?;
    let copies = if config.unsafe_replication { 1 } else { COPIES };
    let asked = schema::wanted(&config, copies).await.map_err(|error| schema_failed(&error))?;
    if args.replication.is_empty() {
        return Ok((config, asked));
    }
    let replication = args.replication.clone();
    if let Some(twice) = named_twice(&replication) {
        return Err(Failure::new(Code::SettingsConflict, format!("`{twice}` is named twice"))
            .at("--replication")
            .remedy("name each datacentre once"));
    }
    Ok((config, Wanted { replication, ..asked }))
}

fn named_twice(replication: &[(String, u16)]) -> Option<&str> {
    let later = |(index, (name, _)): (usize, &(String, u16))| {
        replication[..index].iter().any(|(earlier, _)| earlier == name)
    };
    let index = replication.iter().enumerate().position(later)?;
    Some(&replication[index].0)
}

/// A datacentre and a number of copies of the command line.
fn copies(text: &str) -> Result<(String, u16), String> {
    let parsed = text.split_once('=').and_then(|(name, count)| {
        let count = count.trim().parse().ok().filter(|count| *count > 0)?;
        let name = name.trim();
        (!name.is_empty()).then(|| (name.to_owned(), count))
    });
    parsed.ok_or_else(|| "expected DATACENTRE=COPIES, such as dc1=3".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn copies_are_given_by_datacentre() {
        assert_eq!(copies("dc1=3").unwrap(), ("dc1".to_owned(), 3));
        for text in ["dc1", "=3", "dc1=0", "dc1=three", "dc1=-1", "3"] {
            assert!(copies(text).is_err(), "{text}");
        }
        let one = |name: &str| (name.to_owned(), 3);
        assert_eq!(named_twice(&[one("a"), one("b"), one("a")]), Some("a"));
        assert_eq!(named_twice(&[one("a"), one("b")]), None);
    }
}
