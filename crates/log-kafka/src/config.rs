//! What the log on Kafka can be told.

use std::{path::PathBuf, time::Duration};

use crate::{Faults, Password};

/// How to reach Kafka and how much to hold.
#[derive(Clone, Debug)]
pub struct KafkaConfig {
    /// Brokers to begin with, `host:port`; the others are learnt from them.
    pub brokers: Vec<String>,
    /// What the names of all topics and groups begin with.
    pub prefix: String,
    /// The name of this process, unique among those that run: two with one name take the partitions
    /// from each other, and the one that came first is refused from then on.
    pub name: String,
    /// Encryption and who this is.
    pub security: Security,
    /// Bytes of clients' appends that wait for the brokers. Full: appends are refused. What follows
    /// from accepted records has its own share of the same size. Half of a share is divided among
    /// the partitions, and the other half is for all.
    pub queue_bytes_max: usize,
    /// Likewise, records.
    pub queue_records_max: usize,
    /// Bytes fetched ahead of a reader, per partition. Full for long: fetching pauses. A lane may
    /// hold twice as much for a moment.
    pub lane_bytes_max: usize,
    /// Likewise, records.
    pub lane_records_max: usize,
    /// How long records wait for others to go with them.
    pub linger: Duration,
    /// A process that is not heard for this long loses its partitions to the others; so does one
    /// that was closed and does not come back by then. Brokers accept 6 s to 30 min by default.
    pub session_timeout: Duration,
    /// Development: fewer than three replicas, and fewer than two of them in sync, are accepted.
    pub unsafe_replication: bool,
    /// Faults for tests; none by default.
    pub faults: Faults,
}

impl KafkaConfig {
    /// These brokers, and the defaults for the rest: no encryption, 64 MiB and 100,000 records per
    /// share, 4 MiB and 4,096 records per lane, 2 ms linger, 10 s session.
    #[must_use]
    pub fn new(brokers: Vec<String>, prefix: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            brokers,
            prefix: prefix.into(),
            name: name.into(),
            security: Security::default(),
            queue_bytes_max: 64 * 1024 * 1024,
            queue_records_max: 100_000,
            lane_bytes_max: 4 * 1024 * 1024,
            lane_records_max: 4096,
            linger: Duration::from_millis(2),
            session_timeout: Duration::from_secs(10),
            unsafe_replication: false,
            faults: Faults::default(),
        }
    }
}

/// Encryption and authentication; the default has neither.
#[derive(Clone, Debug, Default)]
pub struct Security {
    /// Encrypts; none: plain text.
    pub tls: Option<Tls>,
    /// Says who this is; none: nobody, or the certificate.
    pub sasl: Option<Sasl>,
}

/// Encryption.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// Certificates of who may vouch for the brokers, PEM; none: those of the system.
    pub ca_file: Option<PathBuf>,
    /// This process's certificate, PEM, for brokers that want one.
    pub certificate_file: Option<PathBuf>,
    /// The certificate's key, PEM.
    pub key_file: Option<PathBuf>,
}

/// A name and a password.
#[derive(Clone, Debug)]
pub struct Sasl {
    /// How the password is shown to the broker.
    pub mechanism: Mechanism,
    /// The name.
    pub user: String,
    /// The password.
    pub password: Password,
}

/// How a password is shown to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// As it is: only with encryption.
    Plain,
    /// By proof, with SHA-256.
    ScramSha256,
    /// By proof, with SHA-512.
    ScramSha512,
}
