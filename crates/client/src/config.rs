//! What a client needs to know before it can connect.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use link::{memory::Hub, tls::Roots};

use crate::{endpoint::Endpoint, store::Store};

/// What a client needs to know before it can connect.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where the cluster is.
    pub servers: Servers,
    /// Gives a fresh token of the identity provider whenever one is needed.
    pub token: Arc<dyn TokenSource>,
    /// Device key, outbox and cursor.
    pub store: Arc<dyn Store>,
    /// Name and version of the program, at most 64 bytes.
    pub agent: String,
    /// How much may wait for its answer.
    pub outbox: session::client::Limits,
    /// [`crate::Client::connect`] gives up after this.
    pub connect_within: Duration,
    /// [`crate::Client::close`] waits so long for answers.
    pub close_within: Duration,
    /// The first reconnect waits up to this, the next up to twice as long, and so on.
    pub reconnect_min: Duration,
    /// No reconnect waits longer than this.
    pub reconnect_max: Duration,
}

/// Where the cluster is.
#[derive(Clone)]
pub enum Servers {
    /// QUIC over UDP.
    Quic {
        /// `host:port` each; names are looked up at every connect.
        addresses: Vec<String>,
        /// The name in the servers' certificates.
        server_name: String,
        /// Whom to trust, and from which socket.
        via: Via,
    },
    /// In this process, for tests.
    Memory {
        /// Where the listeners are.
        hub: Hub,
        /// Their names.
        names: Vec<String>,
    },
}

/// From which socket a client connects, and whose certificates it trusts.
#[derive(Clone, Debug)]
pub enum Via {
    /// One of its own: what a program with one client wants. These sign the servers' certificates.
    Own(Roots),
    /// One that other clients of this process use too: for programs with hundreds of them.
    Shared(Endpoint),
}

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quic { addresses, server_name, .. } => {
                write!(f, "Quic({addresses:?} as {server_name})")
            }
            Self::Memory { names, .. } => write!(f, "Memory({names:?})"),
        }
    }
}

impl Servers {
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Quic { addresses, .. } => addresses.len(),
            Self::Memory { names, .. } => names.len(),
        }
    }
}

/// A boxed future.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Gives tokens. Any `Fn() -> impl Future<Output = Result<String, TokenError>>` is one.
pub trait TokenSource: Send + Sync {
    /// A token that is good now, asked for at every connect and before the last one ends.
    fn token(&self) -> BoxFuture<'_, Result<String, TokenError>>;
}

impl fmt::Debug for dyn TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenSource")
    }
}

impl<F, G> TokenSource for F
where
    F: Fn() -> G + Send + Sync,
    G: Future<Output = Result<String, TokenError>> + Send + 'static,
{
    fn token(&self) -> BoxFuture<'_, Result<String, TokenError>> {
        Box::pin(self())
    }
}

/// One token for ever: for tools that run for less than its life.
#[derive(Clone)]
pub struct StaticToken(pub String);

impl TokenSource for StaticToken {
    fn token(&self) -> BoxFuture<'_, Result<String, TokenError>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// No token could be had now; it is asked for again later.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no token: {0}")]
pub struct TokenError(pub String);

impl Config {
    /// The usual settings: tokens from `token`, everything else kept in `store`.
    pub fn new(
        servers: Servers,
        token: impl TokenSource + 'static,
        store: impl Store + 'static,
    ) -> Self {
        Self {
            servers,
            token: Arc::new(token),
            store: Arc::new(store),
            agent: concat!("posthorn-rust/", env!("CARGO_PKG_VERSION")).to_owned(),
            outbox: session::client::Limits::default(),
            connect_within: Duration::from_secs(30),
            close_within: Duration::from_secs(5),
            reconnect_min: Duration::from_millis(250),
            reconnect_max: Duration::from_secs(30),
        }
    }
}
