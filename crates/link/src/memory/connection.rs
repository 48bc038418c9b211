//! The two ends of a connection in memory.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use wire::auth::EXPORTER_LEN;

use super::pipe::{Pipe, ReceiverCarrier, SenderCarrier};
use crate::{
    config::{MEMORY_DATAGRAMS_MAX, MEMORY_STREAMS_MAX, OPEN_WITHIN},
    connection::{Connection, Receiver, Sender},
    error::{Closed, LinkError},
};

/// Two ends of a new connection, which export the given bytes.
#[must_use]
pub fn pair(exporter: [u8; EXPORTER_LEN]) -> (Connection, Connection) {
    let link = Arc::new(Link {
        exporter,
        closing: watch::Sender::new(None),
        ends: [End::default(), End::default()],
    });
    let end = |side| {
        let handle = Arc::new(Handle { link: Arc::clone(&link), side });
        Connection::memory(Carrier(handle))
    };
    (end(Side::First), end(Side::Second))
}

/// Breaks a connection in memory as a dead network does: both ends find it lost, with no code, and
/// nothing more arrives. Nothing happens to a connection over QUIC.
pub fn cut(connection: &Connection) {
    if let Some(carrier) = connection.as_memory() {
        carrier.0.link.end(Closing::Lost);
    }
}

/// What both ends share.
pub(super) struct Link {
    exporter: [u8; EXPORTER_LEN],
    closing: watch::Sender<Option<Closing>>,
    ends: [End; 2],
}

impl Link {
    /// The first end counts. Streams nobody has accepted are dropped with what they carry.
    pub(super) fn end(&self, closing: Closing) {
        self.closing.send_if_modified(|current| {
            let first = current.is_none();
            if first {
                *current = Some(closing);
            }
            first
        });
        for end in &self.ends {
            end.two_way.clear();
            end.one_way.clear();
            end.datagrams.clear();
        }
    }

    pub(super) fn is_open(&self) -> bool {
        self.closing.borrow().is_none()
    }

    fn end_of(&self, side: Side) -> &End {
        match side {
            Side::First => &self.ends[0],
            Side::Second => &self.ends[1],
        }
    }
}

/// How a connection was ended.
#[derive(Clone)]
pub(crate) enum Closing {
    By { side: Side, code: u32, reason: String },
    Lost,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    First,
    Second,
}

impl Side {
    const fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }
}

/// What the peer has opened towards one end, and what that end may open itself.
struct End {
    two_way: Offers<[Arc<Pipe>; 2]>,
    one_way: Offers<Arc<Pipe>>,
    datagrams: Offers<Bytes>,
    two_way_slots: Arc<Semaphore>,
    one_way_slots: Arc<Semaphore>,
}

impl Default for End {
    fn default() -> Self {
        Self {
            two_way: Offers::default(),
            one_way: Offers::default(),
            datagrams: Offers::default(),
            two_way_slots: Arc::new(Semaphore::new(MEMORY_STREAMS_MAX)),
            one_way_slots: Arc::new(Semaphore::new(MEMORY_STREAMS_MAX)),
        }
    }
}

/// A stream the peer has not seen yet.
pub(crate) enum Offer {
    /// What the opener writes, what it reads.
    TwoWay([Arc<Pipe>; 2]),
    OneWay(Arc<Pipe>),
}

/// Streams waiting to be accepted, as many as may be open, since each holds its slot; or datagrams
/// waiting to be read, at most [`MEMORY_DATAGRAMS_MAX`].
struct Offers<T> {
    waiting: Mutex<VecDeque<T>>,
    arrived: Notify,
}

impl<T> Default for Offers<T> {
    fn default() -> Self {
        Self { waiting: Mutex::default(), arrived: Notify::new() }
    }
}

impl<T> Offers<T> {
    fn push(&self, offer: T) {
        self.waiting.lock().expect("nothing panics with the lock held").push_back(offer);
        self.arrived.notify_one();
    }

    /// Whether there was room.
    fn try_push(&self, offer: T, waiting_max: usize) -> bool {
        let mut waiting = self.waiting.lock().expect("nothing panics with the lock held");
        let has_room = waiting.len() < waiting_max;
        if has_room {
            waiting.push_back(offer);
            self.arrived.notify_one();
        }
        has_room
    }

    fn pop(&self) -> Option<T> {
        let mut waiting = self.waiting.lock().expect("nothing panics with the lock held");
        let offer = waiting.pop_front();
        if !waiting.is_empty() {
            // Two that arrive at once wake one waiter only.
            self.arrived.notify_one();
        }
        offer
    }

    /// Dropped outside the lock: what is dropped may end other streams.
    fn clear(&self) {
        let mut waiting = self.waiting.lock().expect("nothing panics with the lock held");
        let dropped = std::mem::take(&mut *waiting);
        drop(waiting);
        drop(dropped);
    }
}

/// One end, held by its connection's clones and by its streams; the last one dropped closes.
pub(crate) struct Handle {
    link: Arc<Link>,
    side: Side,
}

impl Handle {
    pub(super) fn watch_closing(&self) -> watch::Receiver<Option<Closing>> {
        self.link.closing.subscribe()
    }

    pub(super) fn check_open(&self) -> Result<(), LinkError> {
        let closing = self.link.closing.borrow();
        closing.as_ref().map_or(Ok(()), |closing| Err(LinkError::Closed(self.seen(closing))))
    }

    /// Lets the peer accept the stream.
    pub(super) fn show(&self, offer: Offer) {
        let end = self.link.end_of(self.side.other());
        if !self.link.is_open() {
            return;
        }
        match offer {
            Offer::TwoWay(pipes) => end.two_way.push(pipes),
            Offer::OneWay(pipe) => end.one_way.push(pipe),
        }
    }

    fn mine(&self) -> &End {
        self.link.end_of(self.side)
    }

    fn seen(&self, closing: &Closing) -> Closed {
        match closing {
            Closing::By { side, .. } if *side == self.side => Closed::here(),
            Closing::By { code, reason, .. } => Closed::by_peer(*code, reason.as_bytes()),
            Closing::Lost => Closed::by_transport(false, "connection cut"),
        }
    }

    async fn closed(&self) -> Closed {
        let mut closing = self.watch_closing();
        let ended = closing.wait_for(Option::is_some).await;
        let ended = ended.expect("this handle keeps the other half of the channel");
        self.seen(ended.as_ref().unwrap_or(&Closing::Lost))
    }

    async fn slot(&self, slots: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, LinkError> {
        self.check_open()?;
        tokio::select! {
            biased;
            closed = self.closed() => Err(LinkError::Closed(closed)),
            slot = timeout(OPEN_WITHIN, Arc::clone(slots).acquire_owned()) => {
                let slot = slot.map_err(|_| LinkError::TimedOut)?;
                Ok(slot.expect("the semaphore is never closed"))
            }
        }
    }

    async fn next<T>(&self, offers: &Offers<T>) -> Result<T, LinkError> {
        loop {
            self.check_open()?;
            if let Some(offer) = offers.pop() {
                return Ok(offer);
            }
            tokio::select! {
                biased;
                closed = self.closed() => return Err(LinkError::Closed(closed)),
                () = offers.arrived.notified() => (),
            }
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.link.end(Closing::By { side: self.side, code: 0, reason: String::new() });
    }
}

/// One end of a connection in memory.
#[derive(Clone)]
pub(crate) struct Carrier(Arc<Handle>);

impl Carrier {
    pub(super) fn link(&self) -> &Arc<Link> {
        &self.0.link
    }

    pub(crate) async fn open_bi(&self) -> Result<(Sender, Receiver), LinkError> {
        let slot = Arc::new(self.0.slot(&self.0.mine().two_way_slots).await?);
        let (there, back) = (Pipe::new(Arc::clone(&slot)), Pipe::new(slot));
        let offer = Offer::TwoWay([Arc::clone(&there), Arc::clone(&back)]);
        Ok((self.sender(there, Some(offer)), self.receiver(back)))
    }

    pub(crate) async fn open_uni(&self) -> Result<Sender, LinkError> {
        let slot = Arc::new(self.0.slot(&self.0.mine().one_way_slots).await?);
        let pipe = Pipe::new(slot);
        let offer = Offer::OneWay(Arc::clone(&pipe));
        Ok(self.sender(pipe, Some(offer)))
    }

    pub(crate) async fn accept_bi(&self) -> Result<(Sender, Receiver), LinkError> {
        let [there, back] = self.0.next(&self.0.mine().two_way).await?;
        Ok((self.sender(back, None), self.receiver(there)))
    }

    pub(crate) async fn accept_uni(&self) -> Result<Receiver, LinkError> {
        Ok(self.receiver(self.0.next(&self.0.mine().one_way).await?))
    }

    pub(crate) fn send_datagram(&self, datagram: Bytes) -> bool {
        let end = self.0.link.end_of(self.0.side.other());
        self.0.link.is_open() && end.datagrams.try_push(datagram, MEMORY_DATAGRAMS_MAX)
    }

    pub(crate) async fn read_datagram(&self) -> Result<Bytes, LinkError> {
        self.0.next(&self.0.mine().datagrams).await
    }

    pub(crate) fn export_keying_material(&self) -> [u8; EXPORTER_LEN] {
        self.0.link.exporter
    }

    pub(crate) fn close(&self, code: u32, reason: &str) {
        self.0.link.end(Closing::By { side: self.0.side, code, reason: reason.to_owned() });
    }

    pub(crate) async fn closed(&self) -> Closed {
        self.0.closed().await
    }

    fn sender(&self, pipe: Arc<Pipe>, offer: Option<Offer>) -> Sender {
        Sender::memory(SenderCarrier::new(Arc::clone(&self.0), pipe, offer))
    }

    fn receiver(&self, pipe: Arc<Pipe>) -> Receiver {
        Receiver::memory(ReceiverCarrier::new(Arc::clone(&self.0), pipe))
    }
}

impl fmt::Debug for Carrier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("memory::Carrier")
    }
}
