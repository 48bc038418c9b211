//! NATS JetStream: a server with streams and durable consumers under the same load.
//!
//! A run has one stream, in files. A device is a connection of its own and a durable push consumer
//! with explicit acknowledgements, which listens to the subject of its user and to those of the
//! user's groups. Accepted means that the server acknowledged every part; whether that is durable
//! says its `sync_interval`. Consumers keep the server's defaults: 1,000 deliveries may wait for
//! acknowledgement, each for 30 s.
//!
//! The server cannot leave out a device's own messages; the driver drops them. What was sent and
//! not acknowledged when a connection broke is not sent again: its outcome is unknown. What was
//! delivered and not acknowledged comes again after those 30 s, and so behind later messages.

mod device;
mod link;
mod unanswered;

use std::{fmt, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, ensure};
use async_nats::{
    ConnectOptions, ServerAddr,
    jetstream::{
        self, Context,
        consumer::{AckPolicy, DeliverPolicy, push},
        context::CreateStreamErrorKind,
        stream::{self, RetentionPolicy, StorageType},
    },
};
use tokio::sync::{Mutex, OnceCell};

use self::device::Connected;
use super::{
    Abilities, Ability, BoxFuture, ConnectError, Device, Driver, Sink,
    topics::{self, Topic},
};
use crate::population::{DeviceIndex, Population};

/// An answer that does not come within this leaves the outcome unknown.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// Commands of a device that wait for its connection: publishes, acknowledgements of a whole
/// consumer's worth of deliveries, and some.
const COMMANDS_MAX: usize = 4096;
/// Bytes are read in pieces of this.
const READ_BYTES: u16 = 8192;

/// How to reach the server.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `nats://[USER:PASSWORD@]HOST[:PORT]`, or `tls://`.
    pub target: String,
    /// The file with the certificates that the server's must lead to; the system's when there is
    /// none.
    pub ca: Option<PathBuf>,
    /// Which run: streams, consumers and subjects of two runs are never the same.
    pub run: u64,
    /// A device that is not connected after this is given up for now.
    pub connect_within: Duration,
}

impl Settings {
    /// The usual ones: 30 s to connect.
    #[must_use]
    pub fn new(target: String, ca: Option<PathBuf>, run: u64) -> Self {
        Self { target, ca, run, connect_within: Duration::from_secs(30) }
    }
}

/// Drives NATS JetStream.
#[derive(Debug)]
pub struct Nats(Arc<Ground>);

/// What all devices share.
struct Ground {
    server: ServerAddr,
    ca: Option<PathBuf>,
    connect_within: Duration,
    population: Arc<Population>,
    run: u64,
    stream: String,
    /// The stream is made by the first device that connects.
    stream_made: OnceCell<IsOurs>,
    /// By device, locked by the one that is connected: whether its consumer was made.
    consumers: Vec<Arc<Mutex<bool>>>,
}

/// Whether this driver made the stream, or another one of the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum IsOurs {
    Yes,
    No,
}

impl fmt::Debug for Ground {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ground").field("stream", &self.stream).finish_non_exhaustive()
    }
}

impl Nats {
    /// For this population; connects nobody yet.
    ///
    /// # Errors
    /// When the target is none; the message says what was expected.
    pub fn new(settings: Settings, population: Arc<Population>) -> anyhow::Result<Self> {
        let Settings { target, ca, run, connect_within } = settings;
        let expected = || {
            format!(
                "the NATS target \"{target}\" is none: expected nats://HOST:4222 or \
                 tls://HOST:4222, with USER:PASSWORD@ before the host if the server asks for it"
            )
        };
        let is_known = ["nats://", "tls://"].iter().any(|scheme| target.starts_with(scheme));
        ensure!(is_known, expected());
        let server: ServerAddr = target.parse().with_context(expected)?;
        ensure!(!server.host().is_empty(), expected());
        let consumers = population.devices().map(|_| Arc::default()).collect();
        Ok(Self(Arc::new(Ground {
            server,
            ca,
            connect_within,
            population,
            run,
            stream: format!("lt-{run:016x}"),
            stream_made: OnceCell::new(),
            consumers,
        })))
    }
}

impl Driver for Nats {
    fn name(&self) -> &'static str {
        "nats"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            groups: Ability::Yes,
            devices: Ability::Yes,
            resume: Ability::Yes,
            migration: Ability::No("NATS speaks TCP, and a TCP connection ends with its port"),
        }
    }

    /// Nothing: the stream takes every subject of the run, and devices listen since they connected.
    fn prepare(&self, _: Range<DeviceIndex>) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn connect(
        &self,
        device: DeviceIndex,
        sink: Sink,
    ) -> BoxFuture<'static, Result<Box<dyn Device>, ConnectError>> {
        let ground = Arc::clone(&self.0);
        Box::pin(async move {
            let connected = Connected::connect(ground, device, sink).await?;
            Ok(Box::new(connected) as Box<dyn Device>)
        })
    }

    /// Deletes the stream, and the consumers with it, unless another driver made it.
    fn close(&self) -> BoxFuture<'_, ()> {
        let ground = &self.0;
        Box::pin(async {
            if ground.stream_made.get() != Some(&IsOurs::Yes) {
                return;
            }
            let deleted = async {
                let client = ground.options("lt-close").connect(&ground.server).await?;
                jetstream::new(client).delete_stream(&ground.stream).await?;
                anyhow::Ok(())
            };
            if let Err(error) = deleted.await {
                tracing::warn!("the stream {} stays at the server: {error:#}", ground.stream);
            }
        })
    }
}

impl Ground {
    /// How a connection is made; the answers of the crate's defaults to a lost one are kept.
    fn options(&self, name: &str) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .name(name)
            .connection_timeout(self.connect_within)
            .request_timeout(Some(ANSWER_WITHIN))
            .client_capacity(COMMANDS_MAX)
            .read_buffer_capacity(READ_BYTES);
        if let (Some(user), Some(password)) = (self.server.username(), self.server.password()) {
            options = options.user_and_password(user.to_owned(), password.to_owned());
        }
        match &self.ca {
            Some(ca) => options.add_root_certificates(ca.clone()),
            None => options,
        }
    }

    /// Makes the stream of the run, once.
    ///
    /// # Errors
    /// When the server refuses; why.
    ///
    /// # Cancel safety
    /// A dropped call may have made it.
    async fn make_stream(&self, context: &Context) -> Result<(), ConnectError> {
        let make = async || {
            if context.get_stream(&self.stream).await.is_ok() {
                return Ok(IsOurs::No);
            }
            let config = stream::Config {
                name: self.stream.clone(),
                subjects: vec![self.subject("u.*"), self.subject("g.*")],
                retention: RetentionPolicy::Limits,
                storage: StorageType::File,
                ..stream::Config::default()
            };
            context.create_stream(config).await.map(|_| IsOurs::Yes).map_err(|error| {
                let why = format!("the stream of the run could not be made: {error}");
                if error.kind() == CreateStreamErrorKind::TimedOut {
                    ConnectError::Unreachable(why)
                } else {
                    ConnectError::Refused(why)
                }
            })
        };
        self.stream_made.get_or_try_init(make).await.map(|_| ())
    }

    fn consumer(&self, device: DeviceIndex) -> push::Config {
        let mut subjects: Vec<String> =
            topics::of(&self.population, device).map(|topic| self.subject_of(topic)).collect();
        let mut config = push::Config {
            durable_name: Some(format!("device-{device}")),
            deliver_subject: format!("_lt.{:016x}.{device}", self.run),
            ack_policy: AckPolicy::Explicit,
            deliver_policy: DeliverPolicy::All,
            ..push::Config::default()
        };
        // One is said in the older way, which servers before 2.10 understand, too.
        if subjects.len() == 1 {
            config.filter_subject = subjects.remove(0);
        } else {
            config.filter_subjects = subjects;
        }
        config
    }

    fn subject_of(&self, topic: Topic) -> String {
        match topic {
            Topic::User(user) => self.subject(&format!("u.{user}")),
            Topic::Group(group) => self.subject(&format!("g.{group}")),
        }
    }

    fn subject(&self, end: &str) -> String {
        format!("lt.{:016x}.{end}", self.run)
    }
}

#[cfg(test)]
mod tests;
