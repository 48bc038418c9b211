//! A phase: a stretch of a run with its own load, actions and bounds.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    Action, Slo,
    quantity::{show_duration, show_number},
};

/// A stretch of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Phase {
    /// What it is called; unlike any other phase.
    pub name: String,
    /// How long it lasts; of a search, how long it lasts at most.
    pub duration: Duration,
    /// What is sent.
    pub load: Load,
    /// Whether its figures are results; otherwise it only prepares.
    pub measured: bool,
    /// Devices that come and go.
    pub churn: Option<Churn>,
    /// Devices that read slowly.
    pub slow_readers: Option<SlowReaders>,
    /// What its figures must be.
    pub slo: Slo,
    /// What happens during it, earliest first.
    pub actions: Vec<Action>,
}

/// What is sent during a phase.
#[derive(Clone, Debug, PartialEq)]
pub enum Load {
    /// At a rate that is given.
    Rate(PhaseRate),
    /// At the highest rate that keeps the phase's bounds, which is searched for.
    Search(Search),
}

impl Load {
    /// The highest rate it may reach, messages/s.
    #[must_use]
    pub fn rate_max(&self) -> f64 {
        match self {
            Self::Rate(rate) => rate.rate_max(),
            Self::Search(search) => search.to,
        }
    }
}

/// Messages over time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseRate {
    /// Messages/s, the mean; 0 for none.
    pub rate: f64,
    /// How they follow each other.
    pub process: Process,
    /// How long.
    pub duration: Duration,
}

/// How messages follow each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Process {
    /// At equal distances.
    Constant,
    /// Independently of each other.
    Poisson,
    /// Independently, at a rate that rises and falls around the mean.
    Sine {
        /// How much of the mean, 0 to 1.
        amplitude: f64,
        /// From one peak to the next.
        period: Duration,
    },
    /// Independently, at rates that hold for equally long, messages/s.
    Steps(Vec<f64>),
    /// Each after the answer to one before, at most at the rate: a stall of the cluster stops the
    /// load as well. Only to show what that hides.
    Closed {
        /// How many may wait for an answer at once, at least 1; each sends at its share of the
        /// rate, or later.
        senders: u32,
    },
}

impl PhaseRate {
    /// How many senders wait for their answers; none when nothing waits for anything.
    #[must_use]
    pub fn closed_senders(&self) -> Option<u32> {
        match self.process {
            Process::Constant | Process::Poisson | Process::Sine { .. } | Process::Steps(_) => None,
            Process::Closed { senders } => Some(senders),
        }
    }

    /// The rate intended at `at` since the phase began, messages/s.
    #[must_use]
    pub fn rate_at(&self, at: Duration) -> f64 {
        match &self.process {
            Process::Constant | Process::Poisson | Process::Closed { .. } => self.rate,
            Process::Sine { amplitude, period } => {
                let turns = at.as_secs_f64() / period.as_secs_f64();
                self.rate * (1.0 + amplitude * (turns * std::f64::consts::TAU).sin())
            }
            Process::Steps(rates) => {
                let done = at.as_secs_f64() / self.duration.as_secs_f64();
                let step = (done * rates.len() as f64) as usize;
                rates.get(step).or(rates.last()).copied().unwrap_or(0.0)
            }
        }
    }

    /// The highest rate intended, messages/s.
    #[must_use]
    pub fn rate_max(&self) -> f64 {
        match &self.process {
            Process::Constant | Process::Poisson | Process::Closed { .. } => self.rate,
            Process::Sine { amplitude, .. } => self.rate * (1.0 + amplitude),
            Process::Steps(rates) => rates.iter().copied().fold(0.0, f64::max),
        }
    }

    /// How many messages are expected in all; of a closed loop, at most.
    #[must_use]
    pub fn expected(&self) -> f64 {
        let seconds = self.duration.as_secs_f64();
        match &self.process {
            Process::Constant | Process::Poisson | Process::Closed { .. } => self.rate * seconds,
            Process::Sine { amplitude, period } => {
                let radians_per_s = std::f64::consts::TAU / period.as_secs_f64();
                let swing = (1.0 - (radians_per_s * seconds).cos()) / radians_per_s;
                self.rate * (seconds + amplitude * swing)
            }
            Process::Steps(rates) => {
                rates.iter().sum::<f64>() * seconds / rates.len().max(1) as f64
            }
        }
    }
}

/// A search for the highest rate that keeps the phase's bounds: doubling from `from` until one is
/// missed, then halving the gap until it is small enough, then holding what was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Search {
    /// The first rate tried, messages/s.
    pub from: f64,
    /// The highest rate tried, messages/s.
    pub to: f64,
    /// The gap between what held and what did not, as a share of the rate, at which it ends.
    pub precision: f64,
    /// How long each rate is tried.
    pub step: Duration,
    /// How long the result is held to prove it.
    pub prove: Duration,
    /// How messages follow each other.
    pub process: Process,
}

impl Search {
    /// The load of one try.
    #[must_use]
    pub fn at(&self, rate: f64, duration: Duration) -> PhaseRate {
        PhaseRate { rate, process: self.process.clone(), duration }
    }

    /// How many tries it takes at most before the proof, if every proof holds.
    #[must_use]
    pub fn tries_max(&self) -> u32 {
        let doublings = (self.to / self.from).log2().ceil().max(0.0) + 1.0;
        // The gap after doubling is as large as the rate that held, and each try halves it.
        let halvings = (1.0 / self.precision).log2().ceil().max(0.0);
        (doublings + halvings) as u32
    }

    /// How long it takes at most, if every proof holds.
    #[must_use]
    pub fn duration_max(&self) -> Duration {
        self.step * self.tries_max() + self.prove
    }
}

/// Connected devices, chosen at random, that leave in order and come back.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Churn {
    /// How many leave in a second, independently of each other.
    pub per_s: f64,
    /// How long each stays away.
    pub away: Duration,
}

/// Devices that read slowly, and whose deliveries are checked but are nobody's latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowReaders {
    /// Share of devices, 0 to 1.
    pub share: f64,
    /// How long each waits after every message before it takes the next.
    pub pause: Duration,
}

impl fmt::Display for Load {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rate(rate) => rate.fmt(f),
            Self::Search(search) => {
                let [from, to] = [search.from, search.to].map(show_number);
                let precision = show_number(search.precision * 100.0);
                let [step, prove] = [search.step, search.prove].map(show_duration);
                write!(f, "search from {from}/s to {to}/s to within {precision}%, {step} each, ")?;
                write!(f, "the result held for {prove}")
            }
        }
    }
}

impl fmt::Display for PhaseRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.rate_max() <= 0.0 {
            return f.write_str("nothing is sent");
        }
        let rate = show_number(self.rate);
        match &self.process {
            Process::Constant => write!(f, "{rate}/s at equal distances"),
            Process::Poisson => write!(f, "{rate}/s"),
            Process::Sine { amplitude, period } => {
                let amplitude = show_number(amplitude * 100.0);
                write!(f, "{rate}/s, up and down by {amplitude}% in {}", show_duration(*period))
            }
            Process::Steps(rates) => {
                let rates: Vec<_> = rates.iter().map(|rate| show_number(*rate)).collect();
                write!(f, "{}/s in steps", rates.join(", "))
            }
            Process::Closed { senders } => {
                let senders = show_number(f64::from(*senders));
                write!(f, "{rate}/s at most, in a closed loop of {senders} senders")
            }
        }
    }
}
