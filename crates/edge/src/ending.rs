//! Why a connection ends, and when a draining edge ends it.

use std::time::Duration;

use link::LinkError;
use session::{close::CloseCode, edge::Violation};

/// Closing drops what is on the way, so the last answers get this long to arrive. One that does not
/// makes its client send again, elsewhere, where that changes nothing.
const LINGER: Duration = Duration::from_millis(100);

/// Why a connection ends.
pub(crate) enum End {
    /// The peer is gone.
    Gone,
    /// This side ends it.
    Close(CloseCode),
    /// The peer broke a rule.
    Violation(Violation),
}

impl From<Violation> for End {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<LinkError> for End {
    fn from(_: LinkError) -> Self {
        Self::Gone
    }
}

/// When a draining edge closes a connection.
pub(crate) struct Leave {
    /// Not before this: clients spread their reconnecting.
    earliest: Duration,
    /// At this, whatever is unanswered.
    latest: Duration,
    /// Since when every send is answered and the answers are written.
    settled_since: Option<Duration>,
}

impl Leave {
    pub(crate) fn new(earliest: Duration, latest: Duration) -> Self {
        Self { earliest, latest, settled_since: None }
    }

    /// Whether to close now, `is_settled` telling that every send is answered and that is written.
    pub(crate) fn is_due(&mut self, now: Duration, is_settled: bool) -> bool {
        self.settled_since = is_settled.then(|| self.settled_since.unwrap_or(now));
        now >= self.due()
    }

    /// When it is due as things are.
    pub(crate) fn due(&self) -> Duration {
        let settled = self.settled_since.map(|since| self.earliest.max(since + LINGER));
        settled.map_or(self.latest, |settled| settled.min(self.latest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_settled_connection_leaves_after_its_answers_had_time_to_arrive() {
        let mut leave = Leave::new(ms(0), ms(1_000));
        assert!(!leave.is_due(ms(10), true));
        assert!(!leave.is_due(ms(60), false), "another send is unanswered");
        assert!(!leave.is_due(ms(100), true));
        assert!(!leave.is_due(ms(199), true));
        assert!(leave.is_due(ms(200), true));
    }

    #[test]
    fn jitter_holds_a_settled_connection_and_the_deadline_none() {
        let mut leave = Leave::new(ms(500), ms(1_000));
        assert!(!leave.is_due(ms(0), true));
        assert_eq!(leave.due(), ms(500));
        assert!(!leave.is_due(ms(499), false));
        assert!(!leave.is_due(ms(999), false));
        assert!(leave.is_due(ms(1_000), false));
    }
}
