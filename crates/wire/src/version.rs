//! Versions of what crosses a boundary.

/// The protocol version this program speaks; `Hello` offers versions, `Welcome` names the one
/// chosen.
pub const PROTOCOL: u32 = 1;

/// ALPN of the client protocol.
pub const ALPN_CLIENT: &[u8] = b"posthorn/1";

/// ALPN of the worker-to-edge mesh.
pub const ALPN_MESH: &[u8] = b"posthorn-mesh/1";

/// The format of stored records, their first byte. A higher one was written by a newer program.
pub const RECORD: u8 = 1;
