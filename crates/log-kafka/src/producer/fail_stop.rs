//! Lanes that stop at a failure until the caller knows.

use std::sync::{Arc, Mutex, MutexGuard};

/// The lanes of all partitions. Records enter a lane before they are sent and leave it when what
/// became of them is known. When one fails, all that entered after it fail too, and nothing enters
/// until these have left and their callers know.
pub(crate) struct FailStop(Box<[Mutex<Lane>]>);

#[derive(Default)]
struct Lane {
    /// Raised by each failure: records of an older one fail whatever the brokers say.
    generation: u64,
    /// Records of this generation in the lane.
    sound: usize,
    /// Records of older generations in the lane.
    doomed: usize,
    /// Failures whose callers do not know yet.
    untold: usize,
}

impl FailStop {
    pub(crate) fn new(lanes: usize) -> Arc<Self> {
        Arc::new(Self((0..lanes).map(|_| Mutex::default()).collect()))
    }

    fn lock(&self, lane: usize) -> MutexGuard<'_, Lane> {
        self.0[lane].lock().expect("no holder of this lock panics")
    }

    /// Lets a record in and gives it the lane's generation; none: a failure is not told yet.
    pub(crate) fn enter(&self, lane: usize) -> Option<u64> {
        let mut lane = self.lock(lane);
        if lane.doomed + lane.untold > 0 {
            return None;
        }
        lane.sound += 1;
        Some(lane.generation)
    }

    /// Lets a record out; whether none failed that entered before it.
    pub(crate) fn leave(&self, lane: usize, generation: u64) -> bool {
        let mut lane = self.lock(lane);
        let is_sound = generation == lane.generation;
        if is_sound {
            lane.sound -= 1;
        } else {
            lane.doomed -= 1;
        }
        is_sound
    }

    /// Whether a record of this generation may still succeed.
    pub(crate) fn is_sound(&self, lane: usize, generation: u64) -> bool {
        self.lock(lane).generation == generation
    }

    /// A record that has left has failed: all that are in the lane will.
    pub(crate) fn fail(self: &Arc<Self>, lane: usize) -> Untold {
        let mut state = self.lock(lane);
        state.generation += 1;
        state.doomed += std::mem::take(&mut state.sound);
        drop(state);
        self.untold(vec![lane])
    }

    /// Something fails that came after a failure: what is in the lanes came before it and may
    /// succeed.
    pub(crate) fn untold(self: &Arc<Self>, lanes: Vec<usize>) -> Untold {
        lanes.iter().for_each(|lane| self.lock(*lane).untold += 1);
        Untold { fail_stop: Arc::clone(self), lanes }
    }
}

/// Keeps lanes failing while it lives: it travels with a failure until the caller has it.
pub(crate) struct Untold {
    fail_stop: Arc<FailStop>,
    lanes: Vec<usize>,
}

impl Untold {
    /// Keeps the other's lanes failing too, as long as its own.
    pub(crate) fn join(&mut self, mut other: Self) {
        self.lanes.append(&mut other.lanes);
    }
}

impl Drop for Untold {
    fn drop(&mut self) {
        self.lanes.iter().for_each(|lane| self.fail_stop.lock(*lane).untold -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::FailStop;

    #[test]
    fn what_is_behind_a_failure_fails_and_nothing_enters_until_all_is_told() {
        let lanes = FailStop::new(2);
        let first = lanes.enter(0);
        let second = lanes.enter(0);
        let (Some(first), Some(second)) = (first, second) else { panic!("the lane is sound") };
        assert!(lanes.leave(0, first));
        let untold = lanes.fail(0);
        assert_eq!(lanes.enter(0), None);
        assert!(lanes.enter(1).is_some(), "another lane goes on");
        drop(untold);
        assert_eq!(lanes.enter(0), None, "the second is still in it");
        assert!(!lanes.leave(0, second));
        let untold = lanes.untold(vec![0]);
        assert_eq!(lanes.enter(0), None, "the second is not told");
        drop(untold);
        assert!(lanes.enter(0).is_some());
    }

    #[test]
    fn what_comes_after_a_failure_does_not_harm_what_came_before() {
        let lanes = FailStop::new(1);
        let Some(before) = lanes.enter(0) else { panic!("the lane is sound") };
        drop(lanes.untold(vec![0]));
        assert!(lanes.leave(0, before));
    }
}
