//! Keeping a connection: made in the background, made again with growing pauses when it breaks.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use redis::{RedisError, RedisResult, Value, from_redis_value};
use tokio::{
    sync::{Notify, watch},
    time::{MissedTickBehavior, interval, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::{
    connect::{Connected, Connector, Endpoint, describe},
    connection::Connection,
};

/// Pause after the first failure to connect; doubled after each.
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// Longest such pause: a Redis that is back is found within it.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// How often a connection is looked at when nobody complains.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Sentinels are asked at one look of so many: to find out about a server that was replaced and
/// does not know.
const SENTINEL_LOOKS: u64 = 5;
/// A cluster's connection mends itself. It is made anew, from the servers configured, when looks
/// fail so often in a row.
const CLUSTER_LOOKS_MAX: u32 = 5;
/// Connecting takes no longer, whatever the time for a call: several servers may have to be asked.
const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// What the task that connects and the callers share.
pub(crate) struct Shared {
    state: watch::Sender<State>,
    /// Someone met a failure that may mean that the connection is broken.
    suspect: Notify,
    /// Why it does not work.
    trouble: Mutex<Option<String>>,
    /// What was written may be lost: another server answers. Counts up.
    pub(crate) losses: AtomicU64,
    pub(crate) connects: AtomicU64,
}

/// Whether there is a connection.
#[derive(Clone)]
enum State {
    /// Not yet, or not again yet.
    Connecting,
    /// This one.
    Connected(Connection),
    /// The last attempt failed.
    Down,
}

/// A look at a connection.
enum Look {
    Good,
    /// It does not work, and may again.
    Bad(String),
    /// It must be made again.
    Broken(String),
}

impl Shared {
    pub(crate) fn new() -> Self {
        Self {
            state: watch::Sender::new(State::Connecting),
            suspect: Notify::new(),
            trouble: Mutex::new(Some("not connected yet".to_owned())),
            losses: AtomicU64::new(0),
            connects: AtomicU64::new(0),
        }
    }

    /// The connection; waits while one is made, and is `None` while that fails.
    ///
    /// # Cancel safety
    /// Loses nothing.
    pub(crate) async fn connection(&self) -> Option<Connection> {
        let mut state = self.state.subscribe();
        let settled = state.wait_for(|state| !matches!(state, State::Connecting)).await;
        match &*settled.ok()? {
            State::Connected(connection) => Some(connection.clone()),
            State::Connecting | State::Down => None,
        }
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(*self.state.borrow(), State::Connected(_))
    }

    /// Has the connection looked at now.
    pub(crate) fn suspect(&self) {
        self.suspect.notify_one();
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// There will be no connection any more, which is what was wanted and no news.
    fn close(&self) {
        let mut trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        *trouble = Some("closed".to_owned());
        self.state.send_replace(State::Down);
    }

    fn set_trouble(&self, trouble: Option<String>) {
        let mut present = self.trouble.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*present, &trouble) {
            (None, Some(why)) => tracing::warn!(why, "presence on Redis fails"),
            (Some(_), None) => tracing::info!("presence on Redis works"),
            (None, None) | (Some(_), Some(_)) => {}
        }
        *present = trouble;
    }
}

/// Connects, and connects again, until stopped.
pub(crate) async fn keep(
    connector: Arc<Connector>,
    shared: Arc<Shared>,
    within: Duration,
    stop: CancellationToken,
) {
    let keeping = async {
        let mut keeper =
            Keeper { connector, shared: shared.clone(), within, run_id: None, looks: 0 };
        let mut pause = PAUSE_MIN;
        loop {
            match keeper.connect().await {
                Ok(connected) => {
                    pause = PAUSE_MIN;
                    let why = keeper.watch(connected).await;
                    keeper.shared.set_trouble(Some(why));
                    keeper.shared.state.send_replace(State::Connecting);
                }
                Err(why) => {
                    keeper.shared.set_trouble(Some(why));
                    keeper.shared.state.send_replace(State::Down);
                    sleep(pause).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    };
    stop.run_until_cancelled(keeping).await;
    shared.close();
}

struct Keeper {
    connector: Arc<Connector>,
    shared: Arc<Shared>,
    within: Duration,
    /// Which start of which server answered last.
    run_id: Option<String>,
    looks: u64,
}

impl Keeper {
    async fn connect(&mut self) -> Result<Connected, String> {
        let connecting = async {
            let mut connected = self.connector.connect().await?;
            let run_id = match &connected.server {
                Some(_) => Some(writable_run_id(&mut connected.connection).await?),
                None => None,
            };
            RedisResult::Ok((connected, run_id))
        };
        let (connected, run_id) = match timeout(CONNECT_WITHIN, connecting).await {
            Ok(done) => done.map_err(|error| describe(&error))?,
            Err(_) => return Err("no connection in time".to_owned()),
        };
        if self.run_id.is_some() && self.run_id != run_id {
            self.shared.losses.fetch_add(1, Relaxed);
        }
        self.run_id = run_id;
        self.shared.connects.fetch_add(1, Relaxed);
        self.shared.set_trouble(None);
        self.shared.state.send_replace(State::Connected(connected.connection.clone()));
        Ok(connected)
    }

    /// Looks at the connection now and then, until it must be made again. Says why.
    async fn watch(&mut self, mut connected: Connected) -> String {
        let mut ticks = interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut failed = 0;
        loop {
            tokio::select! {
                biased;
                _ = ticks.tick() => {}
                // At most one look more for each that has ended.
                () = self.shared.suspect.notified() => {}
            }
            let look = match timeout(self.within, self.look(&mut connected)).await {
                Ok(look) => look,
                Err(_) if connected.server.is_some() => Look::Broken("no answer in time".into()),
                Err(_) => Look::Bad("no answer in time".into()),
            };
            match look {
                Look::Good => {
                    failed = 0;
                    self.shared.set_trouble(None);
                }
                Look::Broken(why) => return why,
                Look::Bad(why) => {
                    failed += 1;
                    if failed == CLUSTER_LOOKS_MAX {
                        return why;
                    }
                    self.shared.set_trouble(Some(why));
                    ticks.tick().await;
                }
            }
        }
    }

    async fn look(&mut self, connected: &mut Connected) -> Look {
        let Some(server) = &connected.server else {
            return match cluster_state(&mut connected.connection).await {
                Ok(state) if state == "ok" => Look::Good,
                Ok(state) => Look::Bad(format!("the cluster's state is {state}")),
                Err(error) => Look::Bad(describe(&error)),
            };
        };
        match info(&mut connected.connection, "replication").await {
            Ok(text) if is_replica(&text) => return Look::Broken("it is a replica now".into()),
            Ok(_) => {}
            Err(error) => return Look::Broken(describe(&error)),
        }
        self.looks += 1;
        if !self.looks.is_multiple_of(SENTINEL_LOOKS) {
            return Look::Good;
        }
        match self.connector.elected().await {
            Some(Ok(elected)) if elected != *server => Look::Broken(replaced(&elected)),
            // Sentinels that do not answer are no reason to leave a server that does.
            Some(Ok(_) | Err(_)) | None => Look::Good,
        }
    }
}

fn replaced(by: &Endpoint) -> String {
    format!("{}:{} is in charge now", by.host, by.port)
}

/// Which start of a server this is. Fails on one that takes no writes, which another replaces soon.
async fn writable_run_id(connection: &mut Connection) -> RedisResult<String> {
    let replication = info(connection, "replication").await?;
    if is_replica(&replication) {
        let what = "the server is a replica";
        return Err(RedisError::from((redis::ErrorKind::Client, what)));
    }
    let server = info(connection, "server").await?;
    Ok(value_of(&server, "run_id").unwrap_or_default().to_owned())
}

fn is_replica(replication: &str) -> bool {
    value_of(replication, "role") == Some("slave")
}

async fn cluster_state(connection: &mut Connection) -> RedisResult<String> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("INFO");
    let text = text(connection.ask(command).await?)?;
    Ok(value_of(&text, "cluster_state").unwrap_or("unknown").to_owned())
}

/// A section of what a server says about itself.
pub(crate) async fn info(connection: &mut Connection, section: &str) -> RedisResult<String> {
    let mut command = redis::cmd("INFO");
    command.arg(section);
    text(connection.ask(command).await?)
}

/// The value of `name:value` in a server's text.
pub(crate) fn value_of<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

fn text(value: Value) -> RedisResult<String> {
    Ok(from_redis_value(value)?)
}
