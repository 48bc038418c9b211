//! A cluster in one process: engines, edge and workers, put together from a configuration.

use std::{fs, net::SocketAddr, path::Path, sync::Arc};

use edge::{Edge, EdgeHandle, EdgeMetrics, token::Verifier};
use embedded::{Engine, OpenError};
use link::{
    MeshDialer, MeshListener, SetupError, memory::Hub, quic::ServerEndpoint, tls::Certificate,
};
use ports::Engines;
use prometheus::Registry;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use wire::EdgeId;
use worker::{Worker, WorkerHandle, WorkerMetrics};

use crate::{
    admin::Readiness,
    catalogue::Code,
    clock::wall_clock_ms,
    config::{Config, Role},
    failure::{Failure, Outcome},
    metrics::EngineMetrics,
};

/// What workers call the edge of the same process.
const MESH_NAME: &str = "edge";

/// A running cluster. Dropping it ends everything at once; nothing accepted is lost by that.
pub struct Cluster {
    engine: Arc<Engine>,
    engines: Engines,
    address: Option<SocketAddr>,
    edge: Option<EdgeHandle>,
    worker: Option<WorkerHandle>,
    stop_edge: CancellationToken,
    stop_workers: CancellationToken,
    parts: JoinSet<Ended>,
    registry: Registry,
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

/// Checks what can be checked without starting anything: settings, certificate and key.
///
/// # Errors
/// The first thing that would keep the process from starting.
pub fn check(config: &Config) -> Outcome {
    config.check()?;
    if config.has(Role::Edge) {
        certificate(config)?;
    }
    Ok(())
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
        check(config)?;
        warn_of_missing(config);
        make_private_folder(&config.node.data)?;
        let opening = config.engine_config();
        let engine = tokio::task::spawn_blocking(move || Engine::open(opening, wall_clock_ms))
            .await
            .map_err(anyhow::Error::from)?
            .map_err(|error| cannot_open(&error))?;
        let engines = engine.engines();
        let engine = Arc::new(engine);
        let registry = Registry::new();
        EngineMetrics::register(&registry, &engine).map_err(anyhow::Error::from)?;
        let mut cluster = Self {
            engine,
            engines,
            address: None,
            edge: None,
            worker: None,
            stop_edge: CancellationToken::new(),
            stop_workers: CancellationToken::new(),
            parts: JoinSet::new(),
            registry,
        };
        let hub = Hub::new(random());
        if config.has(Role::Edge) {
            cluster.start_edge(config, &hub).await?;
        }
        if config.has(Role::MailWorker) || config.has(Role::GroupWorker) {
            cluster.start_workers(config, hub)?;
        }
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
        self.registry.clone()
    }

    /// Whether it can serve, for the admin listener.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        let (edge, worker) = (self.edge.clone(), self.worker.clone());
        Arc::new(move || {
            let edge = edge.as_ref().map(EdgeHandle::is_ready).filter(|one| !one.ready);
            let worker = worker.as_ref().map(WorkerHandle::is_ready).filter(|one| !one.ready);
            let edge = edge.map(|one| format!("edge: {}", one.reason));
            let worker = worker.map(|one| format!("workers: {}", one.reason));
            edge.into_iter().chain(worker).collect()
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
        self.engines.log.flush().await;
        let Self { engine, .. } = self;
        let Some(engine) = Arc::into_inner(engine) else {
            // Somebody looks at the metrics this very moment: dropping it is as safe as a crash.
            return outcome;
        };
        let closed = tokio::task::spawn_blocking(move || engine.close()).await;
        match closed.map_err(anyhow::Error::from)? {
            Ok(()) => outcome,
            Err(error) => outcome.and(Err(Failure::new(Code::RoleStopped, error.to_string())
                .at("closing the engines")
                .remedy("start again: it recovers as after a crash"))),
        }
    }

    /// Waits for one part; another one that ends meanwhile is a failure.
    async fn ended(&mut self, wanted: Part) -> Outcome {
        match self.parts.join_next().await {
            None => Ok(()),
            Some(Ok((part, Ok(())))) if part == wanted => Ok(()),
            other => Err(stopped(other)),
        }
    }

    async fn start_edge(&mut self, config: &Config, hub: &Hub) -> Outcome {
        let edge_id = EdgeId::new(random());
        let listen = config.listen.address;
        let endpoint = ServerEndpoint::bind(
            listen,
            link::config::ServerConfig {
                certificate: certificate(config)?,
                edge: edge_id,
                secret: config.master_secret()?,
                previous_secret: None,
            },
        )
        .map_err(|error| cannot_serve(&error, listen))?;
        self.address = endpoint.local_addr().ok();
        let verifier = Verifier::new(&config.token_config(), wall_clock_ms);
        verifier.refresh().await.map_err(|error| {
            Failure::new(Code::IdentityUnusable, error)
                .at(format!("identity.jwks = {}", config.identity.jwks))
                .remedy("fetch the key set by hand and look at it")
        })?;
        let metrics = EdgeMetrics::register(&self.registry).map_err(anyhow::Error::from)?;
        let edge = Edge::start(
            config.edge_config(),
            edge::Parts {
                engines: self.engines.clone(),
                endpoint,
                mesh: MeshListener::Memory(hub.listen(MESH_NAME)),
                mesh_address: MESH_NAME.to_owned(),
                dialer: MeshDialer::Memory(hub.clone()),
                verifier,
                wall_clock: wall_clock_ms,
                metrics,
                edge_id,
            },
        );
        self.edge = Some(edge.handle());
        let stop = self.stop_edge.clone();
        self.parts.spawn(async move {
            (Part::Edge, edge.run(stop).await.map_err(|error| error.to_string()))
        });
        Ok(())
    }

    fn start_workers(&mut self, config: &Config, hub: Hub) -> Outcome {
        let metrics = WorkerMetrics::new(&self.registry).map_err(anyhow::Error::from)?;
        let worker = Worker::new(
            config.worker_config(),
            worker::Parts {
                engines: self.engines.clone(),
                dialer: MeshDialer::Memory(hub),
                wall_clock: wall_clock_ms,
                metrics,
            },
        );
        self.worker = Some(worker.handle());
        let stop = self.stop_workers.clone();
        self.parts.spawn(async move {
            (Part::Workers, worker.run(stop).await.map_err(|error| error.to_string()))
        });
        Ok(())
    }
}

/// Embedded engines belong to one process: what it does not do, nobody does.
fn warn_of_missing(config: &Config) {
    let duties = [
        (Role::Edge, "no client can connect"),
        (Role::MailWorker, "accepted messages reach no mailbox until it runs on this data"),
        (Role::GroupWorker, "nothing in groups is decided or delivered until it runs on this data"),
    ];
    for (role, consequence) in duties {
        if !config.has(role) {
            tracing::warn!(?role, "this process does not play a role: {consequence}");
        }
    }
}

fn certificate(config: &Config) -> Outcome<Certificate> {
    let read = |setting: &str, path: &Option<std::path::PathBuf>| {
        let path = path.as_ref().expect("the settings were checked");
        fs::read(path).map_err(|error| {
            Failure::new(Code::CertificateUnusable, format!("`{setting}`: {error}"))
                .at(path.display().to_string())
                .remedy("check path, owner and mode of the file")
        })
    };
    let chain = read("listen.certificate_file", &config.listen.certificate_file)?;
    let key = read("listen.key_file", &config.listen.key_file)?;
    Certificate::from_pem(&chain, &key).map_err(|error| {
        Failure::new(Code::CertificateUnusable, error.to_string())
            .at("listen.certificate_file, listen.key_file")
            .remedy("give a PEM chain, the server's certificate first, and its key in PKCS #8")
    })
}

fn cannot_serve(error: &SetupError, address: SocketAddr) -> Failure {
    match error {
        SetupError::Pem { .. } | SetupError::Tls(_) => {
            Failure::new(Code::CertificateUnusable, error.to_string())
                .at("listen.certificate_file, listen.key_file")
                .remedy("check that key and certificate belong together")
        }
        SetupError::Socket { problem, .. } => {
            Failure::new(Code::CannotListen, format!("clients cannot be listened for: {problem}"))
                .at(format!("UDP {address}"))
                .remedy(
                    "choose another address (--listen, listen.address); port 0 takes any free one",
                )
        }
    }
}

fn cannot_open(error: &OpenError) -> Failure {
    match error {
        OpenError::InUse(directory) => {
            Failure::new(Code::DataInUse, "another process uses this data directory")
                .at(directory.display().to_string())
                .remedy("use the running one, stop it, or choose another folder (--data DIR)")
        }
        OpenError::Mismatch { directory, found, wanted } => {
            Failure::new(Code::DataForeign, format!("it was made with {found}, not with {wanted}"))
                .at(directory.display().to_string())
                .remedy("set back what was changed, or choose another folder")
        }
        OpenError::Io(directory, problem) => unusable(directory, problem),
        OpenError::Damaged(directory, problem) => {
            Failure::new(Code::DataForeign, format!("it cannot be opened: {problem}"))
                .at(directory.display().to_string())
                .remedy("use the program that made it, or choose another folder")
        }
    }
}

fn unusable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Code::DataUnusable, error.to_string())
        .at(path.display().to_string())
        .remedy("check that the disk has room and the folder is yours, or choose another one")
}

/// The data folder, for its owner only.
fn make_private_folder(path: &Path) -> Outcome {
    use std::os::unix::fs::DirBuilderExt as _;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(path).map_err(|error| unusable(path, &error))
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

    use std::time::Duration;

    use bytes::Bytes;
    use tokio::time::timeout;
    use wire::{Partition, Topic};

    use super::*;
    use crate::{command::dev::use_development, development::Development};

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
