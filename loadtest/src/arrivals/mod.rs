//! When things are meant to happen: seeded arrival processes without a clock.

use std::time::Duration;

use rand::RngExt;
use rand_distr::Exp1;

use crate::scenario::{
    PhaseRate, Process,
    seed::{Purpose, Random},
};

/// The intended times of a phase's messages, as time since the phase began; they never go back,
/// and all are before its end.
///
/// It does not know what became of any message: that is what makes the load open. Of a closed loop
/// these are the times if every answer came at once.
#[derive(Clone, Debug)]
pub struct Arrivals {
    rate: PhaseRate,
    rate_max: f64,
    random: Random,
    /// Of those at equal distances, how many there were.
    count: u64,
    /// Of the others, seconds since the phase began.
    seconds: f64,
}

impl Arrivals {
    /// The times of the phase at this place, from 0. `part` is the number of the try in a search,
    /// otherwise 0.
    #[must_use]
    pub fn new(rate: &PhaseRate, seed: u64, phase: u32, part: u32) -> Self {
        Self {
            rate_max: rate.rate_max(),
            random: Purpose::Arrivals { phase, part }.random(seed),
            rate: rate.clone(),
            count: 0,
            seconds: 0.0,
        }
    }

    /// The next at equal distances, the first one distance after the beginning of the phase.
    fn next_constant(&mut self) -> f64 {
        self.count += 1;
        self.count as f64 / self.rate_max
    }

    /// The next of those that are independent: drawn at the highest rate, and kept as often as the
    /// rate at that time says.
    fn next_independent(&mut self) -> f64 {
        loop {
            self.seconds += self.random.sample::<f64, _>(Exp1) / self.rate_max;
            if self.seconds >= self.rate.duration.as_secs_f64() || self.is_kept() {
                return self.seconds;
            }
        }
    }

    fn is_kept(&mut self) -> bool {
        match self.rate.process {
            Process::Constant | Process::Poisson | Process::Closed { .. } => true,
            Process::Sine { .. } | Process::Steps(_) => {
                let rate = self.rate.rate_at(Duration::from_secs_f64(self.seconds));
                self.random.random::<f64>() * self.rate_max < rate
            }
        }
    }
}

impl Iterator for Arrivals {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.rate_max <= 0.0 {
            return None;
        }
        let seconds = match self.rate.process {
            Process::Constant | Process::Closed { .. } => self.next_constant(),
            Process::Poisson | Process::Sine { .. } | Process::Steps(_) => self.next_independent(),
        };
        // First as a number: at a tiny rate the next is later than a `Duration` can be.
        let is_within = seconds < self.rate.duration.as_secs_f64();
        is_within.then(|| Duration::from_secs_f64(seconds)).filter(|at| *at < self.rate.duration)
    }
}

#[cfg(test)]
mod tests;
