//! `posthorn admin`: what an operator does to a cluster. The command line of each command is
//! beside it.

pub mod dead_letters;
pub mod engines;
pub mod epochs;
pub mod erase;
pub mod mesh_ca;
pub mod sandbox;
pub mod schema;
pub mod steps;
pub mod topics;

use clap::Subcommand;

use crate::{command::on_one_core, failure::Outcome};

/// Shown below the help of `admin`.
pub const EXAMPLES: &str = "Examples:
  posthorn admin topics plan --config posthorn.toml
  posthorn admin schema apply --config posthorn.toml --yes
  posthorn admin epochs --config posthorn.toml
  posthorn admin deadletters list --config posthorn.toml
  posthorn admin erase --subject alice --config posthorn.toml
  posthorn admin mesh-ca new ./mesh
  posthorn admin sandbox ./sandbox --base target/engines/posthorn.toml

Commands that change something change nothing without --yes: they say what they would do.";

/// What an operator can do.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
    /// Make or look at the topics of the log on Kafka
    #[command(subcommand, after_help = topics::EXAMPLES)]
    Topics(topics::TopicsCommand),
    /// Make or look at keyspace and tables in ScyllaDB or Cassandra
    #[command(subcommand, after_help = schema::EXAMPLES)]
    Schema(schema::SchemaCommand),
    /// Show the logs of a cluster and how far its workers are
    #[command(after_help = epochs::EXAMPLES)]
    Epochs(epochs::EpochsArgs),
    /// Erase a user's mailbox for good
    #[command(after_help = erase::EXAMPLES)]
    Erase(erase::EraseArgs),
    /// List, show or put back records that nobody could read
    #[command(name = "deadletters", alias = "dead-letters")]
    #[command(subcommand, after_help = dead_letters::EXAMPLES)]
    DeadLetters(dead_letters::DeadLettersCommand),
    /// Make certificates for the mesh between the processes of a cluster
    #[command(subcommand, after_help = mesh_ca::EXAMPLES)]
    MeshCa(mesh_ca::MeshCaCommand),
    /// Write the files of a cluster of several processes on this machine, to try it
    ///
    /// Makes a configuration for every process, with ports of its own, and everything an operator
    /// would bring: a certificate for clients, an identity provider that believes every name, and
    /// the mesh's certificates. The engines are those of the base configuration, for example of
    /// `cargo xtask engines up`.
    #[command(after_help = sandbox::EXAMPLES)]
    Sandbox(sandbox::SandboxArgs),
}

/// Does what is asked for.
///
/// # Errors
/// Why it could not.
pub fn run(command: AdminCommand) -> Outcome {
    match command {
        AdminCommand::Topics(command) => on_one_core(topics::run(command)),
        AdminCommand::Schema(command) => on_one_core(schema::run(command)),
        AdminCommand::Epochs(args) => on_one_core(epochs::run(args)),
        AdminCommand::Erase(args) => on_one_core(erase::run(args)),
        AdminCommand::DeadLetters(command) => on_one_core(dead_letters::run(command)),
        AdminCommand::MeshCa(command) => mesh_ca::run(&command),
        AdminCommand::Sandbox(args) => sandbox::run(&args),
    }
}
