//! Connections and their streams, whatever carries them.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};

use crate::{
    error::{Closed, LinkError},
    memory, quic,
};

/// One connection; cheap to clone. It ends when [`Connection::close`] is called on either side,
/// when the transport gives up, or when every clone and every stream of one side is dropped.
#[derive(Clone, Debug)]
pub struct Connection(Carrier);

#[derive(Clone, Debug)]
enum Carrier {
    Quic(quic::Carrier),
    Memory(memory::Carrier),
}

impl Connection {
    pub(crate) fn quic(connection: quinn::Connection) -> Self {
        Self(Carrier::Quic(quic::Carrier(connection)))
    }

    pub(crate) const fn memory(carrier: memory::Carrier) -> Self {
        Self(Carrier::Memory(carrier))
    }

    pub(crate) const fn as_memory(&self) -> Option<&memory::Carrier> {
        match &self.0 {
            Carrier::Quic(_) => None,
            Carrier::Memory(carrier) => Some(carrier),
        }
    }

    /// Opens a stream for both directions. The peer learns of it with the first byte written.
    ///
    /// # Errors
    /// [`LinkError::Closed`]; [`LinkError::TimedOut`] when the peer has not allowed one more
    /// stream within [`OPEN_WITHIN`](crate::config::OPEN_WITHIN).
    ///
    /// # Cancel safety
    /// A dropped call opened nothing.
    pub async fn open_bi(&self) -> Result<(Sender, Receiver), LinkError> {
        match &self.0 {
            Carrier::Quic(carrier) => carrier.open_bi().await,
            Carrier::Memory(carrier) => carrier.open_bi().await,
        }
    }

    /// Opens a stream towards the peer. The peer learns of it with the first byte written.
    ///
    /// # Errors
    /// As [`Connection::open_bi`].
    ///
    /// # Cancel safety
    /// A dropped call opened nothing.
    pub async fn open_uni(&self) -> Result<Sender, LinkError> {
        match &self.0 {
            Carrier::Quic(carrier) => carrier.open_uni().await,
            Carrier::Memory(carrier) => carrier.open_uni().await,
        }
    }

    /// The next stream for both directions that the peer opened. Waits for as long as the
    /// connection lives: put the deadline around it.
    ///
    /// # Errors
    /// [`LinkError::Closed`].
    ///
    /// # Cancel safety
    /// A dropped call took no stream.
    pub async fn accept_bi(&self) -> Result<(Sender, Receiver), LinkError> {
        match &self.0 {
            Carrier::Quic(carrier) => carrier.accept_bi().await,
            Carrier::Memory(carrier) => carrier.accept_bi().await,
        }
    }

    /// The next stream towards this side that the peer opened. Waits as [`Connection::accept_bi`].
    ///
    /// # Errors
    /// [`LinkError::Closed`].
    ///
    /// # Cancel safety
    /// A dropped call took no stream.
    pub async fn accept_uni(&self) -> Result<Receiver, LinkError> {
        match &self.0 {
            Carrier::Quic(carrier) => carrier.accept_uni().await,
            Carrier::Memory(carrier) => carrier.accept_uni().await,
        }
    }

    /// Sends a datagram, which arrives once, whole, or never, in any order. `false` when it does
    /// not even leave: larger than a packet takes (1,150 bytes always fit), no room among those
    /// that wait to leave, or the connection is over. It never waits and never drops an earlier
    /// one.
    #[must_use]
    pub fn send_datagram(&self, datagram: Bytes) -> bool {
        match &self.0 {
            Carrier::Quic(carrier) => carrier.send_datagram(datagram),
            Carrier::Memory(carrier) => carrier.send_datagram(datagram),
        }
    }

    /// The next datagram of the peer. Few wait: whoever does not ask misses some.
    ///
    /// # Errors
    /// [`LinkError::Closed`].
    ///
    /// # Cancel safety
    /// A dropped call took no datagram.
    pub async fn read_datagram(&self) -> Result<Bytes, LinkError> {
        match &self.0 {
            Carrier::Quic(carrier) => carrier.read_datagram().await,
            Carrier::Memory(carrier) => carrier.read_datagram().await,
        }
    }

    /// Bytes that both ends of this very connection know and nobody else does, for
    /// [`wire::auth`]. In memory both ends share bytes given by whoever made the pair.
    #[must_use]
    pub fn export_keying_material(&self) -> [u8; wire::auth::EXPORTER_LEN] {
        match &self.0 {
            Carrier::Quic(carrier) => carrier.export_keying_material(),
            Carrier::Memory(carrier) => carrier.export_keying_material(),
        }
    }

    /// Lifts the limits that bind a client until it has authenticated, from
    /// [`UNAUTHENTICATED_BYTES_MAX`](crate::config::UNAUTHENTICATED_BYTES_MAX) and
    /// [`UNAUTHENTICATED_STREAMS_MAX`](crate::config::UNAUTHENTICATED_STREAMS_MAX) to the
    /// `AUTHENTICATED_` ones. Call it once, on connections a
    /// [`ServerEndpoint`](crate::quic::ServerEndpoint) accepted; nothing happens in memory.
    pub fn set_authenticated(&self) {
        match &self.0 {
            Carrier::Quic(carrier) => carrier.set_authenticated(),
            Carrier::Memory(_) => (),
        }
    }

    /// Ends the connection at once: what was not yet delivered in either direction is lost. The
    /// peer sees `code`, and of `reason` what fits in a packet. Later calls do nothing.
    pub fn close(&self, code: u32, reason: &str) {
        match &self.0 {
            Carrier::Quic(carrier) => carrier.close(code, reason),
            Carrier::Memory(carrier) => carrier.close(code, reason),
        }
    }

    /// Waits until the connection has ended, and says how.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub async fn closed(&self) -> Closed {
        match &self.0 {
            Carrier::Quic(carrier) => carrier.closed().await,
            Carrier::Memory(carrier) => carrier.closed().await,
        }
    }

    /// Where the peer is now; it may move. `None` in memory.
    #[must_use]
    pub fn remote_address(&self) -> Option<SocketAddr> {
        match &self.0 {
            Carrier::Quic(carrier) => Some(carrier.remote_address()),
            Carrier::Memory(_) => None,
        }
    }
}

/// The sending half of a stream. Dropping it is [`Sender::finish`].
#[derive(Debug)]
pub struct Sender(SenderCarrier);

#[derive(Debug)]
enum SenderCarrier {
    Quic(quic::SenderCarrier),
    Memory(memory::SenderCarrier),
}

impl Sender {
    pub(crate) const fn quic(stream: quinn::SendStream) -> Self {
        Self(SenderCarrier::Quic(quic::SenderCarrier(stream)))
    }

    pub(crate) const fn memory(carrier: memory::SenderCarrier) -> Self {
        Self(SenderCarrier::Memory(carrier))
    }

    /// Writes some bytes off the front of `buffer` and advances it by as many; waits while there
    /// is no room for one. An empty buffer writes nothing and returns at once.
    ///
    /// Gather frames in one buffer and write it whole: bytes written together share packets, and
    /// each call costs far more than the copy.
    ///
    /// # Errors
    /// [`LinkError::Closed`]; [`LinkError::StreamStopped`] when the peer reads no further or the
    /// stream was finished.
    ///
    /// # Cancel safety
    /// A dropped call wrote nothing.
    pub async fn write(&mut self, buffer: &mut BytesMut) -> Result<(), LinkError> {
        if buffer.is_empty() {
            return Ok(());
        }
        match &mut self.0 {
            SenderCarrier::Quic(carrier) => carrier.write(buffer).await,
            SenderCarrier::Memory(carrier) => carrier.write(buffer).await,
        }
    }

    /// Of several streams with bytes to send, those with the highest number go first; streams
    /// start with 0. In memory all streams flow by themselves, whatever their number.
    pub fn set_priority(&self, priority: i32) {
        match &self.0 {
            SenderCarrier::Quic(carrier) => carrier.set_priority(priority),
            SenderCarrier::Memory(_) => (),
        }
    }

    /// Says that no more comes. What was written still arrives, as long as the connection lives.
    pub fn finish(&mut self) {
        match &mut self.0 {
            SenderCarrier::Quic(carrier) => carrier.finish(),
            SenderCarrier::Memory(carrier) => carrier.finish(),
        }
    }

    /// [`Sender::finish`], then waits until everything written is at the peer, where a
    /// [`Connection::close`] no longer loses it. Waits for as long as the peer takes: put the
    /// deadline around it.
    ///
    /// # Errors
    /// As [`Sender::write`]: something may be lost.
    ///
    /// # Cancel safety
    /// A dropped call finished the stream; call again to go on waiting.
    pub async fn finished(&mut self) -> Result<(), LinkError> {
        self.finish();
        match &mut self.0 {
            SenderCarrier::Quic(carrier) => carrier.finished().await,
            SenderCarrier::Memory(carrier) => carrier.finished().await,
        }
    }
}

/// The receiving half of a stream. Dropping it stops the peer's sending half.
#[derive(Debug)]
pub struct Receiver(ReceiverCarrier);

#[derive(Debug)]
enum ReceiverCarrier {
    Quic(quic::ReceiverCarrier),
    Memory(memory::ReceiverCarrier),
}

impl Receiver {
    pub(crate) const fn quic(stream: quinn::RecvStream) -> Self {
        Self(ReceiverCarrier::Quic(quic::ReceiverCarrier(stream)))
    }

    pub(crate) const fn memory(carrier: memory::ReceiverCarrier) -> Self {
        Self(ReceiverCarrier::Memory(carrier))
    }

    /// Waits for bytes, then appends those that are there to `buffer`, at most
    /// [`READ_BYTES_MAX`](crate::config::READ_BYTES_MAX). `false` when the stream has ended, every
    /// time it is asked. Whoever stops reading makes the sender wait.
    ///
    /// # Errors
    /// [`LinkError::Closed`], also with unread bytes left; [`LinkError::StreamStopped`] when the
    /// peer abandoned the stream.
    ///
    /// # Cancel safety
    /// A dropped call took nothing.
    pub async fn read(&mut self, buffer: &mut BytesMut) -> Result<bool, LinkError> {
        match &mut self.0 {
            ReceiverCarrier::Quic(carrier) => carrier.read(buffer).await,
            ReceiverCarrier::Memory(carrier) => carrier.read(buffer).await,
        }
    }
}
