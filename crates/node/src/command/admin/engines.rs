//! The engines of a configuration, opened for one command and closed again.

use std::sync::Arc;

use embedded::{Engine, Standing};
use log_kafka::{KafkaConfig, admin::AdminError};
use mailbox_scylla::{CqlConfig, CqlStore, OpenError, schema::SchemaError};
use ports::Mailbox;

use crate::{
    assemble::cannot_open,
    catalogue::Code,
    clock::wall_clock_ms,
    config::{Config, cluster},
    failure::{Failure, Outcome},
};

/// Engines that hold mailboxes.
pub enum Engines {
    /// All in a data directory that no other process uses.
    Embedded(Box<Engine>),
    /// In the database of a cluster.
    Cluster(Box<CqlStore>),
}

impl Engines {
    /// Opens what the configuration names. Nothing is made where nothing is.
    ///
    /// # Errors
    /// When it cannot be used now or as it is.
    ///
    /// # Cancel safety
    /// Nothing stays open.
    pub async fn open(config: &Config) -> Outcome<Self> {
        match config.node.engines {
            cluster::Engines::Embedded => {
                Ok(Self::Embedded(Box::new(open_embedded(config).await?)))
            }
            cluster::Engines::Cluster => {
                let store = CqlStore::open(cql(config)?, wall_clock_ms).await;
                Ok(Self::Cluster(Box::new(store.map_err(store_closed)?)))
            }
        }
    }

    /// The mailboxes.
    #[must_use]
    pub fn mailbox(&self) -> Arc<dyn Mailbox> {
        match self {
            Self::Embedded(engine) => engine.engines().mailbox,
            Self::Cluster(store) => store.mailbox(),
        }
    }

    /// Closes them; what was done is durable then.
    ///
    /// # Errors
    /// What failed: it is then not known whether everything is.
    ///
    /// # Cancel safety
    /// As a crash.
    pub async fn close(self) -> Outcome {
        match self {
            Self::Embedded(engine) => close_embedded(*engine).await,
            Self::Cluster(store) => {
                store.close().await;
                Ok(())
            }
        }
    }
}

/// Opens the data directory, which must be there and free.
///
/// # Errors
/// When it is not.
///
/// # Cancel safety
/// It is closed again.
pub async fn open_embedded(config: &Config) -> Outcome<Engine> {
    let opening = config.engine_config();
    let data = config.node.data.display().to_string();
    let opened = tokio::task::spawn_blocking(move || match Engine::look(&opening)? {
        Standing::Absent => Ok(None),
        Standing::Free => Engine::open(opening, wall_clock_ms).map(Some),
    });
    let opened = opened.await.map_err(anyhow::Error::from)?;
    opened.map_err(|error| cannot_open(&error))?.ok_or_else(|| {
        Failure::new(Code::NoEngineHere, "no embedded engine was ever started here")
            .at(data)
            .remedy("name the folder by --set node.data=DIR, or the cluster by --config FILE")
    })
}

/// Closes an engine.
///
/// # Errors
/// When it could not be closed in order.
///
/// # Cancel safety
/// It is closed all the same.
pub async fn close_embedded(engine: Engine) -> Outcome {
    let closed = tokio::task::spawn_blocking(move || engine.close()).await;
    closed.map_err(anyhow::Error::from)?.map_err(|error| {
        Failure::new(Code::EngineFailed, error.to_string())
            .at("closing the engines")
            .remedy("give the command again: the data directory recovers as after a crash")
    })
}

/// Options of Kafka, for a cluster that has one.
///
/// # Errors
/// When the configuration names none.
pub fn kafka(config: &Config) -> Outcome<KafkaConfig> {
    needs(config, "kafka.brokers", &config.kafka.brokers)?;
    config.kafka_config()
}

/// Options of the database, for a cluster that has one.
///
/// # Errors
/// When the configuration names none.
pub fn cql(config: &Config) -> Outcome<CqlConfig> {
    needs(config, "cql.nodes", &config.cql.nodes)?;
    Ok(config.cql_config())
}

fn needs(config: &Config, setting: &str, addresses: &[String]) -> Outcome {
    if config.node.engines == cluster::Engines::Embedded {
        return Err(Failure::new(
            Code::NeedsCluster,
            "the configuration keeps everything in one process, which has no such engine",
        )
        .at("node.engines = \"embedded\"")
        .remedy("name the configuration of the cluster by --config FILE"));
    }
    if addresses.is_empty() {
        return Err(Failure::new(Code::SettingMissing, format!("a cluster needs `{setting}`"))
            .at(setting)
            .remedy("set it to host:port of one or more servers"));
    }
    Ok(())
}

/// Why Kafka did not do what it was asked.
#[must_use]
pub fn kafka_failed(error: &AdminError) -> Failure {
    match error {
        AdminError::Retry(problem) => unreachable("Kafka", problem),
        AdminError::Refused { what, remedy } => refused("Kafka", what, remedy),
    }
}

/// Why the database did not do what it was asked.
#[must_use]
pub fn schema_failed(error: &SchemaError) -> Failure {
    match error {
        SchemaError::Unreachable(problem) => unreachable("the database", problem),
        SchemaError::Refused { what, remedy } => refused("the database", what, remedy),
    }
}

fn store_closed(error: OpenError) -> Failure {
    match error {
        OpenError::Unreachable(problem) => unreachable("the database", &problem),
        OpenError::NotReady { what, remedy } | OpenError::Refused { what, remedy } => {
            refused("the database", &what, &remedy)
        }
    }
}

fn unreachable(engine: &str, problem: &str) -> Failure {
    Failure::new(Code::EngineFailed, format!("{engine} did not answer: {problem}"))
        .remedy("see what `posthorn check` says, then give the command again: it goes on")
}

fn refused(engine: &str, what: &str, remedy: &str) -> Failure {
    Failure::new(Code::EngineRefused, what).at(engine).remedy(remedy)
}
