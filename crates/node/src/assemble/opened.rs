//! Engines that are open, whatever they are.

use std::{sync::Arc, time::Duration};

use embedded::Engine;
use ports::Engines;
use prometheus::Registry;

use crate::{
    admin::Readiness,
    assemble::{distributed::Distributed, local, standing::Standing},
    config::{Config, cluster},
    failure::Outcome,
    metrics::EngineMetrics,
};

/// Engines that are open, and who closes them.
pub struct Opened {
    pub(super) engines: Engines,
    owned: Owned,
}

/// What is closed with the cluster.
enum Owned {
    Embedded(Arc<Engine>),
    Distributed(Distributed),
    /// They belong to somebody else.
    Nothing,
}

impl Opened {
    /// Opens the engines the configuration asks for; waits for those that are not there yet.
    ///
    /// # Errors
    /// Why they cannot be used.
    ///
    /// # Cancel safety
    /// Nothing stays open.
    pub async fn open(config: &Config, standing: &Standing) -> Outcome<Self> {
        match config.node.engines {
            cluster::Engines::Embedded => {
                let engine = local::open(config).await?;
                Ok(Self { engines: engine.engines(), owned: Owned::Embedded(engine) })
            }
            cluster::Engines::Cluster => {
                let engines = Distributed::open(config, standing).await?;
                Ok(Self { engines: engines.engines(), owned: Owned::Distributed(engines) })
            }
        }
    }

    /// Engines that somebody else has opened, and will close after the cluster has ended.
    #[must_use]
    pub const fn lent(engines: Engines) -> Self {
        Self { engines, owned: Owned::Nothing }
    }

    /// Registers what they count.
    pub(super) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        match &self.owned {
            Owned::Embedded(engine) => EngineMetrics::register(registry, engine),
            Owned::Distributed(engines) => engines.register(registry),
            Owned::Nothing => Ok(()),
        }
    }

    /// Looks why the process cannot serve for want of an engine. Does not keep them open.
    pub(super) fn trouble(&self) -> Readiness {
        match &self.owned {
            // They fail as a whole, with the process.
            Owned::Embedded(_) | Owned::Nothing => Arc::new(Vec::new),
            Owned::Distributed(engines) => Arc::new(engines.trouble()),
        }
    }

    /// Closes what is owned, after a last flush of the log; each step within this time.
    ///
    /// # Errors
    /// What could not be written on the way. Nothing accepted is lost.
    pub(super) async fn close(self, within: Duration) -> Outcome {
        let Self { engines, owned } = self;
        if tokio::time::timeout(within, engines.log.flush()).await.is_err() {
            tracing::warn!("the log was not flushed in time; nothing accepted is lost");
        }
        drop(engines);
        match owned {
            Owned::Embedded(engine) => local::close(engine).await,
            Owned::Distributed(engines) => {
                engines.close(within).await;
                Ok(())
            }
            Owned::Nothing => Ok(()),
        }
    }
}
