//! What an edge sends to a client, on the control stream.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use crate::{
    client_frame::parse_send_id,
    codec,
    delivery_frame::Deliver,
    entity::{Devices, Roster},
    error::DecodeError,
    id::{DeviceId, SendId, Seq, UserId},
    item::wire_enum,
    limits::PAGE_ROWS_MAX,
    proto,
    signal::{Sighting, parse_sightings, sightings_to_wire},
};

/// A frame to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerFrame {
    /// The client is authenticated.
    Welcome(Welcome),
    /// The fresh token is good until then, milliseconds since 1970.
    Renewed(u64),
    /// This send is durable.
    Accepted(SendId),
    /// Nothing of this send was appended: the same again after `after_ms`.
    Busy {
        /// Which send.
        id: SendId,
        /// Milliseconds to wait.
        after_ms: u32,
        /// Why.
        reason: BusyReason,
    },
    /// It is not known whether this send, or a part of it, was appended: the same again.
    Retry {
        /// Which send.
        id: SendId,
        /// Milliseconds to wait.
        after_ms: u32,
    },
    /// This send will never be accepted.
    Reject {
        /// Which send.
        id: SendId,
        /// Why.
        reason: RejectReason,
    },
    /// A page of history.
    Page(Page),
    /// The answer to a query: request number and answer.
    Answer(u32, Answer),
    /// This edge goes away.
    Drain {
        /// The connection is closed after this, milliseconds.
        deadline_ms: u32,
        /// Wait a random part of this before reconnecting, milliseconds.
        jitter_ms: u32,
    },
    /// Who of the watched is connected; 1 to [`SIGHTINGS_MAX`](crate::limits::SIGHTINGS_MAX).
    Presence(Vec<Sighting>),
}

/// The answer to a good `Hello`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The protocol version of this connection.
    pub version: u32,
    /// The user the token names.
    pub user: UserId,
    /// The device the key names.
    pub device: DeviceId,
    /// Delivery starts after this.
    pub resume_after: Seq,
    /// The edge's clock, milliseconds since 1970.
    pub now_ms: u64,
    /// Unanswered sends allowed at once.
    pub send_window: u32,
    /// Unacknowledged items the edge delivers at most.
    pub delivery_window: u32,
    /// When the token ends, milliseconds since 1970.
    pub token_expires_ms: u64,
    /// This connection registered the device.
    pub registered: bool,
}

/// A page of history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The number of the request.
    pub request: u32,
    /// Newest first.
    pub rows: Vec<Deliver>,
    /// Older rows exist.
    pub more: bool,
}

/// The answer to a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The devices of the connected user.
    Devices(Devices),
    /// The roster of the group.
    Group(Roster),
    /// No answer.
    Error(QueryError),
}

wire_enum!(
    /// Why a send was not taken now.
    BusyReason {
        /// A bounded queue is full.
        Overload,
        /// The partition is too far behind.
        Lag,
        /// The previous send in this conversation is neither accepted nor in flight.
        Previous,
        /// This device sends too much.
        Rate,
        /// This edge is going away.
        Draining,
        /// This edge has lost touch with the cluster.
        NotReady,
        /// No room to store what would be accepted.
        Storage,
    }
);

wire_enum!(
    /// Why a send will never be taken.
    RejectReason {
        /// The payload is over its limit.
        PayloadSize,
        /// The time to live is longer than the cluster keeps anything.
        Ttl,
        /// This body cannot go to this address.
        Address,
        /// No members, too many, or the same one twice.
        Members,
        /// Only an edge may send this.
        NotAllowed,
    }
);

wire_enum!(
    /// Why a query has no answer.
    QueryError {
        /// No such group, or the user is not a member: which of the two is not told.
        NotFound,
        /// Ask again later.
        Unavailable,
    }
);

impl ServerFrame {
    /// Appends the frame with its length to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        use proto::server_frame::Frame;
        let frame = match self {
            Self::Welcome(welcome) => Frame::Welcome(welcome.to_wire()),
            Self::Renewed(token_expires_ms) => {
                Frame::Renewed(proto::Renewed { token_expires_ms: *token_expires_ms })
            }
            Self::Accepted(id) => {
                Frame::Accepted(proto::Accepted { run: id.run.get(), counter: id.counter.get() })
            }
            Self::Busy { id, after_ms, reason } => Frame::Busy(proto::Busy {
                run: id.run.get(),
                counter: id.counter.get(),
                after_ms: *after_ms,
                reason: reason.to_wire(),
            }),
            Self::Retry { id, after_ms } => Frame::Retry(proto::Retry {
                run: id.run.get(),
                counter: id.counter.get(),
                after_ms: *after_ms,
            }),
            Self::Reject { id, reason } => Frame::Reject(proto::Reject {
                run: id.run.get(),
                counter: id.counter.get(),
                reason: reason.to_wire(),
            }),
            Self::Page(page) => Frame::Page(proto::Page {
                request: page.request,
                rows: page.rows.iter().map(Deliver::to_wire).collect(),
                more: page.more,
            }),
            Self::Answer(request, answer) => {
                Frame::Answer(proto::Answer { request: *request, answer: Some(answer.to_wire()) })
            }
            Self::Drain { deadline_ms, jitter_ms } => {
                Frame::Drain(proto::Drain { deadline_ms: *deadline_ms, jitter_ms: *jitter_ms })
            }
            Self::Presence(sightings) => Frame::Presence(sightings_to_wire(sightings)),
        };
        codec::encode(&proto::ServerFrame { frame: Some(frame) }, out);
    }

    /// The frame in `bytes`, which come without their length.
    ///
    /// # Errors
    /// When they are not a frame within its limits: the connection cannot go on.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        use proto::server_frame::Frame;
        let frame = proto::ServerFrame::decode(bytes)?.frame;
        Ok(match frame.ok_or(DecodeError::Missing("server_frame"))? {
            Frame::Welcome(welcome) => Self::Welcome(Welcome::parse(&welcome)?),
            Frame::Renewed(renewed) => Self::Renewed(renewed.token_expires_ms),
            Frame::Accepted(accepted) => {
                Self::Accepted(parse_send_id(accepted.run, accepted.counter, "accepted.counter")?)
            }
            Frame::Busy(busy) => Self::Busy {
                id: parse_send_id(busy.run, busy.counter, "busy.counter")?,
                after_ms: busy.after_ms,
                reason: BusyReason::parse(busy.reason, "busy.reason")?,
            },
            Frame::Retry(retry) => Self::Retry {
                id: parse_send_id(retry.run, retry.counter, "retry.counter")?,
                after_ms: retry.after_ms,
            },
            Frame::Reject(reject) => Self::Reject {
                id: parse_send_id(reject.run, reject.counter, "reject.counter")?,
                reason: RejectReason::parse(reject.reason, "reject.reason")?,
            },
            Frame::Page(page) => Self::Page(Page::parse(page)?),
            Frame::Answer(answer) => Self::Answer(answer.request, Answer::parse(answer.answer)?),
            Frame::Drain(drain) => {
                Self::Drain { deadline_ms: drain.deadline_ms, jitter_ms: drain.jitter_ms }
            }
            Frame::Presence(presence) => Self::Presence(parse_sightings(presence)?),
        })
    }
}

impl Welcome {
    fn to_wire(self) -> proto::Welcome {
        proto::Welcome {
            version: self.version,
            user: Bytes::copy_from_slice(self.user.as_bytes()),
            device: Bytes::copy_from_slice(self.device.as_bytes()),
            resume_after: self.resume_after.get(),
            now_ms: self.now_ms,
            send_window: self.send_window,
            delivery_window: self.delivery_window,
            token_expires_ms: self.token_expires_ms,
            registered: self.registered,
        }
    }

    fn parse(welcome: &proto::Welcome) -> Result<Self, DecodeError> {
        if welcome.send_window == 0 || welcome.delivery_window == 0 {
            return Err(DecodeError::Range("welcome.window"));
        }
        Ok(Self {
            version: welcome.version,
            user: UserId::parse(&welcome.user, "welcome.user")?,
            device: DeviceId::parse(&welcome.device, "welcome.device")?,
            resume_after: Seq::parse(welcome.resume_after, "welcome.resume_after")?,
            now_ms: welcome.now_ms,
            send_window: welcome.send_window,
            delivery_window: welcome.delivery_window,
            token_expires_ms: welcome.token_expires_ms,
            registered: welcome.registered,
        })
    }
}

impl Page {
    fn parse(page: proto::Page) -> Result<Self, DecodeError> {
        if page.rows.len() > PAGE_ROWS_MAX as usize {
            return Err(DecodeError::Length("page.rows"));
        }
        let rows = page.rows.into_iter().map(Deliver::parse).collect::<Result<_, _>>()?;
        Ok(Self { request: page.request, rows, more: page.more })
    }
}

impl Answer {
    fn to_wire(&self) -> proto::answer::Answer {
        match self {
            Self::Devices(devices) => proto::answer::Answer::Devices(devices.to_wire()),
            Self::Group(roster) => proto::answer::Answer::Group(roster.to_wire()),
            Self::Error(error) => proto::answer::Answer::Error(error.to_wire()),
        }
    }

    fn parse(answer: Option<proto::answer::Answer>) -> Result<Self, DecodeError> {
        match answer.ok_or(DecodeError::Missing("answer.answer"))? {
            proto::answer::Answer::Devices(devices) => Devices::parse(devices).map(Self::Devices),
            proto::answer::Answer::Group(group) => Roster::parse(&group).map(Self::Group),
            proto::answer::Answer::Error(error) => {
                QueryError::parse(error, "answer.error").map(Self::Error)
            }
        }
    }
}
