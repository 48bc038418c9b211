//! The engines of a cluster of many processes: Kafka, ScyllaDB or Cassandra, and Redis.

use std::{
    future::Future,
    sync::{Arc, Weak},
    time::Duration,
};

use log_kafka::KafkaLog;
use mailbox_scylla::CqlStore;
use ports::{Engines, operate::OpenError};
use presence_redis::RedisPresence;
use prometheus::Registry;
use tokio::time::timeout;

use crate::{
    assemble::{
        patience,
        standing::{EngineName, Standing},
    },
    clock::wall_clock_ms,
    config::Config,
    failure::Outcome,
    metrics::cluster as metrics,
};

/// All three, open.
pub(super) struct Distributed {
    kafka: Arc<KafkaLog>,
    cql: Arc<CqlStore>,
    redis: Arc<RedisPresence>,
}

impl Distributed {
    /// Opens all three at once and waits for those that are not there yet. Redis is never waited
    /// for: it connects by itself, and nothing is lost without it.
    ///
    /// # Errors
    /// The first engine that refuses.
    ///
    /// # Cancel safety
    /// Nothing stays open.
    pub(super) async fn open(config: &Config, standing: &Standing) -> Outcome<Self> {
        let (kafka, cql, redis) =
            (config.kafka_config()?, config.cql_config(), config.redis_config()?);
        let kafka = patience::open(EngineName::Kafka, standing, async || {
            KafkaLog::open(kafka.clone()).await.map_err(|error| with_brokers(error, &kafka.brokers))
        });
        let cql = patience::open(EngineName::Cql, standing, async || {
            CqlStore::open(cql.clone(), wall_clock_ms).await
        });
        let redis = patience::open(EngineName::Redis, standing, async || {
            RedisPresence::open(redis.clone())
                .await
                .map_err(|error| OpenError::refused(error.what, error.remedy))
        });
        let (kafka, cql, redis) = tokio::try_join!(kafka, cql, redis)?;
        Ok(Self { kafka: Arc::new(kafka), cql: Arc::new(cql), redis: Arc::new(redis) })
    }

    /// As the roles are given them.
    pub(super) fn engines(&self) -> Engines {
        Engines {
            log: self.kafka.log(),
            mailbox: self.cql.mailbox(),
            entities: self.cql.entities(),
            presence: self.redis.presence(),
        }
    }

    /// Registers what the engines count.
    pub(super) fn register(&self, registry: &Registry) -> prometheus::Result<()> {
        metrics::register(registry, &self.kafka, &self.cql, &self.redis)
    }

    /// Looks why the process cannot serve for want of an engine. Presence is none of these: without
    /// it messages come late, and no other process would have it.
    pub(super) fn trouble(&self) -> impl Fn() -> Vec<String> + Send + Sync + use<> {
        let (kafka, cql) = (Arc::downgrade(&self.kafka), Arc::downgrade(&self.cql));
        move || {
            let kafka = look(&kafka, KafkaLog::trouble).map(|what| (EngineName::Kafka, what));
            let cql = look(&cql, CqlStore::trouble).map(|what| (EngineName::Cql, what));
            let found = kafka.into_iter().chain(cql);
            found.map(|(engine, what)| format!("{engine}: {what}")).collect()
        }
    }

    /// Closes them, the log last; each within this time.
    pub(super) async fn close(self, within: Duration) {
        let Self { kafka, cql, redis } = self;
        // Who looks at the metrics this very moment holds one; dropping it then is as safe.
        if let Some(redis) = Arc::into_inner(redis) {
            close(EngineName::Redis, within, redis.close()).await;
        }
        if let Some(cql) = Arc::into_inner(cql) {
            close(EngineName::Cql, within, cql.close()).await;
        }
        if let Some(kafka) = Arc::into_inner(kafka) {
            close(EngineName::Kafka, within, kafka.close()).await;
        }
    }
}

fn look<E>(engine: &Weak<E>, trouble: impl Fn(&E) -> Option<String>) -> Option<String> {
    engine.upgrade().and_then(|engine| trouble(&engine))
}

async fn close(engine: EngineName, within: Duration, closing: impl Future<Output = ()>) {
    if timeout(within, closing).await.is_err() {
        tracing::warn!(%engine, "the engine was not closed in time; nothing accepted is lost");
    }
}

/// The client of Kafka does not say whom it could not reach.
fn with_brokers(error: OpenError, brokers: &[String]) -> OpenError {
    match error {
        OpenError::Unreachable(what) => {
            OpenError::Unreachable(format!("{} does not answer: {what}", brokers.join(", ")))
        }
        other @ (OpenError::NotReady { .. } | OpenError::Refused { .. }) => other,
    }
}
