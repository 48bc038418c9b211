//! The mesh of this process: in memory with the embedded engines, over QUIC in a cluster.
//!
//! In a cluster a process that is both edge and worker reaches itself over QUIC too: an edge has
//! one address, under which every worker finds it, and certificates that do not fit show on one
//! machine already.

use std::{fs, path::PathBuf, time::Duration};

use link::{
    MeshDialer, MeshListener, SetupError,
    memory::Hub,
    mesh::{QuicDialer, QuicListener},
    tls::{Certificate, MeshIdentity, Roots},
};

use crate::{
    catalogue::Code,
    clock::wall_clock_ms,
    config::{Config, Role, cluster},
    failure::{Failure, Outcome},
};

/// What workers call the edge of the same process.
const EDGE_IN_MEMORY: &str = "edge";

/// How this process is part of the mesh.
pub(super) enum Mesh {
    /// On its own.
    Memory(Hub),
    /// With others.
    Quic(MeshIdentity),
}

impl Mesh {
    /// The mesh that fits the engines.
    ///
    /// # Errors
    /// When certificates cannot be used, or the others would refuse them.
    pub(super) fn new(config: &Config, seed: u64) -> Outcome<Self> {
        match config.node.engines {
            cluster::Engines::Embedded => Ok(Self::Memory(Hub::new(seed))),
            cluster::Engines::Cluster => identity(config).map(Self::Quic),
        }
    }

    /// Where an edge takes workers, and how they find it.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(super) fn listen(&self, config: &Config) -> Outcome<(MeshListener, String)> {
        let mesh = &config.mesh;
        let identity = match self {
            Self::Memory(hub) => {
                let listener = MeshListener::Memory(hub.listen(EDGE_IN_MEMORY));
                return Ok((listener, EDGE_IN_MEMORY.to_owned()));
            }
            Self::Quic(identity) => identity.clone(),
        };
        let names = [mesh.worker_name.as_str(), mesh.edge_name.as_str()];
        let listener = QuicListener::bind(mesh.listen, identity, &names)
            .map_err(|error| cannot_use(&error, &format!("UDP {} (mesh.listen)", mesh.listen)))?;
        let bound = listener.local_addr().map_err(anyhow::Error::from)?;
        let address = mesh.address.clone().unwrap_or_else(|| bound.to_string());
        Ok((MeshListener::Quic(listener), address))
    }

    /// How edges are reached.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub(super) fn dialer(&self, config: &Config) -> Outcome<MeshDialer> {
        match self {
            Self::Memory(hub) => Ok(MeshDialer::Memory(hub.clone())),
            Self::Quic(identity) => {
                let dialer = QuicDialer::bind(identity.clone(), &config.mesh.edge_name)
                    .map_err(|error| cannot_use(&error, "any UDP port (mesh)"))?;
                Ok(MeshDialer::Quic(dialer))
            }
        }
    }
}

/// What this process shows in the mesh. Others will take it: a certificate they refuse would only
/// show as messages that come late.
///
/// # Errors
/// Which file is not as it must be.
pub(super) fn identity(config: &Config) -> Outcome<MeshIdentity> {
    let mesh = &config.mesh;
    let chain = read("mesh.certificate_file", mesh.certificate_file.as_ref())?;
    let key = read("mesh.key_file", mesh.key_file.as_ref())?;
    let certificate = Certificate::from_pem(&chain, &key)
        .map_err(|error| cannot_use(&error, "mesh.certificate_file, mesh.key_file"))?;
    let roots = Roots::from_pem(&read("mesh.ca_file", mesh.ca_file.as_ref())?)
        .map_err(|error| cannot_use(&error, "mesh.ca_file"))?;
    let identity = MeshIdentity { certificate, roots };
    let now = Duration::from_millis(wall_clock_ms());
    if config.has(Role::Edge) {
        let name = &mesh.edge_name;
        let checked = identity.check_listener(name, now);
        let checked = checked.and_then(|()| identity.check_dialer(name, now));
        checked.map_err(|error| not_taken(&error, "edge", name))?;
    }
    if config.has(Role::MailWorker) || config.has(Role::GroupWorker) {
        let name = &mesh.worker_name;
        let checked = identity.check_dialer(name, now);
        checked.map_err(|error| not_taken(&error, "worker", name))?;
    }
    Ok(identity)
}

/// The bytes of a file that a setting names; the settings were checked.
pub(super) fn read(setting: &str, path: Option<&PathBuf>) -> Outcome<Vec<u8>> {
    let path = path.expect("the settings were checked");
    fs::read(path).map_err(|error| {
        Failure::new(Code::CertificateUnusable, format!("`{setting}`: {error}"))
            .at(path.display().to_string())
            .remedy("check path, owner and mode of the file")
    })
}

fn not_taken(error: &SetupError, role: &str, name: &str) -> Failure {
    let what = format!("nobody in the mesh would take it for a {role} ({name}): {error}");
    Failure::new(Code::CertificateUnusable, what).at("mesh.certificate_file").remedy(format!(
        "it must carry that name, be good today and lead to mesh.ca_file; `posthorn admin mesh-ca \
         issue` makes one (--role {role})"
    ))
}

fn cannot_use(error: &SetupError, place: &str) -> Failure {
    match error {
        SetupError::Pem { .. } | SetupError::Tls(_) => {
            Failure::new(Code::CertificateUnusable, error.to_string()).at(place).remedy(
                "give PEM files: the chain with the own certificate first, its key in PKCS #8",
            )
        }
        SetupError::Socket { problem, .. } => {
            Failure::new(Code::CannotListen, format!("the mesh: {problem}"))
                .at(place)
                .remedy("set mesh.listen to a free address of this machine; port 0 takes any")
        }
    }
}
