//! Every bound of the protocol, in one place. Operational limits are configuration instead.

use std::time::Duration;

/// Ciphertext of one message, bytes. Larger content is an attachment reference. Over it: a
/// protocol error, since a client knows it.
pub const PAYLOAD_BYTES_MAX: usize = 64 * 1024;
/// Members of a group. Over it: a *Result* saying so.
pub const GROUP_MEMBERS_MAX: usize = 512;
/// Devices of a user that are not revoked. Over it: registration is refused.
pub const DEVICES_MAX: usize = 10;
/// Devices a user entity remembers, revoked ones included. The oldest revoked one is forgotten.
pub const DEVICES_REMEMBERED_MAX: usize = 64;

/// A frame before authentication, bytes.
pub const HELLO_BYTES_MAX: usize = 16 * 1024;
/// A frame from a client, bytes: a payload or 512 users, and 2 KiB for the rest.
pub const CLIENT_FRAME_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 2 * 1024;
/// A frame to a client, bytes: the largest is a `Page`.
pub const SERVER_FRAME_BYTES_MAX: usize = PAGE_BYTES_MAX + ITEM_BYTES_MAX + 8 * 1024;
/// An encoded item, bytes: a payload or 512 users, and 1 KiB for the rest.
pub const ITEM_BYTES_MAX: usize = PAYLOAD_BYTES_MAX + 1024;
/// A record of the mail or group log, bytes: an item and 512 recipients, and 2 KiB for the rest.
pub const RECORD_BYTES_MAX: usize = ITEM_BYTES_MAX + GROUP_MEMBERS_MAX * 16 + 2 * 1024;
/// A frame on the mesh, bytes. A batch of pushes stops before it.
pub const MESH_FRAME_BYTES_MAX: usize = 256 * 1024;
/// Rows of a history page, bytes, after which the page ends (it holds at least one row).
pub const PAGE_BYTES_MAX: usize = 192 * 1024;
/// Rows of a history page.
pub const PAGE_ROWS_MAX: u32 = 256;

/// An identity provider's token, bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Name and version of a client program, bytes.
pub const AGENT_BYTES_MAX: usize = 64;
/// Protocol versions offered by one `Hello`.
pub const VERSIONS_MAX: usize = 8;

/// Sends of one connection that wait for their answer. One more is a protocol error.
pub const SEND_WINDOW: u32 = 256;
/// Items delivered on one connection and not yet acknowledged. Delivery waits at it.
pub const DELIVERY_WINDOW: u32 = 1024;
/// Bytes delivered on one connection and not yet acknowledged. Delivery waits at it.
pub const DELIVERY_WINDOW_BYTES: usize = 1024 * 1024;

/// Opaque body of a signal, bytes: a datagram holds it. Over it: a protocol error.
pub const SIGNAL_BYTES_MAX: usize = 1024;
/// Users one signal is for. Over it: a protocol error.
pub const SIGNAL_USERS_MAX: usize = 32;
/// Users a connection watches, and likewise users it shows itself to. Over it: a protocol error.
pub const WATCHED_MAX: usize = 256;
/// Devices one frame tells the presence of.
pub const SIGHTINGS_MAX: usize = 256;
/// A datagram from an edge to a client, bytes. QUIC's smallest packet, 1,200 bytes, has room for
/// 1,150 with the longest connection id.
pub const DATAGRAM_BYTES_MAX: usize = 1100;
/// A device that shows itself counts as connected for so long after it was told.
pub const SIGHTING_VALID: Duration = Duration::from_secs(90);

/// The edge answers every send within this.
pub const ANSWER_WITHIN: Duration = Duration::from_secs(15);
/// A connection that is not authenticated after this is closed.
pub const AUTHENTICATE_WITHIN: Duration = Duration::from_secs(5);
/// A connection outlives its token by this, for clocks that differ.
pub const TOKEN_LEEWAY: Duration = Duration::from_secs(60);
/// Longest time to live of an envelope, and the default.
pub const TTL_MAX: Duration = Duration::from_secs(30 * 24 * 3600);

/// Virtual shards; never changes.
pub const VSHARDS: u16 = 4096;
/// Highest epoch: a `Seq` as microseconds since 1970 stays below today plus 3 days, which
/// `ScyllaDB` demands of write timestamps.
pub const EPOCH_MAX: u8 = 100;

const _: () = assert!(HELLO_BYTES_MAX > TOKEN_BYTES_MAX + AGENT_BYTES_MAX + VERSIONS_MAX * 5 + 256);
const _: () = assert!(PAYLOAD_BYTES_MAX > GROUP_MEMBERS_MAX * 16);
const _: () = assert!(CLIENT_FRAME_BYTES_MAX > SIGNAL_BYTES_MAX + SIGNAL_USERS_MAX * 16 + 16);
const _: () = assert!(CLIENT_FRAME_BYTES_MAX > WATCHED_MAX * 16 + 16);
const _: () = assert!(DATAGRAM_BYTES_MAX > SIGNAL_BYTES_MAX + 16 + 8 + 16);
const _: () = assert!(SERVER_FRAME_BYTES_MAX > SIGHTINGS_MAX * 40);
const _: () = assert!(MESH_FRAME_BYTES_MAX > ITEM_BYTES_MAX + GROUP_MEMBERS_MAX * 16);
const _: () = assert!(DEVICES_REMEMBERED_MAX > DEVICES_MAX);
const _: () = assert!(DELIVERY_WINDOW_BYTES > ITEM_BYTES_MAX);
