//! How much a device may send: a send costs its recipients times its bytes.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;
use wire::GroupId;

/// Groups whose size is remembered; at the limit the older half is forgotten.
const SIZES_MAX: usize = 8_192;
/// A remembered size is good for so long: it bounds a cost, it decides nothing.
const SIZE_GOOD_FOR: Duration = Duration::from_secs(60);

/// One connection's token bucket. It may be overdrawn by one send, so that the largest send to the
/// largest group is possible and a cost that becomes known late can still be charged.
#[derive(Debug)]
pub(crate) struct Budget {
    rate: u64,
    burst: i64,
    balance: i64,
    as_of: Duration,
}

impl Budget {
    pub(crate) fn new(now: Duration, bytes_per_s: u64, burst_bytes: u64) -> Self {
        let burst = i64::try_from(burst_bytes).unwrap_or(i64::MAX);
        Self { rate: bytes_per_s, burst, balance: burst, as_of: now }
    }

    /// Whether a send may go on now; otherwise in how many milliseconds.
    pub(crate) fn check(&mut self, now: Duration) -> Result<(), u32> {
        let elapsed = now.saturating_sub(self.as_of);
        let earned = elapsed.as_micros() * u128::from(self.rate) / 1_000_000;
        if earned > 0 {
            let earned = i64::try_from(earned).unwrap_or(i64::MAX);
            self.balance = self.balance.saturating_add(earned).min(self.burst);
            self.as_of = now;
        }
        if self.balance > 0 {
            return Ok(());
        }
        let missing = self.balance.unsigned_abs() + 1;
        let wait_ms = missing.saturating_mul(1_000).div_ceil(self.rate);
        Err(u32::try_from(wait_ms).unwrap_or(u32::MAX))
    }

    pub(crate) fn charge(&mut self, bytes: u64) {
        self.balance = self.balance.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}

/// Sizes of groups seen lately, of all connections.
#[derive(Default)]
pub(crate) struct GroupSizes(Mutex<HashMap<GroupId, (u32, Instant)>>);

impl GroupSizes {
    pub(crate) fn get(&self, group: GroupId) -> Option<u32> {
        let sizes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (size, at) = sizes.get(&group)?;
        (at.elapsed() < SIZE_GOOD_FOR).then_some(*size)
    }

    pub(crate) fn put(&self, group: GroupId, size: u32) {
        let mut sizes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if sizes.len() >= SIZES_MAX && !sizes.contains_key(&group) {
            let mut ages: Vec<Instant> = sizes.values().map(|(_, at)| *at).collect();
            let (_, middle, _) = ages.select_nth_unstable(SIZES_MAX / 2);
            let middle = *middle;
            sizes.retain(|_, (_, at)| *at > middle);
        }
        sizes.insert(group, (size, Instant::now()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_may_be_overdrawn_once_and_is_paid_back_by_time() {
        let mut budget = Budget::new(Duration::ZERO, 1_000, 500);
        assert_eq!(budget.check(Duration::ZERO), Ok(()));
        budget.charge(2_500);
        assert_eq!(budget.check(Duration::ZERO), Err(2_001));
        assert_eq!(budget.check(Duration::from_millis(2_000)), Err(1));
        assert_eq!(budget.check(Duration::from_millis(2_001)), Ok(()));
    }

    #[test]
    fn a_pause_earns_no_more_than_the_burst() {
        let mut budget = Budget::new(Duration::ZERO, 1_000, 500);
        let later = Duration::from_secs(3_600);
        assert_eq!(budget.check(later), Ok(()));
        budget.charge(501);
        assert!(budget.check(later).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn sizes_are_bounded_and_grow_stale() {
        let sizes = GroupSizes::default();
        for n in 0..=SIZES_MAX {
            let mut id = [0; 16];
            id[..8].copy_from_slice(&(n as u64).to_be_bytes());
            sizes.put(GroupId::from_bytes(id), 3);
            tokio::time::advance(Duration::from_micros(1)).await;
        }
        assert!(sizes.0.lock().is_ok_and(|sizes| sizes.len() <= SIZES_MAX / 2 + 1));
        assert_eq!(sizes.get(GroupId::from_bytes([0; 16])), None);
        let known = GroupId::from_bytes([9; 16]);
        sizes.put(known, 4);
        assert_eq!(sizes.get(known), Some(4));
        tokio::time::advance(SIZE_GOOD_FOR).await;
        assert_eq!(sizes.get(known), None);
    }
}
