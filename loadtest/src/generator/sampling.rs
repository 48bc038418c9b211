//! Makes an interval of every second: what happened, and what was used for it.

use std::{
    collections::BTreeMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use crate::{
    cluster::{ProcessSample, Sample},
    measure::{IntervalLogs, Portion},
    report::summary::{Generator as Own, Interval, Load, Metric, Process},
    view::Board,
};

use super::Play;

/// No phase is under way.
const NO_PHASE: usize = usize::MAX;
/// What is shown of latencies is of so many intervals.
const SHOWN: usize = 5;

/// Makes an interval of every look at the processes. Shared by who looks and who wants to know.
#[derive(Clone)]
pub struct Sampling(Arc<Shared>);

struct Shared {
    player: Arc<dyn Play>,
    board: Arc<Board>,
    /// The place of the phase under way.
    phase: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Absent before the load, when nothing is kept.
    logs: Option<IntervalLogs>,
    load_began_ns: u64,
    recording: bool,
    last: Option<Sample>,
    intervals: Vec<Interval>,
    recent: Vec<Portion>,
    errors: u64,
    processes: BTreeMap<String, Process>,
    /// The values of each metric when the load began and now, by process and name.
    metrics: BTreeMap<(String, String), (Option<f64>, Option<f64>)>,
    own: Own,
}

/// Everything that was sampled.
#[derive(Debug, Default)]
pub struct Sampled {
    /// A stretch of about a second each.
    pub intervals: Vec<Interval>,
    /// The processes of the cluster.
    pub processes: Vec<Process>,
    /// Their metrics.
    pub metrics: Vec<Metric>,
    /// What this program used.
    pub own: Own,
}

impl Sampling {
    /// Keeps nothing until [`Self::begin`].
    #[must_use]
    pub fn new(player: Arc<dyn Play>, board: Arc<Board>) -> Self {
        let (phase, state) = (AtomicUsize::new(NO_PHASE), Mutex::default());
        Self(Arc::new(Shared { player, board, phase, state }))
    }

    /// From now on intervals are kept, and written to these logs.
    pub fn begin(&self, logs: IntervalLogs, now_ns: u64) {
        drop(self.0.player.take_interval());
        let mut state = self.lock();
        state.logs = Some(logs);
        state.load_began_ns = now_ns;
        state.recording = true;
        let State { last, processes, metrics, .. } = &mut *state;
        for process in servers(last.as_ref()) {
            if let Some(known) = processes.get_mut(&process.name) {
                known.rss_begin_bytes = process.rss_bytes.unwrap_or(0);
            }
            for figure in &process.figures {
                let key = (process.name.clone(), figure.name.clone());
                metrics.entry(key).or_default().0 = Some(figure.value);
            }
        }
    }

    /// Another phase is under way, or none.
    pub fn enter(&self, phase: Option<usize>) {
        self.0.phase.store(phase.unwrap_or(NO_PHASE), Ordering::Relaxed);
    }

    /// A process was started again.
    pub fn restarted(&self, name: &str) {
        if let Some(process) = self.lock().processes.get_mut(name) {
            process.restarts += 1;
        }
    }

    /// Memory of this program and of all processes of the cluster at the last look.
    #[must_use]
    pub fn memory(&self) -> (Option<u64>, Option<u64>) {
        let state = self.lock();
        let own = own(state.last.as_ref()).and_then(|own| own.rss_bytes);
        let servers = servers(state.last.as_ref()).iter().filter_map(|server| server.rss_bytes);
        (own, servers.reduce(|sum, bytes| sum + bytes))
    }

    /// The last interval that was kept, and how many there are.
    #[must_use]
    pub fn last(&self) -> (usize, Option<Interval>) {
        let state = self.lock();
        (state.intervals.len(), state.intervals.last().cloned())
    }

    /// Takes a look; called once a second, the first time at once.
    pub fn look(&self, mut sample: Sample) {
        if let (Some(usage), Some(own)) = (self.0.player.elsewhere(), sample.processes.first_mut())
        {
            own.cpu_s = Some(usage.cpu_s);
            own.rss_bytes = Some(usage.rss_bytes);
        }
        let standing = self.0.player.standing();
        let phase = self.0.phase.load(Ordering::Relaxed);
        let mut state = self.lock();
        state.note_processes(&sample);
        let last = state.last.replace(sample.clone());
        let Some(last) = last else { return };
        let portion = self.0.player.take_interval();
        let length_s = sample.at_ns.saturating_sub(last.at_ns) as f64 / 1e9;
        state.errors += portion.tally.counts.errors;
        let queues = queues(servers(Some(&sample)));
        let interval = Interval {
            at_s: last.at_ns as f64 / 1e9,
            length_s,
            phase: (phase != NO_PHASE).then_some(phase),
            counts: portion.tally.counts,
            latency: portion.latencies.spreads(),
            connections: standing.connections as u64,
            server: load(servers(Some(&last)), servers(Some(&sample)), length_s),
            queues,
            generator: load(own(Some(&last)).as_slice(), own(Some(&sample)).as_slice(), length_s),
        };
        state.show(&self.0.board, &interval, &portion, standing.waiting as u64);
        if state.recording {
            state.keep(interval, &portion);
        }
    }

    /// Everything that was kept.
    #[must_use]
    pub fn end(&self) -> Sampled {
        let mut state = self.lock();
        state.recording = false;
        let metrics = mem::take(&mut state.metrics).into_iter();
        Sampled {
            intervals: mem::take(&mut state.intervals),
            processes: mem::take(&mut state.processes).into_values().collect(),
            metrics: metrics
                .map(|((process, name), (begin, end))| Metric { process, name, begin, end })
                .collect(),
            own: state.own.clone(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn note_processes(&mut self, sample: &Sample) {
        if let Some(own) = own(Some(sample)) {
            self.own.cpu_s = own.cpu_s.unwrap_or(self.own.cpu_s);
            self.own.rss_max_bytes = self.own.rss_max_bytes.max(own.rss_bytes.unwrap_or(0));
        }
        for server in servers(Some(sample)) {
            let known = self.processes.entry(server.name.clone()).or_insert_with(|| Process {
                name: server.name.clone(),
                cpu_s: 0.0,
                rss_begin_bytes: server.rss_bytes.unwrap_or(0),
                rss_max_bytes: 0,
                rss_end_bytes: 0,
                restarts: 0,
            });
            known.cpu_s = server.cpu_s.unwrap_or(known.cpu_s);
            if let Some(rss_bytes) = server.rss_bytes {
                known.rss_max_bytes = known.rss_max_bytes.max(rss_bytes);
                known.rss_end_bytes = rss_bytes;
            }
            for figure in &server.figures {
                let key = (server.name.clone(), figure.name.clone());
                self.metrics.entry(key).or_default().1 = Some(figure.value);
            }
        }
    }

    fn keep(&mut self, interval: Interval, portion: &Portion) {
        let began_s = (interval.at_s - self.load_began_ns as f64 / 1e9).max(0.0);
        if let Some(logs) = &mut self.logs
            && let Err(error) = logs.add(began_s, interval.length_s, &portion.latencies)
        {
            tracing::error!(%error, "the interval logs cannot be written and end here");
            self.logs = None;
        }
        self.intervals.push(interval);
    }

    fn show(&mut self, board: &Board, interval: &Interval, portion: &Portion, waiting: u64) {
        if self.recent.len() >= SHOWN {
            self.recent.remove(0);
        }
        self.recent.push(portion.clone());
        let mut recent = Portion::default();
        self.recent.iter().for_each(|portion| recent.add(portion));
        let errors = self.errors;
        board.update(|shown| {
            shown.rates = Some(interval.counts.per_second(interval.length_s));
            shown.latency = recent.latencies.spreads();
            shown.connections = interval.connections;
            shown.errors = errors;
            shown.waiting = waiting;
            shown.server = interval.server;
            shown.own = interval.generator;
        });
    }
}

/// This program is the first that is looked at.
fn own(sample: Option<&Sample>) -> Option<ProcessSample> {
    sample?.processes.first().cloned()
}

fn servers(sample: Option<&Sample>) -> &[ProcessSample] {
    sample.and_then(|sample| sample.processes.get(1..)).unwrap_or_default()
}

/// What processes used between two looks; none when none of them tells.
fn load(before: &[ProcessSample], now: &[ProcessSample], length_s: f64) -> Option<Load> {
    let cpu = |all: &[ProcessSample]| -> Option<f64> {
        all.iter().filter_map(|process| process.cpu_s).reduce(|sum, s| sum + s)
    };
    let used_s = (cpu(now)? - cpu(before)?).max(0.0);
    Some(Load {
        cpu_cores: if length_s > 0.0 { used_s / length_s } else { 0.0 },
        rss_bytes: now.iter().filter_map(|process| process.rss_bytes).sum(),
    })
}

/// The figures that go up and down, over all processes.
fn queues(servers: &[ProcessSample]) -> BTreeMap<String, f64> {
    let gauges = crate::cluster::CHOSEN
        .iter()
        .filter(|chosen| chosen.kind == crate::cluster::Kind::Gauge)
        .map(|chosen| chosen.name);
    let gauges: Vec<&str> = gauges.collect();
    let mut queues = BTreeMap::new();
    for figure in servers.iter().flat_map(|server| &server.figures) {
        if gauges.contains(&figure.name.as_str()) {
            *queues.entry(figure.name.clone()).or_default() += figure.value;
        }
    }
    queues
}
