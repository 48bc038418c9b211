//! A socket for several clients of one process.

use link::{error::SetupError, quic::ClientEndpoint, tls::Roots};

use crate::error::ConnectError;

/// A UDP socket for several clients of one process: [`Via::Shared`](crate::Via::Shared). Each has a
/// connection and session tickets of its own. Cheap to clone; the socket lasts as long as a clone
/// or a client with it.
///
/// All that arrives for these clients passes one task, and their bursts share one receive buffer
/// of the system: give some tens of busy clients a socket, not thousands.
#[derive(Clone, Debug)]
pub struct Endpoint {
    socket: ClientEndpoint,
    roots: Roots,
}

impl Endpoint {
    /// Binds any free port. The servers' certificates must lead to `roots`. To be called within a
    /// Tokio runtime, where the socket is then served.
    ///
    /// # Errors
    /// [`ConnectError::Config`] when there is no socket to be had.
    pub fn bind(roots: Roots) -> Result<Self, ConnectError> {
        let socket = ClientEndpoint::bind(roots.clone()).map_err(no_socket)?;
        Ok(Self { socket, roots })
    }

    /// Moves the connections of all its clients to another port.
    ///
    /// # Errors
    /// [`ConnectError::Config`] when there is no socket to be had; the old one stays.
    pub fn rebind(&self) -> Result<(), ConnectError> {
        self.socket.rebind().map_err(no_socket)
    }

    /// Waits until the servers know of every connection that was closed, which needs that no other
    /// is left: the last thing before the runtime ends. Bound it.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn wait_idle(&self) {
        self.socket.wait_idle().await;
    }

    /// For one client.
    pub(crate) fn socket(&self) -> Result<ClientEndpoint, SetupError> {
        self.socket.shared(self.roots.clone())
    }
}

fn no_socket(error: SetupError) -> ConnectError {
    ConnectError::Config(error.to_string())
}
