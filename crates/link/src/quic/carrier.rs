//! What a connection and its streams are in QUIC.

use std::{net::SocketAddr, ops::Range};

use bytes::{Buf, Bytes, BytesMut};
use quinn::{ConnectionError, ReadError, StoppedError, VarInt, WriteError};
use tokio::time::timeout;
use wire::auth::{EXPORTER_LABEL, EXPORTER_LEN};

use crate::{
    config::{AUTHENTICATED_BYTES_MAX, AUTHENTICATED_STREAMS_MAX, OPEN_WITHIN, READ_CHUNKS_MAX},
    connection::{Receiver, Sender},
    error::{Closed, LinkError},
};

/// QUIC's error codes that carry a TLS alert (RFC 9001, section 4.8).
const CRYPTO_ERRORS: Range<u64> = 0x100..0x200;

/// QUIC's code of a server that takes no connection now.
const CONNECTION_REFUSED: u64 = 0x2;

#[derive(Clone, Debug)]
pub(crate) struct Carrier(pub(crate) quinn::Connection);

impl Carrier {
    pub(crate) async fn open_bi(&self) -> Result<(Sender, Receiver), LinkError> {
        let opened = timeout(OPEN_WITHIN, self.0.open_bi()).await;
        let (sender, receiver) = opened.map_err(|_| LinkError::TimedOut)?.map_err(lost)?;
        Ok((Sender::quic(sender), Receiver::quic(receiver)))
    }

    pub(crate) async fn open_uni(&self) -> Result<Sender, LinkError> {
        let opened = timeout(OPEN_WITHIN, self.0.open_uni()).await;
        Ok(Sender::quic(opened.map_err(|_| LinkError::TimedOut)?.map_err(lost)?))
    }

    pub(crate) async fn accept_bi(&self) -> Result<(Sender, Receiver), LinkError> {
        let (sender, receiver) = self.0.accept_bi().await.map_err(lost)?;
        Ok((Sender::quic(sender), Receiver::quic(receiver)))
    }

    pub(crate) async fn accept_uni(&self) -> Result<Receiver, LinkError> {
        Ok(Receiver::quic(self.0.accept_uni().await.map_err(lost)?))
    }

    pub(crate) fn send_datagram(&self, datagram: Bytes) -> bool {
        // Without this look the library would drop one that waits already, and tell nobody.
        self.0.datagram_send_buffer_space() >= datagram.len()
            && self.0.send_datagram(datagram).is_ok()
    }

    pub(crate) async fn read_datagram(&self) -> Result<Bytes, LinkError> {
        self.0.read_datagram().await.map_err(lost)
    }

    pub(crate) fn export_keying_material(&self) -> [u8; EXPORTER_LEN] {
        let mut material = [0; EXPORTER_LEN];
        self.0
            .export_keying_material(&mut material, EXPORTER_LABEL, &[])
            .expect("the handshake is over and 32 bytes can be exported");
        material
    }

    pub(crate) fn set_authenticated(&self) {
        self.0.set_max_concurrent_bi_streams(VarInt::from_u32(AUTHENTICATED_STREAMS_MAX));
        self.0.set_receive_window(VarInt::from_u32(AUTHENTICATED_BYTES_MAX));
    }

    pub(crate) fn close(&self, code: u32, reason: &str) {
        self.0.close(VarInt::from_u32(code), reason.as_bytes());
    }

    pub(crate) async fn closed(&self) -> Closed {
        closed(self.0.closed().await)
    }

    pub(crate) fn remote_address(&self) -> SocketAddr {
        self.0.remote_address()
    }
}

#[derive(Debug)]
pub(crate) struct SenderCarrier(pub(crate) quinn::SendStream);

impl SenderCarrier {
    pub(crate) async fn write(&mut self, buffer: &mut BytesMut) -> Result<(), LinkError> {
        let written = self.0.write(buffer).await.map_err(write_error)?;
        buffer.advance(written);
        Ok(())
    }

    pub(crate) fn set_priority(&self, priority: i32) {
        // Fails only on a stream that is over, whose priority no longer matters.
        self.0.set_priority(priority).ok();
    }

    pub(crate) fn finish(&mut self) {
        // Fails only on a stream that is over already.
        self.0.finish().ok();
    }

    pub(crate) async fn finished(&mut self) -> Result<(), LinkError> {
        match self.0.stopped().await {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(StoppedError::ZeroRttRejected) => Err(LinkError::StreamStopped),
            Err(StoppedError::ConnectionLost(error)) => Err(lost(error)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct ReceiverCarrier(pub(crate) quinn::RecvStream);

impl ReceiverCarrier {
    pub(crate) async fn read(&mut self, buffer: &mut BytesMut) -> Result<bool, LinkError> {
        let mut chunks = [const { Bytes::new() }; READ_CHUNKS_MAX];
        let Some(read) = self.0.read_chunks(&mut chunks).await.map_err(read_error)? else {
            return Ok(false);
        };
        let chunks = &chunks[..read];
        buffer.reserve(chunks.iter().map(Bytes::len).sum());
        for chunk in chunks {
            buffer.extend_from_slice(chunk);
        }
        Ok(true)
    }
}

/// Why a handshake did not succeed.
pub(crate) fn connect_error(error: ConnectionError) -> LinkError {
    let code = match &error {
        ConnectionError::TransportError(error) => u64::from(error.code),
        ConnectionError::ConnectionClosed(close) => u64::from(close.error_code),
        ConnectionError::ApplicationClosed(_) | ConnectionError::LocallyClosed => {
            return lost(error);
        }
        ConnectionError::VersionMismatch => {
            return LinkError::Untrusted("no version of QUIC in common".to_owned());
        }
        ConnectionError::Reset | ConnectionError::TimedOut | ConnectionError::CidsExhausted => {
            return LinkError::Unreachable(error.to_string());
        }
    };
    if CRYPTO_ERRORS.contains(&code) {
        return LinkError::Untrusted(closed(error).reason);
    }
    if code == CONNECTION_REFUSED {
        return LinkError::Unreachable("refused for now".to_owned());
    }
    LinkError::Unreachable(closed(error).reason)
}

fn lost(error: ConnectionError) -> LinkError {
    LinkError::Closed(closed(error))
}

fn closed(error: ConnectionError) -> Closed {
    match &error {
        ConnectionError::ApplicationClosed(close) => {
            let code = u32::try_from(close.error_code.into_inner()).unwrap_or(u32::MAX);
            Closed::by_peer(code, &close.reason)
        }
        ConnectionError::LocallyClosed => Closed::here(),
        ConnectionError::ConnectionClosed(_) | ConnectionError::Reset => {
            Closed::by_transport(true, &error.to_string())
        }
        ConnectionError::VersionMismatch
        | ConnectionError::TransportError(_)
        | ConnectionError::TimedOut
        | ConnectionError::CidsExhausted => Closed::by_transport(false, &error.to_string()),
    }
}

fn write_error(error: WriteError) -> LinkError {
    match error {
        WriteError::ConnectionLost(error) => lost(error),
        WriteError::Stopped(_) | WriteError::ClosedStream | WriteError::ZeroRttRejected => {
            LinkError::StreamStopped
        }
    }
}

fn read_error(error: ReadError) -> LinkError {
    match error {
        ReadError::ConnectionLost(error) => lost(error),
        ReadError::Reset(_)
        | ReadError::ClosedStream
        | ReadError::IllegalOrderedRead
        | ReadError::ZeroRttRejected => LinkError::StreamStopped,
    }
}
