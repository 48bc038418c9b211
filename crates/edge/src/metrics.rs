//! Metrics of an edge.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use session::close::CloseCode;
use wire::server_frame::{BusyReason, RejectReason};

use crate::{listener::Answer, signals::Fate};

/// What an edge counts. One for a process; no label is ever an id.
#[derive(Clone, Debug)]
pub struct EdgeMetrics {
    /// Client connections now, authenticated or not.
    pub connections: IntGauge,
    /// Client connections that are not yet authenticated.
    pub half_open: IntGauge,
    /// What became of connection attempts, by `outcome`.
    pub attempts: IntCounterVec,
    /// Connections that were authenticated.
    pub admitted: IntCounter,
    /// Devices registered.
    pub registered: IntCounter,
    /// Connections the edge closed, by `code`.
    pub closed: IntCounterVec,
    /// Sends accepted: durable on the log.
    pub accepted: IntCounter,
    /// Sends answered Busy, by `reason`.
    pub busy: IntCounterVec,
    /// Sends answered Retry because the log could not say.
    pub unknown: IntCounter,
    /// Sends rejected, by `reason`.
    pub rejected: IntCounterVec,
    /// Seconds from taking a send off its stream to its being durable.
    pub append_seconds: Histogram,
    /// Pushes received for connected devices.
    pub pushes: IntCounter,
    /// Pushes dropped because the connection's queue was full; the device reads its mailbox.
    pub push_overflow: IntCounter,
    /// Pushes for devices that are not connected here any more.
    pub push_stray: IntCounter,
    /// Reads of a mailbox to catch up.
    pub catch_ups: IntCounter,
    /// Connections found behind by the head check.
    pub behind: IntCounter,
    /// Operations on presence that failed; the edge goes on without.
    pub presence_failed: IntCounter,
    /// Operations on the mailbox or the entities that failed and are tried again.
    pub store_failed: IntCounter,
    /// Cursors stored.
    pub cursors: IntCounter,
    /// Links from workers that broke.
    pub mesh_broken: IntCounter,
    /// 1 when the log has another layout than this edge knows, which then takes no sends: act.
    pub log_elsewhere: IntGauge,
    /// Hints, which are signals, and questions about and news of presence, by `outcome`.
    pub hints: IntCounterVec,
    /// Links to other edges now.
    pub edge_links: IntGauge,
    /// Frames from workers that said that pushes were dropped; heads are compared then.
    pub mesh_lost: IntCounter,
}

impl EdgeMetrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// When one of them is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| {
            let counter = IntCounter::new(format!("posthorn_edge_{name}"), help)?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(format!("posthorn_edge_{name}"), help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        // Every series is there from the start, at 0, so that an alert sees the first increase.
        let labelled = |name: &str, help: &str, label: &str, values: Vec<String>| {
            let opts = Opts::new(format!("posthorn_edge_{name}"), help);
            let counter = IntCounterVec::new(opts, &[label])?;
            registry.register(Box::new(counter.clone()))?;
            for value in values {
                counter.with_label_values(&[&value]);
            }
            Ok::<_, prometheus::Error>(counter)
        };
        let append_seconds = append_seconds(registry)?;
        let answers = Answer::ALL.iter().map(|answer| answer.label().to_owned()).collect();
        let codes = CloseCode::ALL.iter().map(|code| format!("{code:?}")).collect();
        let busy = BusyReason::ALL.iter().map(|reason| busy_label(*reason).to_owned()).collect();
        let fates = Fate::ALL.iter().map(|fate| fate.label().to_owned()).collect();
        let rejects =
            RejectReason::ALL.iter().map(|reason| reject_label(*reason).to_owned()).collect();
        Ok(Self {
            connections: gauge("connections", "Client connections now.")?,
            half_open: gauge("half_open", "Connections not yet authenticated.")?,
            attempts: labelled(
                "attempts_total",
                "Connection attempts by outcome.",
                "outcome",
                answers,
            )?,
            admitted: counter("admitted_total", "Connections that were authenticated.")?,
            registered: counter("registered_total", "Devices registered.")?,
            closed: labelled(
                "closed_total",
                "Connections the edge closed, by code.",
                "code",
                codes,
            )?,
            accepted: counter("accepted_total", "Sends accepted.")?,
            busy: labelled("busy_total", "Sends answered Busy, by reason.", "reason", busy)?,
            unknown: counter("unknown_total", "Sends answered Retry.")?,
            rejected: labelled("rejected_total", "Sends rejected, by reason.", "reason", rejects)?,
            append_seconds,
            pushes: counter("pushes_total", "Pushes for connected devices.")?,
            push_overflow: counter("push_overflow_total", "Pushes dropped by a full queue.")?,
            push_stray: counter("push_stray_total", "Pushes for devices not connected here.")?,
            catch_ups: counter("catch_ups_total", "Reads of a mailbox to catch up.")?,
            behind: counter("behind_total", "Connections found behind by the head check.")?,
            presence_failed: counter("presence_failed_total", "Failed presence operations.")?,
            store_failed: counter("store_failed_total", "Failed store operations.")?,
            cursors: counter("cursors_total", "Cursors stored.")?,
            mesh_broken: counter("mesh_broken_total", "Links from workers that broke.")?,
            log_elsewhere: gauge("log_elsewhere", "1 when the log's layout is not known here.")?,
            hints: labelled(
                "hints_total",
                "Signals and what is said about presence, by outcome.",
                "outcome",
                fates,
            )?,
            edge_links: gauge("edge_links", "Links to other edges now.")?,
            mesh_lost: counter("mesh_lost_total", "Times workers said that pushes were dropped.")?,
        })
    }

    /// Counts hints.
    pub(crate) fn count_hints(&self, fate: Fate, count: u64) {
        self.hints.with_label_values(&[fate.label()]).inc_by(count);
    }

    /// Counts a connection the edge closed.
    pub(crate) fn count_closed(&self, code: CloseCode) {
        self.closed.with_label_values(&[&format!("{code:?}")]).inc();
    }

    /// Counts a send answered Busy.
    pub(crate) fn count_busy(&self, reason: BusyReason) {
        self.busy.with_label_values(&[busy_label(reason)]).inc();
    }

    /// Counts a send rejected.
    pub(crate) fn count_rejected(&self, reason: RejectReason) {
        self.rejected.with_label_values(&[reject_label(reason)]).inc();
    }
}

fn append_seconds(registry: &Registry) -> Result<Histogram, prometheus::Error> {
    let histogram = Histogram::with_opts(
        HistogramOpts::new(
            "posthorn_edge_append_seconds",
            "Seconds from taking a send off its stream to its being durable.",
        )
        .buckets(prometheus::exponential_buckets(0.000_5, 2.0, 15)?),
    )?;
    registry.register(Box::new(histogram.clone()))?;
    Ok(histogram)
}

fn busy_label(reason: BusyReason) -> &'static str {
    match reason {
        BusyReason::Overload => "overload",
        BusyReason::Lag => "lag",
        BusyReason::Previous => "previous",
        BusyReason::Rate => "rate",
        BusyReason::Draining => "draining",
        BusyReason::NotReady => "not_ready",
        BusyReason::Storage => "storage",
    }
}

fn reject_label(reason: RejectReason) -> &'static str {
    match reason {
        RejectReason::PayloadSize => "payload_size",
        RejectReason::Ttl => "ttl",
        RejectReason::Address => "address",
        RejectReason::Members => "members",
        RejectReason::NotAllowed => "not_allowed",
    }
}

#[cfg(test)]
impl EdgeMetrics {
    /// Metrics nobody reads.
    pub(crate) fn for_test() -> Self {
        Self::register(&Registry::new()).expect("a new registry has none")
    }
}
