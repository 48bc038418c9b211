//! What a client sends to an edge, on the control stream.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use crate::{
    auth::{DEVICE_KEY_LEN, NONCE_LEN, SIGNATURE_LEN},
    codec,
    entity::Query,
    error::DecodeError,
    id::{Address, Counter, GroupId, RunId, SendId, Seq, UserId, users_to_bytes},
    item::{Body, DeviceChange, GroupChange, parse_agent, parse_device_key, parse_payload},
    limits::{PAGE_ROWS_MAX, TOKEN_BYTES_MAX, VERSIONS_MAX},
    proto,
    signal::{Signal, parse_watched},
};

/// A frame from a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientFrame {
    /// The first frame: who is there.
    Hello(Hello),
    /// A fresh token.
    Renew(Proof),
    /// An envelope to accept.
    Send(Send),
    /// Everything up to and including this position is processed.
    Ack(Seq),
    /// Deliver again from after this position.
    Resync(Seq),
    /// A page of history.
    Read(Read),
    /// A question about devices or a group: request number and question.
    Query(u32, Query),
    /// Something for those who are connected now.
    Signal(Signal),
    /// Whose presence is wanted, in place of those before.
    Watch(Vec<UserId>),
    /// Who may know the presence of this connection, in place of those before.
    Show(Vec<UserId>),
}

/// A token and the proof that the device is the one on this connection.
#[derive(Clone, PartialEq, Eq)]
pub struct Proof {
    /// JWT of the identity provider.
    pub token: String,
    /// Drawn at random.
    pub nonce: [u8; NONCE_LEN],
    /// Over [`crate::auth::Signed`].
    pub signature: [u8; SIGNATURE_LEN],
}

/// Hides the token, which opens an account.
impl std::fmt::Debug for Proof {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proof(<redacted>)")
    }
}

/// The first frame of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Protocol versions the client speaks.
    pub versions: Vec<u32>,
    /// Name and version of the client program.
    pub agent: String,
    /// The device's Ed25519 public key.
    pub device_key: [u8; DEVICE_KEY_LEN],
    /// Token and signature.
    pub proof: Proof,
    /// The client's own cursor; without it the stored one decides.
    pub resume_after: Option<Seq>,
}

/// An envelope to accept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Send {
    /// Never changes, also when sent again.
    pub id: SendId,
    /// Where to.
    pub to: Address,
    /// The send before this one in this conversation; none for the first.
    pub previous: Option<Previous>,
    /// Seconds to keep it, 0 for the cluster's default.
    pub ttl_s: u32,
    /// What to send; never [`Body::Verdict`].
    pub body: Body,
}

/// The send of this device in this conversation before the present one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Previous {
    /// Which one.
    pub id: SendId,
    /// The client holds an `Accepted` for it.
    pub accepted: bool,
}

/// A page of history, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Read {
    /// Echoed in the page.
    pub request: u32,
    /// Rows before this position; from the head without it.
    pub before: Option<Seq>,
    /// Rows, 1 to [`PAGE_ROWS_MAX`].
    pub limit: u32,
}

impl ClientFrame {
    /// Appends the frame with its length to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        use proto::client_frame::Frame;
        let frame = match self {
            Self::Hello(hello) => Frame::Hello(hello.to_wire()),
            Self::Renew(proof) => Frame::Renew(proto::Renew {
                token: proof.token.clone(),
                nonce: Bytes::copy_from_slice(&proof.nonce),
                signature: Bytes::copy_from_slice(&proof.signature),
            }),
            Self::Send(send) => Frame::Send(send.to_wire()),
            Self::Ack(seq) => Frame::Ack(proto::Ack { seq: seq.get() }),
            Self::Resync(after) => Frame::Resync(proto::Resync { after: after.get() }),
            Self::Read(read) => Frame::Read(proto::Read {
                request: read.request,
                before: read.before.map(Seq::get),
                limit: read.limit,
            }),
            Self::Query(request, query) => Frame::Query(proto::Query {
                request: *request,
                query: Some(match query {
                    Query::Devices => proto::query::Query::Devices(true),
                    Query::Group(group) => {
                        proto::query::Query::Group(Bytes::copy_from_slice(group.as_bytes()))
                    }
                }),
            }),
            Self::Signal(signal) => Frame::Signal(signal.to_wire()),
            Self::Watch(users) => Frame::Watch(proto::Watch { users: users_to_bytes(users) }),
            Self::Show(users) => Frame::Show(proto::Show { users: users_to_bytes(users) }),
        };
        codec::encode(&proto::ClientFrame { frame: Some(frame) }, out);
    }

    /// The frame in `bytes`, which come without their length.
    ///
    /// # Errors
    /// When they are not a frame within its limits: the connection cannot go on.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        use proto::client_frame::Frame;
        let frame = proto::ClientFrame::decode(bytes)?.frame;
        match frame.ok_or(DecodeError::Missing("client_frame"))? {
            Frame::Hello(hello) => Hello::parse(hello).map(Self::Hello),
            Frame::Renew(renew) => {
                parse_proof(renew.token, &renew.nonce, &renew.signature).map(Self::Renew)
            }
            Frame::Send(send) => Send::parse(send).map(Self::Send),
            Frame::Ack(ack) => Seq::parse(ack.seq, "ack.seq").map(Self::Ack),
            Frame::Resync(resync) => Seq::parse(resync.after, "resync.after").map(Self::Resync),
            Frame::Read(read) => parse_read(read).map(Self::Read),
            Frame::Query(query) => parse_query(query),
            Frame::Signal(signal) => Signal::parse(signal).map(Self::Signal),
            Frame::Watch(watch) => parse_watched(&watch.users, "watch.users").map(Self::Watch),
            Frame::Show(show) => parse_watched(&show.users, "show.users").map(Self::Show),
        }
    }
}

impl Hello {
    fn to_wire(&self) -> proto::Hello {
        proto::Hello {
            versions: self.versions.clone(),
            agent: self.agent.clone(),
            token: self.proof.token.clone(),
            device_key: Bytes::copy_from_slice(&self.device_key),
            nonce: Bytes::copy_from_slice(&self.proof.nonce),
            signature: Bytes::copy_from_slice(&self.proof.signature),
            resume_after: self.resume_after.map(Seq::get),
        }
    }

    fn parse(hello: proto::Hello) -> Result<Self, DecodeError> {
        if hello.versions.is_empty() || hello.versions.len() > VERSIONS_MAX {
            return Err(DecodeError::Length("hello.versions"));
        }
        Ok(Self {
            versions: hello.versions,
            agent: parse_agent(hello.agent)?,
            device_key: parse_device_key(&hello.device_key)?,
            proof: parse_proof(hello.token, &hello.nonce, &hello.signature)?,
            resume_after: hello
                .resume_after
                .map(|seq| Seq::parse(seq, "hello.resume_after"))
                .transpose()?,
        })
    }
}

impl Send {
    fn to_wire(&self) -> proto::Send {
        use proto::send::Body as Wire;
        let body = match &self.body {
            Body::Message(payload) => Wire::Message(payload.clone()),
            Body::GroupChange(change) => Wire::GroupChange(change.to_wire()),
            Body::DeviceChange(change) => Wire::DeviceChange(change.to_wire()),
            Body::Verdict(_) => unreachable!("nobody sends a verdict: `body` says so"),
        };
        proto::Send {
            run: self.id.run.get(),
            counter: self.id.counter.get(),
            to: Bytes::copy_from_slice(&self.to.to_bytes()),
            previous: self.previous.map(|previous| proto::Previous {
                run: previous.id.run.get(),
                counter: previous.id.counter.get(),
                accepted: previous.accepted,
            }),
            ttl_s: self.ttl_s,
            body: Some(body),
        }
    }

    fn parse(send: proto::Send) -> Result<Self, DecodeError> {
        use proto::send::Body as Wire;
        let body = match send.body.ok_or(DecodeError::Missing("send.body"))? {
            Wire::Message(payload) => Body::Message(parse_payload(payload)?),
            Wire::GroupChange(change) => Body::GroupChange(GroupChange::parse(&change)?),
            Wire::DeviceChange(change) => Body::DeviceChange(DeviceChange::parse(change)?),
        };
        let previous = send.previous.map(|previous| {
            let id = parse_send_id(previous.run, previous.counter, "send.previous")?;
            Ok::<_, DecodeError>(Previous { id, accepted: previous.accepted })
        });
        Ok(Self {
            id: parse_send_id(send.run, send.counter, "send.counter")?,
            to: Address::parse(&send.to, "send.to")?,
            previous: previous.transpose()?,
            ttl_s: send.ttl_s,
            body,
        })
    }
}

pub(crate) fn parse_send_id(
    run: u64,
    counter: u64,
    field: &'static str,
) -> Result<SendId, DecodeError> {
    if counter == 0 {
        return Err(DecodeError::Range(field));
    }
    Ok(SendId { run: RunId::new(run), counter: Counter::new(counter) })
}

fn parse_proof(token: String, nonce: &[u8], signature: &[u8]) -> Result<Proof, DecodeError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(DecodeError::Length("token"));
    }
    Ok(Proof {
        token,
        nonce: nonce.try_into().map_err(|_| DecodeError::Length("nonce"))?,
        signature: signature.try_into().map_err(|_| DecodeError::Length("signature"))?,
    })
}

fn parse_read(read: proto::Read) -> Result<Read, DecodeError> {
    if read.limit == 0 || read.limit > PAGE_ROWS_MAX {
        return Err(DecodeError::Range("read.limit"));
    }
    let before = read.before.map(|seq| Seq::parse(seq, "read.before")).transpose()?;
    Ok(Read { request: read.request, before, limit: read.limit })
}

fn parse_query(query: proto::Query) -> Result<ClientFrame, DecodeError> {
    let question = match query.query.ok_or(DecodeError::Missing("query.query"))? {
        proto::query::Query::Devices(true) => Query::Devices,
        proto::query::Query::Devices(false) => return Err(DecodeError::Range("query.devices")),
        proto::query::Query::Group(group) => Query::Group(GroupId::parse(&group, "query.group")?),
    };
    Ok(ClientFrame::Query(query.request, question))
}
