//! Whether presence answers, told once each way.

use crate::metrics::WorkerMetrics;

/// Whether the last call failed.
#[derive(Debug, Default)]
pub(super) struct Outage {
    is_on: bool,
}

impl Outage {
    /// A call failed: counted, and told if it is the first since one succeeded. Says whether it was
    /// told.
    pub(super) fn failed(&mut self, metrics: &WorkerMetrics, failure: &str) -> bool {
        metrics.presence_failed.inc();
        let is_first = !std::mem::replace(&mut self.is_on, true);
        if is_first {
            tracing::warn!(failure, "presence fails; devices read their mailboxes instead");
        }
        is_first
    }

    /// A call succeeded: told if the one before failed. Says whether it was.
    pub(super) fn ended(&mut self) -> bool {
        let is_news = std::mem::take(&mut self.is_on);
        if is_news {
            tracing::info!("presence answers again");
        }
        is_news
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn an_outage_is_told_once_and_every_failure_counts() {
        let metrics = WorkerMetrics::new(&prometheus::Registry::new()).unwrap();
        let mut outage = Outage::default();
        assert!(!outage.ended());
        assert!(outage.failed(&metrics, "down"));
        assert!((0..99).all(|_| !outage.failed(&metrics, "down")));
        assert!(outage.ended());
        assert!(!outage.ended());
        assert!(outage.failed(&metrics, "down again"));
        assert_eq!(metrics.presence_failed.get(), 101);
    }
}
