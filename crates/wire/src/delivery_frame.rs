//! What an edge sends to a client on the delivery stream: the mailbox, in order.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use crate::{codec, error::DecodeError, id::Seq, limits::ITEM_BYTES_MAX, proto};

/// A frame of the delivery stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryFrame {
    /// The next item.
    Deliver(Deliver),
    /// After `prev` the mailbox has nothing more up to `head`.
    CaughtUp {
        /// Everything up to here was delivered, or is gone.
        head: Seq,
        /// The last position before it on this connection, at most `head`.
        prev: Seq,
    },
    /// Rows below this position may have been dropped before this device read them.
    Truncated(Seq),
}

/// A row of a mailbox. The item stays encoded: no edge looks into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deliver {
    /// Where it is in the mailbox.
    pub seq: Seq,
    /// The position before it in the mailbox, when known: `ZERO` when it is the first.
    pub prev: Option<Seq>,
    /// When the log took it, milliseconds since 1970.
    pub log_time_ms: u64,
    /// An encoded [`crate::Item`].
    pub item: Bytes,
}

impl DeliveryFrame {
    /// Appends the frame with its length to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        use proto::delivery_frame::Frame;
        let frame = match self {
            Self::Deliver(deliver) => Frame::Deliver(deliver.to_wire()),
            Self::CaughtUp { head, prev } => {
                Frame::CaughtUp(proto::CaughtUp { head: head.get(), prev: prev.get() })
            }
            Self::Truncated(from) => Frame::Truncated(proto::Truncated { from: from.get() }),
        };
        codec::encode(&proto::DeliveryFrame { frame: Some(frame) }, out);
    }

    /// The frame in `bytes`, which come without their length.
    ///
    /// # Errors
    /// When they are not a frame within its limits: the connection cannot go on.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        use proto::delivery_frame::Frame;
        let frame = proto::DeliveryFrame::decode(bytes)?.frame;
        match frame.ok_or(DecodeError::Missing("delivery_frame"))? {
            Frame::Deliver(deliver) => Deliver::parse(deliver).map(Self::Deliver),
            Frame::CaughtUp(caught_up) => parse_caught_up(&caught_up),
            Frame::Truncated(truncated) => {
                Seq::parse(truncated.from, "truncated.from").map(Self::Truncated)
            }
        }
    }
}

fn parse_caught_up(caught_up: &proto::CaughtUp) -> Result<DeliveryFrame, DecodeError> {
    let head = Seq::parse(caught_up.head, "caught_up.head")?;
    let prev = Seq::parse(caught_up.prev, "caught_up.prev")?;
    if prev > head {
        return Err(DecodeError::Range("caught_up.prev"));
    }
    Ok(DeliveryFrame::CaughtUp { head, prev })
}

impl Deliver {
    pub(crate) fn to_wire(&self) -> proto::Deliver {
        proto::Deliver {
            seq: self.seq.get(),
            prev: self.prev.map(Seq::get),
            log_time_ms: self.log_time_ms,
            item: self.item.clone(),
        }
    }

    pub(crate) fn parse(deliver: proto::Deliver) -> Result<Self, DecodeError> {
        if deliver.item.is_empty() || deliver.item.len() > ITEM_BYTES_MAX {
            return Err(DecodeError::Length("deliver.item"));
        }
        let seq = Seq::parse(deliver.seq, "deliver.seq")?;
        let prev = deliver.prev.map(|prev| Seq::parse(prev, "deliver.prev")).transpose()?;
        if prev.is_some_and(|prev| prev >= seq) {
            return Err(DecodeError::Range("deliver.prev"));
        }
        Ok(Self { seq, prev, log_time_ms: deliver.log_time_ms, item: deliver.item })
    }
}
