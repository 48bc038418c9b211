//! A worker: its lanes, its heartbeat, its pushes.

use std::sync::Arc;

use link::MeshDialer;
use ports::Engines;
use tokio::{sync::Notify, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use wire::{Partition, Topic};

use crate::{
    config::WorkerConfig,
    heartbeat::Heart,
    lane::{self, Context},
    metrics::WorkerMetrics,
    progress::{Progress, State},
    push::{PushQueue, Pusher},
    retry::Retry,
};

/// Milliseconds since 1970.
pub type WallClock = fn() -> u64;

/// What a worker is made of.
pub struct Parts {
    /// The engines it reads and writes.
    pub engines: Engines,
    /// How it reaches edges.
    pub dialer: MeshDialer,
    /// The clock, for what has expired and for heartbeats.
    pub wall_clock: WallClock,
    /// What it counts.
    pub metrics: WorkerMetrics,
}

/// Consumes the logs of its roles: every partition that is given to this process.
pub struct Worker {
    config: Arc<WorkerConfig>,
    parts: Parts,
    lanes: Vec<Arc<Progress>>,
    opened: Arc<Notify>,
}

/// A look at a worker from outside. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    lanes: Vec<Arc<Progress>>,
}

/// How many lanes a worker has, by what they do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lanes {
    /// They do not have their partition: it is being opened, or another process has it.
    pub waiting: usize,
    /// They work.
    pub running: usize,
    /// They stand, and someone must act.
    pub standing: usize,
}

/// Whether a worker does its work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// No lane stands.
    pub ready: bool,
    /// Why not; empty when ready.
    pub reason: String,
}

/// Why a worker ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// A task panicked, which is a defect of the program. What it had in hand is done again by the
    /// next worker.
    #[error("a task of the worker panicked: {0}")]
    Panicked(String),
}

impl Worker {
    /// A worker that does nothing yet.
    #[must_use]
    pub fn new(config: WorkerConfig, parts: Parts) -> Self {
        let opened = Arc::new(Notify::new());
        let mut lanes = Vec::new();
        for (topic, wanted) in
            [(Topic::Mail, config.roles.mail), (Topic::Group, config.roles.group)]
        {
            let count = if wanted { parts.engines.log.partition_count(topic) } else { 0 };
            let partitions = (0..count).map(Partition::new);
            lanes.extend(partitions.map(|of| Progress::new(topic, of, Arc::clone(&opened))));
        }
        Self { config: Arc::new(config), parts, lanes, opened }
    }

    /// A look at it from outside.
    #[must_use]
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle { lanes: self.lanes.clone() }
    }

    /// Works until `stop` is cancelled, then lets the lanes finish what they have in hand, for at
    /// most [`WorkerConfig::drain_within`].
    ///
    /// # Errors
    /// [`RunError`]: end the process and start it again.
    ///
    /// # Cancel safety
    /// Dropping the future ends everything at once and loses nothing that was accepted.
    pub async fn run(self, stop: CancellationToken) -> Result<(), RunError> {
        // Pushes go on until the lanes have ended.
        let (stop_lanes, stop_pushes) = (stop.child_token(), CancellationToken::new());
        let mut pushes = JoinSet::new();
        let push = self.start_pushes(&mut pushes, &stop_pushes);
        let mut lanes = self.start_lanes(push, &stop_lanes);
        let mut result = Ok(());
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            failed = first_panic(&mut lanes) => result = Err(failed),
            failed = first_panic(&mut pushes) => result = Err(failed),
        }
        stop_lanes.cancel();
        let ended = async { while lanes.join_next().await.is_some() {} };
        if timeout(self.config.drain_within, ended).await.is_err() {
            tracing::warn!("lanes did not end in time; what they had in hand is done again later");
            lanes.shutdown().await;
        }
        stop_pushes.cancel();
        while pushes.join_next().await.is_some() {}
        result
    }

    fn start_pushes(&self, tasks: &mut JoinSet<()>, stop: &CancellationToken) -> Option<PushQueue> {
        if !self.config.push_enabled || !self.config.roles.mail {
            return None;
        }
        let (queue, pusher) = Pusher::new(
            Arc::clone(&self.config),
            Arc::clone(&self.parts.engines.presence),
            self.parts.dialer.clone(),
            self.parts.metrics.clone(),
        );
        tasks.spawn(pusher.run(stop.clone()));
        Some(queue)
    }

    fn start_lanes(&self, push: Option<PushQueue>, stop: &CancellationToken) -> JoinSet<()> {
        let Parts { engines, wall_clock, metrics, dialer: _ } = &self.parts;
        let retry = Retry {
            min: self.config.retry_min,
            max: self.config.retry_max,
            stop: stop.clone(),
            metrics: metrics.clone(),
        };
        let mut tasks = JoinSet::new();
        for progress in &self.lanes {
            tasks.spawn(lane::run(Context {
                topic: progress.topic,
                partition: progress.partition,
                config: Arc::clone(&self.config),
                engines: engines.clone(),
                metrics: metrics.clone(),
                wall_clock: *wall_clock,
                retry: retry.clone(),
                push: push.clone(),
                progress: Arc::clone(progress),
            }));
        }
        let heart = Heart {
            log: Arc::clone(&engines.log),
            lanes: self.lanes.clone(),
            opened: Arc::clone(&self.opened),
            every: self.config.heartbeat_every,
            wall_clock: *wall_clock,
            retry,
            metrics: metrics.clone(),
        };
        tasks.spawn(heart.run());
        tasks
    }
}

/// Waits for a panic of one of the tasks. That one ends is no reason to end the others.
async fn first_panic(tasks: &mut JoinSet<()>) -> RunError {
    loop {
        match tasks.join_next().await {
            Some(Ok(())) => {}
            Some(Err(error)) => return RunError::Panicked(error.to_string()),
            None => std::future::pending().await,
        }
    }
}

impl WorkerHandle {
    /// Whether no lane stands. One without its partition is no trouble: another process has it, or
    /// the engines say themselves that they are in trouble.
    #[must_use]
    pub fn is_ready(&self) -> Readiness {
        let standing = self.lanes.iter().find(|lane| lane.state() == State::Standing);
        let reason = standing.map_or_else(String::new, |lane| {
            let Progress { topic, partition, .. } = &**lane;
            format!("partition {partition} of the {topic:?} log stands; see the log of errors")
        });
        Readiness { ready: standing.is_none(), reason }
    }

    /// What its lanes do now.
    #[must_use]
    pub fn lanes(&self) -> Lanes {
        let count = |state| self.lanes.iter().filter(|lane| lane.state() == state).count();
        Lanes {
            waiting: count(State::Waiting),
            running: count(State::Running),
            standing: count(State::Standing),
        }
    }
}
