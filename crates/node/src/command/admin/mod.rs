//! `posthorn admin`: what an operator does to a cluster. The command line of each command is
//! beside it.

pub mod mesh_ca;

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
}

/// Does what is asked for.
///
/// # Errors
/// Why it could not.
pub fn run(command: AdminCommand) -> Outcome {
    match command {
        AdminCommand::MeshCa(command) => mesh_ca::run(&command),
    }
}
