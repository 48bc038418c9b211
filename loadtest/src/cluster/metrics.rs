//! The servers' own metrics: which of them a run looks at, and how they are read.

use serde::{Deserialize, Serialize};

/// How a metric moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows while the process lives: its growth says something.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// How the values of one metric with different labels become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Over {
    Sum,
    Max,
}

/// A metric that a run looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// What reports call it.
    pub name: &'static str,
    /// What the server calls it.
    pub metric: &'static str,
    /// How it moves.
    pub kind: Kind,
    /// What it counts in; empty for a number of things.
    pub unit: &'static str,
    /// What it says about a run.
    pub meaning: &'static str,
    /// Only values with this label.
    label: &'static str,
    over: Over,
}

/// What one of the [`CHOSEN`] metrics of a process is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// Its [`Chosen::name`].
    pub name: String,
    /// Its value.
    pub value: f64,
}

const fn counter(name: &'static str, metric: &'static str, meaning: &'static str) -> Chosen {
    let (kind, over) = (Kind::Counter, Over::Sum);
    Chosen { name, metric, kind, unit: "", meaning, label: "", over }
}

const fn gauge(
    name: &'static str,
    metric: &'static str,
    unit: &'static str,
    meaning: &'static str,
) -> Chosen {
    Chosen { name, metric, kind: Kind::Gauge, unit, meaning, label: "", over: Over::Sum }
}

const fn worst(
    name: &'static str,
    metric: &'static str,
    unit: &'static str,
    meaning: &'static str,
) -> Chosen {
    Chosen { over: Over::Max, ..gauge(name, metric, unit, meaning) }
}

/// What shows that a part is full, falls behind or helps itself: the rest of `/metrics` is left to
/// whoever looks into one process.
pub const CHOSEN: &[Chosen] = &[
    gauge("connections", "posthorn_edge_connections", "", "Client connections."),
    gauge("half-open", "posthorn_edge_half_open", "", "Connections not yet authenticated."),
    counter("admitted", "posthorn_edge_admitted_total", "Connections authenticated."),
    counter("accepted", "posthorn_edge_accepted_total", "Sends accepted."),
    counter("busy", "posthorn_edge_busy_total", "Sends answered Busy: the client waits."),
    counter("retry", "posthorn_edge_unknown_total", "Sends answered Retry: the log was in doubt."),
    counter("pushes", "posthorn_edge_pushes_total", "Items pushed to connected devices."),
    counter(
        "push-overflow",
        "posthorn_edge_push_overflow_total",
        "Pushes dropped by a full queue: those devices read their mailbox.",
    ),
    counter("behind", "posthorn_edge_behind_total", "Devices that missed a push."),
    counter("catch-ups", "posthorn_edge_catch_ups_total", "Reads of a mailbox to catch up."),
    counter("rows", "posthorn_worker_rows_total", "Rows stored in mailboxes."),
    worst(
        "worker-lag",
        "posthorn_worker_lag_ms",
        "ms",
        "Age of the oldest record that no worker has finished.",
    ),
    Chosen {
        label: "state=\"waiting\"",
        ..gauge("lanes-waiting", "posthorn_worker_lanes", "", "Lanes that wait for an engine.")
    },
    counter("store-retries", "posthorn_worker_store_retries_total", "Stores tried again."),
    counter("append-retries", "posthorn_worker_append_retries_total", "Appends tried again."),
    counter("alarms", "posthorn_worker_alarms_total", "Things someone must act on."),
    gauge(
        "backlog",
        "posthorn_engine_backlog_bytes",
        "bytes",
        "Records in the log of this machine that no worker has finished.",
    ),
    gauge("log", "posthorn_engine_log_bytes", "bytes", "The log on the disk."),
    gauge("store", "posthorn_engine_store_bytes", "bytes", "The mailboxes on the disk."),
    gauge(
        "kafka-queue",
        "posthorn_kafka_queue_records",
        "",
        "Records on their way to Kafka, not yet durable.",
    ),
    gauge("kafka-lag", "posthorn_kafka_lag_records", "", "Records in Kafka not yet finished."),
    counter("kafka-refused", "posthorn_kafka_refused_total", "Appends refused by a full queue."),
    gauge("cql-in-flight", "posthorn_cql_in_flight", "", "Requests to the database under way."),
    counter(
        "cql-timeouts",
        "posthorn_cql_timeouts_total",
        "Attempts the database left unanswered.",
    ),
    counter("redis-failures", "posthorn_redis_failures_total", "Failed calls to Redis."),
];

/// The values of the [`CHOSEN`] metrics that a page in the Prometheus text format holds.
#[must_use]
pub fn figures(page: &str) -> Vec<Figure> {
    CHOSEN.iter().filter_map(|chosen| figure(page, chosen)).collect()
}

fn figure(page: &str, chosen: &Chosen) -> Option<Figure> {
    let all = values(page, chosen.metric);
    let fitting = all.filter(|(labels, _)| labels.contains(chosen.label)).map(|(_, value)| value);
    let value = match chosen.over {
        Over::Sum => fitting.reduce(|sum, value| sum + value),
        Over::Max => fitting.reduce(f64::max),
    };
    value.map(|value| Figure { name: chosen.name.into(), value })
}

/// The value of a metric without labels.
pub(crate) fn plain(page: &str, metric: &str) -> Option<f64> {
    values(page, metric).next().map(|(_, value)| value)
}

/// Labels and value of every sample of a metric.
fn values<'a>(page: &'a str, metric: &'a str) -> impl Iterator<Item = (&'a str, f64)> {
    page.lines().filter_map(move |line| {
        let rest = line.strip_prefix(metric)?;
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once('}')?,
            None => ("", rest.strip_prefix(' ').map(|_| rest)?),
        };
        // A timestamp may follow.
        let value: f64 = rest.split_whitespace().next()?.parse().ok()?;
        value.is_finite().then_some((labels, value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP posthorn_worker_lag_ms Age.\n\
        # TYPE posthorn_worker_lag_ms gauge\n\
        posthorn_worker_lag_ms{log=\"mail\"} 7\n\
        posthorn_worker_lag_ms{log=\"group\"} 9 1700000000000\n\
        posthorn_worker_lanes{log=\"mail\",state=\"running\"} 4\n\
        posthorn_worker_lanes{log=\"mail\",state=\"waiting\"} 2\n\
        posthorn_edge_busy_total{reason=\"rate\"} 1\n\
        posthorn_edge_busy_total{reason=\"lag\"} 2\n\
        posthorn_edge_connections 12\n\
        posthorn_edge_connections_old 99\n\
        process_cpu_seconds_total 1.5e+01\n";

    #[test]
    fn labels_are_summed_filtered_or_the_worst_counts() {
        let figures = figures(PAGE);
        let value = |name: &str| {
            figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
        };
        assert_eq!(value("worker-lag"), Some(9.0));
        assert_eq!(value("lanes-waiting"), Some(2.0));
        assert_eq!(value("busy"), Some(3.0));
        assert_eq!(value("connections"), Some(12.0));
        assert_eq!(value("kafka-lag"), None);
        assert_eq!(plain(PAGE, "process_cpu_seconds_total"), Some(15.0));
    }

    #[test]
    fn every_chosen_metric_is_in_the_reference() {
        let reference = include_str!("../../../docs/reference/metrics.md");
        for chosen in CHOSEN {
            assert!(reference.contains(&format!("`{}`", chosen.metric)), "{}", chosen.metric);
        }
    }
}
