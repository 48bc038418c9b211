//! Whether what is read is still there.

use std::{sync::atomic::Ordering::Relaxed, time::Duration};

use tokio::time::Instant;

use super::Member;
use crate::consumer::{lane::Phase, start::ASKED_AGAIN};

/// How long the brokers may be asked about the ends of lanes before something else is looked at.
const LOOK_WITHIN: Duration = Duration::from_secs(10);
/// So often the brokers may say that records are gone that are there, such as while leaders move,
/// before nothing is read any more.
const UNEXPLAINED_MAX: u32 = 5;

impl Member {
    /// Looks whether what is read is still there, all of it, until `is_ending`. Blocks.
    pub(crate) fn look(&self, is_ending: &dyn Fn() -> bool) {
        let suspicion = self.shared.suspicion.lock().expect("no holder of this lock panics").take();
        let lanes = self.shared.lanes.len();
        let first = self.look_from.load(Relaxed);
        let mut missing = self.missing((0..lanes).map(|at| (first + at) % lanes), is_ending);
        for _ in 0..ASKED_AGAIN {
            if missing.is_empty() || is_ending() {
                break;
            }
            self.start.look_again();
            missing = self.missing(missing.into_iter().map(|(number, _)| number), is_ending);
        }
        if is_ending() {
            return;
        }
        let explained = suspicion.is_none() || !missing.is_empty();
        missing.into_iter().for_each(|(number, reason)| self.shared.lanes[number].stop(reason));
        let unexplained = if explained { 0 } else { self.unexplained.load(Relaxed) + 1 };
        self.unexplained.store(unexplained, Relaxed);
        if let Some(reason) = suspicion
            && unexplained > UNEXPLAINED_MAX
        {
            let lanes = self.shared.lanes.iter();
            lanes.for_each(|lane| lane.stop(format!("the brokers refuse to go on: {reason}")));
        }
    }

    /// Of these lanes those whose next record the log does not have, and why.
    fn missing(
        &self,
        numbers: impl Iterator<Item = usize>,
        is_ending: &dyn Fn() -> bool,
    ) -> Vec<(usize, String)> {
        let until = Instant::now() + LOOK_WITHIN;
        let mut missing = Vec::new();
        for number in numbers {
            let lane = &self.shared.lanes[number];
            // Before the ends are asked for: reading goes on meanwhile.
            let phase = lane.lock().phase;
            let (Phase::Fetching(next) | Phase::Wanted(next)) = phase else { continue };
            if is_ending() {
                break;
            }
            if Instant::now() > until {
                // Brokers that do not answer keep nobody from looking at the rest.
                self.look_from.store(number, Relaxed);
                break;
            }
            let partition = i32::try_from(number).expect("at most 4096 partitions");
            let Ok((low, high)) = self.start.ends(partition) else { continue };
            let name = self.shared.layout.name(self.shared.topic);
            if next < low {
                let reason = format!(
                    "records {next} to {low} of partition {partition} of {name} were deleted \
                     before they were read: raise retention.ms"
                );
                missing.push((number, reason));
            } else if next > high {
                let reason = format!(
                    "partition {partition} of {name} ends at {high} and was read to {next}: its \
                     end was lost, or it is another log. Begin a new epoch"
                );
                missing.push((number, reason));
            } else {
                lane.looked(next, high);
            }
        }
        missing
    }
}
