//! The endpoint of an edge.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use quinn::{Endpoint, EndpointConfig, TokioRuntime, VarInt};
use tokio::time::timeout;

use super::{bind, connect_error};
use crate::{
    config::{
        self, HANDSHAKE_WITHIN, INCOMING_BYTES_MAX, INCOMING_BYTES_TOTAL_MAX, INCOMING_MAX,
        ServerConfig,
    },
    connection::Connection,
    connection_id::EdgeConnectionIds,
    error::{LinkError, SetupError},
    ticket::Tickets,
    tls::{self, Certificate},
};

/// The shortest time between two stateless resets. An edge that takes over the packets of a lost
/// one has to tell many clients so.
const RESET_INTERVAL_MIN: Duration = Duration::from_millis(1);

/// How long a client that was here before need not prove its address again.
const ADDRESS_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// The UDP socket clients connect to. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerEndpoint {
    endpoint: Endpoint,
    /// Everything but the certificate, which may change.
    config: Arc<Mutex<ServerConfig>>,
    tickets: Arc<Tickets>,
}

impl ServerEndpoint {
    /// Listens at `address`. Must be called inside a Tokio runtime.
    ///
    /// # Errors
    /// When the address is taken, or certificate and key do not fit.
    pub fn bind(address: SocketAddr, config: ServerConfig) -> Result<Self, SetupError> {
        let secret = config.secret.clone();
        let tickets = Arc::new(Tickets::new(secret.clone(), config.previous_secret.clone()));
        let server = server_config(&config, &tickets)?;
        let ids = EdgeConnectionIds::new(config.edge);
        let mut endpoint = EndpointConfig::new(Arc::new(secret.reset_key()));
        endpoint.cid_generator(move || Box::new(ids)).min_reset_interval(RESET_INTERVAL_MIN);
        let socket = bind(address)?;
        let endpoint = Endpoint::new(endpoint, Some(server), socket, Arc::new(TokioRuntime))
            .map_err(|problem| SetupError::Socket { address, problem })?;
        Ok(Self { endpoint, config: Arc::new(Mutex::new(config)), tickets })
    }

    /// The next attempt to connect; `None` once the endpoint is closed. Decide at once and never
    /// await a handshake in the loop that calls this: at most
    /// [`INCOMING_MAX`] attempts wait, further ones are dropped.
    ///
    /// # Cancel safety
    /// A dropped call took no attempt.
    pub async fn accept(&self) -> Option<Incoming> {
        self.endpoint.accept().await.map(Incoming)
    }

    /// The address the socket is bound to.
    ///
    /// # Errors
    /// When the system does not tell.
    pub fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.endpoint.local_addr()
    }

    /// Shows `certificate` to everybody who connects from now on. Connections stay, tickets given
    /// before still open.
    ///
    /// # Errors
    /// When certificate and key do not fit; the old ones stay.
    pub fn set_certificate(&self, certificate: Certificate) -> Result<(), SetupError> {
        let mut config = self.config.lock().expect("nothing panics with the lock held");
        let changed = ServerConfig { certificate, ..config.clone() };
        self.endpoint.set_server_config(Some(server_config(&changed, &self.tickets)?));
        *config = changed;
        Ok(())
    }

    /// Connections and handshakes the endpoint knows of, those just closed included.
    #[must_use]
    pub fn open_connections(&self) -> usize {
        self.endpoint.open_connections()
    }

    /// Closes every connection at once and takes no more.
    pub fn close(&self, code: u32, reason: &str) {
        self.endpoint.close(VarInt::from_u32(code), reason.as_bytes());
    }

    /// Waits until the peers of closed connections have been told, or have had the time to hear.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wait_idle(&self) {
        self.endpoint.wait_idle().await;
    }
}

/// An attempt to connect that nothing has been spent on yet. Dropping it is [`Incoming::refuse`].
#[derive(Debug)]
pub struct Incoming(quinn::Incoming);

impl Incoming {
    /// Where the attempt claims to come from.
    #[must_use]
    pub fn remote_address(&self) -> SocketAddr {
        self.0.remote_address()
    }

    /// Whether the peer has shown that it receives at that address.
    #[must_use]
    pub fn is_validated(&self) -> bool {
        self.0.remote_address_validated()
    }

    /// Whether [`Incoming::retry`] is possible: once per attempt.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.0.may_retry()
    }

    /// Shakes hands. Run it in a task of its own.
    ///
    /// # Errors
    /// When the peer gave up, is refused by TLS or its protocol name, or took longer than
    /// [`HANDSHAKE_WITHIN`]. There is nothing to do but count it.
    ///
    /// # Cancel safety
    /// A dropped call abandons the handshake.
    pub async fn accept(self) -> Result<Connection, LinkError> {
        let connecting = self.0.accept().map_err(connect_error)?;
        let connected = timeout(HANDSHAKE_WITHIN, connecting).await;
        connected.map_err(|_| LinkError::TimedOut)?.map(Connection::quic).map_err(connect_error)
    }

    /// Makes the peer prove its address first: one more round trip for it, nothing kept here. An
    /// attempt that has proved it already is refused.
    pub fn retry(self) {
        if let Err(not_possible) = self.0.retry() {
            not_possible.into_incoming().refuse();
        }
    }

    /// Tells the peer that it is not wanted now.
    pub fn refuse(self) {
        self.0.refuse();
    }

    /// Answers nothing, which costs least.
    pub fn ignore(self) {
        self.0.ignore();
    }
}

fn server_config(
    config: &ServerConfig,
    tickets: &Arc<Tickets>,
) -> Result<quinn::ServerConfig, SetupError> {
    let crypto = tls::client_facing(config.certificate.clone(), Arc::clone(tickets) as _)?;
    let mut server = quinn::ServerConfig::new(crypto, Arc::new(config.secret.token_key()));
    let mut tokens = quinn::ValidationTokenConfig::default();
    tokens.lifetime(ADDRESS_TOKEN_LIFETIME);
    server
        .transport_config(config::server_transport())
        .validation_token_config(tokens)
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES_MAX)
        .incoming_buffer_size_total(INCOMING_BYTES_TOTAL_MAX);
    Ok(server)
}
