//! What a worker pushes to an edge over the mesh.

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use crate::{
    codec,
    delivery_frame::Deliver,
    error::DecodeError,
    id::{DeviceId, Generation, UserId},
    limits::DEVICES_REMEMBERED_MAX,
    proto,
};

/// A batch of pushes, one frame of the mesh. A push is a hint: losing one costs a catch-up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MeshFrame {
    /// In the order in which the rows were stored, for each mailbox.
    pub pushes: Vec<Push>,
    /// Pushes for this edge were dropped, nobody knows which: it compares the mailboxes of its
    /// devices with what they were given.
    pub lost: bool,
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
        codec::encode(&proto::MeshFrame { pushes: pushes.collect(), lost: self.lost }, out);
    }

    /// The frame in `bytes`, which come without their length.
    ///
    /// # Errors
    /// When they are not a frame within its limits: the link cannot go on.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let frame = proto::MeshFrame::decode(bytes)?;
        let pushes = frame.pushes.into_iter().map(Push::parse).collect::<Result<_, _>>()?;
        Ok(Self { pushes, lost: frame.lost })
    }
}

impl Push {
    fn parse(push: proto::Push) -> Result<Self, DecodeError> {
        if push.routes.len() > DEVICES_REMEMBERED_MAX {
            return Err(DecodeError::Length("push.routes"));
        }
        let route = |route: proto::PushRoute| {
            Ok((
                DeviceId::parse(&route.device, "push_route.device")?,
                Generation::new(route.generation),
            ))
        };
        Ok(Self {
            user: UserId::parse(&push.user, "push.user")?,
            routes: push.routes.into_iter().map(route).collect::<Result<_, DecodeError>>()?,
            deliver: Deliver::parse(push.deliver.ok_or(DecodeError::Missing("push.deliver"))?)?,
        })
    }
}

fn route_to_wire((device, generation): &(DeviceId, Generation)) -> proto::PushRoute {
    proto::PushRoute {
        device: Bytes::copy_from_slice(device.as_bytes()),
        generation: generation.get(),
    }
}
