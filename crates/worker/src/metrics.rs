//! What a worker counts.

use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry};
use wire::Topic;

use crate::progress::State;

/// Label values, in the order of the variants below.
const LOGS: [&str; 2] = ["mail", "group"];
const ALARMS: [&str; 5] = ["dead_letter", "newer_record", "log", "store", "snapshot"];
const REPEATS: [&str; 3] = ["window", "source", "decided"];
const STATES: [&str; 3] = ["waiting", "running", "standing"];
const PUSHED: [&str; 4] = ["sent", "overflow", "presence", "link"];

const _: () = assert!(ALARMS.len() == Alarm::Snapshot as usize + 1);
const _: () = assert!(REPEATS.len() == Repeat::Decided as usize + 1);
const _: () = assert!(STATES.len() == State::Standing as usize + 1);
const _: () = assert!(PUSHED.len() == Pushed::Link as usize + 1);

/// The metrics of a worker. Cloning is cheap and counts together.
#[derive(Clone)]
pub struct WorkerMetrics {
    /// Records finished, by log.
    records: IntCounterVec,
    /// Things someone must act on, by what they are.
    alarms: IntCounterVec,
    /// Sends dropped because they were there already, by how that was known.
    repeats: IntCounterVec,
    /// Pushes, by what became of them.
    pushes: IntCounterVec,
    /// Age of the oldest unfinished record, milliseconds, by log.
    lag_ms: IntGaugeVec,
    /// Rows stored.
    pub(crate) rows: IntCounter,
    /// Rows not stored because their time to live had passed.
    pub(crate) expired: IntCounter,
    /// Records appended to the mail log by the group lanes.
    pub(crate) derived: IntCounter,
    /// Attempts at a store that failed and were made again.
    pub(crate) store_retries: IntCounter,
    /// Attempts at an append that failed and were made again.
    pub(crate) append_retries: IntCounter,
    /// Partitions opened.
    pub(crate) opened: IntCounter,
    /// Records read again when partitions were opened.
    pub(crate) recalled: IntCounter,
    /// Lanes, by log and by what they do.
    lanes: IntGaugeVec,
    /// Heartbeats that could not be written.
    pub(crate) heartbeats_failed: IntCounter,
    /// Calls of presence that failed; devices read their mailboxes instead.
    pub(crate) presence_failed: IntCounter,
    /// Links to edges that are up.
    pub(crate) links: IntGauge,
}

/// What someone must act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alarm {
    /// A record nobody can read was put aside.
    DeadLetter,
    /// A record of a newer program: the lane stands.
    NewerRecord,
    /// The log refuses to be read on: the lane stands.
    Log,
    /// The store refuses: the lane stands.
    Store,
    /// What the store holds is not what was written: the lane stands.
    Snapshot,
}

/// How a repeat was known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Repeat {
    /// In the window of recent messages.
    Window,
    /// A derived record whose source is not above the mark.
    Source,
    /// A change that was decided before.
    Decided,
}

/// What became of a push.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// Written to the link of its edge.
    Sent,
    /// Dropped at a full queue.
    Overflow,
    /// Dropped because presence did not answer.
    Presence,
    /// Dropped because the link to its edge was broken.
    Link,
}

impl WorkerMetrics {
    /// The metrics, registered.
    ///
    /// # Errors
    /// When the registry has metrics of these names.
    pub fn new(registry: &Registry) -> prometheus::Result<Self> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("posthorn_worker_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let family = |name: &str, help: &str, label: &str, values: &[&str]| {
            let opts = Opts::new(format!("posthorn_worker_{name}"), help);
            let family = IntCounterVec::new(opts, &[label])?;
            registry.register(Box::new(family.clone()))?;
            // Shown from the start, as zero.
            values.iter().for_each(|value| drop(family.with_label_values(&[value])));
            Ok::<_, prometheus::Error>(family)
        };
        let links = IntGauge::new("posthorn_worker_links", "Links to edges that are up.")?;
        registry.register(Box::new(links.clone()))?;
        let lag_ms = Opts::new("posthorn_worker_lag_ms", "Age of the oldest unfinished record.");
        let lag_ms = IntGaugeVec::new(lag_ms, &["log"])?;
        registry.register(Box::new(lag_ms.clone()))?;
        LOGS.iter().for_each(|log| drop(lag_ms.with_label_values(&[log])));
        let lanes = Opts::new("posthorn_worker_lanes", "Lanes, by what they do.");
        let lanes = IntGaugeVec::new(lanes, &["log", "state"])?;
        registry.register(Box::new(lanes.clone()))?;
        for labels in LOGS.iter().flat_map(|log| STATES.map(|state| [*log, state])) {
            drop(lanes.with_label_values(&labels));
        }
        Ok(Self {
            lag_ms,
            records: family("records_total", "Records finished.", "log", &LOGS)?,
            alarms: family("alarms_total", "Things someone must act on.", "kind", &ALARMS)?,
            repeats: family("repeats_total", "Sends dropped as repeats.", "known_by", &REPEATS)?,
            pushes: family("pushes_total", "Pushes to devices.", "outcome", &PUSHED)?,
            rows: counter("rows_total", "Rows stored.")?,
            expired: counter("expired_total", "Rows not stored as their time had passed.")?,
            derived: counter("derived_total", "Records derived from the group log.")?,
            store_retries: counter("store_retries_total", "Failed attempts at a store.")?,
            append_retries: counter("append_retries_total", "Failed attempts at an append.")?,
            opened: counter("opened_total", "Partitions opened.")?,
            recalled: counter("recalled_total", "Records read again at the opening.")?,
            lanes,
            heartbeats_failed: counter("heartbeats_failed_total", "Heartbeats not written.")?,
            presence_failed: counter("presence_failed_total", "Failed presence operations.")?,
            links,
        })
    }

    pub(crate) fn records(&self, topic: Topic, count: usize) {
        self.records.with_label_values(&[log_label(topic)]).inc_by(count as u64);
    }

    pub(crate) fn lag(&self, topic: Topic, lag_ms: u64) {
        let lag_ms = i64::try_from(lag_ms).unwrap_or(i64::MAX);
        self.lag_ms.with_label_values(&[log_label(topic)]).set(lag_ms);
    }

    pub(crate) fn lanes(&self, topic: Topic, state: State, count: usize) {
        let labels = [log_label(topic), STATES[state as usize]];
        self.lanes.with_label_values(&labels).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    pub(crate) fn alarm(&self, alarm: Alarm) {
        self.alarms.with_label_values(&[ALARMS[alarm as usize]]).inc();
    }

    pub(crate) fn repeat(&self, repeat: Repeat) {
        self.repeats.with_label_values(&[REPEATS[repeat as usize]]).inc();
    }

    pub(crate) fn pushed(&self, pushed: Pushed, count: usize) {
        self.pushes.with_label_values(&[PUSHED[pushed as usize]]).inc_by(count as u64);
    }
}

fn log_label(topic: Topic) -> &'static str {
    match topic {
        Topic::Mail => LOGS[0],
        Topic::Group => LOGS[1],
        Topic::Control => unreachable!("a worker has lanes of the mail and the group log only"),
    }
}
