//! Names inside one process that can be dialled.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, Weak},
};

use tokio::{sync::mpsc, time::timeout};

use super::connection::{Closing, Link, pair};
use crate::{
    config::{CONNECT_WITHIN, MEMORY_BACKLOG_MAX},
    connection::Connection,
    error::LinkError,
    secret::MasterSecret,
};

/// Listeners by name. Cheap to clone; all clones are one hub.
#[derive(Clone)]
pub struct Hub {
    state: Arc<Mutex<State>>,
}

struct State {
    secret: MasterSecret,
    /// Connections made and listeners started so far; numbers both.
    count: u64,
    listeners: BTreeMap<String, Listening>,
    /// Live connections by the name dialled.
    links: BTreeMap<String, Vec<Weak<Link>>>,
}

struct Listening {
    number: u64,
    backlog: mpsc::Sender<Connection>,
}

impl Hub {
    /// An empty hub. What its connections export follows from `seed` and the order of dialling.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_be_bytes());
        let state = State {
            secret: MasterSecret::from_bytes(bytes),
            count: 0,
            listeners: BTreeMap::new(),
            links: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Listens under `name` until the listener is dropped. A name listened to already passes to
    /// the new listener, as with a process that starts again; the old one gets no more.
    #[must_use]
    pub fn listen(&self, name: &str) -> MemoryListener {
        let (backlog, dialled) = mpsc::channel(MEMORY_BACKLOG_MAX);
        let mut state = self.state();
        let number = state.next_number();
        state.listeners.insert(name.to_owned(), Listening { number, backlog });
        MemoryListener { hub: self.clone(), name: name.to_owned(), number, dialled }
    }

    /// Connects to the listener called `name`.
    ///
    /// # Errors
    /// [`LinkError::Unreachable`] when nobody listens; [`LinkError::TimedOut`] when more than
    /// [`MEMORY_BACKLOG_MAX`] connections stayed unaccepted for [`CONNECT_WITHIN`].
    ///
    /// # Cancel safety
    /// A dropped call made no connection.
    pub async fn dial(&self, name: &str) -> Result<Connection, LinkError> {
        let nobody = || LinkError::Unreachable(format!("nobody listens as \"{name}\""));
        let listening = self.state().listeners.get(name).map(|found| found.backlog.clone());
        let backlog = listening.ok_or_else(nobody)?;
        let place = timeout(CONNECT_WITHIN, backlog.reserve()).await;
        let place = place.map_err(|_| LinkError::TimedOut)?.map_err(|_| nobody())?;
        let (here, there) = self.state().connect(name);
        place.send(there);
        Ok(here)
    }

    /// Cuts every connection that was dialled by `name`: both ends of each find it lost. The
    /// listener stays and can be dialled again.
    pub fn cut(&self, name: &str) {
        let links = self.state().links.remove(name).unwrap_or_default();
        for link in links.iter().filter_map(Weak::upgrade) {
            link.end(Closing::Lost);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with the lock held")
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.state().listeners.keys()).finish()
    }
}

impl State {
    fn next_number(&mut self) -> u64 {
        self.count += 1;
        self.count
    }

    fn connect(&mut self, name: &str) -> (Connection, Connection) {
        let number = self.next_number();
        let (here, there) = pair(self.secret.derive(b"exporter", &number.to_be_bytes()));
        let links = self.links.entry(name.to_owned()).or_default();
        links.retain(|link| link.upgrade().is_some_and(|link| link.is_open()));
        if let Some(carrier) = here.as_memory() {
            links.push(Arc::downgrade(carrier.link()));
        }
        (here, there)
    }
}

/// What listens under one name of a [`Hub`].
pub struct MemoryListener {
    hub: Hub,
    name: String,
    number: u64,
    dialled: mpsc::Receiver<Connection>,
}

impl MemoryListener {
    /// The next connection; `None` once another listener has taken the name.
    ///
    /// # Cancel safety
    /// A dropped call took no connection.
    pub async fn accept(&mut self) -> Option<Connection> {
        self.dialled.recv().await
    }

    /// The name it listens under.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for MemoryListener {
    fn drop(&mut self) {
        let mut state = self.hub.state();
        let listening = state.listeners.get(&self.name);
        if listening.is_some_and(|listening| listening.number == self.number) {
            state.listeners.remove(&self.name);
        }
    }
}

impl fmt::Debug for MemoryListener {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("MemoryListener").field(&self.name).finish()
    }
}
