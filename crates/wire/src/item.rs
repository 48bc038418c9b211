//! What a mailbox holds: messages, changes and Results.

use bytes::Bytes;
use prost::Message as _;
use sha2::{Digest, Sha256};

use crate::{
    auth::DEVICE_KEY_LEN,
    error::DecodeError,
    id::{Address, DeviceId, MessageId, UserId, parse_users, users_to_bytes},
    limits::{AGENT_BYTES_MAX, GROUP_MEMBERS_MAX, ITEM_BYTES_MAX, PAYLOAD_BYTES_MAX},
    proto,
};

/// One thing in a mailbox. The edge that admits a send builds it and encodes it once; logs,
/// mailboxes, pushes and deliveries carry those bytes unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Who sent it, and what that device calls it.
    pub id: MessageId,
    /// Where it was sent.
    pub to: Address,
    /// The admitting edge's clock, milliseconds since 1970, for display only: order is `Seq`.
    pub sent_ms: u64,
    /// Seconds it is kept from the time the log took it, 1 to 30 days.
    pub ttl_s: u32,
    /// What it says.
    pub body: Body,
}

/// The kinds of item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Opaque ciphertext, at most [`PAYLOAD_BYTES_MAX`]; the cluster never looks into it.
    Message(Bytes),
    /// A change of a group: on the group log as asked for, in a mailbox as it happened.
    GroupChange(GroupChange),
    /// A change of a user's devices: likewise.
    DeviceChange(DeviceChange),
    /// The Result of the send with this item's id.
    Verdict(Verdict),
}

/// A change of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupChange {
    /// The group begins; the sender is its admin, these are members.
    Create(Vec<UserId>),
    /// These become members.
    Add(Vec<UserId>),
    /// These are members no more.
    Remove(Vec<UserId>),
    /// The sender is a member no more.
    Leave,
    /// This member has another role.
    SetRole(UserId, Role),
}

/// What a member may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Everything, changes included.
    Admin,
    /// Send, receive and leave.
    Member,
}

/// A change of a user's devices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceChange {
    /// A device with this Ed25519 key may connect. Only an edge asks for it, having seen a token.
    Register {
        /// The public key.
        device_key: [u8; DEVICE_KEY_LEN],
        /// Name and version of its program.
        agent: String,
    },
    /// This device may connect no more.
    Revoke(DeviceId),
}

macro_rules! wire_enum {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            pub(crate) fn to_wire(self) -> i32 {
                match self { $(Self::$variant => proto::$name::$variant as i32),+ }
            }

            pub(crate) fn parse(value: i32, field: &'static str) -> Result<Self, DecodeError> {
                match proto::$name::try_from(value) {
                    $(Ok(proto::$name::$variant) => Ok(Self::$variant),)+
                    Ok(proto::$name::Unspecified) | Err(_) => Err(DecodeError::Missing(field)),
                }
            }
        }
    };
}
pub(crate) use wire_enum;

wire_enum!(
    /// What the log decided about an accepted send.
    Verdict {
        /// The change happened.
        Done,
        /// There is no such group.
        NoSuchGroup,
        /// The sender was not a member of the group at this position.
        NotAMember,
        /// Only an admin may do this.
        NotAnAdmin,
        /// The group exists already.
        GroupExists,
        /// The group would have more than [`GROUP_MEMBERS_MAX`] members.
        GroupFull,
        /// Someone to be added is a member already.
        AlreadyAMember,
        /// The last admin of a group that has other members cannot leave or step down.
        LastAdmin,
        /// The user has no such device.
        NoSuchDevice,
        /// The user has [`crate::limits::DEVICES_MAX`] devices already.
        TooManyDevices,
        /// The device was revoked; a revoked device does not come back.
        DeviceRevoked,
        /// Someone to be removed or given a role is not a member.
        NoSuchMember,
    }
);

impl Role {
    pub(crate) fn to_wire(self) -> i32 {
        match self {
            Self::Admin => proto::Role::Admin as i32,
            Self::Member => proto::Role::Member as i32,
        }
    }

    pub(crate) fn parse(value: i32, field: &'static str) -> Result<Self, DecodeError> {
        match proto::Role::try_from(value) {
            Ok(proto::Role::Admin) => Ok(Self::Admin),
            Ok(proto::Role::Member) => Ok(Self::Member),
            Ok(proto::Role::Unspecified) | Err(_) => Err(DecodeError::Missing(field)),
        }
    }
}

impl Item {
    /// The bytes of the item.
    ///
    /// # Panics
    /// When a payload or a list of users is over its limit, which parsing and admission exclude.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let body = match &self.body {
            Body::Message(payload) => proto::item::Body::Message(payload.clone()),
            Body::GroupChange(change) => proto::item::Body::GroupChange(change.to_wire()),
            Body::DeviceChange(change) => proto::item::Body::DeviceChange(change.to_wire()),
            Body::Verdict(verdict) => proto::item::Body::Verdict(verdict.to_wire()),
        };
        let item = proto::Item {
            id: Bytes::copy_from_slice(&self.id.to_bytes()),
            to: Bytes::copy_from_slice(&self.to.to_bytes()),
            sent_ms: self.sent_ms,
            ttl_s: self.ttl_s,
            body: Some(body),
        };
        let bytes = Bytes::from(item.encode_to_vec());
        assert!(bytes.len() <= ITEM_BYTES_MAX, "parsing and admission keep items small");
        bytes
    }

    /// The item in `bytes`; the payload shares their memory.
    ///
    /// # Errors
    /// When they are not an item.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.len() > ITEM_BYTES_MAX {
            return Err(DecodeError::Length("item"));
        }
        let item = proto::Item::decode(bytes)?;
        if item.ttl_s == 0 {
            return Err(DecodeError::Range("item.ttl_s"));
        }
        let body = match item.body.ok_or(DecodeError::Missing("item.body"))? {
            proto::item::Body::Message(payload) => Body::Message(parse_payload(payload)?),
            proto::item::Body::GroupChange(change) => {
                Body::GroupChange(GroupChange::parse(&change)?)
            }
            proto::item::Body::DeviceChange(change) => {
                Body::DeviceChange(DeviceChange::parse(change)?)
            }
            proto::item::Body::Verdict(verdict) => {
                Body::Verdict(Verdict::parse(verdict, "item.verdict")?)
            }
        };
        Ok(Self {
            id: MessageId::parse(&item.id, "item.id")?,
            to: Address::parse(&item.to, "item.to")?,
            sent_ms: item.sent_ms,
            ttl_s: item.ttl_s,
            body,
        })
    }

    /// What makes a second item with the same id a repeat instead of a conflict: the first 16 bytes
    /// of SHA-256 over the address and the encoded body.
    #[must_use]
    pub fn digest(&self) -> [u8; 16] {
        let digest = Sha256::new().chain_update(self.to.to_bytes());
        let digest = match &self.body {
            Body::Message(payload) => digest.chain_update([1]).chain_update(payload),
            Body::GroupChange(change) => {
                digest.chain_update([2]).chain_update(change.to_wire().encode_to_vec())
            }
            Body::DeviceChange(change) => {
                digest.chain_update([3]).chain_update(change.to_wire().encode_to_vec())
            }
            Body::Verdict(verdict) => {
                digest.chain_update([4]).chain_update(verdict.to_wire().to_be_bytes())
            }
        };
        digest.finalize()[..16].try_into().expect("sixteen bytes")
    }
}

impl GroupChange {
    pub(crate) fn to_wire(&self) -> proto::GroupChange {
        use proto::group_change::Change;
        let change = match self {
            Self::Create(members) => Change::Create(users_to_bytes(members)),
            Self::Add(members) => Change::Add(users_to_bytes(members)),
            Self::Remove(members) => Change::Remove(users_to_bytes(members)),
            Self::Leave => Change::Leave(true),
            Self::SetRole(user, role) => Change::SetRole(proto::SetRole {
                user: Bytes::copy_from_slice(user.as_bytes()),
                role: role.to_wire(),
            }),
        };
        proto::GroupChange { change: Some(change) }
    }

    pub(crate) fn parse(change: &proto::GroupChange) -> Result<Self, DecodeError> {
        use proto::group_change::Change;
        let users = |bytes: &[u8]| parse_users(bytes, GROUP_MEMBERS_MAX, "group_change.users");
        match change.change.as_ref().ok_or(DecodeError::Missing("group_change.change"))? {
            Change::Create(members) => users(members).map(Self::Create),
            Change::Add(members) => users(members).map(Self::Add),
            Change::Remove(members) => users(members).map(Self::Remove),
            Change::Leave(true) => Ok(Self::Leave),
            Change::Leave(false) => Err(DecodeError::Range("group_change.leave")),
            Change::SetRole(role) => Ok(Self::SetRole(
                UserId::parse(&role.user, "set_role.user")?,
                Role::parse(role.role, "set_role.role")?,
            )),
        }
    }
}

impl DeviceChange {
    pub(crate) fn to_wire(&self) -> proto::DeviceChange {
        use proto::device_change::Change;
        let change = match self {
            Self::Register { device_key, agent } => Change::Register(proto::RegisterDevice {
                device_key: Bytes::copy_from_slice(device_key),
                agent: agent.clone(),
            }),
            Self::Revoke(device) => Change::Revoke(Bytes::copy_from_slice(device.as_bytes())),
        };
        proto::DeviceChange { change: Some(change) }
    }

    pub(crate) fn parse(change: proto::DeviceChange) -> Result<Self, DecodeError> {
        use proto::device_change::Change;
        match change.change.ok_or(DecodeError::Missing("device_change.change"))? {
            Change::Register(register) => Ok(Self::Register {
                device_key: parse_device_key(&register.device_key)?,
                agent: parse_agent(register.agent)?,
            }),
            Change::Revoke(device) => {
                DeviceId::parse(&device, "device_change.revoke").map(Self::Revoke)
            }
        }
    }
}

pub(crate) fn parse_payload(payload: Bytes) -> Result<Bytes, DecodeError> {
    if payload.len() > PAYLOAD_BYTES_MAX {
        return Err(DecodeError::Length("message"));
    }
    Ok(payload)
}

pub(crate) fn parse_device_key(bytes: &[u8]) -> Result<[u8; DEVICE_KEY_LEN], DecodeError> {
    bytes.try_into().map_err(|_| DecodeError::Length("device_key"))
}

pub(crate) fn parse_agent(agent: String) -> Result<String, DecodeError> {
    if agent.len() > AGENT_BYTES_MAX {
        return Err(DecodeError::Length("agent"));
    }
    if agent.chars().any(char::is_control) {
        return Err(DecodeError::Range("agent"));
    }
    Ok(agent)
}
