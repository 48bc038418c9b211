//! The handle an application holds.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use session::client::{ClientSession, HistoryPage, SignalError};
use tokio::{
    sync::oneshot,
    task::JoinSet,
    time::{error::Elapsed, timeout},
};
use tokio_util::sync::CancellationToken;
use wire::{
    Address, DeviceId, GroupId, RunId, SendId, Seq, UserId,
    entity::{Devices, Query, Roster},
    item::Body,
    limits::AGENT_BYTES_MAX,
    server_frame::Answer,
};

use crate::{
    config::Config,
    connection::Network,
    driver::Driver,
    error::{Closed, ConnectError, RequestError, SendError},
    hints::Hints,
    inbox::Inbox,
    key,
    shared::Shared,
    status::{Status, Statuses},
    store::{Loaded, Store},
};

/// A device of a user, connected or about to be. Dropping it ends the connection at once; nothing
/// that was queued is lost with a durable store.
#[derive(Debug)]
pub struct Client {
    pub(crate) shared: Arc<Shared>,
    device: DeviceId,
    network: Network,
    stop: CancellationToken,
    driver: Mutex<JoinSet<()>>,
}

/// A send is durable: it survives the crash of any part of the cluster. Whether the log then
/// refuses it, for one because the sender is no member, comes as [`crate::Event::Result`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// The send.
    pub id: SendId,
}

/// A send on its way; resolves when it is answered. Dropping it changes nothing.
#[derive(Debug)]
pub struct Sending {
    /// The send.
    pub id: SendId,
    answer: oneshot::Receiver<Result<Accepted, SendError>>,
    shared: Arc<Shared>,
}

impl Client {
    /// Starts and waits until the cluster has let this device in.
    ///
    /// # Errors
    /// [`ConnectError::Unreachable`] after `connect_within`; the others when trying again changes
    /// nothing.
    ///
    /// # Cancel safety
    /// A dropped call leaves nothing running.
    pub async fn connect(config: Config) -> Result<Self, ConnectError> {
        let within = config.connect_within;
        let client = Self::start(config).await?;
        match timeout(within, client.connected()).await {
            Ok(connected) => connected.map(|_| client).map_err(ConnectError::Closed),
            Err(Elapsed { .. }) => {
                let status = client.shared.status.borrow().clone();
                Err(match status {
                    Status::Connecting(problem) => ConnectError::Unreachable(problem),
                    Status::Closed(reason) => ConnectError::Closed(reason),
                    Status::Connected(_) => return Ok(client),
                })
            }
        }
    }

    /// Starts without waiting for a connection: sends are queued, and the inbox fills later.
    ///
    /// # Errors
    /// When the store cannot be read or the configuration cannot work.
    ///
    /// # Cancel safety
    /// A dropped call leaves nothing running.
    pub async fn start(config: Config) -> Result<Self, ConnectError> {
        if config.servers.count() == 0 {
            return Err(ConnectError::Config("no server to connect to".into()));
        }
        if config.agent.len() > AGENT_BYTES_MAX {
            return Err(ConnectError::Config(format!("agent: over {AGENT_BYTES_MAX} bytes")));
        }
        let Loaded { key, restored } = load(&config.store).await?;
        let device = key.device();
        let run = RunId::new(u64::from_be_bytes(key::random()));
        let session = ClientSession::new(device, run, config.outbox, restored);
        let shared = Arc::new(Shared::new(session, run));
        let network = Network::open(&config.servers)
            .map_err(|error| ConnectError::Config(error.to_string()))?;
        let stop = CancellationToken::new();
        let driver = Driver::new(config, key, network.clone(), Arc::clone(&shared), stop.clone());
        let mut tasks = JoinSet::new();
        tasks.spawn(driver.run());
        Ok(Self { shared, device, network, stop, driver: Mutex::new(tasks) })
    }

    /// Waits until the client is connected and says as whom.
    ///
    /// # Errors
    /// When it never will be.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn connected(&self) -> Result<UserId, Closed> {
        let mut status = self.shared.status.subscribe();
        loop {
            match &*status.borrow_and_update() {
                Status::Connected(user) => return Ok(*user),
                Status::Closed(reason) => return Err(reason.clone()),
                Status::Connecting(_) => {}
            }
            if status.changed().await.is_err() {
                return Err(self.shared.closed());
            }
        }
    }

    /// Follows whether the client is connected.
    #[must_use]
    pub fn statuses(&self) -> Statuses {
        Statuses::new(self.shared.status.subscribe())
    }

    /// The user of this device; none before the first connection ever.
    #[must_use]
    pub fn user(&self) -> Option<UserId> {
        self.shared.lock().session.user()
    }

    /// This device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// What comes in. Items wait there; at most a delivery window of them.
    #[must_use]
    pub fn inbox(&self) -> Inbox {
        Inbox::new(Arc::clone(&self.shared))
    }

    /// Sends a message and waits until it is durable in the cluster; also for room in the outbox.
    ///
    /// # Errors
    /// When it will never be accepted, or the client ended first.
    ///
    /// # Cancel safety
    /// A dropped call may have queued the message.
    pub async fn send(
        &self,
        to: Address,
        payload: impl Into<Bytes>,
    ) -> Result<Accepted, SendError> {
        let payload = payload.into();
        loop {
            let answered = self.shared.answered.notified();
            let mut answered = std::pin::pin!(answered);
            answered.as_mut().enable();
            match self.enqueue(to, payload.clone()) {
                Ok(sending) => return sending.await,
                Err(SendError::Full) => answered.await,
                Err(error) => return Err(error),
            }
        }
    }

    /// Queues a message, kept as long as the cluster keeps any. Messages to one address keep the
    /// order of these calls.
    ///
    /// # Errors
    /// When the outbox is full, the payload too large, or the client has ended.
    pub fn enqueue(&self, to: Address, payload: impl Into<Bytes>) -> Result<Sending, SendError> {
        self.enqueue_for(to, payload, Duration::ZERO)
    }

    /// As [`Self::enqueue`], kept for so long: whole seconds, at most 30 days.
    ///
    /// # Errors
    /// As [`Self::enqueue`].
    pub fn enqueue_for(
        &self,
        to: Address,
        payload: impl Into<Bytes>,
        keep: Duration,
    ) -> Result<Sending, SendError> {
        let ttl_s = u32::try_from(keep.as_secs()).unwrap_or(u32::MAX);
        let (tell, answer) = oneshot::channel();
        let id = {
            let mut state = self.shared.lock();
            if let Some(reason) = &state.closed {
                return Err(reason.clone().into());
            }
            let id = state.session.enqueue(to, ttl_s, Body::Message(payload.into()))?;
            state.sends.insert(id, tell);
            id
        };
        self.shared.work.notify_one();
        Ok(Sending { id, answer, shared: Arc::clone(&self.shared) })
    }

    /// The newest `limit` rows (1 to 256) before a position, or before the end.
    ///
    /// # Errors
    /// When too many requests wait or the client ends first.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn history(
        &self,
        before: Option<Seq>,
        limit: u32,
    ) -> Result<HistoryPage, RequestError> {
        let (tell, page) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if let Some(reason) = &state.closed {
                return Err(reason.clone().into());
            }
            let asked = state.session.read_history(before, limit);
            let request = asked.map_err(|_| RequestError::TooMany)?;
            state.pages.insert(request, tell);
        }
        self.shared.work.notify_one();
        page.await.map_err(|_| self.shared.closed().into())
    }

    /// The devices of this user.
    ///
    /// # Errors
    /// When there is no answer now.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn devices(&self) -> Result<Devices, RequestError> {
        match self.query(Query::Devices).await? {
            Answer::Devices(devices) => Ok(devices),
            Answer::Group(_) | Answer::Error(_) => Err(RequestError::Unavailable),
        }
    }

    /// The members of a group this user is in.
    ///
    /// # Errors
    /// [`RequestError::NotFound`] also when the user is not a member.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn group(&self, group: GroupId) -> Result<Roster, RequestError> {
        match self.query(Query::Group(group)).await? {
            Answer::Group(roster) => Ok(roster),
            Answer::Devices(_) | Answer::Error(_) => Err(RequestError::Unavailable),
        }
    }

    async fn query(&self, query: Query) -> Result<Answer, RequestError> {
        let (tell, answer) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if let Some(reason) = &state.closed {
                return Err(reason.clone().into());
            }
            let asked = state.session.query(query);
            let request = asked.map_err(|_| RequestError::TooMany)?;
            state.answers.insert(request, tell);
        }
        self.shared.work.notify_one();
        let closed = |_| Err(self.shared.closed().into());
        answer.await.unwrap_or_else(closed)
    }

    /// What is only worth having now: signals of others, and who of the watched is connected.
    #[must_use]
    pub fn hints(&self) -> Hints {
        Hints::new(Arc::clone(&self.shared))
    }

    /// Sends something that is only worth having now, such as that somebody types, to the connected
    /// devices of these users, 1 to 32: an opaque body of at most 1 KiB. It arrives at most once,
    /// perhaps never; nobody answers. An edge takes what goes to 20 users a second, and drops more.
    ///
    /// # Errors
    /// When it does not leave. [`SignalError::NotNow`] is nothing to act on: by the next connection
    /// it would be old.
    pub fn signal(&self, to: &[UserId], body: impl Into<Bytes>) -> Result<(), SignalError> {
        self.shared.lock().session.signal(to, body.into())?;
        self.shared.work.notify_one();
        Ok(())
    }

    /// Wants to know whether these users are connected, at most 256 in place of those before; told
    /// as [`Hint::Online`](crate::Hint::Online) and [`Hint::Offline`](crate::Hint::Offline), across
    /// connections. Who does not show itself to this user is never online.
    ///
    /// # Errors
    /// [`SignalError::Users`] when there are too many.
    pub fn watch(&self, users: &[UserId]) -> Result<(), SignalError> {
        self.shared.lock().session.watch(users)?;
        self.shared.work.notify_one();
        Ok(())
    }

    /// Lets these users know when this device is connected, at most 256 in place of those before;
    /// across connections. Nobody else is ever told.
    ///
    /// # Errors
    /// [`SignalError::Users`] when there are too many.
    pub fn show(&self, users: &[UserId]) -> Result<(), SignalError> {
        self.shared.lock().session.show(users)?;
        self.shared.work.notify_one();
        Ok(())
    }

    /// Whether a watched user who shows itself to this user is connected, as far as is known.
    #[must_use]
    pub fn is_online(&self, user: UserId) -> bool {
        self.shared.lock().session.is_online(user)
    }

    /// Moves the connection to another socket, as a phone changing networks does; over a shared
    /// socket those of all its clients.
    ///
    /// # Errors
    /// When there is no socket to be had; the old one stays.
    pub fn rebind(&self) -> Result<(), ConnectError> {
        self.network.rebind().map_err(|error| ConnectError::Config(error.to_string()))
    }

    /// Waits until everything sent is answered and what was acknowledged is told, at most
    /// `close_within`; then ends.
    ///
    /// # Cancel safety
    /// A dropped call ends the client at once.
    pub async fn close(self) {
        self.stop.cancel();
        let mut driver = {
            let mut driver = self.driver.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            std::mem::take(&mut *driver)
        };
        while driver.join_next().await.is_some() {}
    }
}

async fn load(store: &Arc<dyn Store>) -> Result<Loaded, Closed> {
    let loaded = if store.blocks() {
        let store = Arc::clone(store);
        let load = tokio::task::spawn_blocking(move || store.load());
        load.await.map_err(|error| Closed::Store(error.to_string()))?
    } else {
        store.load()
    };
    loaded.map_err(|error| Closed::Store(error.to_string()))
}

impl Drop for Client {
    fn drop(&mut self) {
        // The driver is aborted with its `JoinSet`; whoever waits is told here.
        self.shared.close(Closed::Here);
    }
}

impl Future for Sending {
    type Output = Result<Accepted, SendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = std::task::ready!(Pin::new(&mut self.answer).poll(context));
        Poll::Ready(answered.unwrap_or_else(|_| Err(self.shared.closed().into())))
    }
}
