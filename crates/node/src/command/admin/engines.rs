//! The engines of a configuration, opened for one command and closed again.

use std::sync::Arc;

use embedded::{Engine, Standing};
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
            cluster::Engines::Cluster => todo!(),
        }
    }

    /// The mailboxes.
    #[must_use]
    pub fn mailbox(&self) -> Arc<dyn Mailbox> {
        match self {
            Self::Embedded(engine) => engine.engines().mailbox,
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
