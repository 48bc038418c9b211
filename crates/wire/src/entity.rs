//! State that decides: a user's devices, a group's roster, and what was decided at a position.

use bytes::Bytes;
use prost::Message as _;

use crate::{
    auth::{self, DEVICE_KEY_LEN},
    error::DecodeError,
    id::{DeviceId, GroupId, MessageId, Seq, UserId, parse_users, users_to_bytes},
    item::{Role, Verdict, parse_agent, parse_device_key},
    limits::{DEVICES_REMEMBERED_MAX, GROUP_MEMBERS_MAX},
    proto,
};

/// A question a client may ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Query {
    /// The devices of the connected user.
    Devices,
    /// The roster of a group the user is a member of.
    Group(GroupId),
}

/// The devices of a user, in the order of their registration.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Devices(pub Vec<Device>);

/// A device of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its Ed25519 public key; [`Self::id`] is made of it.
    pub device_key: [u8; DEVICE_KEY_LEN],
    /// Name and version of its program.
    pub agent: String,
    /// Its registration in the user's mail partition: a later device reads the mailbox from here.
    pub registered: Seq,
    /// Log time of the registration, milliseconds since 1970.
    pub registered_ms: u64,
    /// Its revocation, after which it may not connect.
    pub revoked: Option<Seq>,
}

/// The members of a group, ordered by user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roster(pub Vec<Member>);

/// A member of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Who.
    pub user: UserId,
    /// What they may do.
    pub role: Role,
    /// Position in the group log from which on they get messages.
    pub joined: Seq,
}

/// What was decided at one position of a log, so that a replay says the same again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// The send that was decided about.
    pub id: MessageId,
    /// What was decided.
    pub verdict: Verdict,
    /// Users who are told that the change happened: the members before and after it. Empty for a
    /// refusal.
    pub told: Vec<UserId>,
}

/// A user's membership of a group: messages after `joined` and before `ended` are theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Position in the group log of the joining.
    pub joined: Seq,
    /// Position of the end and its log time (milliseconds since 1970); none while it lasts.
    pub ended: Option<(Seq, u64)>,
}

impl Device {
    /// The id made of the key.
    #[must_use]
    pub fn id(&self) -> DeviceId {
        auth::device_id(&self.device_key)
    }
}

impl Devices {
    /// The device with this id, revoked or not.
    #[must_use]
    pub fn get(&self, id: DeviceId) -> Option<&Device> {
        self.0.iter().find(|device| device.id() == id)
    }

    /// Devices that are not revoked.
    pub fn active(&self) -> impl Iterator<Item = &Device> {
        self.0.iter().filter(|device| device.revoked.is_none())
    }

    /// The snapshot as stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.to_wire().encode_to_vec().into()
    }

    /// The snapshot in `bytes`.
    ///
    /// # Errors
    /// When they are not a list of devices.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        Self::parse(proto::Devices::decode(bytes)?)
    }

    pub(crate) fn to_wire(&self) -> proto::Devices {
        let devices = self.0.iter().map(|device| proto::Device {
            device_key: Bytes::copy_from_slice(&device.device_key),
            agent: device.agent.clone(),
            registered: device.registered.get(),
            registered_ms: device.registered_ms,
            revoked: device.revoked.map(Seq::get),
        });
        proto::Devices { devices: devices.collect() }
    }

    pub(crate) fn parse(devices: proto::Devices) -> Result<Self, DecodeError> {
        if devices.devices.len() > DEVICES_REMEMBERED_MAX {
            return Err(DecodeError::Length("devices"));
        }
        let parse = |device: proto::Device| {
            Ok(Device {
                device_key: parse_device_key(&device.device_key)?,
                agent: parse_agent(device.agent)?,
                registered: Seq::parse(device.registered, "device.registered")?,
                registered_ms: device.registered_ms,
                revoked: device.revoked.map(|seq| Seq::parse(seq, "device.revoked")).transpose()?,
            })
        };
        devices.devices.into_iter().map(parse).collect::<Result<_, _>>().map(Self)
    }
}

impl Roster {
    /// The member with this id.
    #[must_use]
    pub fn get(&self, user: UserId) -> Option<&Member> {
        self.0.binary_search_by_key(&user, |member| member.user).ok().map(|index| &self.0[index])
    }

    /// The snapshot as stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        self.to_wire().encode_to_vec().into()
    }

    /// The snapshot in `bytes`.
    ///
    /// # Errors
    /// When they are not a roster.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        Self::parse(&proto::Group::decode(bytes)?)
    }

    pub(crate) fn to_wire(&self) -> proto::Group {
        let members = self.0.iter().map(|member| proto::Member {
            user: Bytes::copy_from_slice(member.user.as_bytes()),
            role: member.role.to_wire(),
            joined: member.joined.get(),
        });
        proto::Group { members: members.collect() }
    }

    pub(crate) fn parse(group: &proto::Group) -> Result<Self, DecodeError> {
        if group.members.len() > GROUP_MEMBERS_MAX {
            return Err(DecodeError::Length("group.members"));
        }
        let parse = |member: &proto::Member| {
            Ok(Member {
                user: UserId::parse(&member.user, "member.user")?,
                role: Role::parse(member.role, "member.role")?,
                joined: Seq::parse(member.joined, "member.joined")?,
            })
        };
        let members: Vec<Member> =
            group.members.iter().map(parse).collect::<Result<_, DecodeError>>()?;
        if !members.is_sorted_by(|a, b| a.user < b.user) {
            return Err(DecodeError::Range("group.members"));
        }
        Ok(Self(members))
    }
}

impl Decision {
    /// The decision as stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let decision = proto::Decision {
            id: Bytes::copy_from_slice(&self.id.to_bytes()),
            verdict: self.verdict.to_wire(),
            told: users_to_bytes(&self.told),
        };
        decision.encode_to_vec().into()
    }

    /// The decision in `bytes`.
    ///
    /// # Errors
    /// When they are not a decision.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let decision = proto::Decision::decode(bytes)?;
        Ok(Self {
            id: MessageId::parse(&decision.id, "decision.id")?,
            verdict: Verdict::parse(decision.verdict, "decision.verdict")?,
            // A change tells at most the members before and those after it.
            told: parse_users(&decision.told, 2 * GROUP_MEMBERS_MAX, "decision.told")?,
        })
    }
}

impl Membership {
    /// Whether a message at `position` of the group log is for this member.
    #[must_use]
    pub fn includes(&self, position: Seq) -> bool {
        self.joined < position && self.ended.is_none_or(|(ended, _)| position < ended)
    }

    /// The membership as stored.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let membership = proto::Membership {
            joined: self.joined.get(),
            ended: self.ended.map(|(ended, _)| ended.get()),
            ended_ms: self.ended.map_or(0, |(_, ended_ms)| ended_ms),
        };
        membership.encode_to_vec().into()
    }

    /// The membership in `bytes`.
    ///
    /// # Errors
    /// When they are not a membership.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let membership = proto::Membership::decode(bytes)?;
        let ended =
            membership.ended.map(|ended| Seq::parse(ended, "membership.ended")).transpose()?;
        Ok(Self {
            joined: Seq::parse(membership.joined, "membership.joined")?,
            ended: ended.map(|ended| (ended, membership.ended_ms)),
        })
    }
}
