//! A process of a cluster: engines, edge and workers, put together from a configuration.

mod distributed;
mod local;
mod mesh;
mod opened;
mod patience;
mod roles;
mod standing;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use edge::EdgeHandle;
use prometheus::Registry;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use worker::WorkerHandle;

use crate::{
    admin::Readiness,
    assemble::mesh::Mesh,
    catalogue::Code,
    config::{Config, Role, cluster},
    failure::{Failure, Outcome},
};

pub use local::cannot_open;
pub use opened::Opened;
pub use standing::{EngineName, Shown, Standing};

/// A running process of a cluster, or a cluster of its own. Dropping it ends everything at once;
/// nothing accepted is lost by that.
pub struct Cluster {
    opened: Opened,
    address: Option<SocketAddr>,
    edge: Option<EdgeHandle>,
    worker: Option<WorkerHandle>,
    stop_edge: CancellationToken,
    stop_workers: CancellationToken,
    parts: JoinSet<Ended>,
    shown: Shown,
    drain_within: Duration,
}

/// A part that has ended, and why if nobody asked it to.
type Ended = (Part, Result<(), String>);

/// A part that runs until it is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The role edge.
    Edge,
    /// The roles of workers.
    Workers,
}

/// Checks what can be checked without starting anything: settings, certificates and keys.
///
/// # Errors
/// The first thing that would keep the process from starting.
pub fn check(config: &Config) -> Outcome {
    config.check()?;
    if config.has(Role::Edge) {
        roles::certificate(config)?;
    }
    match config.node.engines {
        cluster::Engines::Embedded => Ok(()),
        cluster::Engines::Cluster => mesh::identity(config).map(drop),
    }
}

impl Cluster {
    /// Opens the engines and starts the roles. It serves when this returns.
    ///
    /// # Errors
    /// What keeps it from starting; nothing stays open then.
    ///
    /// # Cancel safety
    /// As dropping a cluster.
    pub async fn start(config: &Config) -> Outcome<Self> {
        Self::start_shown(config, Shown::default()).await
    }

    /// As [`Self::start`]; what it waits for is told in `shown` meanwhile.
    ///
    /// # Errors
    /// As [`Self::start`].
    ///
    /// # Cancel safety
    /// As [`Self::start`].
    pub async fn start_shown(config: &Config, shown: Shown) -> Outcome<Self> {
        check(config)?;
        let opened = Opened::open(config, &shown.standing).await?;
        Self::start_on(config, opened, shown).await
    }

    /// As [`Self::start_shown`], on engines that are open.
    ///
    /// # Errors
    /// As [`Self::start`].
    ///
    /// # Cancel safety
    /// As [`Self::start`].
    pub async fn start_on(config: &Config, opened: Opened, shown: Shown) -> Outcome<Self> {
        check(config)?;
        opened.register(&shown.registry).map_err(anyhow::Error::from)?;
        let mut cluster = Self {
            opened,
            address: None,
            edge: None,
            worker: None,
            stop_edge: CancellationToken::new(),
            stop_workers: CancellationToken::new(),
            parts: JoinSet::new(),
            shown,
            drain_within: config.node.drain_within,
        };
        let mesh = Mesh::new(config, random())?;
        if config.has(Role::Edge) {
            cluster.start_edge(config, &mesh).await?;
        }
        if config.has(Role::MailWorker) || config.has(Role::GroupWorker) {
            cluster.start_workers(config, &mesh)?;
        }
        cluster.shown.standing.running(cluster.readiness());
        Ok(cluster)
    }

    /// Where clients connect, when there is an edge.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// What is counted.
    #[must_use]
    pub fn registry(&self) -> Registry {
        self.shown.registry.clone()
    }

    /// Whether it can serve.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let (edge, worker) = (self.edge.clone(), self.worker.clone());
        let engines = self.opened.trouble();
        Arc::new(move || {
            let edge = edge.as_ref().map(EdgeHandle::is_ready).filter(|one| !one.ready);
            let worker = worker.as_ref().map(WorkerHandle::is_ready).filter(|one| !one.ready);
            let edge = edge.map(|one| format!("edge: {}", one.reason));
            let worker = worker.map(|one| format!("workers: {}", one.reason));
            engines().into_iter().chain(edge).chain(worker).collect()
        })
    }

    /// Waits until a part ends although nobody asked it to.
    ///
    /// # Cancel safety
    /// A dropped call may have taken the end of a part; only drop it to drain or to end.
    pub async fn failed(&mut self) -> Failure {
        let ended = self.parts.join_next().await;
        // A drain does not wait again for what has ended.
        match &ended {
            Some(Ok((Part::Edge, _))) => self.edge = None,
            Some(Ok((Part::Workers, _))) => self.worker = None,
            // It is not known which one panicked: the other one must not be waited for in vain.
            Some(Err(_)) | None => self.stop_workers.cancel(),
        }
        stopped(ended)
    }

    /// Ends in order: the edge accepts nothing more, sends its clients elsewhere and answers what
    /// is in flight; the workers finish what they have in hand; the log is flushed; the engines
    /// close.
    ///
    /// # Errors
    /// A part that failed on the way. Nothing accepted is lost: the next start goes on.
    ///
    /// # Cancel safety
    /// As dropping a cluster.
    pub async fn drain(mut self) -> Outcome {
        let mut outcome = Ok(());
        self.stop_edge.cancel();
        if self.edge.is_some() {
            outcome = outcome.and(self.ended(Part::Edge).await);
        }
        self.stop_workers.cancel();
        if self.worker.is_some() {
            outcome = outcome.and(self.ended(Part::Workers).await);
        }
        let Self { opened, drain_within, .. } = self;
        outcome.and(opened.close(drain_within).await)
    }

    /// Waits for one part; another one that ends meanwhile is a failure.
    async fn ended(&mut self, wanted: Part) -> Outcome {
        match self.parts.join_next().await {
            None => Ok(()),
            Some(Ok((part, Ok(())))) if part == wanted => Ok(()),
            other => Err(stopped(other)),
        }
    }

    async fn start_edge(&mut self, config: &Config, mesh: &Mesh) -> Outcome {
        let engines = self.opened.engines.clone();
        let (edge, address) = roles::edge(config, engines, mesh, &self.shown.registry).await?;
        self.address = Some(address);
        self.edge = Some(edge.handle());
        let stop = self.stop_edge.clone();
        self.parts.spawn(async move {
            (Part::Edge, edge.run(stop).await.map_err(|error| error.to_string()))
        });
        Ok(())
    }

    fn start_workers(&mut self, config: &Config, mesh: &Mesh) -> Outcome {
        let engines = self.opened.engines.clone();
        let worker = roles::worker(config, engines, mesh, &self.shown.registry)?;
        self.worker = Some(worker.handle());
        let stop = self.stop_workers.clone();
        self.parts.spawn(async move {
            (Part::Workers, worker.run(stop).await.map_err(|error| error.to_string()))
        });
        Ok(())
    }
}

fn stopped(ended: Option<Result<Ended, JoinError>>) -> Failure {
    let what = match ended {
        None => "nothing runs any more".to_owned(),
        Some(Ok((part, Ok(())))) => format!("{part:?} ended although nobody had asked it to"),
        Some(Ok((part, Err(error)))) => format!("{part:?}: {error}"),
        Some(Err(error)) => error.to_string(),
    };
    Failure::new(Code::RoleStopped, what)
        .remedy("see the lines above; a new start goes on where this one ended")
}

fn random() -> u64 {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system has random numbers");
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use embedded::Engine;
    use tokio::time::timeout;
    use wire::{Partition, Topic};

    use super::*;
    use crate::{clock::wall_clock_ms, command::dev::use_development, development::Development};

    #[tokio::test]
    async fn a_cluster_whose_edge_has_failed_ends() {
        let folder = tempfile::tempdir().unwrap();
        let here = std::net::Ipv4Addr::LOCALHOST;
        let mut config = Config::default();
        use_development(&mut config, &Development::prepare(folder.path(), here.into()).unwrap());
        folder.path().clone_into(&mut config.node.data);
        config.listen.address = (here, 0).into();
        let engine = Engine::open(config.engine_config(), wall_clock_ms).unwrap();
        let newer = vec![(Partition::new(0), Bytes::from_static(b"\x7fnewer"))];
        let log = engine.engines().log;
        log.try_append(Topic::Control, newer).unwrap().await.unwrap();
        drop(log);
        engine.close().unwrap();

        let mut cluster = Cluster::start(&config).await.unwrap();
        let within = Duration::from_secs(30);
        timeout(within, cluster.failed()).await.expect("the edge ends");
        timeout(within, cluster.drain()).await.expect("the workers are stopped").unwrap();
    }
}
