//! How connections and streams end, and why one could not be made.

use std::fmt;

/// Longest reason kept of what a peer says when it closes, bytes.
const REASON_BYTES_MAX: usize = 128;

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The peer's application code; `None` when this side closed, or the transport ended it:
    /// silence, a reset, a violation.
    pub code: Option<u32>,
    /// Whether the other side ended it.
    pub by_peer: bool,
    /// Printable ASCII, at most 128 bytes; chosen by whoever closed, so never parse it.
    pub reason: String,
}

impl Closed {
    /// An end the peer's application asked for.
    pub(crate) fn by_peer(code: u32, reason: &[u8]) -> Self {
        Self { code: Some(code), by_peer: true, reason: printable(reason) }
    }

    /// An end asked for on this side, which knows why.
    pub(crate) fn here() -> Self {
        Self { code: None, by_peer: false, reason: "closed here".to_owned() }
    }

    /// An end nobody asked for.
    pub(crate) fn by_transport(by_peer: bool, reason: &str) -> Self {
        Self { code: None, by_peer, reason: printable(reason.as_bytes()) }
    }
}

impl fmt::Display for Closed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) => write!(formatter, "closed by the peer with code {code}"),
            None => write!(formatter, "over: {}", self.reason),
        }
    }
}

/// What went wrong with a connection or stream, by what the caller should do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LinkError {
    /// The connection is over: make another one, or stop, as the code says.
    #[error("connection {0}")]
    Closed(Closed),
    /// The peer gave up this stream, or it was finished here; the connection goes on.
    #[error("stream stopped")]
    StreamStopped,
    /// Not done within its deadline: the peer allows no further stream now, or does not answer.
    #[error("not done in time")]
    TimedOut,
    /// Nobody there, or nobody willing now: try again later or elsewhere.
    #[error("not reachable: {0}")]
    Unreachable(String),
    /// The two do not trust or understand each other: certificates, names or protocol names
    /// differ. Trying again changes nothing before somebody changes the configuration.
    #[error("not trusted: {0}")]
    Untrusted(String),
}

/// Why an endpoint could not be made or changed: the operator has to act.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The text given as a certificate or key is not one.
    #[error("{what}: {problem}")]
    Pem {
        /// Which of the inputs.
        what: &'static str,
        /// What is the matter with it, and what would be right.
        problem: String,
    },
    /// Certificate, key and roots can each be read but do not work together.
    #[error("TLS configuration: {0}")]
    Tls(String),
    /// The UDP socket cannot be had.
    #[error("UDP socket {address}: {problem}")]
    Socket {
        /// The address asked for.
        address: std::net::SocketAddr,
        /// What the system says.
        problem: std::io::Error,
    },
}

fn printable(reason: &[u8]) -> String {
    let show = |byte: &u8| if (b' '..=b'~').contains(byte) { char::from(*byte) } else { '?' };
    reason.iter().take(REASON_BYTES_MAX).map(show).collect()
}
