//! The roles, started on engines that are open.

use std::net::SocketAddr;

use edge::{Edge, EdgeMetrics, token::Verifier};
use link::{SetupError, quic::ServerEndpoint, tls::Certificate};
use ports::Engines;
use prometheus::Registry;
use wire::EdgeId;
use worker::{Worker, WorkerMetrics};

use crate::{
    assemble::{
        mesh::{self, Mesh},
        random,
    },
    catalogue::Code,
    clock::wall_clock_ms,
    config::{Config, cluster},
    failure::{Failure, Outcome},
};

/// An edge that takes nobody in yet, and where clients will find it.
///
/// # Errors
/// When an address, a certificate or the identity provider cannot be used.
///
/// # Cancel safety
/// Nothing stays bound.
pub(super) async fn edge(
    config: &Config,
    engines: Engines,
    on: &Mesh,
    registry: &Registry,
) -> Outcome<(Edge, SocketAddr)> {
    if config.node.engines == cluster::Engines::Cluster && config.listen.secret.reveal().is_none() {
        tracing::warn!("listen.secret is not set: no client of this edge can resume at another");
    }
    let edge_id = EdgeId::new(random());
    let listen = config.listen.address;
    let endpoint = ServerEndpoint::bind(
        listen,
        link::config::ServerConfig {
            certificate: certificate(config)?,
            edge: edge_id,
            secret: config.master_secret()?,
            previous_secret: None,
        },
    )
    .map_err(|error| cannot_serve(&error, listen))?;
    let address = endpoint.local_addr().map_err(anyhow::Error::from)?;
    let verifier = Verifier::new(&config.token_config(), wall_clock_ms);
    verifier.refresh().await.map_err(|error| {
        Failure::new(Code::IdentityUnusable, error)
            .at(format!("identity.jwks = {}", config.identity.jwks))
            .remedy("fetch the key set by hand and look at it")
    })?;
    let metrics = EdgeMetrics::register(registry).map_err(anyhow::Error::from)?;
    let (mesh, mesh_address) = on.listen(config)?;
    let parts = edge::Parts {
        engines,
        endpoint,
        mesh,
        mesh_address,
        dialer: on.dialer(config)?,
        verifier,
        wall_clock: wall_clock_ms,
        metrics,
        edge_id,
    };
    Ok((Edge::start(config.edge_config(), parts), address))
}

/// A worker that does nothing yet.
///
/// # Errors
/// When there is no socket for the mesh.
pub(super) fn worker(
    config: &Config,
    engines: Engines,
    on: &Mesh,
    registry: &Registry,
) -> Outcome<Worker> {
    let metrics = WorkerMetrics::new(registry).map_err(anyhow::Error::from)?;
    let dialer = on.dialer(config)?;
    let parts = worker::Parts { engines, dialer, wall_clock: wall_clock_ms, metrics };
    Ok(Worker::new(config.worker_config(), parts))
}

/// What the edge shows to clients.
///
/// # Errors
/// When the files cannot be read or understood.
pub(super) fn certificate(config: &Config) -> Outcome<Certificate> {
    let listen = &config.listen;
    let chain = mesh::read("listen.certificate_file", listen.certificate_file.as_ref())?;
    let key = mesh::read("listen.key_file", listen.key_file.as_ref())?;
    Certificate::from_pem(&chain, &key).map_err(|error| {
        Failure::new(Code::CertificateUnusable, error.to_string())
            .at("listen.certificate_file, listen.key_file")
            .remedy("give a PEM chain, the server's certificate first, and its key in PKCS #8")
    })
}

fn cannot_serve(error: &SetupError, address: SocketAddr) -> Failure {
    match error {
        SetupError::Pem { .. } | SetupError::Tls(_) => {
            Failure::new(Code::CertificateUnusable, error.to_string())
                .at("listen.certificate_file, listen.key_file")
                .remedy("check that key and certificate belong together")
        }
        SetupError::Socket { problem, .. } => {
            Failure::new(Code::CannotListen, format!("clients cannot be listened for: {problem}"))
                .at(format!("UDP {address}"))
                .remedy(
                    "choose another address (--listen, listen.address); port 0 takes any free one",
                )
        }
    }
}
