//! UDP sockets with room for bursts.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
};

use socket2::{Domain, Protocol, Socket, Type};

use crate::{config::SOCKET_BUFFER_BYTES, error::SetupError};

/// A socket at `address`; at the unspecified IPv6 address it serves IPv4 too.
pub(crate) fn bind(address: SocketAddr) -> Result<UdpSocket, SetupError> {
    try_bind(address).map_err(|problem| SetupError::Socket { address, problem })
}

/// A socket at any port that reaches both IPv6 and IPv4, or IPv4 alone where the system has no
/// other.
pub(crate) fn bind_anywhere() -> Result<UdpSocket, SetupError> {
    bind((Ipv6Addr::UNSPECIFIED, 0).into()).or_else(|_| bind((Ipv4Addr::UNSPECIFIED, 0).into()))
}

fn try_bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    // A system that gives less than asked only loses more packets in bursts.
    socket.set_recv_buffer_size(SOCKET_BUFFER_BYTES).ok();
    socket.set_send_buffer_size(SOCKET_BUFFER_BYTES).ok();
    socket.bind(&address.into())?;
    Ok(socket.into())
}
