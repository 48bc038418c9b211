//! Identifiers and positions. Every id of the project is a type made here.

use std::fmt;

use bytes::Bytes;

use crate::{error::DecodeError, limits};

macro_rules! byte_id {
    ($(#[$doc:meta])* $name:ident, $len:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// Length in bytes.
            pub const LEN: usize = $len;

            /// The id with these bytes.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The bytes of the id.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The id in `bytes`, which must have exactly [`Self::LEN`].
            ///
            /// # Errors
            /// [`DecodeError::Length`] naming `field` when they have not.
            pub fn parse(bytes: &[u8], field: &'static str) -> Result<Self, DecodeError> {
                bytes.try_into().map(Self).map_err(|_| DecodeError::Length(field))
            }

            /// The id written as hexadecimal digits, as `Display` writes it.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                let mut bytes = [0; $len];
                // Parsing a number alone would take a sign for a digit.
                if text.len() != 2 * $len || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
                    return None;
                }
                for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
                    *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
                }
                Some(Self(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        /// The first four bytes only: enough to follow in a test, too little for a log to leak.
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(", stringify!($name))?;
                self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
                f.write_str("…)")
            }
        }
    };
}

byte_id!(
    /// A user: made from the token's issuer and subject by [`crate::auth::user_id`].
    UserId, 16
);
byte_id!(
    /// A device: the first 8 bytes of SHA-256 of its public key, see [`crate::auth::device_id`].
    DeviceId, 8
);
byte_id!(
    /// A group: chosen by the client that creates it.
    GroupId, 16
);
byte_id!(
    /// What tells a topic from one of the same name made later; given by the engine.
    TopicId, 16
);

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident($int:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($int);

        impl $name {
            /// The id with this value.
            #[must_use]
            pub const fn new(value: $int) -> Self {
                Self(value)
            }

            /// The value.
            #[must_use]
            pub const fn get(self) -> $int {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_id!(
    /// One start of a client program, drawn at random.
    RunId(u64)
);
number_id!(
    /// A send within a run, from 1.
    Counter(u64)
);
number_id!(
    /// A partition of a log, from 0.
    Partition(u16)
);
number_id!(
    /// A generation of the logs; growing the number of partitions begins a new one. At most
    /// [`limits::EPOCH_MAX`].
    Epoch(u8)
);
number_id!(
    /// The place of a record in its partition, below 2^44.
    Offset(u64)
);
number_id!(
    /// One start of an edge process, drawn at random.
    EdgeId(u64)
);
number_id!(
    /// Orders the connections of one device: a later connection has a higher one.
    Generation(u64)
);

/// A log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Topic {
    /// By user shard: what goes into mailboxes.
    Mail,
    /// By group shard: what a group decides.
    Group,
    /// One partition, read by every process.
    Control,
}

/// A position that orders everything in one mailbox or one entity: `epoch << 44 | offset`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Seq(u64);

impl Seq {
    /// Before every record.
    pub const ZERO: Self = Self(0);
    /// Bits of the offset.
    pub const OFFSET_BITS: u32 = 44;

    /// The position of `offset` in `epoch`.
    ///
    /// # Panics
    /// When the offset has more than 44 bits, which takes 55 years at 10,000 records a second.
    #[must_use]
    pub const fn new(epoch: Epoch, offset: Offset) -> Self {
        assert!(offset.0 >> Self::OFFSET_BITS == 0, "an offset has 44 bits");
        Self((epoch.0 as u64) << Self::OFFSET_BITS | offset.0)
    }

    /// The position with this value, as a frame or store carries it.
    #[must_use]
    pub const fn from_u64(value: u64) -> Self {
        Self(value)
    }

    /// The value.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }

    /// The generation of the log.
    #[must_use]
    pub const fn epoch(self) -> Epoch {
        Epoch((self.0 >> Self::OFFSET_BITS) as u8)
    }

    /// The place in the partition.
    #[must_use]
    pub const fn offset(self) -> Offset {
        Offset(self.0 & ((1 << Self::OFFSET_BITS) - 1))
    }

    /// A position from a frame: its epoch is in range.
    pub(crate) fn parse(value: u64, field: &'static str) -> Result<Self, DecodeError> {
        let in_range = value >> Self::OFFSET_BITS <= u64::from(limits::EPOCH_MAX);
        if in_range { Ok(Self(value)) } else { Err(DecodeError::Range(field)) }
    }
}

impl fmt::Debug for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch(), self.offset())
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A send as its own device names it: the run and the counter in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SendId {
    /// The start of the client program that made it.
    pub run: RunId,
    /// Its number in that run.
    pub counter: Counter,
}

/// A message, named once and for ever by the device that sends it.
///
/// Layout, 40 bytes, integers big-endian: user at 0, device at 16, run at 24, counter at 32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId {
    /// Who sent it; set by the edge.
    pub user: UserId,
    /// The device that sent it; set by the edge.
    pub device: DeviceId,
    /// What the device calls it.
    pub send: SendId,
}

impl MessageId {
    /// Length in bytes.
    pub const LEN: usize = 40;

    /// The bytes of the id.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..16].copy_from_slice(self.user.as_bytes());
        bytes[16..24].copy_from_slice(self.device.as_bytes());
        bytes[24..32].copy_from_slice(&self.send.run.0.to_be_bytes());
        bytes[32..].copy_from_slice(&self.send.counter.0.to_be_bytes());
        bytes
    }

    /// The id in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError::Length`] naming `field` when they are not 40.
    pub fn parse(bytes: &[u8], field: &'static str) -> Result<Self, DecodeError> {
        let bytes: &[u8; Self::LEN] = bytes.try_into().map_err(|_| DecodeError::Length(field))?;
        let number = |at: usize| {
            let digits =
                bytes[at..at + 8].try_into().expect("a slice of eight bytes is eight bytes");
            u64::from_be_bytes(digits)
        };
        Ok(Self {
            user: UserId::parse(&bytes[..16], field)?,
            device: DeviceId::parse(&bytes[16..24], field)?,
            send: SendId { run: RunId(number(24)), counter: Counter(number(32)) },
        })
    }
}

/// Where an item is sent: to a user or to a group. A conversation, seen from one device.
///
/// Layout, 17 bytes: kind at 0 (1 = user, 2 = group), user or group at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Address {
    /// A user's mailbox.
    User(UserId),
    /// The mailboxes of a group's members.
    Group(GroupId),
}

impl Address {
    /// Length in bytes.
    pub const LEN: usize = 17;

    /// The bytes of the address.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        let (kind, id) = match self {
            Self::User(user) => (1, user.as_bytes()),
            Self::Group(group) => (2, group.as_bytes()),
        };
        bytes[0] = kind;
        bytes[1..].copy_from_slice(id);
        bytes
    }

    /// The address in `bytes`.
    ///
    /// # Errors
    /// [`DecodeError::Length`] or [`DecodeError::Range`], naming `field`.
    pub fn parse(bytes: &[u8], field: &'static str) -> Result<Self, DecodeError> {
        let (kind, id) = bytes.split_first().ok_or(DecodeError::Length(field))?;
        match kind {
            1 => UserId::parse(id, field).map(Self::User),
            2 => GroupId::parse(id, field).map(Self::Group),
            _ => Err(DecodeError::Range(field)),
        }
    }
}

/// Users one after the other, 16 bytes each.
pub(crate) fn users_to_bytes(users: &[UserId]) -> Bytes {
    let mut bytes = Vec::with_capacity(users.len() * UserId::LEN);
    users.iter().for_each(|user| bytes.extend_from_slice(user.as_bytes()));
    bytes.into()
}

/// The users in `bytes`, at most `limit`.
pub(crate) fn parse_users(
    bytes: &[u8],
    limit: usize,
    field: &'static str,
) -> Result<Vec<UserId>, DecodeError> {
    if bytes.len() > limit * UserId::LEN || !bytes.len().is_multiple_of(UserId::LEN) {
        return Err(DecodeError::Length(field));
    }
    bytes.chunks(UserId::LEN).map(|user| UserId::parse(user, field)).collect()
}
