//! From settings to what the engines of a cluster take.

use log_kafka::{KafkaConfig, Mechanism, Sasl, Security, Tls};
use mailbox_scylla::CqlConfig;
use ports::operate::Password;
use presence_redis::{Mode, RedisConfig};

use crate::{
    catalogue::Code,
    config::{
        Config,
        cluster::{RedisMode, SaslMechanism},
        parts::bytes,
    },
    failure::{Failure, Outcome},
};

impl Config {
    /// Options of the log on Kafka.
    ///
    /// # Errors
    /// When this process has no name that can be used.
    pub fn kafka_config(&self) -> Outcome<KafkaConfig> {
        let kafka = &self.kafka;
        let tls = kafka.tls.then(|| Tls {
            ca_file: kafka.ca_file.clone(),
            certificate_file: kafka.certificate_file.clone(),
            key_file: kafka.key_file.clone(),
        });
        let sasl = kafka.sasl_mechanism.map(|mechanism| Sasl {
            mechanism: match mechanism {
                SaslMechanism::Plain => Mechanism::Plain,
                SaslMechanism::ScramSha256 => Mechanism::ScramSha256,
                SaslMechanism::ScramSha512 => Mechanism::ScramSha512,
            },
            user: kafka.user.clone(),
            password: Password::new(kafka.password.reveal().unwrap_or_default()),
        });
        let name = self.node_name()?;
        Ok(KafkaConfig {
            security: Security { tls, sasl },
            queue_bytes_max: bytes(kafka.queue_bytes_max),
            queue_records_max: kafka.queue_records_max,
            lane_bytes_max: bytes(kafka.lane_bytes_max),
            lane_records_max: kafka.lane_records_max,
            linger: kafka.linger,
            session_timeout: kafka.session_timeout,
            unsafe_replication: kafka.unsafe_replication,
            ..KafkaConfig::new(kafka.brokers.clone(), kafka.prefix.clone(), name)
        })
    }

    /// Options of the store on ScyllaDB or Cassandra.
    #[must_use]
    pub fn cql_config(&self) -> CqlConfig {
        let cql = &self.cql;
        let password = cql.password.reveal().map(Password::new);
        CqlConfig {
            datacenter: cql.datacenter.clone(),
            user: password.map(|password| (cql.user.clone(), password)),
            ca_file: cql.ca_file.clone(),
            tls: cql.tls,
            in_flight_max: cql.in_flight_max,
            write_within: cql.write_within,
            read_within: cql.read_within,
            log_keep: self.kafka.log_keep,
            retention: self.node.retention,
            unsafe_replication: cql.unsafe_replication,
            ..CqlConfig::new(cql.nodes.clone(), cql.keyspace.clone())
        }
    }

    /// Options of presence on Redis.
    ///
    /// # Errors
    /// When no server is named.
    pub fn redis_config(&self) -> Outcome<RedisConfig> {
        let redis = &self.redis;
        let nodes = redis.nodes.clone();
        let mode = match redis.mode {
            RedisMode::Single => Mode::Single(nodes.into_iter().next().ok_or_else(|| {
                Failure::new(Code::SettingMissing, "a cluster needs `redis.nodes`")
                    .at("redis.nodes")
                    .remedy("set it to host:port of the server")
            })?),
            RedisMode::Sentinel => Mode::Sentinel { nodes, service: redis.service.clone() },
            RedisMode::Cluster => Mode::Cluster(nodes),
        };
        Ok(RedisConfig {
            user: (!redis.user.is_empty()).then(|| redis.user.clone()),
            password: redis.password.reveal().map(Password::new),
            tls: redis.tls,
            ca_file: redis.ca_file.clone(),
            prefix: redis.prefix.clone(),
            within: redis.within,
            ..RedisConfig::new(mode)
        })
    }
}
