//! Posthorn, by its own SDK: every device is a client as an application has it.

mod device;
mod kept;
mod prepare;

use std::{
    num::NonZeroU32,
    ops::Range,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use client::{Address, Client, Config, Endpoint, GroupId, Roots, Servers, UserId, Via};
use tokio::time::timeout;

use self::{
    device::Connected,
    kept::{Kept, Lease},
};
use super::{Abilities, Ability, BoxFuture, ConnectError, Device, Driver, Outcome, Sink, Told};
use crate::{
    clock::wall_clock_ms,
    cluster::Minter,
    population::{Conversation, ConversationIndex, DeviceIndex, Population, UserIndex},
};

/// Devices on one UDP socket, unless it is said otherwise. An idle device takes about 60 KB then,
/// with a socket of its own 80 KB and an open file, and more as soon as it receives bursts.
pub const DEVICES_PER_SOCKET: NonZeroU32 = NonZeroU32::new(64).expect("64 is not zero");

/// How a device says what it is.
const AGENT: &str = concat!("posthorn-loadtest/", env!("CARGO_PKG_VERSION"));
/// At the end servers are told within this that nobody comes back.
const IDLE_WITHIN: Duration = Duration::from_secs(2);

/// How to reach the cluster, and as whom.
#[derive(Debug)]
pub struct Settings {
    /// Where edges are, `host:port` each.
    pub servers: Vec<String>,
    /// The name in their certificates.
    pub server_name: String,
    /// Who signs those.
    pub roots: Roots,
    /// Gives tokens.
    pub minter: Minter,
    /// Which run: users and groups of two runs are never the same.
    pub run: u64,
    /// Devices on one UDP socket. 1 where devices are to change their port.
    pub devices_per_socket: NonZeroU32,
    /// A device that is not connected after this is given up for now.
    pub connect_within: Duration,
    /// A device that ends waits so long for its answers; what is still open then is answered when
    /// it is connected again.
    pub close_within: Duration,
}

impl Settings {
    /// The usual ones: 64 devices on a socket, 30 s to connect, 5 s to end.
    #[must_use]
    pub fn new(
        servers: Vec<String>,
        server_name: String,
        roots: Roots,
        minter: Minter,
        run: u64,
    ) -> Self {
        Self {
            servers,
            server_name,
            roots,
            minter,
            run,
            devices_per_socket: DEVICES_PER_SOCKET,
            connect_within: Duration::from_secs(30),
            close_within: Duration::from_secs(5),
        }
    }
}

/// Drives a cluster by the SDK of this project.
#[derive(Debug)]
pub struct Posthorn(Arc<Ground>);

/// What all devices share.
#[derive(Debug)]
struct Ground {
    settings: Settings,
    population: Arc<Population>,
    /// By user.
    users: Vec<UserId>,
    /// By socket; bound when its first device connects.
    sockets: Vec<OnceLock<Endpoint>>,
    /// By device.
    kept: Vec<Mutex<Kept>>,
}

impl Posthorn {
    /// For this population; connects nobody yet.
    #[must_use]
    pub fn new(settings: Settings, population: Arc<Population>) -> Self {
        let user = |user| settings.minter.user(&settings.user_name(user));
        let users = population.users().map(user).collect();
        let sockets = population.device_count().div_ceil(settings.devices_per_socket.get());
        Self(Arc::new(Ground {
            users,
            sockets: (0..sockets).map(|_| OnceLock::new()).collect(),
            kept: population.devices().map(|_| Mutex::default()).collect(),
            settings,
            population,
        }))
    }
}

/// What the cluster calls a user of a run.
#[must_use]
pub fn user_name(run: u64, user: UserIndex) -> String {
    format!("lt-{run:016x}-{user}")
}

impl Settings {
    /// What the cluster calls a user.
    fn user_name(&self, user: UserIndex) -> String {
        user_name(self.run, user)
    }

    /// What the cluster calls a group.
    fn group(&self, conversation: ConversationIndex) -> GroupId {
        let name = format!("lt-{:016x}-group-{conversation}", self.run);
        client::group_id(self.minter.issuer(), &name)
    }
}

impl Ground {
    /// Where a device sends what is for a conversation.
    fn address(&self, from: DeviceIndex, to: ConversationIndex) -> Address {
        match self.population.conversation(to) {
            Conversation::Direct { a, b } => {
                let other = if self.population.user_of(from) == a { b } else { a };
                Address::User(self.users[other.place()])
            }
            Conversation::Group { .. } => Address::Group(self.settings.group(to)),
        }
    }

    fn kept(&self, device: DeviceIndex) -> std::sync::MutexGuard<'_, Kept> {
        self.kept[device.place()].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the SDK needs to know to connect a device.
    fn config(
        self: &Arc<Self>,
        device: DeviceIndex,
        store: client::store::MemoryStore,
    ) -> Result<Config, ConnectError> {
        let settings = &self.settings;
        let servers = Servers::Quic {
            addresses: settings.servers.clone(),
            server_name: settings.server_name.clone(),
            via: self.via(device)?,
        };
        let (ground, user) = (Arc::clone(self), self.population.user_of(device));
        let token = move || {
            let Settings { minter, .. } = &ground.settings;
            let name = ground.settings.user_name(user);
            std::future::ready(Ok(minter.mint(&name, wall_clock_ms())))
        };
        let mut config = Config::new(servers, token, store);
        config.agent = AGENT.into();
        config.connect_within = settings.connect_within;
        config.close_within = settings.close_within;
        Ok(config)
    }

    fn via(&self, device: DeviceIndex) -> Result<Via, ConnectError> {
        let per_socket = self.settings.devices_per_socket;
        let roots = self.settings.roots.clone();
        if per_socket.get() == 1 {
            return Ok(Via::Own(roots));
        }
        let socket = &self.sockets[device.place() / per_socket.get() as usize];
        if let Some(endpoint) = socket.get() {
            return Ok(Via::Shared(endpoint.clone()));
        }
        let endpoint = Endpoint::bind(roots).map_err(connect_error)?;
        // Two may have bound one: the first is used, the other is dropped.
        Ok(Via::Shared(socket.get_or_init(|| endpoint).clone()))
    }

    async fn connect(
        self: Arc<Self>,
        device: DeviceIndex,
        sink: Sink,
    ) -> Result<Connected, ConnectError> {
        let lease = Lease::take(Arc::clone(&self), device)?;
        let store = self.kept(device).store();
        let config = self.config(device, store)?;
        let client = Client::connect(config).await.map_err(connect_error)?;
        Ok(Connected::start(lease, client, sink))
    }
}

impl Driver for Posthorn {
    fn name(&self) -> &'static str {
        "posthorn"
    }

    fn abilities(&self) -> Abilities {
        let migration = if self.0.settings.devices_per_socket.get() == 1 {
            Ability::Yes
        } else {
            Ability::Unset("devices share sockets here: give each one of its own")
        };
        Abilities { groups: Ability::Yes, devices: Ability::Yes, resume: Ability::Yes, migration }
    }

    fn prepare(&self, devices: Range<DeviceIndex>) -> BoxFuture<'_, anyhow::Result<()>> {
        Box::pin(prepare::groups(&self.0, devices))
    }

    fn connect(
        &self,
        device: DeviceIndex,
        sink: Sink,
    ) -> BoxFuture<'static, Result<Box<dyn Device>, ConnectError>> {
        let ground = Arc::clone(&self.0);
        Box::pin(async move {
            let connected = ground.connect(device, sink).await?;
            Ok(Box::new(connected) as Box<dyn Device>)
        })
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            for device in self.0.population.devices() {
                let (sink, owed) = self.0.kept(device).give_up();
                for ticket in owed {
                    if let Some(sink) = &sink {
                        sink.hear(device, Told::Outcome { ticket, outcome: Outcome::Unknown });
                    }
                }
            }
            let sockets = self.0.sockets.iter().filter_map(OnceLock::get);
            let idle = futures_util::future::join_all(sockets.map(Endpoint::wait_idle));
            if timeout(IDLE_WITHIN, idle).await.is_err() {
                tracing::debug!("not every server has said that it knows of the end");
            }
        })
    }
}

fn connect_error(error: client::ConnectError) -> ConnectError {
    match error {
        client::ConnectError::Unreachable(problem) => ConnectError::Unreachable(problem),
        client::ConnectError::Closed(closed) => ConnectError::Refused(closed.to_string()),
        client::ConnectError::Config(problem) => ConnectError::Refused(problem),
    }
}
