//! Where Redis is and how to speak to it.

use std::{path::PathBuf, time::Duration};

use crate::Password;

/// How to reach Redis or Valkey, version 7 or later.
#[derive(Clone, Debug)]
pub struct RedisConfig {
    /// Which servers, and how they belong together.
    pub mode: Mode,
    /// The user; without, Redis takes the password for `default`.
    pub user: Option<String>,
    /// The password. Sentinels are asked without one.
    pub password: Option<Password>,
    /// Speak TLS to every server, sentinels included. Their certificates must name the hosts as
    /// written in [`Mode`], and as the servers announce each other.
    pub tls: bool,
    /// Who signed the servers' certificates, PEM. Without, the well-known authorities. Means TLS.
    pub ca_file: Option<PathBuf>,
    /// What every key begins with. Two clusters may share a Redis under different ones. No braces.
    pub prefix: String,
    /// A call that takes longer has failed, 1 ms to 60 s.
    pub within: Duration,
}

/// Which servers, as `host:port`, and how they belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One server.
    Single(String),
    /// A server and its replicas, watched by sentinels.
    Sentinel {
        /// The sentinels, at least one.
        nodes: Vec<String>,
        /// What they call the server.
        service: String,
    },
    /// Redis Cluster: any of its servers, at least one. The others are found.
    Cluster(Vec<String>),
}

impl RedisConfig {
    /// What is usual for these servers: no TLS, no user, prefix `posthorn`, one second.
    #[must_use]
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            user: None,
            password: None,
            tls: false,
            ca_file: None,
            prefix: "posthorn".into(),
            within: Duration::from_secs(1),
        }
    }

    /// Whether connections are encrypted.
    pub(crate) const fn is_tls(&self) -> bool {
        self.tls || self.ca_file.is_some()
    }
}
