//! Settings of a cluster of many processes: its engines, and the mesh between its processes.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::config::{
    section::section,
    value::{Secret, Size, word_value},
};

word_value!(
    /// Where messages, state and presence live.
    Engines: "\"embedded\" or \"cluster\"" {
        /// In this process, on one disk.
        Embedded = "embedded",
        /// In Kafka, ScyllaDB or Cassandra, and Redis, shared by many processes.
        Cluster = "cluster",
    }
);

word_value!(
    /// How a process proves to Kafka who it is.
    SaslMechanism: "\"PLAIN\", \"SCRAM-SHA-256\" or \"SCRAM-SHA-512\"" {
        /// The password itself.
        Plain = "PLAIN",
        /// A proof of the password, with SHA-256.
        ScramSha256 = "SCRAM-SHA-256",
        /// A proof of the password, with SHA-512.
        ScramSha512 = "SCRAM-SHA-512",
    }
);

word_value!(
    /// How Redis is run.
    RedisMode: "\"single\", \"sentinel\" or \"cluster\"" {
        /// One server.
        Single = "single",
        /// A server with replicas, watched by sentinels that tell which one leads.
        Sentinel = "sentinel",
        /// Many servers that share the keys.
        Cluster = "cluster",
    }
);

section! {
    /// The log of a cluster: Apache Kafka. Used when `node.engines` is `cluster`.
    Kafka = "kafka" {
        /// Brokers to begin with, `host:port`; the others are learned from them. Needed.
        brokers: Vec<String> = Vec::new();
        /// What the names of topics and consumer groups begin with. Clusters that share one Kafka
        /// need different ones.
        prefix: String = "posthorn".to_owned();
        /// Whether brokers are spoken to over TLS.
        tls: bool = false;
        /// PEM file with the authorities trusted for brokers; without it the system's.
        ca_file: Option<PathBuf> = None;
        /// PEM file with a certificate to show to brokers, when they ask for one.
        certificate_file: Option<PathBuf> = None;
        /// PEM file with that certificate's private key.
        key_file: Option<PathBuf> = None;
        /// How to log in: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`. Without it nobody logs in.
        sasl_mechanism: Option<SaslMechanism> = None;
        /// Who logs in.
        user: String = String::new();
        /// The password for logging in.
        password: Secret = Secret::default();
        /// Bytes of clients' records waiting to be durable. Over it sends are answered Busy.
        /// Records that follow from accepted ones have a share of their own of the same size.
        queue_bytes_max: Size = Size::mib(64);
        /// The number of records waiting, likewise.
        queue_records_max: usize = 100_000;
        /// Bytes fetched ahead for the workers, per partition.
        lane_bytes_max: Size = Size::mib(4);
        /// Records fetched ahead for the workers, per partition.
        lane_records_max: usize = 4096;
        /// A record waits so long for others to share a batch with. More saves the brokers work.
        linger: Duration = Duration::from_millis(2);
        /// A worker that is silent for so long is given up: its partitions go to the others. A
        /// restart that takes less moves nothing.
        session_timeout: Duration = Duration::from_secs(10);
        /// Topics keep records for so long at least, also when every worker has finished them.
        log_keep: Duration = Duration::from_secs(7 * 86_400);
        /// Accepts topics that a single broker's loss would destroy. Only to try things out.
        unsafe_replication: bool = false;
    }
}

section! {
    /// The mailboxes and all that decides: ScyllaDB, or Cassandra 5. Used when `node.engines` is
    /// `cluster`.
    Cql = "cql" {
        /// Servers to begin with, `host:port`; the others are learned from them. Needed.
        nodes: Vec<String> = Vec::new();
        /// The keyspace. Clusters that share one database need different ones.
        keyspace: String = "posthorn".to_owned();
        /// The datacentre whose servers are used; a mailbox is written and read in one only.
        /// Needed when the database has several.
        datacenter: Option<String> = None;
        /// Who logs in. Without it nobody does.
        user: String = String::new();
        /// The password for logging in.
        password: Secret = Secret::default();
        /// Whether servers are spoken to over TLS.
        tls: bool = false;
        /// PEM file with the authorities trusted for servers; without it the system's.
        ca_file: Option<PathBuf> = None;
        /// Requests of this process under way at once; further ones wait.
        in_flight_max: usize = 1024;
        /// A write has failed when it was not answered within this, all attempts together. Three
        /// tenths of it, an attempt, should be longer than a server's own limit for writes.
        write_within: Duration = Duration::from_secs(10);
        /// A read has failed when it was not answered within this, all attempts together.
        read_within: Duration = Duration::from_secs(3);
        /// Accepts a keyspace that a single server's loss would destroy or stop. Only to try things
        /// out.
        unsafe_replication: bool = false;
    }
}

section! {
    /// Who is connected where: Redis or Valkey. Losing it delays messages and loses none. Used when
    /// `node.engines` is `cluster`.
    Redis = "redis" {
        /// How it is run: `single`, `sentinel` or `cluster`.
        mode: RedisMode = RedisMode::Single;
        /// `host:port` of the server, of the sentinels, or of some servers of the cluster. Needed.
        nodes: Vec<String> = Vec::new();
        /// What sentinels call the server. Needed with `sentinel`.
        service: String = "posthorn".to_owned();
        /// Who logs in; without it the default user, if there is a password.
        user: String = String::new();
        /// The password for logging in. Without it nobody does.
        password: Secret = Secret::default();
        /// Whether servers are spoken to over TLS.
        tls: bool = false;
        /// PEM file with the authorities trusted for servers; without it the public web's.
        ca_file: Option<PathBuf> = None;
        /// What keys begin with. Clusters that share one Redis need different ones.
        prefix: String = "posthorn".to_owned();
        /// A request that is not answered within this has failed; the push it was for is dropped
        /// and the device reads its mailbox.
        within: Duration = Duration::from_secs(1);
    }
}

section! {
    /// The mesh: how workers push to edges, with a certificate on either side. Used when
    /// `node.engines` is `cluster`. `posthorn admin mesh-ca` makes certificates.
    Mesh = "mesh" {
        /// Where an edge listens for workers: address and UDP port. Port 0 takes any free one.
        listen: SocketAddr = SocketAddr::from(([0, 0, 0, 0], 4435));
        /// Where workers reach this edge, `host:port`; without it where it listens. Needed by the
        /// role `edge` when it listens at every address (0.0.0.0).
        address: Option<String> = None;
        /// PEM file with the authorities of the mesh. Use one that signs nothing else: whom it
        /// vouches for may push to devices. Needed.
        ca_file: Option<PathBuf> = None;
        /// PEM file with the certificate of this process: for `edge_name` when it is an edge, for
        /// `worker_name` when it is a worker. Needed.
        certificate_file: Option<PathBuf> = None;
        /// PEM file with that certificate's private key. Needed.
        key_file: Option<PathBuf> = None;
        /// The name in the certificates of edges; the same in the whole cluster.
        edge_name: String = "edge.posthorn.internal".to_owned();
        /// The name in the certificates of workers; the same in the whole cluster.
        worker_name: String = "worker.posthorn.internal".to_owned();
    }
}
