//! The link to one edge: a bounded queue and the task that empties it.

use std::sync::Arc;

use bytes::BytesMut;
use link::{Connection, LinkError, MeshDialer, Sender};
use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until, timeout},
};
use wire::{
    limits::MESH_FRAME_BYTES_MAX,
    mesh::{MeshFrame, Push},
};

use crate::{
    config::WorkerConfig,
    metrics::{Pushed, WorkerMetrics},
    push::{losses::Losses, room::Room},
    retry::Backoff,
};

/// Pushes taken from the queue at a time.
const TAKE_MAX: usize = 1024;
/// What a push takes in a frame besides its item and its routes, at most: user, positions, time,
/// and the tags and lengths of protobuf.
const PUSH_BYTES: usize = 96;
/// The close code of an edge that ends in order: nobody has to look.
const DONE: u32 = 0;
/// What a route takes at most.
const ROUTE_BYTES: usize = 32;

/// The near end of a link, held by the one who pushes.
pub(crate) struct Link {
    pushes: mpsc::Sender<Push>,
    /// Of this link, and of all together.
    rooms: [Room; 2],
    losses: Arc<Losses>,
}

/// Holds the connection to one edge. Ends when its [`Link`] is dropped.
///
/// Pushes are written as soon as the link can take them; those that come while it writes go
/// together into the next frames, so a busy link has large frames and an idle one no delay. When
/// some were dropped, the next frame says so.
pub(crate) struct LinkTask {
    pub(crate) address: String,
    pub(crate) dialer: MeshDialer,
    pub(crate) config: Arc<WorkerConfig>,
    pub(crate) metrics: WorkerMetrics,
    pub(crate) pushes: mpsc::Receiver<Push>,
    pub(crate) rooms: [Room; 2],
    pub(crate) losses: Arc<Losses>,
}

/// Why a task stopped writing.
enum Broken {
    /// Nobody pushes any more.
    Ended,
    /// The connection is gone.
    Link(LinkError),
    /// The edge did not read in time.
    Slow,
}

impl Link {
    pub(crate) fn new(pushes: mpsc::Sender<Push>, rooms: [Room; 2], losses: Arc<Losses>) -> Self {
        Self { pushes, rooms, losses }
    }

    /// Queues a push; whether there was room. If not, the edge is told.
    pub(crate) fn offer(&self, push: Push) -> bool {
        let bytes = frame_bytes(&push);
        let mut rooms = self.rooms.iter();
        let full = rooms.position(|room| !room.try_take(bytes));
        let taken = full.is_none() && self.pushes.try_send(push).is_ok();
        if !taken {
            let some = &self.rooms[..full.unwrap_or(self.rooms.len())];
            some.iter().for_each(|room| room.give_back(bytes));
            self.lose();
        }
        taken
    }

    /// Tells the edge that pushes which may have been for it were dropped.
    pub(crate) fn lose(&self) {
        self.losses.add();
    }
}

/// What is left in the queue gives its room back to the other links.
impl Drop for LinkTask {
    fn drop(&mut self) {
        while let Ok(push) = self.pushes.try_recv() {
            self.give_back(frame_bytes(&push));
        }
    }
}

impl LinkTask {
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::new(self.config.retry_min, self.config.retry_max);
        loop {
            match self.connect_and_write(&mut backoff).await {
                Broken::Ended => return,
                Broken::Link(LinkError::Closed(closed)) if closed.code == Some(DONE) => {
                    tracing::debug!(address = self.address, "an edge ended its link");
                }
                Broken::Link(error) => {
                    tracing::warn!(address = self.address, %error, "the link to an edge broke");
                }
                Broken::Slow => {
                    tracing::warn!(address = self.address, "an edge does not read its pushes");
                }
            }
            // The edge looks when the link breaks; what is dropped from now on comes after that.
            self.losses.add();
            if !self.drop_during(&mut backoff).await {
                return;
            }
        }
    }

    fn give_back(&self, bytes: usize) {
        self.rooms.iter().for_each(|room| room.give_back(bytes));
    }

    async fn connect_and_write(&mut self, backoff: &mut Backoff) -> Broken {
        let connected = async {
            let connection = self.dialer.dial(&self.address).await?;
            let stream = connection.open_uni().await?;
            Ok::<_, LinkError>((connection, stream))
        };
        let (connection, stream) = match connected.await {
            Ok(connected) => connected,
            Err(error) => return Broken::Link(error),
        };
        backoff.reset();
        self.metrics.links.inc();
        let broken = self.write_all(&connection, stream).await;
        self.metrics.links.dec();
        connection.close(0, "");
        broken
    }

    async fn write_all(&mut self, connection: &Connection, mut stream: Sender) -> Broken {
        let mut taken = Vec::new();
        let mut out = BytesMut::new();
        loop {
            let is_over = tokio::select! {
                biased;
                closed = connection.closed() => return Broken::Link(LinkError::Closed(closed)),
                count = self.pushes.recv_many(&mut taken, TAKE_MAX) => count == 0,
                () = self.losses.noticed() => false,
            };
            let (mut bytes, count) = (0, taken.len());
            for frame in frames(std::mem::take(&mut taken), self.losses.take()) {
                bytes += frame.pushes.iter().map(frame_bytes).sum::<usize>();
                frame.encode(&mut out);
            }
            let written = async {
                while !out.is_empty() {
                    stream.write(&mut out).await?;
                }
                Ok::<_, LinkError>(())
            };
            let written = timeout(self.config.push_write_within, written).await;
            self.give_back(bytes);
            let broken = match written {
                Ok(Ok(())) => {
                    self.metrics.pushed(Pushed::Sent, count);
                    if !is_over {
                        continue;
                    }
                    stream.finish();
                    return Broken::Ended;
                }
                Ok(Err(error)) => Broken::Link(error),
                Err(_) => Broken::Slow,
            };
            self.metrics.pushed(Pushed::Link, count);
            return broken;
        }
    }

    /// Drops what comes while the next attempt is waited for: by the time the edge is back it would
    /// be old, and its devices read their mailboxes. Whether there is still someone who pushes.
    async fn drop_during(&mut self, backoff: &mut Backoff) -> bool {
        let until = Instant::now() + backoff.advance();
        loop {
            tokio::select! {
                biased;
                () = sleep_until(until) => return true,
                push = self.pushes.recv() => match push {
                    Some(push) => {
                        self.give_back(frame_bytes(&push));
                        self.metrics.pushed(Pushed::Link, 1);
                    }
                    None => return false,
                },
            }
        }
    }
}

/// What a push takes in a frame, at most.
fn frame_bytes(push: &Push) -> usize {
    PUSH_BYTES + push.routes.len() * ROUTE_BYTES + push.deliver.item.len()
}

/// The pushes in frames within the limit, in order; the last one says whether some were `lost`.
fn frames(pushes: Vec<Push>, lost: bool) -> Vec<MeshFrame> {
    let mut frames = Vec::new();
    let (mut frame, mut frame_len) = (MeshFrame::default(), 0);
    for push in pushes {
        let bytes = frame_bytes(&push);
        if frame_len + bytes > MESH_FRAME_BYTES_MAX && !frame.pushes.is_empty() {
            frames.push(std::mem::take(&mut frame));
            frame_len = 0;
        }
        frame_len += bytes;
        frame.pushes.push(push);
    }
    frame.lost = lost;
    if frame != MeshFrame::default() {
        frames.push(frame);
    }
    frames
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use bytes::Bytes;
    use wire::{
        DeviceId, Generation, Seq, UserId, codec,
        delivery_frame::Deliver,
        limits::{DEVICES_REMEMBERED_MAX, ITEM_BYTES_MAX},
    };

    use super::*;

    fn push(seq: u64, routes: usize, item_len: usize) -> Push {
        let device = DeviceId::from_bytes([255; 8]);
        Push {
            user: UserId::from_bytes([9; 16]),
            routes: vec![(device, Generation::new(u64::MAX)); routes],
            deliver: Deliver {
                seq: Seq::from_u64((100 << 44) + seq),
                prev: Some(Seq::from_u64((100 << 44) + seq - 1)),
                log_time_ms: u64::MAX,
                item: Bytes::from(vec![7; item_len]),
            },
        }
    }

    #[test]
    fn frames_keep_the_order_and_stay_within_their_limit() {
        let sizes = [10, 60_000, ITEM_BYTES_MAX, 1, ITEM_BYTES_MAX, ITEM_BYTES_MAX, 200, 60_000];
        let pushes: Vec<Push> = (1..)
            .zip(sizes.iter().cycle().take(100))
            .map(|(seq, size)| push(seq, DEVICES_REMEMBERED_MAX, *size))
            .collect();
        let mut decoded = Vec::new();
        for frame in frames(pushes.clone(), false) {
            let mut out = BytesMut::new();
            frame.encode(&mut out);
            let frame = codec::take_frame(&mut out, MESH_FRAME_BYTES_MAX).unwrap().unwrap();
            decoded.extend(MeshFrame::decode(frame).unwrap().pushes);
        }
        assert_eq!(decoded, pushes);
    }

    #[test]
    fn a_full_queue_sheds_by_count_and_by_bytes() {
        let (sender, _pushes) = mpsc::channel(2);
        let losses = Arc::<Losses>::default();
        let rooms = [Room::new(1000), Room::new(2000)];
        let link = Link::new(sender, rooms.clone(), Arc::clone(&losses));
        assert!(link.offer(push(1, 1, 100)));
        assert!(!losses.take());
        assert!(!link.offer(push(2, 1, 900)));
        assert!(losses.take());
        assert!(link.offer(push(3, 1, 100)));
        assert!(!link.offer(push(4, 1, 1)));
        assert!(losses.take() && !losses.take());
        let taken = 2 * frame_bytes(&push(1, 1, 100));
        assert_eq!(rooms.map(|room| room.taken()), [taken; 2]);
    }
}
