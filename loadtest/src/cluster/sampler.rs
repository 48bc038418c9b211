//! Looks at processes once a second, apart from what drives the load.

use std::{io, str::FromStr, sync::Arc, thread::JoinHandle, time::Duration};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{
    foreign::ForeignProcess,
    http,
    metrics::{self, Figure},
    process::{Process, State},
    usage::Usage,
};
use crate::clock::RunClock;

/// Between two looks.
const EVERY: Duration = Duration::from_secs(1);
/// Metrics are given up after this, so that one look ends before the next.
const ANSWER_WITHIN: Duration = Duration::from_millis(800);
/// What the own process is called.
const OWN: &str = "loadtest";

/// Whom a [`Sampler`] looks at.
#[derive(Clone, Debug)]
pub enum Watched {
    /// This process.
    Own,
    /// A process of a local cluster.
    Process(Arc<Process>),
    /// A process of this machine that somebody else started.
    Foreign(ForeignProcess),
    /// Whatever serves metrics there.
    Metrics(MetricsUrl),
}

/// Where metrics are served: `http://host:port/path`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetricsUrl {
    address: String,
    path: String,
}

/// What all watched processes were like at one time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    /// When the look began, nanoseconds since the run did.
    pub at_ns: u64,
    /// In the order in which they were given.
    pub processes: Vec<ProcessSample>,
}

/// What one process was like.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ProcessSample {
    /// What it is called: `loadtest`, the name in the cluster, or `host:port`.
    pub name: String,
    /// It runs, or answers.
    pub is_up: bool,
    /// Processor time since the run began, over all its starts, seconds.
    pub cpu_s: Option<f64>,
    /// Memory in RAM, bytes.
    pub rss_bytes: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
    /// Open files and sockets.
    pub open_files: Option<u64>,
    /// The [`metrics::CHOSEN`] it has; none while it does not answer.
    pub figures: Vec<Figure>,
}

/// A thread that looks. Dropping it ends it.
#[derive(Debug)]
pub struct Sampler {
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// One watched process and its processor time.
struct Watch {
    watched: Watched,
    cpu: CpuTime,
}

/// Processor time over several starts of a process.
#[derive(Default)]
struct CpuTime {
    /// Which start it is of, and what that one had used.
    last: Option<(u32, f64)>,
    /// What all of them used since the first look.
    total_s: f64,
}

impl Sampler {
    /// Begins to look, at once, every second and at the end, and tells each time, on a thread of
    /// its own.
    ///
    /// # Errors
    /// When there is no thread to be had.
    pub fn start(
        watched: Vec<Watched>,
        clock: RunClock,
        mut tell: impl FnMut(Sample) + Send + 'static,
    ) -> io::Result<Self> {
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut watches: Vec<Watch> = watched.into_iter().map(Watch::new).collect();
        let look = async move {
            let mut ticks = interval(EVERY);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut is_last = false;
            while !is_last {
                tokio::select! {
                    biased;
                    () = stopped.cancelled() => is_last = true,
                    _ = ticks.tick() => {}
                }
                let at_ns = clock.now_ns();
                let processes = join_all(watches.iter_mut().map(Watch::look)).await;
                tell(Sample { at_ns, processes });
            }
        };
        let thread = std::thread::Builder::new().name("sampler".into());
        let thread = thread.spawn(move || runtime.block_on(look))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Ends it after a last look, within two seconds.
    pub fn end(mut self) {
        self.join();
    }

    fn join(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that looks at processes panicked");
        }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.join();
    }
}

impl Watch {
    fn new(watched: Watched) -> Self {
        Self { watched, cpu: CpuTime::default() }
    }

    async fn look(&mut self) -> ProcessSample {
        match &self.watched {
            Watched::Own => {
                let pid = std::process::id();
                let name = OWN.to_owned();
                ProcessSample { name, is_up: true, ..self.cpu.sample(pid, Usage::own()) }
            }
            Watched::Process(process) => {
                let page = match process.state() {
                    State::Running => page(&process.admin().to_string(), "/metrics").await,
                    State::Stopped | State::Ended | State::Fell(_) => None,
                };
                let (name, pid) = (process.name().to_owned(), process.pid());
                let figures = page.map(|page| metrics::figures(&page)).unwrap_or_default();
                let usage = pid.and_then(Usage::of);
                let sample = self.cpu.sample(pid.unwrap_or(0), usage);
                ProcessSample { name, is_up: pid.is_some(), figures, ..sample }
            }
            Watched::Foreign(process) => {
                let usage = process.usage();
                let (name, is_up) = (process.name.clone(), usage.is_some());
                ProcessSample { name, is_up, ..self.cpu.sample(process.pid, usage) }
            }
            Watched::Metrics(url) => {
                let page = page(&url.address, &url.path).await;
                let sample = page.as_deref().map(|page| self.cpu.read(page)).unwrap_or_default();
                ProcessSample { name: url.address.clone(), is_up: page.is_some(), ..sample }
            }
        }
    }
}

impl CpuTime {
    /// Processor time since the first look, when this start of the process has used so much.
    fn since(&mut self, start: u32, used_s: f64) -> f64 {
        self.total_s += match self.last {
            Some((known, last_s)) if known == start && last_s <= used_s => used_s - last_s,
            // Another start: all of it is new.
            Some(_) => used_s,
            None => 0.0,
        };
        self.last = Some((start, used_s));
        self.total_s
    }

    fn sample(&mut self, pid: u32, usage: Option<Usage>) -> ProcessSample {
        let Some(usage) = usage else {
            return ProcessSample { cpu_s: Some(self.total_s), ..ProcessSample::default() };
        };
        ProcessSample {
            cpu_s: Some(self.since(pid, usage.cpu_s)),
            rss_bytes: Some(usage.rss_bytes),
            threads: Some(usage.threads),
            open_files: Some(usage.open_files),
            ..ProcessSample::default()
        }
    }

    /// What a page of metrics says about the process itself, as far as it does.
    fn read(&mut self, page: &str) -> ProcessSample {
        let whole = |metric| metrics::plain(page, metric).map(|value| value as u64);
        let used = metrics::plain(page, "process_cpu_seconds_total");
        ProcessSample {
            cpu_s: used.map(|used_s| self.since(0, used_s)),
            rss_bytes: whole("process_resident_memory_bytes"),
            threads: whole("process_threads"),
            open_files: whole("process_open_fds"),
            figures: metrics::figures(page),
            ..ProcessSample::default()
        }
    }
}

async fn page(address: &str, path: &str) -> Option<String> {
    let answer = http::ask("GET", address, path, ANSWER_WITHIN).await;
    match answer {
        Ok(answer) if answer.status == 200 => Some(answer.body),
        Ok(answer) => {
            tracing::debug!(address, status = answer.status, "no metrics");
            None
        }
        Err(error) => {
            tracing::debug!(error = format!("{error:#}"), "no metrics");
            None
        }
    }
}

impl FromStr for MetricsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").ok_or_else(|| {
            format!("{text}: metrics are read over plain HTTP, as http://HOST:PORT/metrics")
        })?;
        let (address, path) = rest.split_once('/').unwrap_or((rest, "metrics"));
        let port = address.rsplit_once(':').and_then(|(_, port)| port.parse::<u16>().ok());
        if port.is_none() {
            return Err(format!("{text}: name the port too, as http://HOST:PORT/metrics"));
        }
        Ok(Self { address: address.into(), path: format!("/{path}") })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn processor_time_goes_on_over_restarts() {
        let mut cpu = CpuTime::default();
        let seen: Vec<f64> = [(1, 10.0), (1, 12.0), (2, 1.0), (2, 1.5), (3, 4.0)]
            .map(|(start, used)| cpu.since(start, used))
            .into();
        assert_eq!(seen, [0.0, 2.0, 3.0, 3.5, 7.5]);
    }

    #[test]
    fn where_metrics_are_is_understood_or_explained() {
        let url: MetricsUrl = "http://edge-1:9464/metrics".parse().unwrap();
        assert_eq!((url.address.as_str(), url.path.as_str()), ("edge-1:9464", "/metrics"));
        assert_eq!("http://edge-1:9464".parse(), Ok(url));
        for (wrong, why) in [("edge-1:9464", "plain HTTP"), ("http://edge-1/metrics", "port")] {
            let problem = wrong.parse::<MetricsUrl>().unwrap_err();
            assert!(problem.contains(why), "{problem}");
        }
    }

    #[test]
    fn the_own_process_is_told_at_once_and_at_the_end() {
        let (tell, told) = mpsc::sync_channel(1);
        let sampler = Sampler::start(vec![Watched::Own], RunClock::start(), move |sample| {
            tell.try_send(sample).ok();
        });
        let sample = told.recv().unwrap();
        assert_eq!(sample.processes[0].name, OWN);
        assert!(sample.processes[0].rss_bytes > Some(0));
        sampler.unwrap().end();
        assert!(told.try_recv().unwrap().at_ns > sample.at_ns);
    }
}
