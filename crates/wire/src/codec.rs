//! Frames in a byte stream: a protobuf varint with the length, then the message.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;

use crate::error::DecodeError;

/// Bytes a length prefix can take: five carry 32 bits, and no stream allows longer frames.
const PREFIX_BYTES_MAX: usize = 5;

/// Takes the next whole frame off the front of `buffer`, without its length; `None` when more
/// bytes are needed. Allocates nothing: the frame shares the buffer's memory.
///
/// # Errors
/// [`DecodeError::FrameSize`] as soon as the prefix announces more than `limit`, before the frame
/// has arrived; [`DecodeError::Malformed`] when the prefix is no varint. The stream cannot go on.
pub fn take_frame(buffer: &mut BytesMut, limit: usize) -> Result<Option<Bytes>, DecodeError> {
    let Some((announced, prefix_len)) = read_prefix(buffer)? else {
        return Ok(None);
    };
    let frame_len = usize::try_from(announced).unwrap_or(usize::MAX);
    if frame_len > limit {
        return Err(DecodeError::FrameSize { announced, limit });
    }
    if buffer.len() < prefix_len + frame_len {
        return Ok(None);
    }
    buffer.advance(prefix_len);
    Ok(Some(buffer.split_to(frame_len).freeze()))
}

/// Appends `message` with its length.
pub(crate) fn encode(message: &impl Message, out: &mut BytesMut) {
    message.encode_length_delimited(out).expect("a growing buffer has room");
}

/// The announced length and the bytes it took, when they are all there.
fn read_prefix(buffer: &[u8]) -> Result<Option<(u64, usize)>, DecodeError> {
    let mut announced = 0_u64;
    for (index, byte) in buffer.iter().take(PREFIX_BYTES_MAX).enumerate() {
        announced |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((announced, index + 1)));
        }
    }
    if buffer.len() >= PREFIX_BYTES_MAX { Err(DecodeError::Malformed) } else { Ok(None) }
}
