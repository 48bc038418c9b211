//! What is only worth having now: signals between people, and who is connected.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use crate::{
    error::DecodeError,
    id::{DeviceId, UserId, parse_users, users_to_bytes},
    limits::{SIGHTINGS_MAX, SIGNAL_BYTES_MAX, SIGNAL_USERS_MAX, WATCHED_MAX},
    proto,
};

/// Something for the connected devices of some users; stored nowhere, answered by nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signal {
    /// For whom, 1 to [`SIGNAL_USERS_MAX`].
    pub to: Vec<UserId>,
    /// Opaque ciphertext, at most [`SIGNAL_BYTES_MAX`].
    pub body: Bytes,
}

/// A signal as it reaches a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalFrom {
    /// Who sent it; set by the sender's edge.
    pub user: UserId,
    /// With which device.
    pub device: DeviceId,
    /// Opaque ciphertext, at most [`SIGNAL_BYTES_MAX`].
    pub body: Bytes,
}

/// A datagram from an edge to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// A signal for this device.
    Signal(SignalFrom),
}

/// Whether a device that shows itself is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Whose device.
    pub user: UserId,
    /// Which one.
    pub device: DeviceId,
    /// Connected, for so many milliseconds unless it is told again; 0: not connected any more.
    pub valid_ms: u32,
}

impl Signal {
    pub(crate) fn to_wire(&self) -> proto::Signal {
        proto::Signal { to: users_to_bytes(&self.to), body: self.body.clone() }
    }

    pub(crate) fn parse(signal: proto::Signal) -> Result<Self, DecodeError> {
        let to = parse_users(&signal.to, SIGNAL_USERS_MAX, "signal.to")?;
        if to.is_empty() {
            return Err(DecodeError::Length("signal.to"));
        }
        Ok(Self { to, body: parse_body(signal.body)? })
    }
}

impl Datagram {
    /// The whole datagram: it has no length in front.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let Self::Signal(signal) = self;
        let datagram = proto::datagram::Datagram::Signal(proto::SignalFrom {
            user: Bytes::copy_from_slice(signal.user.as_bytes()),
            device: Bytes::copy_from_slice(signal.device.as_bytes()),
            body: signal.body.clone(),
        });
        let datagram = proto::Datagram { datagram: Some(datagram) };
        let mut out = BytesMut::with_capacity(datagram.encoded_len());
        datagram.encode(&mut out).expect("a growing buffer has room");
        out.freeze()
    }

    /// The datagram in `bytes`.
    ///
    /// # Errors
    /// When they are none this version knows: it is ignored, the connection goes on.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let datagram = proto::Datagram::decode(bytes)?.datagram;
        let proto::datagram::Datagram::Signal(signal) =
            datagram.ok_or(DecodeError::Missing("datagram"))?;
        Ok(Self::Signal(SignalFrom {
            user: UserId::parse(&signal.user, "signal_from.user")?,
            device: DeviceId::parse(&signal.device, "signal_from.device")?,
            body: parse_body(signal.body)?,
        }))
    }
}

pub(crate) fn sightings_to_wire(sightings: &[Sighting]) -> proto::Presence {
    let sighting = |sighting: &Sighting| proto::Sighting {
        user: Bytes::copy_from_slice(sighting.user.as_bytes()),
        device: Bytes::copy_from_slice(sighting.device.as_bytes()),
        valid_ms: sighting.valid_ms,
    };
    proto::Presence { sightings: sightings.iter().map(sighting).collect() }
}

pub(crate) fn parse_sightings(presence: proto::Presence) -> Result<Vec<Sighting>, DecodeError> {
    if presence.sightings.is_empty() || presence.sightings.len() > SIGHTINGS_MAX {
        return Err(DecodeError::Length("presence.sightings"));
    }
    let sighting = |sighting: proto::Sighting| {
        Ok(Sighting {
            user: UserId::parse(&sighting.user, "sighting.user")?,
            device: DeviceId::parse(&sighting.device, "sighting.device")?,
            valid_ms: sighting.valid_ms,
        })
    };
    presence.sightings.into_iter().map(sighting).collect()
}

pub(crate) fn parse_watched(users: &[u8], field: &'static str) -> Result<Vec<UserId>, DecodeError> {
    parse_users(users, WATCHED_MAX, field)
}

pub(crate) fn parse_body(body: Bytes) -> Result<Bytes, DecodeError> {
    if body.len() > SIGNAL_BYTES_MAX {
        return Err(DecodeError::Length("signal.body"));
    }
    Ok(body)
}
