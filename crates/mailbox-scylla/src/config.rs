//! What the store is told.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use wire::limits::TTL_MAX;

use crate::Password;

/// Where the database is, and within which bounds it is used.
#[derive(Clone, Debug)]
pub struct CqlConfig {
    /// Nodes to begin with, `host:port`; the others are learnt from them.
    pub nodes: Vec<String>,
    /// The keyspace: a lower-case letter, then at most 47 of them, digits and underscores.
    pub keyspace: String,
    /// The datacenter that is read and written. None: the one of the node that answers first, for
    /// clusters that have a single one.
    pub datacenter: Option<String>,
    /// User and password, when the database asks for them.
    pub user: Option<(String, Password)>,
    /// Certificates, PEM, that vouch for the nodes. Some: connections are encrypted.
    pub ca_file: Option<PathBuf>,
    /// Connections are encrypted. Without [`Self::ca_file`] the system's certificates are used.
    pub tls: bool,
    /// Where to connect to in place of the addresses the nodes say, for forwarded ports.
    pub translate: HashMap<IpAddr, SocketAddr>,
    /// Requests at one time; more wait.
    pub in_flight_max: usize,
    /// A write is answered within this, attempts included.
    pub write_within: Duration,
    /// A read is answered within this, attempts included.
    pub read_within: Duration,
    /// How long the log is kept: decisions are kept longer, and deletions are remembered longer.
    pub log_keep: Duration,
    /// How long a row is kept at most.
    pub retention: Duration,
    /// Fewer than three copies are accepted. For development.
    pub unsafe_replication: bool,
}

impl CqlConfig {
    /// The defaults, for a database at `nodes`.
    #[must_use]
    pub fn new(nodes: Vec<String>, keyspace: impl Into<String>) -> Self {
        Self {
            nodes,
            keyspace: keyspace.into(),
            datacenter: None,
            user: None,
            ca_file: None,
            tls: false,
            translate: HashMap::new(),
            in_flight_max: 1024,
            // An attempt then takes longer than the two seconds after which a node itself gives up:
            // asking again before that would only add to what is too much for it already.
            write_within: Duration::from_secs(10),
            read_within: Duration::from_secs(3),
            log_keep: Duration::from_secs(7 * 24 * 3600),
            retention: TTL_MAX,
            unsafe_replication: false,
        }
    }
}
