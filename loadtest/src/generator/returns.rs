//! How long devices took to come back, and to catch up.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long devices took, kept by the time from which it counts.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// For each stretch: when it began, and what was seen of it.
    stretches: Mutex<Vec<(u64, Stretch)>>,
}

/// What was seen of the returns that count from within a stretch of time.
#[derive(Clone, Debug, Default)]
pub struct Stretch {
    /// How long each took, in nanoseconds.
    pub took_ns: Vec<u64>,
    /// How many have not come back.
    pub missing: usize,
}

impl Stretch {
    /// Takes those of another in addition.
    pub(crate) fn add(&mut self, other: &Self) {
        self.took_ns.extend_from_slice(&other.took_ns);
        self.missing += other.missing;
    }

    /// The time within which this share was back, in seconds; none when nobody was.
    pub(super) fn quantile_s(&self, quantile: f64) -> Option<f64> {
        let mut sorted = self.took_ns.clone();
        sorted.sort_unstable();
        let last = sorted.len().checked_sub(1)?;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "0 to last")]
        #[expect(clippy::cast_precision_loss, reason = "a count of devices")]
        let at = (last as f64 * quantile).ceil() as usize;
        #[expect(clippy::cast_precision_loss, reason = "below 2^52 for 52 days")]
        let ns = sorted[at.min(last)] as f64;
        Some(ns / 1e9)
    }
}

impl Returns {
    /// A stretch of time begins.
    pub(super) fn begin(&self, began_ns: u64) {
        self.lock().push((began_ns, Stretch::default()));
    }

    /// A device is expected, counted from this time.
    pub(super) fn expect(&self, from_ns: u64) {
        if let Some(stretch) = of(&mut self.lock(), from_ns) {
            stretch.missing += 1;
        }
    }

    /// A device that was expected from this time on is there.
    pub(super) fn came(&self, from_ns: u64, now_ns: u64) {
        if let Some(stretch) = of(&mut self.lock(), from_ns) {
            stretch.missing = stretch.missing.saturating_sub(1);
            stretch.took_ns.push(now_ns.saturating_sub(from_ns));
        }
    }

    /// What was seen of the returns that count from `began_ns` or later, up to the next stretch.
    pub(super) fn of(&self, began_ns: u64) -> Stretch {
        of(&mut self.lock(), began_ns).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(u64, Stretch)>> {
        self.stretches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn of(stretches: &mut [(u64, Stretch)], from_ns: u64) -> Option<&mut Stretch> {
    let after = stretches.partition_point(|(began, _)| *began <= from_ns);
    let (_, stretch) = stretches.get_mut(after.checked_sub(1)?)?;
    Some(stretch)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_return_counts_for_the_phase_in_which_the_device_was_sent_away() {
        let returns = Returns::default();
        returns.expect(50);
        returns.begin(100);
        returns.expect(150);
        returns.expect(150);
        returns.begin(200);
        returns.came(150, 2_000_000_150);
        assert_eq!(returns.of(100).missing, 1);
        assert_eq!(returns.of(100).quantile_s(1.0), Some(2.0));
        assert_eq!(returns.of(200).quantile_s(1.0), None);
    }
}
