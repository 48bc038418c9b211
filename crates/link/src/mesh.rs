//! Workers and edges to edges: over QUIC with a certificate on either side, or in memory.

use std::{net::SocketAddr, sync::Arc};

use quinn::{Endpoint, EndpointConfig, TokioRuntime};
use tokio::{net::lookup_host, task::JoinSet, time::timeout};

use crate::{
    config::{self, CONNECT_WITHIN, HANDSHAKE_WITHIN, MESH_HANDSHAKES_MAX},
    connection::Connection,
    error::{LinkError, SetupError},
    memory::{Hub, MemoryListener},
    quic::{self, ClientEndpoint},
    tls::{self, MeshIdentity},
};

/// Where an edge takes connections of workers and other edges.
#[derive(Debug)]
pub enum MeshListener {
    /// From the same process.
    Memory(MemoryListener),
    /// From anywhere.
    Quic(QuicListener),
}

impl MeshListener {
    /// The next connection; `None` once no more can come.
    ///
    /// # Cancel safety
    /// A dropped call took no connection.
    pub async fn accept(&mut self) -> Option<Connection> {
        match self {
            Self::Memory(listener) => listener.accept().await,
            Self::Quic(listener) => listener.accept().await,
        }
    }
}

/// How a worker or an edge reaches edges. Cheap to clone.
#[derive(Clone, Debug)]
pub enum MeshDialer {
    /// Edges in the same process, by name.
    Memory(Hub),
    /// Edges anywhere, by `host:port`.
    Quic(QuicDialer),
}

impl MeshDialer {
    /// Connects to the edge at `address`, which is a name of the [`Hub`] or `host:port`.
    ///
    /// # Errors
    /// [`LinkError::Unreachable`] or [`LinkError::TimedOut`]: try later;
    /// [`LinkError::Untrusted`]: certificates or names do not fit. An edge that refuses this
    /// side's certificate says so only after the handshake: then the connection is returned and
    /// soon over, with a [`Closed`](crate::Closed) that has no code.
    ///
    /// # Cancel safety
    /// A dropped call abandons the attempt.
    pub async fn dial(&self, address: &str) -> Result<Connection, LinkError> {
        match self {
            Self::Memory(hub) => hub.dial(address).await,
            Self::Quic(dialer) => dialer.dial(address).await,
        }
    }
}

/// Takes connections over QUIC from peers with a certificate of the mesh.
#[derive(Debug)]
pub struct QuicListener {
    endpoint: Endpoint,
    /// At most [`MESH_HANDSHAKES_MAX`].
    handshakes: JoinSet<Option<Connection>>,
}

impl QuicListener {
    /// Listens at `address` for peers whose certificate carries one of `peer_names`, DNS names such
    /// as `worker.posthorn.internal`; at least one. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When the address is taken, or the parts of the identity do not fit.
    pub fn bind(
        address: SocketAddr,
        identity: MeshIdentity,
        peer_names: &[&str],
    ) -> Result<Self, SetupError> {
        let crypto = tls::mesh_listener(identity, peer_names)?;
        let mut server = quinn::ServerConfig::with_crypto(crypto);
        server.transport_config(config::mesh_transport());
        let socket = quic::bind(address)?;
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), Some(server), socket, runtime)
            .map_err(|problem| SetupError::Socket { address, problem })?;
        Ok(Self { endpoint, handshakes: JoinSet::new() })
    }

    /// The address the socket is bound to.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// As [`MeshListener::accept`]. Handshakes go on while it is called; failed ones are dropped,
    /// and beyond [`MESH_HANDSHAKES_MAX`] at once attempts are refused.
    ///
    /// # Cancel safety
    /// A dropped call took no connection.
    pub async fn accept(&mut self) -> Option<Connection> {
        loop {
            tokio::select! {
                biased;
                Some(done) = self.handshakes.join_next() => {
                    if let Ok(Some(connection)) = done {
                        return Some(connection);
                    }
                }
                incoming = self.endpoint.accept() => self.shake_hands(incoming?),
            }
        }
    }

    fn shake_hands(&mut self, incoming: quinn::Incoming) {
        if self.handshakes.len() >= MESH_HANDSHAKES_MAX {
            incoming.refuse();
            return;
        }
        self.handshakes.spawn(async move {
            let connected = timeout(HANDSHAKE_WITHIN, incoming.accept().ok()?).await;
            Some(Connection::quic(connected.ok()?.ok()?))
        });
    }
}

/// Connects over QUIC with a certificate of the mesh.
#[derive(Clone, Debug)]
pub struct QuicDialer {
    endpoint: ClientEndpoint,
    peer_name: Arc<str>,
}

impl QuicDialer {
    /// A dialer at any free port, for peers whose certificate carries `peer_name`, a DNS name, on
    /// whatever host they run. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When there is no socket to be had, or the parts of the identity do not fit.
    pub fn bind(identity: MeshIdentity, peer_name: &str) -> Result<Self, SetupError> {
        tls::mesh_name(peer_name)?;
        let mut config = quinn::ClientConfig::new(tls::mesh_dialer(identity)?);
        config.transport_config(config::mesh_transport());
        let endpoint = ClientEndpoint::with_config(config)?;
        Ok(Self { endpoint, peer_name: peer_name.into() })
    }

    /// As [`MeshDialer::dial`]; of the addresses `host` has, the first that answers.
    ///
    /// # Errors
    /// As [`MeshDialer::dial`].
    ///
    /// # Cancel safety
    /// A dropped call abandons the attempt.
    pub async fn dial(&self, address: &str) -> Result<Connection, LinkError> {
        let unknown = || LinkError::Unreachable(format!("\"{address}\" has no address"));
        let found = timeout(CONNECT_WITHIN, lookup_host(address)).await;
        let found = found.map_err(|_| LinkError::TimedOut)?.map_err(|_| unknown())?;
        let mut last = unknown();
        for address in found {
            match self.endpoint.connect(address, &self.peer_name).await {
                Ok(connection) => return Ok(connection),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}
