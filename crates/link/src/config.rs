//! Every limit of a connection, and what a server is made from.

use std::{sync::Arc, time::Duration};

use quinn::{IdleTimeout, TransportConfig, VarInt};
use wire::{EdgeId, limits};

use crate::{secret::MasterSecret, tls::Certificate};

/// How long opening a stream may wait for the peer to allow one more.
pub const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// How long a client's or worker's attempt to connect may take: three lost flights on a slow path.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(10);

/// How long a server lets a handshake take.
pub const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// Silence after which a client connection is over. A client speaks up before, so that it knows
/// within 50 seconds that its edge is gone, and at once when another process serves there.
pub const CLIENT_IDLE: Duration = Duration::from_secs(30);

/// How often a client speaks up on a silent connection. Most middleboxes forget a UDP flow after
/// 30 seconds; the server never does, since one side is enough.
pub const CLIENT_KEEP_ALIVE: Duration = Duration::from_secs(20);

/// Silence after which a mesh connection is over.
pub const MESH_IDLE: Duration = Duration::from_secs(15);

/// How often either side of a silent mesh connection speaks up.
pub const MESH_KEEP_ALIVE: Duration = Duration::from_secs(5);

/// Bytes a client may have on the way to an edge before it has authenticated; more waits there.
pub const UNAUTHENTICATED_BYTES_MAX: u32 = 16 * 1024;

/// Streams a client may open before it has authenticated; more waits there.
pub const UNAUTHENTICATED_STREAMS_MAX: u32 = 1;

/// Bytes an authenticated client may have on the way to an edge; more waits there.
pub const AUTHENTICATED_BYTES_MAX: u32 = 256 * 1024;

/// Streams an authenticated client may have open; more waits there. Each costs the edge memory
/// even when it is never used.
pub const AUTHENTICATED_STREAMS_MAX: u32 = 4;

/// Bytes an edge may have on the way to one client. What a slow reader costs at most; beyond it
/// [`Sender::write`](crate::Sender::write) waits.
pub const TO_CLIENT_BYTES_MAX: u32 = 256 * 1024;

/// Bytes a client lets be on the way to it: a whole delivery window.
pub const CLIENT_RECEIVE_BYTES_MAX: u32 = 1024 * 1024;

/// Streams of each direction either side of a mesh connection may open; more waits there.
pub const MESH_STREAMS_MAX: u32 = 16;

/// Bytes on the way over one mesh connection and direction; more waits at the sender.
pub const MESH_BYTES_MAX: u32 = 4 * 1024 * 1024;

/// Attempts to connect that wait to be looked at; further ones are dropped unanswered and the
/// client's retransmission tries again.
pub const INCOMING_MAX: usize = 2048;

/// Bytes kept of one waiting attempt to connect: two full datagrams make a first flight.
pub const INCOMING_BYTES_MAX: u64 = 16 * 1024;

/// Bytes kept of all waiting attempts to connect together.
pub const INCOMING_BYTES_TOTAL_MAX: u64 = 8 * 1024 * 1024;

/// Handshakes a mesh listener has under way; further attempts are refused.
pub const MESH_HANDSHAKES_MAX: usize = 64;

/// Packets' worth of bytes one [`Receiver::read`](crate::Receiver::read) takes over QUIC.
pub(crate) const READ_CHUNKS_MAX: usize = 32;

/// Bytes one [`Receiver::read`](crate::Receiver::read) appends at most: no more than a stream may
/// have on the way in memory, and in QUIC 32 packets, each at most as long as UDP allows.
pub const READ_BYTES_MAX: usize = READ_CHUNKS_MAX * 65_535;

/// Bytes on the way over one stream and direction in memory; more waits at the sender.
pub const MEMORY_STREAM_BYTES_MAX: usize = 256 * 1024;

/// Streams of each direction either side of a memory connection may have open; more waits there.
pub const MEMORY_STREAMS_MAX: usize = 16;

/// Connections made in memory that wait to be accepted; more wait at the dialer.
pub const MEMORY_BACKLOG_MAX: usize = 64;

/// Datagrams that wait at one end of a memory connection; further ones are refused.
pub const MEMORY_DATAGRAMS_MAX: usize = 16;

/// Buffer asked of the system for each direction of a socket, bytes; it may give less.
pub const SOCKET_BUFFER_BYTES: usize = 4 * 1024 * 1024;

/// Bytes of datagrams kept in each direction of a connection. At it: further ones do not leave, and
/// of those that arrive the oldest are dropped.
const DATAGRAM_BYTES_MAX: usize = 16 * 1024;

const _: () = assert!(UNAUTHENTICATED_BYTES_MAX as usize >= limits::HELLO_BYTES_MAX);
const _: () = assert!(AUTHENTICATED_BYTES_MAX as usize >= limits::CLIENT_FRAME_BYTES_MAX);
const _: () = assert!(CLIENT_RECEIVE_BYTES_MAX as usize >= limits::DELIVERY_WINDOW_BYTES);
const _: () = assert!(DATAGRAM_BYTES_MAX >= 8 * limits::DATAGRAM_BYTES_MAX);
const _: () = assert!(MESH_BYTES_MAX as usize >= limits::MESH_FRAME_BYTES_MAX);

/// What the endpoint of an edge is made from.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// What clients see; replaced later by
    /// [`ServerEndpoint::set_certificate`](crate::quic::ServerEndpoint::set_certificate).
    pub certificate: Certificate,
    /// Which start of which process this is; every connection id tells it to a load balancer.
    pub edge: EdgeId,
    /// Shared by all edges: tickets, retry tokens and resets of one work at another.
    pub secret: MasterSecret,
    /// The secret before the last rotation: its tickets are still taken, none is made with it.
    pub previous_secret: Option<MasterSecret>,
}

/// What an edge allows clients that have not authenticated.
pub(crate) fn server_transport() -> Arc<TransportConfig> {
    let mut transport = lean(CLIENT_IDLE);
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(UNAUTHENTICATED_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(AUTHENTICATED_BYTES_MAX))
        .receive_window(VarInt::from_u32(UNAUTHENTICATED_BYTES_MAX))
        .send_window(u64::from(TO_CLIENT_BYTES_MAX));
    Arc::new(transport)
}

/// What a client allows an edge: one delivery stream.
pub(crate) fn client_transport() -> Arc<TransportConfig> {
    let mut transport = lean(CLIENT_IDLE);
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(1))
        .stream_receive_window(VarInt::from_u32(CLIENT_RECEIVE_BYTES_MAX))
        .receive_window(VarInt::from_u32(CLIENT_RECEIVE_BYTES_MAX + AUTHENTICATED_BYTES_MAX))
        .send_window(u64::from(AUTHENTICATED_BYTES_MAX))
        .keep_alive_interval(Some(CLIENT_KEEP_ALIVE));
    Arc::new(transport)
}

/// What workers and edges allow each other.
pub(crate) fn mesh_transport() -> Arc<TransportConfig> {
    let mut transport = lean(MESH_IDLE);
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(MESH_STREAMS_MAX))
        .max_concurrent_uni_streams(VarInt::from_u32(MESH_STREAMS_MAX))
        .stream_receive_window(VarInt::from_u32(MESH_BYTES_MAX / 4))
        .receive_window(VarInt::from_u32(MESH_BYTES_MAX))
        .send_window(u64::from(MESH_BYTES_MAX))
        .keep_alive_interval(Some(MESH_KEEP_ALIVE));
    Arc::new(transport)
}

fn lean(idle: Duration) -> TransportConfig {
    let idle = IdleTimeout::try_from(idle).expect("a minute is below the limit of 2^62 ms");
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        .datagram_receive_buffer_size(Some(DATAGRAM_BYTES_MAX))
        .datagram_send_buffer_size(DATAGRAM_BYTES_MAX);
    transport
}
