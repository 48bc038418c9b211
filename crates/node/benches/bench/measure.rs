//! Rates, and the CPU time they cost.

use std::time::{Duration, Instant};

/// Who sends to whom, and how hard.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Sending devices.
    pub senders: usize,
    /// Receiving devices of each sender; more than one form a group with it.
    pub fan_out: usize,
    /// Sends of one device that wait for their answer.
    pub window: u64,
}

/// One measured run.
#[derive(Clone, Copy)]
pub struct Run {
    /// Messages done.
    pub messages: u64,
    /// Wall time they took.
    pub wall: Duration,
    /// CPU time of the whole process meanwhile, kernel included.
    pub cpu: Duration,
}

impl Run {
    /// Messages a second.
    pub fn rate(&self) -> f64 {
        self.messages as f64 / self.wall.as_secs_f64()
    }

    /// CPU microseconds a message.
    pub fn cpu_us(&self) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / self.messages as f64
    }
}

/// A running measurement.
pub struct Meter {
    started: Instant,
    cpu: Duration,
}

impl Meter {
    /// Starts the clocks.
    pub fn start() -> Self {
        Self { started: Instant::now(), cpu: process_cpu() }
    }

    /// Whether the run is that old.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Stops the clocks.
    pub fn stop(self, messages: u64) -> Run {
        Run { messages, wall: self.started.elapsed(), cpu: process_cpu() - self.cpu }
    }
}

/// Repeats `batch`, which does `batch_len` messages, for about `seconds`.
pub fn repeat(seconds: f64, batch_len: u64, mut batch: impl FnMut()) -> Run {
    let meter = Meter::start();
    let mut messages = 0;
    while meter.elapsed().as_secs_f64() < seconds {
        batch();
        messages += batch_len;
    }
    meter.stop(messages)
}

/// The run with the median rate of an odd number of runs.
pub fn median(runs: &[Run]) -> Run {
    let mut runs = runs.to_vec();
    runs.sort_by(|a, b| a.rate().total_cmp(&b.rate()));
    runs[runs.len() / 2]
}

/// One line to watch meanwhile.
pub fn progress(name: &str, run: &Run) {
    eprintln!("  {name}: {:.0} msg/s, {:.2} CPU us/msg", run.rate(), run.cpu_us());
}

/// One line of the report.
pub fn report(name: &str, run: &Run) {
    println!("{name:<44} {:>12.0} msg/s {:>9.2} CPU us/msg", run.rate(), run.cpu_us());
}

/// One line that compares runs made in turn, each with the one made just before it: both then met
/// the same noise.
pub fn report_ratio(name: &str, runs: &[Run], limits: &[Run], aim: f64) {
    let ratios = runs.iter().zip(limits).map(|(run, limit)| run.rate() / limit.rate());
    let mut ratios: Vec<f64> = ratios.collect();
    ratios.sort_by(f64::total_cmp);
    let ratio = ratios[ratios.len() / 2];
    let verdict = if ratio >= aim { "reached" } else { "missed" };
    println!("{name:<44} {ratio:>12.2} of the limit's rate, aim {aim:.2}: {verdict}");
}

/// User and system time of this process.
fn process_cpu() -> Duration {
    cpu_of(std::process::id())
}

/// User and system time of a process, from `/proc/PID/stat` in ticks of 10 ms; none when it is
/// gone.
pub fn cpu_of(pid: u32) -> Duration {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else {
        return Duration::ZERO;
    };
    // The program's name, in parentheses, may hold spaces: fields are counted after it.
    let fields: Vec<&str> =
        stat.rsplit_once(')').expect("a name in parentheses").1.split_whitespace().collect();
    let ticks = |index: usize| fields[index].parse::<u64>().expect("a number of ticks");
    Duration::from_millis((ticks(11) + ticks(12)) * 10)
}
