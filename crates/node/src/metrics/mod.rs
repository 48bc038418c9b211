//! What a process counts beside its roles, and the reference of everything that is counted.

pub mod cluster;

use std::{
    fmt::Write as _,
    sync::{Arc, Weak},
};

use edge::EdgeMetrics;
use embedded::Engine;
use prometheus::{
    IntGauge, Opts, Registry,
    core::{Collector, Desc},
    proto::{MetricFamily, MetricType},
};
use worker::WorkerMetrics;

/// How full the embedded engines are, measured when somebody looks.
pub struct EngineMetrics {
    engine: Weak<Engine>,
    log_bytes: IntGauge,
    store_bytes: IntGauge,
    backlog_bytes: IntGauge,
}

impl EngineMetrics {
    /// Makes the metrics and registers them. They end with the engine.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(registry: &Registry, engine: &Arc<Engine>) -> prometheus::Result<()> {
        registry.register(Box::new(Self::new(Arc::downgrade(engine))?))
    }

    fn new(engine: Weak<Engine>) -> prometheus::Result<Self> {
        let gauge = |name: &str, help: &str| {
            IntGauge::with_opts(Opts::new(format!("posthorn_engine_{name}"), help))
        };
        Ok(Self {
            engine,
            log_bytes: gauge("log_bytes", "Bytes of the log on the disk.")?,
            store_bytes: gauge("store_bytes", "Bytes of the store on the disk.")?,
            backlog_bytes: gauge("backlog_bytes", "Bytes of records no worker has finished.")?,
        })
    }

    fn gauges(&self) -> [&IntGauge; 3] {
        [&self.log_bytes, &self.store_bytes, &self.backlog_bytes]
    }
}

impl Collector for EngineMetrics {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges().into_iter().flat_map(IntGauge::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        if let Some(engine) = self.engine.upgrade() {
            let stats = engine.stats();
            let values = [stats.log_bytes, stats.store_bytes, stats.backlog_bytes];
            for (gauge, value) in self.gauges().into_iter().zip(values) {
                gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
            }
        }
        self.gauges().into_iter().flat_map(IntGauge::collect).collect()
    }
}

/// The page `docs/reference/metrics.md`.
///
/// # Panics
/// Never: a fresh registry takes every metric once.
#[must_use]
pub fn page() -> String {
    let registry = Registry::new();
    EdgeMetrics::register(&registry).expect("the registry is fresh");
    WorkerMetrics::new(&registry).expect("the registry is fresh");
    let engine = EngineMetrics::new(Weak::new()).expect("the names are valid");
    registry.register(Box::new(engine)).expect("the registry is fresh");
    cluster::register_weak(&registry, Weak::new(), Weak::new(), Weak::new())
        .expect("the registry is fresh");
    let mut page = String::from(
        "# Metrics\n\n\
         Generated from the program; do not edit. `GET /metrics` of the admin listener gives them \
         in the Prometheus text format. A role that a process does not play has no metrics, nor \
         have engines it does not use. Values of labels come from closed lists; no label is ever \
         an id.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for family in registry.gather() {
        let kind = match family.get_field_type() {
            MetricType::COUNTER => "counter",
            MetricType::GAUGE => "gauge",
            MetricType::HISTOGRAM => "histogram",
            MetricType::SUMMARY => "summary",
            MetricType::UNTYPED => "untyped",
        };
        let labels = labels(&family);
        let _ = writeln!(page, "| `{}` | {kind} | {labels} | {} |", family.name(), family.help());
    }
    page
}

/// Labels with their values: `reason` = `lag`, `rate`.
fn labels(family: &MetricFamily) -> String {
    let mut values: std::collections::BTreeMap<String, Vec<String>> = Default::default();
    for metric in family.get_metric() {
        for pair in metric.get_label() {
            values.entry(pair.name().to_owned()).or_default().push(format!("`{}`", pair.value()));
        }
    }
    let shown = values.into_iter().map(|(name, values)| format!("`{name}`: {}", values.join(", ")));
    shown.collect::<Vec<_>>().join("; ")
}
