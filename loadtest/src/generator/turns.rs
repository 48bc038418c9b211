//! The turns of a closed loop: who waits for an answer sends nothing.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use super::pacer::LOOK_EVERY;
use crate::{clock::RunClock, scenario::PhaseRate};

/// The turns of a closed loop: as many as there are senders, each taken to send and over when the
/// message is answered.
///
/// A sender has its turns at equal distances. One that was kept waiting over several of them goes
/// on with the next and leaves out what it missed: that is what a closed loop hides. So it sends at
/// the times of an open loop with equal distances, but for those at which it waits, and senders
/// that waited for the same do not send in step from then on.
#[derive(Debug)]
pub(super) struct Turns {
    shared: Arc<Shared>,
    ends_ns: u64,
}

/// The turn of one sender. Dropped when its message is answered, it is the sender's next.
#[derive(Debug)]
pub(super) struct Turn {
    /// When it was to be, by the distances.
    due_ns: u64,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    distance_ns: u64,
    /// When each of those who wait for nothing may send next; the earliest is on top.
    free: Mutex<BinaryHeap<Reverse<u64>>>,
    given_back: Condvar,
}

/// What becomes of a try to take a turn.
#[derive(Debug)]
enum Take {
    /// There is one.
    Turn(Turn),
    /// There will be none before this, unless one is given back.
    NotBefore(u64),
    /// There will be none any more.
    Over,
}

impl Turns {
    /// Those of so many senders that share a rate; their first turns are evenly apart.
    pub(super) fn new(senders: u32, rate: &PhaseRate, began_ns: u64) -> Self {
        assert!(senders > 0, "a closed loop has senders");
        let lasts_ns = u64::try_from(rate.duration.as_nanos()).unwrap_or(u64::MAX);
        // At no rate at all the first turns are after the end.
        let distance_ns = (f64::from(senders) / rate.rate * 1e9).max(1.0) as u64;
        let first = |sender: u32| {
            let apart = distance_ns as f64 * f64::from(sender + 1) / f64::from(senders);
            Reverse(began_ns.saturating_add(apart as u64))
        };
        let free = Mutex::new((0..senders).map(first).collect());
        let shared = Arc::new(Shared { distance_ns, free, given_back: Condvar::new() });
        Self { shared, ends_ns: began_ns.saturating_add(lasts_ns) }
    }

    /// Waits for the next turn, and says when it was taken; none when there is none any more, or
    /// it is to stop.
    pub(super) fn next(&self, clock: &RunClock, stopping: &AtomicBool) -> Option<(Turn, u64)> {
        let mut free = self.shared.free();
        while !stopping.load(Ordering::Relaxed) {
            let now_ns = clock.now_ns();
            let until_ns = match self.take(&mut free, now_ns) {
                Take::Turn(turn) => return Some((turn, now_ns)),
                Take::NotBefore(until_ns) => until_ns,
                Take::Over => return None,
            };
            let wait = Duration::from_nanos(until_ns - now_ns).min(LOOK_EVERY);
            let given_back = self.shared.given_back.wait_timeout(free, wait);
            free = given_back.unwrap_or_else(PoisonError::into_inner).0;
        }
        None
    }

    fn take(&self, free: &mut BinaryHeap<Reverse<u64>>, now_ns: u64) -> Take {
        if now_ns >= self.ends_ns {
            return Take::Over;
        }
        let distance_ns = self.shared.distance_ns;
        while let Some(Reverse(due_ns)) = free.peek().copied() {
            let Some(late_ns) = now_ns.checked_sub(due_ns) else {
                return Take::NotBefore(due_ns.min(self.ends_ns));
            };
            free.pop();
            if late_ns < distance_ns {
                return Take::Turn(Turn { due_ns, shared: Arc::clone(&self.shared) });
            }
            let missed = late_ns / distance_ns + 1;
            free.push(Reverse(due_ns.saturating_add(missed * distance_ns)));
        }
        Take::NotBefore(self.ends_ns)
    }
}

impl Shared {
    fn free(&self) -> MutexGuard<'_, BinaryHeap<Reverse<u64>>> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next_ns = self.due_ns.saturating_add(self.shared.distance_ns);
        self.shared.free().push(Reverse(next_ns));
        self.shared.given_back.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::scenario::Process;

    const MS: u64 = 1_000_000;

    /// Two senders at 100/s for a second: each every 20 ms.
    fn two() -> Turns {
        let process = Process::Closed { senders: 2 };
        let rate = PhaseRate { rate: 100.0, process, duration: Duration::from_secs(1) };
        Turns::new(2, &rate, 0)
    }

    fn at(turns: &Turns, ms: u64) -> Take {
        let mut free = turns.shared.free();
        turns.take(&mut free, ms * MS)
    }

    #[track_caller]
    fn taken(turns: &Turns, ms: u64) -> Turn {
        match at(turns, ms) {
            Take::Turn(turn) => turn,
            Take::NotBefore(_) | Take::Over => panic!("no turn at {ms} ms"),
        }
    }

    #[track_caller]
    fn none_before(turns: &Turns, ms: u64, until_ms: u64) {
        match at(turns, ms) {
            Take::NotBefore(until_ns) => assert_eq!(until_ns, until_ms * MS),
            Take::Turn(_) | Take::Over => panic!("not to wait at {ms} ms"),
        }
    }

    #[test]
    fn answers_at_once_keep_the_rate() {
        let turns = two();
        for ms in (10..1_000).step_by(10) {
            none_before(&turns, ms - 1, ms);
            drop(taken(&turns, ms));
        }
    }

    #[test]
    fn who_waits_for_an_answer_sends_nothing_and_what_was_missed_is_left_out() {
        let turns = two();
        let (one, two) = (taken(&turns, 10), taken(&turns, 20));
        none_before(&turns, 30, 1_000);
        none_before(&turns, 500, 1_000);
        drop(one);
        none_before(&turns, 500, 510);
        let again = taken(&turns, 510);
        drop(two);
        none_before(&turns, 515, 520);
        drop((again, taken(&turns, 520)));
        none_before(&turns, 521, 530);
    }

    #[test]
    fn who_is_a_little_late_sends_at_once_and_then_at_its_times_again() {
        let turns = two();
        let one = taken(&turns, 11);
        let two = taken(&turns, 20);
        drop(one);
        none_before(&turns, 29, 30);
        drop((taken(&turns, 30), two));
        let late = taken(&turns, 45);
        none_before(&turns, 46, 50);
        drop(late);
        drop(taken(&turns, 50));
        none_before(&turns, 51, 60);
    }

    #[test]
    fn there_are_no_turns_after_the_end_nor_at_no_rate() {
        let turns = two();
        assert!(matches!(at(&turns, 1_000), Take::Over));
        let process = Process::Closed { senders: 3 };
        let silent = PhaseRate { rate: 0.0, process, duration: Duration::from_secs(1) };
        none_before(&Turns::new(3, &silent, 0), 999, 1_000);
    }
}
