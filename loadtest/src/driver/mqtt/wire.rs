//! A connection, and the bytes that wait on either side of it.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Buf as _, BytesMut};
use quinn::Endpoint;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, ReadBuf};

/// Bytes are read in pieces of this.
const READ_BYTES: usize = 8192;
/// Nothing is read while more than this waits to be written: what is read is answered.
const OUTPUT_BYTES_MAX: usize = 1 << 18;

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection and the bytes that wait on either side of it. Dropping it ends it at once.
pub(super) struct Wire {
    stream: Box<dyn Stream>,
    /// What has arrived and was not yet taken.
    pub(super) input: BytesMut,
    /// What is to be written.
    pub(super) output: BytesMut,
    is_flushed: bool,
    /// While set, nothing is read.
    pub(super) is_paused: bool,
    /// The UDP socket, when it is QUIC.
    pub(super) endpoint: Option<Endpoint>,
}

/// What moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moved {
    In,
    Out,
}

impl Wire {
    pub(super) fn new(
        stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
        endpoint: Option<Endpoint>,
    ) -> Self {
        Self {
            stream: Box::new(stream),
            input: BytesMut::new(),
            output: BytesMut::new(),
            is_flushed: true,
            is_paused: false,
            endpoint,
        }
    }

    /// Whether everything was handed on.
    pub(super) fn is_flushed(&self) -> bool {
        self.output.is_empty() && self.is_flushed
    }

    /// Waits until bytes have moved.
    ///
    /// # Errors
    /// When the connection is gone.
    ///
    /// # Cancel safety
    /// A dropped call moved nothing.
    pub(super) async fn moved(&mut self) -> io::Result<Moved> {
        poll_fn(|context| self.poll_moved(context)).await
    }

    fn poll_moved(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Moved>> {
        if !self.output.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.output);
            if let Poll::Ready(written) = written? {
                self.output.advance(written);
                self.is_flushed = false;
                let is_stuck = written == 0;
                return Poll::Ready(if is_stuck { hung_up() } else { Ok(Moved::Out) });
            }
        } else if !self.is_flushed && Pin::new(&mut self.stream).poll_flush(context)?.is_ready() {
            self.is_flushed = true;
            return Poll::Ready(Ok(Moved::Out));
        }
        if self.is_paused || self.output.len() > OUTPUT_BYTES_MAX {
            return Poll::Pending;
        }
        let mut room = [0; READ_BYTES];
        let mut read = ReadBuf::new(&mut room);
        std::task::ready!(Pin::new(&mut self.stream).poll_read(context, &mut read))?;
        self.input.extend_from_slice(read.filled());
        Poll::Ready(if read.filled().is_empty() { hung_up() } else { Ok(Moved::In) })
    }

    /// Says that nothing more is written, and waits until the other side has heard.
    ///
    /// # Cancel safety
    /// A dropped call ends the connection at once.
    pub(super) async fn close(mut self) {
        self.is_paused = false;
        if self.stream.shutdown().await.is_ok() {
            while self.moved().await.is_ok() {
                self.input.clear();
            }
        }
    }
}

fn hung_up() -> io::Result<Moved> {
    Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server hung up"))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    #[tokio::test]
    async fn what_does_not_fit_waits_while_answers_are_read() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut wire = Wire::new(near, None);
        wire.output.extend_from_slice(&[7; 40]);
        assert_eq!(wire.moved().await.expect("written"), Moved::Out);
        far.write_all(b"answer").await.expect("room");
        assert_eq!(wire.moved().await.expect("read"), Moved::In);
        assert_eq!(&wire.input[..], b"answer");
        let mut arrived = [0; 40];
        let (read, ()) = tokio::join!(far.read_exact(&mut arrived), async {
            while !wire.is_flushed() {
                wire.moved().await.expect("written");
            }
        });
        read.expect("all of it");
        assert_eq!(arrived, [7; 40]);
    }

    #[tokio::test]
    async fn nothing_is_read_in_a_pause() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut wire = Wire::new(near, None);
        wire.is_paused = true;
        far.write_all(b"later").await.expect("room");
        assert!(futures_util::poll!(Box::pin(wire.moved())).is_pending());
        wire.is_paused = false;
        assert_eq!(wire.moved().await.expect("read"), Moved::In);
    }

    #[tokio::test]
    async fn the_end_of_the_stream_is_an_error() {
        let (near, far) = tokio::io::duplex(16);
        drop(far);
        let error = Wire::new(near, None).moved().await.expect_err("gone");
        assert_eq!(error.to_string(), "the server hung up");
    }
}
