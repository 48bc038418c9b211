//! Frames on a stream: a message in JSON, and bytes that go with it.
//!
//! Layout, little-endian: 4 bytes length of the rest; 4 bytes length of the JSON; the JSON; bytes.

use std::marker::PhantomData;

use anyhow::{Context as _, bail, ensure};
use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use link::{Receiver, Sender};
use serde::{Serialize, de::DeserializeOwned};

/// The longest frame, bytes: the returns of a million devices fit.
pub(super) const FRAME_BYTES_MAX: usize = 16 << 20;
/// Pieces of what is longer are this long, bytes.
pub(super) const PIECE_BYTES: usize = 256 << 10;
/// The two lengths.
const HEAD_BYTES: usize = 8;

const _: () = assert!(PIECE_BYTES < FRAME_BYTES_MAX);

/// Appends a frame.
///
/// # Errors
/// When it is longer than a frame may be.
pub(super) fn put(
    message: &impl Serialize,
    bytes: &[u8],
    into: &mut BytesMut,
) -> anyhow::Result<()> {
    let json = serde_json::to_vec(message)?;
    let len = 4 + json.len() + bytes.len();
    ensure!(len <= FRAME_BYTES_MAX, "a message of {len} bytes is longer than is allowed");
    into.reserve(4 + len);
    into.put_u32_le(len as u32);
    into.put_u32_le(json.len() as u32);
    into.extend_from_slice(&json);
    into.extend_from_slice(bytes);
    Ok(())
}

/// A frame as it waits to be written.
///
/// # Errors
/// As [`put`].
pub(super) fn frame(message: &impl Serialize, bytes: &[u8]) -> anyhow::Result<BytesMut> {
    let mut frame = BytesMut::new();
    put(message, bytes, &mut frame)?;
    Ok(frame)
}

/// Writes all of it.
///
/// # Errors
/// When the stream is over.
///
/// # Cancel safety
/// A dropped call has written a part: the stream is of no more use.
pub(super) async fn write(stream: &mut Sender, mut bytes: BytesMut) -> anyhow::Result<()> {
    while !bytes.is_empty() {
        stream.write(&mut bytes).await?;
    }
    Ok(())
}

/// Frames as they come.
#[derive(Debug)]
pub(super) struct Frames<T> {
    stream: Receiver,
    buffer: BytesMut,
    of: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Frames<T> {
    pub(super) fn new(stream: Receiver) -> Self {
        Self { stream, buffer: BytesMut::new(), of: PhantomData }
    }

    /// The next one; none once the other side has finished.
    ///
    /// # Errors
    /// When the connection is over, or what came is no frame.
    ///
    /// # Cancel safety
    /// A dropped call has taken no frame.
    pub(super) async fn next(&mut self) -> anyhow::Result<Option<(T, Bytes)>> {
        loop {
            if let Some(frame) = self.take()? {
                return Ok(Some(frame));
            }
            if !self.stream.read(&mut self.buffer).await? {
                ensure!(self.buffer.is_empty(), "the stream ended within a message");
                return Ok(None);
            }
        }
    }

    fn take(&mut self) -> anyhow::Result<Option<(T, Bytes)>> {
        let Some(head) = self.buffer.get(..HEAD_BYTES) else { return Ok(None) };
        let (mut len, mut json_len) = head.split_at(4);
        let (len, json_len) = (len.get_u32_le() as usize, json_len.get_u32_le() as usize);
        if len > FRAME_BYTES_MAX || len < 4 + json_len {
            bail!("a message says it has {len} bytes, {json_len} of them its head");
        }
        if self.buffer.len() < 4 + len {
            self.buffer.reserve(4 + len - self.buffer.len());
            return Ok(None);
        }
        let mut whole = self.buffer.split_to(4 + len).freeze();
        whole.advance(HEAD_BYTES);
        let json = whole.split_to(json_len);
        let message = serde_json::from_slice(&json)
            .context("a message is not one that this version knows")?;
        Ok(Some((message, whole)))
    }
}
