//! MQTT 5: a broker under the same load.
//!
//! A device is a client with a persistent session, which the broker keeps for two hours. It listens
//! at QoS 1 to the topic of its user and to those of the user's groups, all without its own
//! messages. Everything is published at QoS 1; accepted means that the broker acknowledged every
//! part. That is less than durable where a broker acknowledges from memory.
//!
//! What was sent and not acknowledged when a connection broke is sent again on the next one, as
//! MQTT demands, and what was delivered and not acknowledged is delivered again: QoS 1 is at least
//! once, and the ledger shows what that means.
//!
//! Packets are encoded and decoded by `mqtt5-protocol`, the half of the crate `mqtt5` without
//! sockets; that crate's client would bring a second cryptography library and several tasks per
//! connection, and tells acknowledgements to callbacks only.

mod device;
mod dial;
mod frame;
mod session;
mod target;
mod window;
mod wire;

use std::{fmt, num::NonZeroU32, ops::Range, path::PathBuf, sync::Arc, time::Duration};

use tokio::sync::Mutex;

use self::{
    device::{Connected, Shared},
    dial::Dialer,
    session::{Credentials, Identity, Session},
    target::{Target, Transport},
};
use super::{
    Abilities, Ability, BoxFuture, ConnectError, Device, Driver, Sink,
    posthorn::DEVICES_PER_SOCKET,
    topics::{self, Topic},
};
use crate::population::{DeviceIndex, Population};

/// How to reach the broker, and as whom.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `SCHEME://[USER:PASSWORD@]HOST[:PORT]`; the scheme is `mqtt` (TCP), `mqtts` (TLS over TCP)
    /// or `mqtt+quic`.
    pub target: String,
    /// The file with the certificates that the broker's must lead to; not needed for `mqtt`.
    pub ca: Option<PathBuf>,
    /// Which run: client identifiers and topics of two runs are never the same.
    pub run: u64,
    /// Devices on one UDP socket, with QUIC. 1 where devices are to change their port.
    pub devices_per_socket: NonZeroU32,
    /// A device that is not connected after this is given up for now.
    pub connect_within: Duration,
}

impl Settings {
    /// The usual ones: as many devices on a socket as for Posthorn, 30 s to connect.
    #[must_use]
    pub fn new(target: String, ca: Option<PathBuf>, run: u64) -> Self {
        Self {
            target,
            ca,
            run,
            devices_per_socket: DEVICES_PER_SOCKET,
            connect_within: Duration::from_secs(30),
        }
    }
}

/// Drives an MQTT 5 broker.
#[derive(Debug)]
pub struct Mqtt {
    shared: Arc<Shared>,
    transport: Transport,
    connect_within: Duration,
    /// By device; locked by the one that is connected.
    places: Vec<Arc<Mutex<Place>>>,
}

/// What stays of a device between its connections.
struct Place {
    session: Session,
    /// Who heard of it last.
    sink: Option<Sink>,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("session", &self.session).finish_non_exhaustive()
    }
}

impl Mqtt {
    /// For this population; connects nobody yet.
    ///
    /// # Errors
    /// When the target is none, or needs certificates and there are none; the message says what
    /// was expected.
    pub fn new(settings: Settings, population: Arc<Population>) -> anyhow::Result<Self> {
        let Settings { target, ca, run, devices_per_socket, connect_within } = settings;
        let target: Target = target.parse()?;
        let transport = target.transport;
        let prefix = format!("lt/{run:016x}");
        let place = |device| {
            let identity = identity(&population, device, run, &prefix, target.credentials.clone());
            Arc::new(Mutex::new(Place { session: Session::new(identity), sink: None }))
        };
        let places = population.devices().map(place).collect();
        let devices = population.device_count();
        let dialer = Dialer::new(target, ca.as_deref(), devices, devices_per_socket)?;
        let shared = Arc::new(Shared { dialer, population, prefix });
        Ok(Self { shared, transport, connect_within, places })
    }
}

impl Driver for Mqtt {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            groups: Ability::Yes,
            devices: Ability::Yes,
            resume: Ability::Yes,
            migration: match self.transport {
                Transport::Quic if self.shared.dialer.devices_per_socket() == 1 => Ability::Yes,
                Transport::Quic => {
                    Ability::Unset("devices that share a UDP socket do not move alone")
                }
                Transport::Tcp | Transport::Tls => {
                    Ability::No("a TCP connection ends with its port; use mqtt+quic://")
                }
            },
        }
    }

    /// Nothing: a topic exists as soon as somebody listens, and every device did when it connected.
    fn prepare(&self, _: Range<DeviceIndex>) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn connect(
        &self,
        device: DeviceIndex,
        sink: Sink,
    ) -> BoxFuture<'static, Result<Box<dyn Device>, ConnectError>> {
        let shared = Arc::clone(&self.shared);
        let place = Arc::clone(&self.places[device.place()]);
        let within = self.connect_within;
        Box::pin(async move {
            let place = super::take_place(device, place).await?;
            let connecting = Connected::connect(shared, device, place, sink, within);
            connecting.await.map(|device| Box::new(device) as Box<dyn Device>)
        })
    }

    /// The broker forgets the sessions by itself.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            for (device, place) in self.shared.population.devices().zip(&self.places) {
                let mut place = place.lock().await;
                let mut told = Vec::new();
                place.session.give_up(&mut told);
                if let Some(sink) = place.sink.take() {
                    told.into_iter().for_each(|told| sink.hear(device, told));
                }
            }
        })
    }
}

fn identity(
    population: &Population,
    device: DeviceIndex,
    run: u64,
    prefix: &str,
    credentials: Option<Credentials>,
) -> Identity {
    Identity {
        client_id: format!("lt-{run:016x}-{device}"),
        credentials,
        filters: topics::of(population, device).map(|of| topic(prefix, of)).collect(),
        marker: format!("{prefix}/m/{device}"),
    }
}

fn topic(prefix: &str, topic: Topic) -> String {
    match topic {
        Topic::User(user) => format!("{prefix}/u/{user}"),
        Topic::Group(group) => format!("{prefix}/g/{group}"),
    }
}
