//! The tree of settings. The doc of a field is what the reference says about it.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use crate::config::{
    cluster::{Cql, Engines, Kafka, Mesh, Redis},
    section::{Section, Setting, section},
    value::{NotValid, Secret, Size, word_value},
};

word_value!(
    /// A part of a cluster that a process can play.
    Role: "a list of roles: \"edge\", \"mail-worker\", \"group-worker\"" {
        /// Clients connect here.
        Edge = "edge",
        /// Writes mailboxes and pushes to devices.
        MailWorker = "mail-worker",
        /// Decides about groups.
        GroupWorker = "group-worker",
    }
);

word_value!(
    /// How log lines look.
    LogFormat: "\"text\" or \"json\"" {
        /// For people.
        Text = "text",
        /// For machines, one JSON object a line.
        Json = "json",
    }
);

section! {
    /// The process as a whole.
    Node = "node" {
        /// What this process does: any of `edge` (clients connect here), `mail-worker` (writes
        /// mailboxes, pushes) and `group-worker` (decides about groups). The embedded engines
        /// belong to one process, so with them a missing role means that nobody does that work.
        roles: Vec<Role> = vec![Role::Edge, Role::MailWorker, Role::GroupWorker];
        /// Where messages live: `embedded`, in this process and on its disk (see `[engine]`), or
        /// `cluster`, shared by many processes (see `[kafka]`, `[cql]`, `[redis]` and `[mesh]`).
        engines: Engines = Engines::Embedded;
        /// What this process is called, unlike any other process of the cluster and the same after
        /// a restart; without it the name of the host.
        name: Option<String> = None;
        /// Where the embedded engines keep everything. One process at a time.
        data: PathBuf = PathBuf::from("./posthorn-data");
        /// How long messages are kept, at most 30 days. A device that was away for longer is told
        /// that something may be missing.
        retention: Duration = Duration::from_secs(30 * 86_400);
        /// Draining takes at most so long, for every part of the process. What is not finished then
        /// is finished after the next start.
        drain_within: Duration = Duration::from_secs(30);
    }
}

section! {
    /// The address clients connect to, and what proves who serves there.
    Listen = "listen" {
        /// Address and UDP port for clients.
        address: SocketAddr = SocketAddr::from(([0, 0, 0, 0], 4433));
        /// PEM file with the certificate chain, the server's own certificate first. Needed by the
        /// role `edge`.
        certificate_file: Option<PathBuf> = None;
        /// PEM file with the certificate's private key. Needed by the role `edge`.
        key_file: Option<PathBuf> = None;
        /// 64 hexadecimal digits, as `openssl rand -hex 32` prints them, the same on all edges of a
        /// cluster: session tickets, resets and address tokens are made with keys derived from it,
        /// so that a client may resume at any edge, and learns at once when its edge was killed and
        /// another serves there. Without it one is drawn at each start, and a client that only
        /// listens notices within a minute.
        secret: Secret = Secret::default();
    }
}

section! {
    /// The operator's identity provider, which says who a user is.
    Identity = "identity" {
        /// What tokens must have as `iss`, exactly. Needed by the role `edge`.
        issuer: String = String::new();
        /// What tokens must have as, or among, `aud`.
        audience: String = "posthorn".to_owned();
        /// The provider's JSON Web Key Set: an HTTPS URL, or a file. Keys for RS256, ES256 and
        /// EdDSA are used. Read again every 10 minutes, and at most every 30 seconds when a token
        /// names an unknown key. Needed by the role `edge`.
        jwks: String = String::new();
        /// PEM file with the certificate authorities trusted for the URL; without it the public
        /// web's.
        jwks_ca_file: Option<PathBuf> = None;
    }
}

section! {
    /// Limits and times of the role `edge`.
    Edge = "edge" {
        /// Client connections at once. One needs about 50 KB. At the limit new ones are refused and
        /// clients go to another edge.
        connections_max: usize = 20_000;
        /// Client connections at once from one IPv4 address or one IPv6 /64 network. At the limit
        /// new ones are refused.
        connections_per_ip_max: usize = 2_000;
        /// Connections that are not yet authenticated. Above it a client first proves that its
        /// address is its own, one more round trip.
        half_open_retry: usize = 256;
        /// Connections that are not yet authenticated. Above it packets of new clients are ignored;
        /// they try again by themselves.
        half_open_ignore: usize = 2_048;
        /// Pushes waiting for one connection. At the limit the device reads its mailbox instead.
        push_queue_len: usize = 512;
        /// Answers waiting for one connection. Over it the connection is closed as a slow reader.
        control_bytes_max: Size = Size::mib(2);
        /// A client that takes no byte of waiting answers for so long is closed as a slow reader.
        slow_reader: Duration = Duration::from_secs(30);
        /// What a device may send per second, each byte counted once per recipient. Over it sends
        /// are answered Busy.
        send_rate: Size = Size::mib(16);
        /// What a device may send at once after a pause, counted likewise.
        send_burst: Size = Size::mib(64);
        /// Without hearing the control log for so long sends are answered Busy and the edge is not
        /// ready.
        control_silence: Duration = Duration::from_secs(30);
        /// When the oldest unfinished record of a partition is older, sends to it are answered
        /// Busy.
        lag_max: Duration = Duration::from_secs(600);
        /// Every connected device's mailbox is compared with what it was given within this: how
        /// late a message is at most when every push is lost.
        head_check: Duration = Duration::from_secs(60);
        /// Cursors are gathered for so long before they are stored.
        cursor_flush: Duration = Duration::from_millis(200);
        /// The lease of this edge holds for so long without being renewed.
        lease: Duration = Duration::from_secs(10);
        /// Clients of a draining edge spread their reconnecting over this; at most
        /// `node.drain_within`.
        drain_jitter: Duration = Duration::from_secs(10);
    }
}

section! {
    /// Limits and times of the roles `mail-worker` and `group-worker`.
    Worker = "worker" {
        /// Records a lane takes at a time.
        batch_records_max: usize = 1024;
        /// Bytes a lane takes at a time; one record may be larger.
        batch_bytes_max: Size = Size::mib(1);
        /// Messages a lane remembers to drop repeats of, per partition, 90 bytes each. An older
        /// repeat reaches the device, which drops it.
        repeats_remembered: usize = 65_536;
        /// Users whose devices a lane keeps in memory, per partition. Others are read from the
        /// store.
        users_cached: usize = 16_384;
        /// Groups whose members a lane keeps in memory, per partition. Others are read from the
        /// store.
        groups_cached: usize = 1024;
        /// Mailboxes whose newest position a lane remembers, per partition. A push to another one
        /// makes the device read it.
        heads_remembered: usize = 65_536;
        /// Whether rows are pushed to connected devices. Without, they arrive by `edge.head_check`.
        push: bool = true;
        /// Pushes that wait for one edge. One more is dropped and counted; the device reads its
        /// mailbox.
        push_queue_len: usize = 8192;
        /// Bytes of pushes that wait for one edge, likewise.
        push_queue_bytes: Size = Size::mib(32);
    }
}

section! {
    /// The embedded engines: log, mailboxes, state and presence in this process, on one disk. Used
    /// when `node.engines` is `embedded`.
    Engine = "engine" {
        /// Partitions of the mail log, 1 to 4096. Fixed when the data directory is made.
        mail_partitions: u16 = 4;
        /// Partitions of the group log, 1 to 4096. Fixed when the data directory is made.
        group_partitions: u16 = 4;
        /// Records waiting to be made durable. Over it sends are answered Busy.
        queue_bytes_max: Size = Size::mib(64);
        /// The number of records waiting, likewise.
        queue_records_max: usize = 65_536;
        /// Recent records kept in memory for the workers. Beyond it they read the disk.
        tail_bytes_max: Size = Size::mib(64);
        /// A segment of the log is full at this size; the log is trimmed by whole segments.
        segment_bytes: Size = Size::mib(64);
        /// Records are kept at least so long, also when every worker has finished them.
        log_keep: Duration = Duration::from_secs(3600);
        /// Rows of one such time share a file set, which is dropped whole. `node.retention` may
        /// hold at most 64 of them.
        window: Duration = Duration::from_secs(86_400);
        /// Sends are answered Busy when less than this would stay free on the disk.
        disk_reserve: Size = Size::mib(512);
    }
}

section! {
    /// The listener for operators. It has no authentication: keep it on loopback or behind a proxy.
    Admin = "admin" {
        /// Whether there is one.
        enabled: bool = true;
        /// Address and TCP port of `/livez`, `/readyz`, `/metrics` and `POST /drain`.
        address: SocketAddr = SocketAddr::from(([127, 0, 0, 1], 4434));
    }
}

section! {
    /// Log lines, which go to standard error.
    Telemetry = "telemetry" {
        /// `text` for people, `json` for machines.
        format: LogFormat = LogFormat::Text;
        /// What is logged: `error`, `warn`, `info`, `debug` or `trace`, also for single parts as in
        /// `info,edge=debug`. The driver of the database is silent unless named:
        /// `info,scylla=warn`. The variable `RUST_LOG` is stronger.
        level: String = "info".to_owned();
    }
}

macro_rules! tree {
    ($($(#[doc = $doc:literal])+ $field:ident: $section:ident,)+) => {
        /// Everything that can be set.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Config { $($(#[doc = $doc])+ pub $field: $section),+ }

        impl Config {
            /// Every setting with its present value.
            #[must_use]
            pub fn settings(&self) -> Vec<Setting> {
                [$(self.$field.settings()),+].concat()
            }

            /// The sections with what they are about.
            #[must_use]
            pub fn sections() -> Vec<(&'static str, &'static [&'static str])> {
                vec![$(($section::NAME, $section::DOC)),+]
            }

            /// Sets one setting, which must exist.
            pub(crate) fn set(
                &mut self,
                section: &str,
                key: &str,
                text: &str,
            ) -> Result<(), NotValid> {
                match section {
                    $($section::NAME => self.$field.set(key, text),)+
                    other => unreachable!("the section {other} was looked up"),
                }
            }
        }
    };
}

tree! {
    /// The process as a whole.
    node: Node,
    /// The address for clients.
    listen: Listen,
    /// The identity provider.
    identity: Identity,
    /// The role edge.
    edge: Edge,
    /// The roles mail worker and group worker.
    worker: Worker,
    /// The embedded engines.
    engine: Engine,
    /// The log of a cluster.
    kafka: Kafka,
    /// The mailboxes of a cluster.
    cql: Cql,
    /// The presence of a cluster.
    redis: Redis,
    /// The mesh of a cluster.
    mesh: Mesh,
    /// The listener for operators.
    admin: Admin,
    /// Log lines.
    telemetry: Telemetry,
}
