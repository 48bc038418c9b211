//! The link to one other edge: a bounded queue and the task that empties it.

use std::time::Duration;

use bytes::BytesMut;
use link::{Connection, LinkError, MeshDialer, Sender};
use ports::presence::Lease;
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use wire::{
    EdgeId,
    mesh::{MeshFrame, MeshSignal},
};

use super::{Fate, OLD_AFTER};
use crate::metrics::EdgeMetrics;

/// Hints that wait for one link, at most about 2 MB with the largest. At it: further ones are
/// dropped.
const QUEUE_LEN: usize = 1_024;
/// Hints taken from the queue at a time.
const TAKE_MAX: usize = 256;
/// A frame ends after so many bytes.
const FRAME_BYTES: usize = 64 * 1024;
/// An edge that takes nothing for so long is left.
const WRITE_WITHIN: Duration = Duration::from_secs(2);
/// A link over which nothing went for so long is closed.
const IDLE_AFTER: Duration = Duration::from_secs(300);
/// After a failure nothing is tried for so long, doubled up to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);

/// The near end of a link.
pub(super) struct Link(mpsc::Sender<(Instant, MeshSignal)>);

/// Holds the connection to one edge. Ends when its [`Link`] is dropped, or with nothing to do.
///
/// Hints are written as soon as the link takes them; those that come while it writes go together
/// into the next frames, so a busy link has large frames and an idle one no delay.
pub(super) struct LinkTask {
    lease: Lease,
    dialer: MeshDialer,
    metrics: EdgeMetrics,
    queue: mpsc::Receiver<(Instant, MeshSignal)>,
}

/// Why a task stopped writing.
enum Stopped {
    /// Nobody has anything for this edge.
    Idle,
    /// The connection is gone, or was never there.
    Broken(String),
}

impl Link {
    /// Queues a hint; whether there was room.
    pub(super) fn offer(&self, signal: MeshSignal) -> bool {
        self.0.try_send((Instant::now(), signal)).is_ok()
    }

    pub(super) fn is_open(&self) -> bool {
        !self.0.is_closed()
    }
}

impl LinkTask {
    pub(super) fn new(lease: Lease, dialer: MeshDialer, metrics: EdgeMetrics) -> (Link, Self) {
        let (sender, queue) = mpsc::channel(QUEUE_LEN);
        (Link(sender), Self { lease, dialer, metrics, queue })
    }

    /// Returns whose link it was.
    pub(super) async fn run(mut self) -> EdgeId {
        let mut wait = RETRY_MIN;
        loop {
            let began = Instant::now();
            match self.connect_and_write().await {
                Stopped::Idle => return self.lease.edge,
                Stopped::Broken(problem) => {
                    let address = &self.lease.address;
                    tracing::debug!(address, problem, "no link to another edge");
                }
            }
            wait = if began.elapsed() > RETRY_MAX { RETRY_MIN } else { (wait * 2).min(RETRY_MAX) };
            if !self.drop_until(Instant::now() + wait).await {
                return self.lease.edge;
            }
        }
    }

    async fn connect_and_write(&mut self) -> Stopped {
        let connected = async {
            let connection = self.dialer.dial(&self.lease.address).await?;
            let stream = connection.open_uni().await?;
            Ok::<_, LinkError>((connection, stream))
        };
        let (connection, stream) = match connected.await {
            Ok(connected) => connected,
            Err(error) => return Stopped::Broken(error.to_string()),
        };
        self.metrics.edge_links.inc();
        let stopped = self.write_all(&connection, stream).await;
        self.metrics.edge_links.dec();
        connection.close(0, "");
        stopped
    }

    async fn write_all(&mut self, connection: &Connection, mut stream: Sender) -> Stopped {
        let mut taken = Vec::new();
        let mut out = BytesMut::new();
        loop {
            let took = tokio::select! {
                biased;
                closed = connection.closed() => return Stopped::Broken(closed.to_string()),
                took = timeout(IDLE_AFTER, self.queue.recv_many(&mut taken, TAKE_MAX)) => took,
            };
            if matches!(took, Ok(0) | Err(_)) {
                return Stopped::Idle;
            }
            let count = taken.len();
            taken.retain(|(at, _)| at.elapsed() < OLD_AFTER);
            let fresh = taken.len();
            self.metrics.count_hints(Fate::Late, (count - fresh) as u64);
            for frame in frames(taken.drain(..).map(|(_, signal)| signal)) {
                frame.encode(&mut out);
            }
            let written = async {
                while !out.is_empty() {
                    stream.write(&mut out).await?;
                }
                Ok::<_, LinkError>(())
            };
            let problem = match timeout(WRITE_WITHIN, written).await {
                Ok(Ok(())) => {
                    self.metrics.count_hints(Fate::Sent, fresh as u64);
                    continue;
                }
                Ok(Err(error)) => error.to_string(),
                Err(_) => "it does not read".to_owned(),
            };
            self.metrics.count_hints(Fate::Link, fresh as u64);
            return Stopped::Broken(problem);
        }
    }

    /// Drops what comes until then. Whether there is still someone who has something.
    async fn drop_until(&mut self, until: Instant) -> bool {
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until) => return true,
                dropped = self.queue.recv() => match dropped {
                    Some(_) => self.metrics.count_hints(Fate::Link, 1),
                    None => return false,
                },
            }
        }
    }
}

/// The hints in frames of about [`FRAME_BYTES`].
fn frames(signals: impl Iterator<Item = MeshSignal>) -> Vec<MeshFrame> {
    let mut frames = Vec::new();
    let (mut frame, mut frame_len) = (MeshFrame::default(), 0);
    for signal in signals {
        frame_len += signal.frame_bytes();
        frame.signals.push(signal);
        if frame_len >= FRAME_BYTES {
            frames.push(std::mem::take(&mut frame));
            frame_len = 0;
        }
    }
    if !frame.signals.is_empty() {
        frames.push(frame);
    }
    frames
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use link::{Receiver, memory::Hub};
    use tokio::{
        task::JoinSet,
        time::{advance, interval},
    };
    use wire::{
        DeviceId, Generation, UserId,
        codec::take_frame,
        limits::{MESH_FRAME_BYTES_MAX, SIGNAL_BYTES_MAX},
        mesh::{Origin, SignalKind},
    };

    use super::*;

    fn signal(number: u64) -> MeshSignal {
        let (user, device) = (UserId::from_bytes([1; 16]), DeviceId::from_bytes([2; 8]));
        let generation = Generation::new(number);
        let kind = SignalKind::Body(Bytes::from(vec![7; SIGNAL_BYTES_MAX]));
        let from = Origin { user, device, generation };
        MeshSignal { user, routes: vec![(device, generation)], from, kind }
    }

    /// A link to an edge that listens as "there" in this hub, or does not.
    fn open(hub: &Hub, tasks: &mut JoinSet<EdgeId>) -> (Link, EdgeMetrics) {
        let lease = Lease { edge: EdgeId::new(1), address: "there".to_owned() };
        let metrics = EdgeMetrics::for_test();
        let dialer = MeshDialer::Memory(hub.clone());
        let (link, task) = LinkTask::new(lease, dialer, metrics.clone());
        tasks.spawn(task.run());
        (link, metrics)
    }

    fn count(metrics: &EdgeMetrics, fate: Fate) -> u64 {
        metrics.hints.with_label_values(&[fate.label()]).get()
    }

    /// Reads so many signals; tells which, and how many frames they came in.
    async fn read(stream: &mut Receiver, count: usize) -> (Vec<u64>, usize) {
        let (mut input, mut numbers, mut frames) = (BytesMut::new(), Vec::new(), 0);
        while numbers.len() < count {
            assert!(stream.read(&mut input).await.unwrap());
            while let Some(frame) = take_frame(&mut input, MESH_FRAME_BYTES_MAX).unwrap() {
                let signals = MeshFrame::decode(frame).unwrap().signals;
                numbers.extend(signals.iter().map(|signal| signal.from.generation.get()));
                frames += 1;
            }
        }
        (numbers, frames)
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_goes_together_and_in_order_and_the_rest_is_shed() {
        let (hub, mut tasks) = (Hub::new(1), JoinSet::new());
        let mut listener = hub.listen("there");
        let (link, metrics) = open(&hub, &mut tasks);
        let offered: Vec<bool> = (0..2_000).map(|number| link.offer(signal(number))).collect();
        assert!(offered[..QUEUE_LEN].iter().all(|taken| *taken));
        assert!(offered[QUEUE_LEN..].iter().all(|taken| !taken));
        let connection = listener.accept().await.unwrap();
        let mut stream = connection.accept_uni().await.unwrap();
        let (numbers, frames) = read(&mut stream, QUEUE_LEN).await;
        assert!(numbers.iter().copied().eq(0..QUEUE_LEN as u64));
        assert!((16..=24).contains(&frames), "{frames} frames of 64 KiB");
        assert_eq!(count(&metrics, Fate::Sent), QUEUE_LEN as u64);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_old_is_written() {
        let (hub, mut tasks) = (Hub::new(1), JoinSet::new());
        let mut listener = hub.listen("there");
        let lease = Lease { edge: EdgeId::new(1), address: "there".to_owned() };
        let metrics = EdgeMetrics::for_test();
        let (link, task) = LinkTask::new(lease, MeshDialer::Memory(hub.clone()), metrics.clone());
        assert!(link.offer(signal(1)));
        advance(OLD_AFTER).await;
        assert!(link.offer(signal(2)));
        tasks.spawn(task.run());
        let connection = listener.accept().await.unwrap();
        let mut stream = connection.accept_uni().await.unwrap();
        assert_eq!(read(&mut stream, 1).await.0, [2]);
        assert_eq!(count(&metrics, Fate::Late), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_link_ends_when_nothing_goes_over_it_and_when_it_is_given_up() {
        let (hub, mut tasks) = (Hub::new(1), JoinSet::new());
        let mut listener = hub.listen("there");
        let (link, metrics) = open(&hub, &mut tasks);
        let began = Instant::now();
        let connection = listener.accept().await.unwrap();
        assert_eq!(tasks.join_next().await.unwrap().unwrap(), EdgeId::new(1));
        assert!(began.elapsed() >= IDLE_AFTER && !link.is_open());
        assert_eq!(connection.closed().await.code, Some(0));

        let (link, _) = open(&hub, &mut tasks);
        let began = Instant::now();
        let _connection = listener.accept().await.unwrap();
        drop(link);
        tasks.join_next().await.unwrap().unwrap();
        assert!(began.elapsed() < IDLE_AFTER);
        assert_eq!(metrics.edge_links.get(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_that_cannot_be_reached_costs_what_is_for_it_and_is_tried_again() {
        let (hub, mut tasks) = (Hub::new(1), JoinSet::new());
        let (link, metrics) = open(&hub, &mut tasks);
        assert!(link.offer(signal(1)));
        let mut ticks = interval(Duration::from_millis(10));
        while count(&metrics, Fate::Link) == 0 {
            ticks.tick().await;
        }
        let mut listener = hub.listen("there");
        let connection = listener.accept().await.unwrap();
        assert!(link.offer(signal(2)));
        let mut stream = connection.accept_uni().await.unwrap();
        assert_eq!(read(&mut stream, 1).await.0, [2]);
    }
}
