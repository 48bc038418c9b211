//! What the engines of a cluster count, looked at when somebody asks.

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use log_kafka::KafkaLog;
use mailbox_scylla::CqlStore;
use presence_redis::RedisPresence;
use prometheus::{
    Registry,
    core::{Collector, Desc},
    proto,
};
use wire::Topic;

/// Makes the metrics and registers them. They do not keep the engines open.
///
/// # Errors
/// When they are registered already.
pub fn register(
    registry: &Registry,
    kafka: &Arc<KafkaLog>,
    cql: &Arc<CqlStore>,
    redis: &Arc<RedisPresence>,
) -> prometheus::Result<()> {
    register_weak(registry, Arc::downgrade(kafka), Arc::downgrade(cql), Arc::downgrade(redis))
}

/// As [`register`], for engines that may be gone: then all numbers are zero.
pub(super) fn register_weak(
    registry: &Registry,
    kafka: Weak<KafkaLog>,
    cql: Weak<CqlStore>,
    redis: Weak<RedisPresence>,
) -> prometheus::Result<()> {
    registry.register(Box::new(Numbers::new(KAFKA, move || {
        kafka.upgrade().map(|engine| (engine.stats(), engine.trouble().is_some()))
    })?))?;
    registry.register(Box::new(Numbers::new(CQL, move || {
        cql.upgrade().map(|engine| (engine.stats(), engine.trouble().is_some()))
    })?))?;
    registry.register(Box::new(Numbers::new(REDIS, move || {
        redis.upgrade().map(|engine| (engine.stats(), engine.trouble().is_some()))
    })?))
}

/// The numbers of an engine, and whether it is in trouble.
type Seen<S> = (S, bool);

/// One metric made from the numbers of an engine.
struct Number<S: 'static> {
    name: &'static str,
    help: &'static str,
    kind: proto::MetricType,
    /// The label, when there is one; its values come with the numbers.
    label: Option<&'static str>,
    values: fn(&Seen<S>) -> Vec<(&'static str, f64)>,
}

/// All metrics of an engine.
struct Numbers<S: 'static> {
    numbers: &'static [Number<S>],
    descs: Vec<Desc>,
    look: Box<dyn Fn() -> Option<Seen<S>> + Send + Sync>,
}

impl<S: Default> Numbers<S> {
    fn new(
        numbers: &'static [Number<S>],
        look: impl Fn() -> Option<Seen<S>> + Send + Sync + 'static,
    ) -> prometheus::Result<Self> {
        let desc = |number: &Number<S>| {
            let labels = number.label.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(number.name.to_owned(), number.help.to_owned(), labels, HashMap::new())
        };
        let descs = numbers.iter().map(desc).collect::<prometheus::Result<_>>()?;
        Ok(Self { numbers, descs, look: Box::new(look) })
    }
}

impl<S: Default> Collector for Numbers<S> {
    fn desc(&self) -> Vec<&Desc> {
        self.descs.iter().collect()
    }

    fn collect(&self) -> Vec<proto::MetricFamily> {
        let seen = (self.look)().unwrap_or_default();
        self.numbers.iter().map(|number| number.family(&seen)).collect()
    }
}

impl<S> Number<S> {
    fn family(&self, seen: &Seen<S>) -> proto::MetricFamily {
        let metrics = (self.values)(seen).into_iter().map(|(label, value)| self.one(label, value));
        let mut family = proto::MetricFamily::default();
        family.set_name(self.name.to_owned());
        family.set_help(self.help.to_owned());
        family.set_field_type(self.kind);
        family.set_metric(metrics.collect());
        family
    }

    fn one(&self, label_value: &str, value: f64) -> proto::Metric {
        let mut metric = proto::Metric::default();
        if let Some(label) = self.label {
            let mut pair = proto::LabelPair::default();
            pair.set_name(label.to_owned());
            pair.set_value(label_value.to_owned());
            metric.set_label(vec![pair]);
        }
        if self.kind == proto::MetricType::COUNTER {
            let mut counter = proto::Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = proto::Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    }
}

/// A metric without labels, or with one and its values.
macro_rules! number {
    ($kind:ident $name:literal $help:literal |$seen:ident| $value:expr) => {
        Number {
            name: $name,
            help: $help,
            kind: proto::MetricType::$kind,
            label: None,
            values: |$seen| vec![("", $value as f64)],
        }
    };
    ($kind:ident $name:literal [$label:literal] $help:literal |$seen:ident| {
        $($label_value:literal: $value:expr),+ $(,)?
    }) => {
        Number {
            name: $name,
            help: $help,
            kind: proto::MetricType::$kind,
            label: Some($label),
            values: |$seen| vec![$(($label_value, $value as f64)),+],
        }
    };
}

const KAFKA: &[Number<log_kafka::Stats>] = &[
    number!(GAUGE "posthorn_kafka_trouble" "Whether Kafka cannot be used now, 0 or 1."
        |seen| u8::from(seen.1)),
    number!(GAUGE "posthorn_kafka_queue_records" ["share"]
        "Records waiting to be durable: of clients, and what follows from accepted ones."
        |seen| { "clients": seen.0.clients.records, "owed": seen.0.owed.records }),
    number!(GAUGE "posthorn_kafka_queue_bytes" ["share"] "Their bytes."
        |seen| { "clients": seen.0.clients.bytes, "owed": seen.0.owed.bytes }),
    number!(COUNTER "posthorn_kafka_delivered_total" "Records Kafka has made durable."
        |seen| seen.0.delivered),
    number!(COUNTER "posthorn_kafka_failed_total" "Records of which that is not known."
        |seen| seen.0.failed),
    number!(COUNTER "posthorn_kafka_refused_total" "Appends refused because a share was full."
        |seen| seen.0.refused),
    number!(COUNTER "posthorn_kafka_producer_rebuilds_total"
        "Producers that ended with a failure and were replaced."
        |seen| seen.0.producer_rebuilds),
    number!(COUNTER "posthorn_kafka_fetched_total" "Records fetched for the workers."
        |seen| seen.0.fetched),
    number!(COUNTER "posthorn_kafka_paused_total"
        "Times a partition was paused because its worker did not keep up."
        |seen| seen.0.paused),
    number!(GAUGE "posthorn_kafka_partitions" ["log"] "Partitions this process was given."
    |seen| {
        "mail": partitions(&seen.0, Topic::Mail),
        "group": partitions(&seen.0, Topic::Group),
    }),
    number!(GAUGE "posthorn_kafka_lag_records" ["log"]
        "Records in these partitions that are not finished."
        |seen| { "mail": lag(&seen.0, Topic::Mail), "group": lag(&seen.0, Topic::Group) }),
];

const CQL: &[Number<mailbox_scylla::Stats>] = &[
    number!(GAUGE "posthorn_cql_trouble" "Whether the database cannot be used now, 0 or 1."
        |seen| u8::from(seen.1)),
    number!(COUNTER "posthorn_cql_requests_total" "Requests, however often each was tried."
        |seen| seen.0.requests),
    number!(COUNTER "posthorn_cql_retries_total" "Attempts beyond the first."
        |seen| seen.0.retries),
    number!(COUNTER "posthorn_cql_timeouts_total" "Attempts that were not answered in time."
        |seen| seen.0.timeouts),
    number!(COUNTER "posthorn_cql_failures_total" "Requests that failed after all attempts."
        |seen| seen.0.failures),
    number!(GAUGE "posthorn_cql_in_flight" "Requests under way."
        |seen| seen.0.in_flight),
    number!(COUNTER "posthorn_cql_request_seconds_total"
        "Seconds that requests took, attempts and waiting included."
        |seen| seen.0.latency.as_secs_f64()),
    number!(COUNTER "posthorn_cql_rows_total" "Rows of mailboxes stored."
        |seen| seen.0.rows_written),
];

const REDIS: &[Number<presence_redis::Stats>] = &[
    number!(GAUGE "posthorn_redis_trouble"
        "Whether Redis cannot be used now, 0 or 1: messages come late, none is lost."
        |seen| u8::from(seen.1)),
    number!(GAUGE "posthorn_redis_connected" "Whether there is a connection, 0 or 1."
        |seen| u8::from(seen.0.connected)),
    number!(COUNTER "posthorn_redis_connects_total" "Connections made; the first one counts."
        |seen| seen.0.connects),
    number!(COUNTER "posthorn_redis_calls_total" "Calls."
        |seen| seen.0.calls),
    number!(COUNTER "posthorn_redis_failures_total" "Calls that failed."
        |seen| seen.0.failures),
    number!(COUNTER "posthorn_redis_losses_total"
        "Times a server came back empty or was replaced, so that edges wrote their routes again."
        |seen| seen.0.losses),
];

fn partitions(stats: &log_kafka::Stats, log: Topic) -> usize {
    stats.lanes.iter().filter(|lane| lane.topic == log).count()
}

fn lag(stats: &log_kafka::Stats, log: Topic) -> u64 {
    stats.lanes.iter().filter(|lane| lane.topic == log).filter_map(|lane| lane.lag).sum()
}
