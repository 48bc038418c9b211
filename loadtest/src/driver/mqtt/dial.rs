//! Connections to a broker: TCP, TLS over TCP, or QUIC.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    num::NonZeroU32,
    path::Path,
    sync::{Arc, OnceLock},
    time::Duration,
};

use anyhow::{Context as _, bail};
use quinn::{
    Endpoint, EndpointConfig, IdleTimeout, TokioRuntime, TransportConfig, VarInt,
    crypto::rustls::QuicClientConfig,
};
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{
    target::{Target, Transport},
    wire::Wire,
};
use crate::population::DeviceIndex;

/// What brokers call MQTT in a QUIC handshake.
const ALPN: &[u8] = b"mqtt";
/// As the product's own clients: silence after which a QUIC connection is over.
const QUIC_IDLE: Duration = Duration::from_secs(30);
/// As the product's own clients: how often a silent one speaks up.
const QUIC_KEEP_ALIVE: Duration = Duration::from_secs(20);
/// What may arrive before it is read.
const QUIC_WINDOW_BYTES: u32 = 1 << 18;

/// Connects to one broker. Holds no connection itself.
#[derive(Debug)]
pub(super) struct Dialer {
    target: Target,
    security: Security,
}

#[derive(Debug)]
enum Security {
    None,
    Tls(Arc<ClientConfig>, ServerName<'static>),
    Quic(quinn::ClientConfig, Sockets),
}

/// The UDP sockets, each bound when its first device connects.
#[derive(Debug)]
struct Sockets {
    devices_each: NonZeroU32,
    bound: Vec<OnceLock<Endpoint>>,
}

impl Dialer {
    /// A dialer for so many devices that trusts servers whose certificates lead to those of the
    /// file `ca`.
    ///
    /// # Errors
    /// When the target needs certificates and `ca` gives none.
    pub(super) fn new(
        target: Target,
        ca: Option<&Path>,
        devices: u32,
        devices_per_socket: NonZeroU32,
    ) -> anyhow::Result<Self> {
        let security = match target.transport {
            Transport::Tcp => Security::None,
            Transport::Tls => {
                let name = ServerName::try_from(target.host.clone())
                    .with_context(|| format!("\"{}\" is no name of a server", target.host))?;
                Security::Tls(Arc::new(tls(ca)?), name)
            }
            Transport::Quic => {
                let mut tls = tls(ca)?;
                tls.alpn_protocols = vec![ALPN.to_vec()];
                let mut config =
                    quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
                config.transport_config(Arc::new(quic_transport()));
                let sockets = devices.div_ceil(devices_per_socket.get());
                let bound = (0..sockets).map(|_| OnceLock::new()).collect();
                Security::Quic(config, Sockets { devices_each: devices_per_socket, bound })
            }
        };
        Ok(Self { target, security })
    }

    /// How many devices share a UDP socket; none with TCP.
    pub(super) fn devices_per_socket(&self) -> u32 {
        match &self.security {
            Security::None | Security::Tls(..) => 0,
            Security::Quic(_, sockets) => sockets.devices_each.get(),
        }
    }

    /// Connects a device; the higher the attempt, the further in the list of the host's addresses.
    ///
    /// # Errors
    /// When there is no connection: why.
    ///
    /// # Cancel safety
    /// A dropped call abandons the attempt.
    pub(super) async fn dial(&self, device: DeviceIndex, attempt: usize) -> anyhow::Result<Wire> {
        let place = (self.target.host.as_str(), self.target.port);
        let found: Vec<SocketAddr> = tokio::net::lookup_host(place)
            .await
            .with_context(|| format!("looking up \"{}\"", self.target.host))?
            .collect();
        let Some(address) = found.get(attempt % found.len().max(1)) else {
            bail!("\"{}\" has no address", self.target.host);
        };
        let opened = match &self.security {
            Security::None => Wire::new(tcp(*address).await?, None),
            Security::Tls(config, name) => {
                let connector = TlsConnector::from(Arc::clone(config));
                Wire::new(connector.connect(name.clone(), tcp(*address).await?).await?, None)
            }
            Security::Quic(config, sockets) => {
                let endpoint = sockets.endpoint(device).context("binding a UDP socket")?;
                let connecting =
                    endpoint.connect_with(config.clone(), *address, &self.target.host)?;
                let (sender, receiver) = connecting.await?.open_bi().await?;
                Wire::new(tokio::io::join(receiver, sender), Some(endpoint))
            }
        };
        Ok(opened)
    }
}

async fn tcp(address: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn tls(ca: Option<&Path>) -> anyhow::Result<ClientConfig> {
    let Some(ca) = ca else {
        bail!("say whom to trust: --ca FILE with the certificate that signed the broker's");
    };
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca)
        .with_context(|| format!("reading certificates from {}", ca.display()))?;
    for certificate in certificates {
        let certificate = certificate.with_context(|| format!("in {}", ca.display()))?;
        roots.add(certificate).with_context(|| format!("in {}", ca.display()))?;
    }
    if roots.is_empty() {
        bail!("{} holds no PEM block \"CERTIFICATE\"", ca.display());
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

fn quic_transport() -> TransportConfig {
    let idle = IdleTimeout::try_from(QUIC_IDLE).expect("30 s is below the limit of 2^62 ms");
    let mut transport = TransportConfig::default();
    transport
        .max_idle_timeout(Some(idle))
        .keep_alive_interval(Some(QUIC_KEEP_ALIVE))
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(QUIC_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(QUIC_WINDOW_BYTES))
        .send_window(u64::from(QUIC_WINDOW_BYTES))
        .datagram_receive_buffer_size(None);
    transport
}

impl Sockets {
    fn endpoint(&self, device: DeviceIndex) -> io::Result<Endpoint> {
        let slot = &self.bound[device.place() / self.devices_each.get() as usize];
        if let Some(endpoint) = slot.get() {
            return Ok(endpoint.clone());
        }
        let runtime = Arc::new(TokioRuntime);
        let endpoint = Endpoint::new(EndpointConfig::default(), None, any_port()?, runtime)?;
        // Another device of the same socket may have been first.
        Ok(slot.get_or_init(|| endpoint).clone())
    }
}

/// A socket at any free port, which reaches both families where the system has both.
fn any_port() -> io::Result<UdpSocket> {
    let both = Socket::new(Domain::IPV6, Type::DGRAM, Some(Protocol::UDP)).and_then(|socket| {
        socket.set_only_v6(false)?;
        socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)).into())?;
        Ok(socket.into())
    });
    both.or_else(|_| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)))
}

/// Moves the QUIC connections of a socket to another port.
///
/// # Errors
/// When there is no socket to be had; the old one stays.
pub(super) fn rebind(endpoint: &Endpoint) -> io::Result<()> {
    endpoint.rebind(any_port()?)
}

#[cfg(test)]
mod tests;
