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

use std::{path::Path, sync::Arc, time::Duration};

use tokio::sync::Mutex;

use self::{
    device::{MqttDevice, Shared},
    dial::Dialer,
    session::{Credentials, Identity, Session},
    target::{Target, Transport},
};
use super::{
    Abilities, Ability, BoxFuture, ConnectError, Device, Driver, Sink,
    topics::{self, Topic},
};
use crate::population::{DeviceIndex, Population};

/// A device is connected within this, or is not.
const CONNECT_WITHIN: Duration = Duration::from_secs(30);

/// Speaks MQTT 5 to one broker, for every device of a population.
pub struct MqttDriver {
    shared: Arc<Shared>,
    transport: Transport,
    /// By device; locked by the device that is connected.
    sessions: Vec<Arc<Mutex<Session>>>,
}

impl MqttDriver {
    /// A driver for the broker at `target`, such as `mqtt+quic://127.0.0.1:14567`, whose
    /// certificate must lead to one in the file `ca` unless it is `mqtt://`. Client identifiers and
    /// topics carry `run`, so that runs do not meet at one broker.
    ///
    /// # Errors
    /// When the target is none, or needs certificates and there are none; the message says what
    /// was expected.
    pub fn new(
        target: &str,
        ca: Option<&Path>,
        run: u64,
        population: Arc<Population>,
    ) -> anyhow::Result<Self> {
        let target: Target = target.parse()?;
        let transport = target.transport;
        let credentials = target.credentials.clone();
        let prefix = format!("lt/{run:x}");
        let sessions = population.devices().map(|device| {
            let identity = identity(&population, device, run, &prefix, credentials.clone());
            Arc::new(Mutex::new(Session::new(identity)))
        });
        let sessions = sessions.collect();
        let dialer = Dialer::new(target, ca)?;
        Ok(Self { shared: Arc::new(Shared { dialer, population, prefix }), transport, sessions })
    }
}

impl Driver for MqttDriver {
    fn name(&self) -> &'static str {
        "mqtt"
    }

    fn abilities(&self) -> Abilities {
        Abilities {
            groups: Ability::Yes,
            devices: Ability::Yes,
            resume: Ability::Yes,
            migration: match self.transport {
                Transport::Quic => Ability::Yes,
                Transport::Tcp | Transport::Tls => {
                    Ability::No("a TCP connection ends with its port; use mqtt+quic://")
                }
            },
        }
    }

    /// Nothing: a topic exists as soon as somebody listens, and every device did when it connected.
    fn prepare(&self, _population: Arc<Population>) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(async { Ok(()) })
    }

    fn connect(
        &self,
        device: DeviceIndex,
        sink: Sink,
    ) -> BoxFuture<'static, Result<Box<dyn Device>, ConnectError>> {
        let shared = Arc::clone(&self.shared);
        let session = Arc::clone(&self.sessions[device.place()]);
        Box::pin(async move {
            // The one before leaves it when its task has ended.
            let session = session.lock_owned().await;
            let connecting = MqttDevice::connect(shared, device, session, sink, CONNECT_WITHIN);
            connecting.await.map(|device| Box::new(device) as Box<dyn Device>)
        })
    }

    /// Nothing: the broker forgets the sessions by itself.
    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {})
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
        client_id: format!("lt-{run:x}-{device}"),
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
