//! Why bytes from outside were not understood.

use crate::version;

/// Bytes that are not a valid frame, item or record. The bytes never parse later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not protobuf, or cut short.
    #[error("not a protobuf message of this kind, or cut short")]
    Malformed,
    /// A field that must be there is absent, or a oneof has no alternative this version knows.
    #[error("field {0} is missing or not known")]
    Missing(&'static str),
    /// A field has another length than its layout, or is over its limit.
    #[error("field {0} has a wrong length or is over its limit")]
    Length(&'static str),
    /// A field holds a value outside its range.
    #[error("field {0} has a value outside its range")]
    Range(&'static str),
    /// The frame announces more bytes than this stream may carry now.
    #[error("a frame of {announced} bytes, at most {limit} are allowed here")]
    FrameSize {
        /// Bytes the length prefix announces.
        announced: u64,
        /// Bytes allowed on this stream in this state.
        limit: usize,
    },
    /// A stored record of a format this program does not know: written by a newer version.
    #[error("a record of format {0}, this program knows up to {known}", known = version::RECORD)]
    NewerRecord(u8),
}

impl From<prost::DecodeError> for DecodeError {
    fn from(_: prost::DecodeError) -> Self {
        Self::Malformed
    }
}
