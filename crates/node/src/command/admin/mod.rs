//! `posthorn admin`: what an operator does to a cluster. The command line of each command is
//! beside it.

pub mod mesh_ca;
pub mod sandbox;

use clap::Subcommand;

use crate::failure::Outcome;

/// Shown below the help of `admin`.
pub const EXAMPLES: &str = mesh_ca::EXAMPLES;

/// What an operator can do.
#[derive(Debug, Subcommand)]
pub enum AdminCommand {
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
        AdminCommand::MeshCa(command) => mesh_ca::run(&command),
        AdminCommand::Sandbox(args) => sandbox::run(&args),
    }
}
