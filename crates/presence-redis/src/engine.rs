//! The port on a connection.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use ports::{
    BoxFuture, Presence, StoreError,
    presence::{Lease, ROUTE_KEPT, Renewed, Route},
};
use redis::{ErrorKind, Pipeline, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::timeout;
use wire::{EdgeId, UserId};

use crate::{
    connect::describe,
    connection::Connection,
    keeper::Shared,
    keys::{self, Keys},
    leases::{KnownLeases, is_live},
    scripts::{Run, Scripts, Source},
    witness::Witnesses,
};

/// Commands of one pipeline, so that one call does not keep others waiting for long.
const PIPELINE_MAX: usize = 512;
/// Pipelines of one call at a time.
const PIPELINES_MAX: usize = 64;

/// Presence on a connection that comes and goes.
pub(crate) struct RedisEngine {
    pub(crate) shared: Arc<Shared>,
    pub(crate) within: Duration,
    pub(crate) keys: Keys,
    pub(crate) scripts: Scripts,
    pub(crate) known: KnownLeases,
    pub(crate) witnesses: Witnesses,
    /// Of the losses counted, how many each edge here was told of. Bounded by these edges.
    pub(crate) told: Mutex<BTreeMap<EdgeId, u64>>,
    pub(crate) calls: AtomicU64,
    pub(crate) failures: AtomicU64,
}

impl RedisEngine {
    /// Does a call within the time for it.
    async fn call<T>(
        &self,
        call: impl AsyncFnOnce(Connection) -> RedisResult<T> + Send,
    ) -> Result<T, StoreError> {
        self.calls.fetch_add(1, Relaxed);
        let calling = async {
            let connection = self.shared.connection().await;
            let Some(connection) = connection else {
                let why = self.shared.trouble();
                return Err(StoreError::Retry(why.unwrap_or_else(|| "no connection".to_owned())));
            };
            call(connection).await.map_err(|error| self.failure(&error))
        };
        let outcome = timeout(self.within, calling).await.unwrap_or_else(|_| {
            self.shared.suspect();
            Err(StoreError::Retry("Redis did not answer in time".to_owned()))
        });
        if outcome.is_err() {
            self.failures.fetch_add(1, Relaxed);
        }
        outcome
    }

    fn failure(&self, error: &RedisError) -> StoreError {
        if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) {
            return StoreError::Stop(describe(error));
        }
        // Others, such as a full memory, say nothing about the connection.
        if error.is_unrecoverable_error()
            || error.is_io_error()
            || error.kind() == ErrorKind::Server(ServerErrorKind::ReadOnly)
        {
            self.shared.suspect();
        }
        StoreError::Retry(describe(error))
    }

    /// One script per user, those of a slot together.
    async fn write_routes(
        &self,
        connection: Connection,
        script: &Source,
        routes: &[Route],
        first: &[u8],
    ) -> RedisResult<()> {
        let mut users: BTreeMap<_, Vec<&Route>> = BTreeMap::new();
        for route in routes {
            let shard = keys::shard_of(route.user).get();
            users.entry((shard, route.user)).or_default().push(route);
        }
        let runs = users.into_iter().map(|((shard, user), routes)| {
            let mut arguments = Vec::with_capacity(1 + 2 * routes.len());
            if !first.is_empty() {
                arguments.push(first.to_vec());
            }
            for route in routes {
                arguments.push(route.device.as_bytes().to_vec());
                arguments.push(keys::place(route).to_vec());
            }
            let keys = vec![self.keys.routes(keys::shard_of(user), user)];
            (shard, Run { keys, arguments })
        });
        let groups = grouped(runs, connection.takes_all_slots());
        stream::iter(groups)
            .map(|runs| {
                let mut connection = connection.clone();
                async move { script.run(&mut connection, &runs).await.map(drop) }
            })
            .buffer_unordered(PIPELINES_MAX)
            .try_collect()
            .await
    }

    /// What is written about these users, whether their edges live or not.
    async fn read_routes(
        &self,
        connection: Connection,
        users: &[UserId],
    ) -> RedisResult<Vec<Route>> {
        let mut sorted: Vec<_> =
            users.iter().map(|user| (keys::shard_of(*user).get(), *user)).collect();
        sorted.sort_unstable();
        sorted.dedup();
        let found = stream::iter(grouped(sorted.into_iter(), connection.takes_all_slots()))
            .map(|users| self.read_group(connection.clone(), users))
            .buffer_unordered(PIPELINES_MAX)
            .try_collect::<Vec<_>>()
            .await?;
        Ok(found.into_iter().flatten().collect())
    }

    async fn read_group(
        &self,
        mut connection: Connection,
        users: Vec<UserId>,
    ) -> RedisResult<Vec<Route>> {
        let mut pipeline = Pipeline::with_capacity(users.len());
        for user in &users {
            pipeline.cmd("HGETALL").arg(self.keys.routes(keys::shard_of(*user), *user));
        }
        let answers = connection.send(&pipeline).await?;
        let mut routes = Vec::new();
        for (user, answer) in users.into_iter().zip(answers) {
            for (field, value) in redis::from_redis_value::<Vec<(Vec<u8>, Vec<u8>)>>(answer)? {
                // What another program wrote there is nobody's route.
                routes.extend(keys::route(user, &field, &value));
            }
        }
        Ok(routes)
    }

    /// The leases that live now; what is known already is not sent again.
    async fn live(&self, mut connection: Connection) -> RedisResult<Arc<Vec<Lease>>> {
        let known = self.known.get();
        let run = self.lease_run(vec![known.version.clone()]);
        let answers = self.scripts.leases.run(&mut connection, &[run]).await?;
        self.known.learn(known, only(answers)?)
    }

    fn lease_run(&self, arguments: Vec<Vec<u8>>) -> Run {
        Run { keys: self.keys.leases().to_vec(), arguments }
    }

    async fn renew(
        &self,
        mut connection: Connection,
        lease: &Lease,
        ttl: Duration,
    ) -> RedisResult<Renewed> {
        let run = self.lease_run(vec![
            keys::edge_name(lease.edge).into_bytes(),
            ttl.as_millis().to_string().into_bytes(),
            lease.address.clone().into_bytes(),
            kept(),
        ]);
        let looking = self.witnesses.look(connection.clone(), &self.scripts.witness, &self.keys);
        let runs = [run];
        let renewing = self.scripts.renew.run(&mut connection, &runs);
        let (lost, renewed) = tokio::join!(timeout(self.within / 2, looking), renewing);
        // A server that does not answer is looked at again at the next renewal.
        if matches!(lost, Ok(Ok(true))) {
            self.shared.losses.fetch_add(1, Relaxed);
        }
        let was_held: bool = redis::from_redis_value(only(renewed?)?)?;
        let losses = self.shared.losses.load(Relaxed);
        let told = self.told().insert(lease.edge, losses);
        let lost = told.is_some_and(|told| told != losses);
        Ok(if was_held && !lost { Renewed::Held } else { Renewed::Anew })
    }

    fn told(&self) -> MutexGuard<'_, BTreeMap<EdgeId, u64>> {
        self.told.lock().expect("no holder of this lock panics")
    }
}

impl Presence for RedisEngine {
    fn renew_lease(
        &self,
        lease: Lease,
        ttl: Duration,
    ) -> BoxFuture<'_, Result<Renewed, StoreError>> {
        Box::pin(async move {
            self.call(async |connection| self.renew(connection, &lease, ttl).await).await
        })
    }

    fn release_lease(&self, edge: EdgeId) -> BoxFuture<'_, Result<(), StoreError>> {
        let run = self.lease_run(vec![keys::edge_name(edge).into_bytes()]);
        Box::pin(async move {
            let runs = [run];
            self.call(async |mut connection| {
                self.scripts.release.run(&mut connection, &runs).await.map(drop)
            })
            .await?;
            self.told().remove(&edge);
            Ok(())
        })
    }

    fn attach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.call(async |connection| {
                self.write_routes(connection, &self.scripts.attach, &routes, &kept()).await
            })
            .await
        })
    }

    fn detach(&self, routes: Vec<Route>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.call(async |connection| {
                self.write_routes(connection, &self.scripts.detach, &routes, &[]).await
            })
            .await
        })
    }

    fn lookup(&self, users: Vec<UserId>) -> BoxFuture<'_, Result<Vec<Route>, StoreError>> {
        Box::pin(async move {
            self.call(async |connection| {
                let reading = self.read_routes(connection.clone(), &users);
                let (routes, leases) = tokio::join!(reading, self.live(connection.clone()));
                let (mut routes, mut leases) = (routes?, leases?);
                // Its lease may have been written after they were read, and before the route was.
                if !routes.iter().all(|route| is_live(&leases, route.edge)) {
                    leases = self.live(connection).await?;
                }
                routes.retain(|route| is_live(&leases, route.edge));
                Ok(routes)
            })
            .await
        })
    }

    fn leases(&self) -> BoxFuture<'_, Result<Vec<Lease>, StoreError>> {
        Box::pin(async move {
            let leases = self.call(async |connection| self.live(connection).await).await?;
            Ok(leases.to_vec())
        })
    }
}

/// Groups of what may go together: of one slot, or of any; none too large. What has the same number
/// comes one after the other.
fn grouped<T>(items: impl Iterator<Item = (u16, T)>, any_slot: bool) -> Vec<Vec<T>> {
    let mut groups: Vec<(u16, Vec<T>)> = Vec::new();
    for (shard, item) in items {
        match groups.last_mut() {
            Some((of, group)) if (any_slot || *of == shard) && group.len() < PIPELINE_MAX => {
                group.push(item);
            }
            Some(_) | None => groups.push((shard, vec![item])),
        }
    }
    groups.into_iter().map(|(_, group)| group).collect()
}

/// The answer to the only command.
pub(crate) fn only(answers: Vec<Value>) -> RedisResult<Value> {
    let [answer] = <[Value; 1]>::try_from(answers)
        .map_err(|_| RedisError::from((ErrorKind::UnexpectedReturnType, "not one answer")))?;
    Ok(answer)
}

/// Seconds to keep what is written.
pub(crate) fn kept() -> Vec<u8> {
    ROUTE_KEPT.as_secs().to_string().into_bytes()
}
