//! What workers and edges send to an edge over the mesh.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use crate::{
    codec,
    delivery_frame::Deliver,
    error::DecodeError,
    id::{DeviceId, EdgeId, Generation, UserId},
    limits::DEVICES_REMEMBERED_MAX,
    proto,
    signal::parse_body,
};

/// One frame of the mesh: a batch of pushes or of signals. A push is a hint: losing one costs a
/// catch-up. A signal is worth nothing later: losing one costs nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshFrame {
    /// In the order in which the rows were stored, for each mailbox.
    pub pushes: Vec<Push>,
    /// Pushes for this edge were dropped, nobody knows which: it compares the mailboxes of its
    /// devices with what they were given.
    pub lost: bool,
    /// From another edge, in no order.
    pub signals: Vec<MeshSignal>,
}

/// A hint of one connection for connections of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MeshSignal {
    /// Whom it is for.
    pub user: UserId,
    /// The connections on this edge it is for, at most [`DEVICES_REMEMBERED_MAX`].
    pub routes: Vec<(DeviceId, Generation)>,
    /// The connection it is about; the edge that holds it vouches for it.
    pub from: Origin,
    /// What it says.
    pub kind: SignalKind,
}

/// The connection a signal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Whose device.
    pub user: UserId,
    /// The device.
    pub device: DeviceId,
    /// Which of its connections.
    pub generation: Generation,
}

/// What a signal of the mesh says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalKind {
    /// The body of a signal, opaque.
    Body(Bytes),
    /// The origin shows itself to the user, and is connected.
    Online,
    /// The origin showed itself to the user, and does not any more.
    Offline,
    /// Whether the user shows itself to the origin; if so this edge is told, otherwise nobody is.
    Asks(EdgeId),
}

/// A new row for connected devices of one user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Whose mailbox.
    pub user: UserId,
    /// The connections on this edge it is for.
    pub routes: Vec<(DeviceId, Generation)>,
    /// The row.
    pub deliver: Deliver,
}

impl MeshFrame {
    /// Appends the frame with its length to `out`.
    pub fn encode(&self, out: &mut BytesMut) {
        let pushes = self.pushes.iter().map(|push| proto::Push {
            user: Bytes::copy_from_slice(push.user.as_bytes()),
            routes: push.routes.iter().map(route_to_wire).collect(),
            deliver: Some(push.deliver.to_wire()),
        });
        let (pushes, lost) = (pushes.collect(), self.lost);
        let signals = self.signals.iter().map(MeshSignal::to_wire).collect();
        codec::encode(&proto::MeshFrame { pushes, lost, signals }, out);
    }

    /// The frame in `bytes`, which come without their length.
    ///
    /// # Errors
    /// When they are not a frame within its limits: the link cannot go on.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let frame = proto::MeshFrame::decode(bytes)?;
        let pushes = frame.pushes.into_iter().map(Push::parse).collect::<Result<_, _>>()?;
        let signals = frame.signals.into_iter().map(MeshSignal::parse).collect::<Result<_, _>>()?;
        Ok(Self { pushes, lost: frame.lost, signals })
    }
}

impl MeshSignal {
    /// What it takes in a frame at most, bytes: the body, each route, and the rest.
    #[must_use]
    pub fn frame_bytes(&self) -> usize {
        const REST: usize = 96;
        const ROUTE: usize = 32;
        let body = match &self.kind {
            SignalKind::Body(body) => body.len(),
            SignalKind::Online | SignalKind::Offline | SignalKind::Asks(_) => 0,
        };
        REST + self.routes.len() * ROUTE + body
    }

    fn to_wire(&self) -> proto::MeshSignal {
        use proto::mesh_signal::Kind;
        proto::MeshSignal {
            user: Bytes::copy_from_slice(self.user.as_bytes()),
            routes: self.routes.iter().map(route_to_wire).collect(),
            from_user: Bytes::copy_from_slice(self.from.user.as_bytes()),
            from_device: Bytes::copy_from_slice(self.from.device.as_bytes()),
            from_generation: self.from.generation.get(),
            kind: Some(match &self.kind {
                SignalKind::Body(body) => Kind::Body(body.clone()),
                SignalKind::Online => Kind::Online(true),
                SignalKind::Offline => Kind::Online(false),
                SignalKind::Asks(edge) => Kind::Asks(edge.get()),
            }),
        }
    }

    fn parse(signal: proto::MeshSignal) -> Result<Self, DecodeError> {
        use proto::mesh_signal::Kind;
        let kind = match signal.kind.ok_or(DecodeError::Missing("mesh_signal.kind"))? {
            Kind::Body(body) => SignalKind::Body(parse_body(body)?),
            Kind::Online(true) => SignalKind::Online,
            Kind::Online(false) => SignalKind::Offline,
            Kind::Asks(edge) => SignalKind::Asks(EdgeId::new(edge)),
        };
        Ok(Self {
            user: UserId::parse(&signal.user, "mesh_signal.user")?,
            routes: parse_routes(signal.routes, "mesh_signal.routes")?,
            from: Origin {
                user: UserId::parse(&signal.from_user, "mesh_signal.from_user")?,
                device: DeviceId::parse(&signal.from_device, "mesh_signal.from_device")?,
                generation: Generation::new(signal.from_generation),
            },
            kind,
        })
    }
}

impl Push {
    fn parse(push: proto::Push) -> Result<Self, DecodeError> {
        Ok(Self {
            user: UserId::parse(&push.user, "push.user")?,
            routes: parse_routes(push.routes, "push.routes")?,
            deliver: Deliver::parse(push.deliver.ok_or(DecodeError::Missing("push.deliver"))?)?,
        })
    }
}

fn parse_routes(
    routes: Vec<proto::PushRoute>,
    field: &'static str,
) -> Result<Vec<(DeviceId, Generation)>, DecodeError> {
    if routes.len() > DEVICES_REMEMBERED_MAX {
        return Err(DecodeError::Length(field));
    }
    let route = |route: proto::PushRoute| {
        let device = DeviceId::parse(&route.device, "push_route.device")?;
        Ok((device, Generation::new(route.generation)))
    };
    routes.into_iter().map(route).collect()
}

fn route_to_wire((device, generation): &(DeviceId, Generation)) -> proto::PushRoute {
    proto::PushRoute {
        device: Bytes::copy_from_slice(device.as_bytes()),
        generation: generation.get(),
    }
}
