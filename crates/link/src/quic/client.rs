//! The endpoint of a client.

use std::{net::SocketAddr, sync::Arc};

use quinn::{ConnectError, Endpoint, EndpointConfig, TokioRuntime};
use tokio::time::timeout;

use super::{bind_anywhere, connect_error};
use crate::{
    config::{self, CONNECT_WITHIN},
    connection::Connection,
    error::{LinkError, SetupError},
    tls::{self, Roots},
};

/// A client's UDP socket, from which it may have several connections. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientEndpoint {
    endpoint: Endpoint,
    config: quinn::ClientConfig,
}

impl ClientEndpoint {
    /// An endpoint at any free port, which trusts servers whose certificates lead to `roots`.
    /// Session tickets are kept in it: connect again from the same endpoint to resume.
    ///
    /// # Errors
    /// When there is no socket to be had.
    pub fn bind(roots: Roots) -> Result<Self, SetupError> {
        Self::with_config(client_config(roots)?)
    }

    /// The same socket for another client, which has tickets of its own.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn shared(&self, roots: Roots) -> Result<Self, SetupError> {
        Ok(Self { endpoint: self.endpoint.clone(), config: client_config(roots)? })
    }

    /// Connects to the server at `address`, whose certificate must carry `server_name`.
    ///
    /// # Errors
    /// [`LinkError::Unreachable`]: try another address or later, with backoff;
    /// [`LinkError::Untrusted`]: certificate or protocol refused by either side;
    /// [`LinkError::TimedOut`] after [`CONNECT_WITHIN`].
    ///
    /// # Cancel safety
    /// A dropped call abandons the attempt.
    pub async fn connect(
        &self,
        address: SocketAddr,
        server_name: &str,
    ) -> Result<Connection, LinkError> {
        let connecting = self
            .endpoint
            .connect_with(self.config.clone(), address, server_name)
            .map_err(not_started)?;
        let connected = timeout(CONNECT_WITHIN, connecting).await;
        connected.map_err(|_| LinkError::TimedOut)?.map(Connection::quic).map_err(connect_error)
    }

    /// Moves every connection to a new socket, as a phone changing networks does. For tests, and
    /// for programs that know their network has changed.
    ///
    /// # Errors
    /// When there is no socket to be had; the old one stays.
    pub fn rebind(&self) -> Result<(), SetupError> {
        let socket = bind_anywhere()?;
        let address = local_address(&socket);
        self.endpoint.rebind(socket).map_err(|problem| SetupError::Socket { address, problem })
    }

    /// The address the socket is bound to.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Closes every connection at once.
    pub fn close(&self, code: u32, reason: &str) {
        self.endpoint.close(quinn::VarInt::from_u32(code), reason.as_bytes());
    }

    /// Waits until the peers of closed connections have been told, or have had the time to hear.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }

    pub(crate) fn with_config(config: quinn::ClientConfig) -> Result<Self, SetupError> {
        let socket = bind_anywhere()?;
        let address = local_address(&socket);
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), None, socket, runtime)
            .map_err(|problem| SetupError::Socket { address, problem })?;
        Ok(Self { endpoint, config })
    }
}

fn client_config(roots: Roots) -> Result<quinn::ClientConfig, SetupError> {
    let mut config = quinn::ClientConfig::new(tls::client(roots)?);
    config.transport_config(config::client_transport());
    Ok(config)
}

/// Only for messages: the system knows where a bound socket is.
fn local_address(socket: &std::net::UdpSocket) -> SocketAddr {
    socket.local_addr().expect("a bound socket has an address")
}

fn not_started(error: ConnectError) -> LinkError {
    match &error {
        ConnectError::InvalidServerName(_) => LinkError::Untrusted(error.to_string()),
        ConnectError::EndpointStopping
        | ConnectError::CidsExhausted
        | ConnectError::InvalidRemoteAddress(_)
        | ConnectError::NoDefaultClientConfig
        | ConnectError::UnsupportedVersion => LinkError::Unreachable(error.to_string()),
    }
}
