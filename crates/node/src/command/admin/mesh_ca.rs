//! `posthorn admin mesh-ca`: a small certificate authority for the mesh, for who has none.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::{
    clock::wall_clock_ms,
    config::cluster,
    failure::Outcome,
    mesh_authority::{Lifetime, MeshAuthority},
    output,
};

/// Shown below the help.
pub const EXAMPLES: &str = "Examples:
  posthorn admin mesh-ca new ./mesh
  posthorn admin mesh-ca issue ./mesh --name edge-1 --role edge
  posthorn admin mesh-ca issue ./mesh --name all-in-one";

/// What can be done with an authority.
#[derive(Debug, Subcommand)]
pub enum MeshCaCommand {
    /// Make an authority in a folder
    ///
    /// Who has ca.key can join the mesh as anybody: keep the folder off the machines of the
    /// cluster, they only need ca.pem and a certificate with its key each.
    New(NewArgs),
    /// Make a certificate for one process of the cluster
    ///
    /// Making it anew replaces it; the authority stays the same, so both work until the old one
    /// expires.
    Issue(IssueArgs),
}

/// Arguments of `mesh-ca new`.
#[derive(Debug, Args)]
pub struct NewArgs {
    /// Folder for ca.pem and ca.key; made when it is not there
    pub dir: PathBuf,
}

/// Arguments of `mesh-ca issue`.
#[derive(Debug, Args)]
pub struct IssueArgs {
    /// Folder of the authority; NAME.pem and NAME.key are put there
    pub dir: PathBuf,
    /// What the process is called (node.name)
    #[arg(long, value_name = "NAME")]
    pub name: String,
    /// What the process is in the mesh, repeated when it is both [default: both]
    #[arg(long, value_enum)]
    pub role: Vec<MeshRole>,
    /// How long the certificate is good
    #[arg(
        long,
        value_name = "DAYS",
        default_value_t = 825,
        value_parser = clap::value_parser!(u32).range(1..=3650),
    )]
    pub days: u32,
}

/// What a process is in the mesh.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MeshRole {
    /// Workers and other edges connect to it.
    Edge,
    /// It pushes to edges.
    Worker,
}

/// Makes an authority or a certificate.
///
/// # Errors
/// Why it could not.
pub fn run(command: &MeshCaCommand) -> Outcome {
    let now_ms = wall_clock_ms();
    match command {
        MeshCaCommand::New(args) => {
            let authority = MeshAuthority::make(&args.dir, now_ms)?;
            output::print(&format!(
                "{} is what every process of the cluster trusts.\n{} signs for all of them: keep \
                 it off their machines.\nNext: posthorn admin mesh-ca issue {} --name NODE\n",
                authority.ca_file().display(),
                authority.ca_key_file().display(),
                args.dir.display()
            ))
        }
        MeshCaCommand::Issue(args) => {
            let names = cluster::Mesh::default();
            let name_of = |role: &MeshRole| match role {
                MeshRole::Edge => names.edge_name.clone(),
                MeshRole::Worker => names.worker_name.clone(),
            };
            let roles = match args.role.as_slice() {
                [] => &[MeshRole::Edge, MeshRole::Worker],
                some => some,
            };
            let names: Vec<String> = roles.iter().map(name_of).collect();
            let authority = MeshAuthority::open(&args.dir)?;
            let issued =
                authority.issue(&args.name, names, Lifetime { now_ms, days: args.days })?;
            output::print(&format!(
                "[mesh]\nca_file = \"{}\"\ncertificate_file = \"{}\"\nkey_file = \"{}\"\n",
                authority.ca_file().display(),
                issued.certificate_file.display(),
                issued.key_file.display()
            ))
        }
    }
}
