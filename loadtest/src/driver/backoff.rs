//! How long to wait before the next attempt.

use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::population::DeviceIndex;

/// The first wait is at most this.
const FIRST: Duration = Duration::from_millis(200);
/// No wait is longer.
const LONGEST: Duration = Duration::from_secs(5);

/// Waits that double, each somewhere in its upper half by device and attempt, so that devices
/// which lost their server together do not all come back together.
#[derive(Debug)]
pub(super) struct Backoff {
    device: DeviceIndex,
    attempt: u32,
}

impl Backoff {
    pub(super) fn new(device: DeviceIndex) -> Self {
        Self { device, attempt: 0 }
    }

    /// The wait after one more failure.
    pub(super) fn failed(&mut self) -> Duration {
        let most = FIRST.saturating_mul(1 << self.attempt.min(16)).min(LONGEST);
        let drawn = xxh3_64_with_seed(&self.device.0.to_le_bytes(), u64::from(self.attempt));
        let part = u32::try_from(drawn % 1024).expect("less than 1,024");
        self.attempt += 1;
        most / 2 + most / 2 * part / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut backoff = Backoff::new(DeviceIndex(3));
        for doublings in 0..40 {
            let most = (FIRST * (1 << doublings.min(10))).min(LONGEST);
            let wait = backoff.failed();
            assert!(most / 2 <= wait && wait <= most, "{wait:?} after {doublings}");
        }
    }

    #[test]
    fn devices_wait_differently() {
        let firsts = (0..100).map(|device| Backoff::new(DeviceIndex(device)).failed());
        let different: std::collections::HashSet<_> = firsts.collect();
        assert!(different.len() > 80);
    }
}
