//! Connections over each transport to a server that sends back what it gets.

use rustls::{
    ServerConfig,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use tempfile::TempDir;
use tokio::{io::copy, net::TcpListener, task::JoinSet};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::driver::mqtt::wire::Moved;

struct Server {
    tasks: JoinSet<()>,
    target: String,
    folder: TempDir,
}

impl Server {
    async fn start(transport: Transport) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let tls = certified(&folder);
        let mut tasks = JoinSet::new();
        let target = match transport {
            Transport::Tcp | Transport::Tls => {
                let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
                let address = listener.local_addr().expect("bound");
                let acceptor = TlsAcceptor::from(Arc::new(tls));
                tasks.spawn(async move {
                    let (stream, _) = listener.accept().await.expect("a connection");
                    if transport == Transport::Tcp {
                        echo(stream).await;
                    } else if let Ok(stream) = acceptor.accept(stream).await {
                        echo(stream).await;
                    }
                });
                let scheme = if transport == Transport::Tcp { "mqtt" } else { "mqtts" };
                format!("{scheme}://{address}")
            }
            Transport::Quic => {
                let crypto =
                    quinn::crypto::rustls::QuicServerConfig::try_from(tls).expect("TLS 1.3");
                let config = quinn::ServerConfig::with_crypto(Arc::new(crypto));
                let address = SocketAddr::from(([127, 0, 0, 1], 0));
                let endpoint = Endpoint::server(config, address).expect("a free port");
                let address = endpoint.local_addr().expect("bound");
                tasks.spawn(async move {
                    while let Some(incoming) = endpoint.accept().await {
                        let Ok(connection) = incoming.await else { continue };
                        let Ok((sender, receiver)) = connection.accept_bi().await else { continue };
                        echo(tokio::io::join(receiver, sender)).await;
                    }
                });
                format!("mqtt+quic://{address}")
            }
        };
        Self { tasks, target, folder }
    }

    fn dialer(&self, ca: Option<&str>) -> anyhow::Result<Dialer> {
        let ca = ca.map(|name| self.folder.path().join(name));
        Dialer::new(self.target.parse().expect("a target"), ca.as_deref(), 1, NonZeroU32::MIN)
    }
}

async fn echo(stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite) {
    let (mut reader, mut writer) = tokio::io::split(stream);
    let _ = copy(&mut reader, &mut writer).await;
}

/// Writes a certificate and another one, and gives a server the first.
fn certified(folder: &TempDir) -> ServerConfig {
    let signed = |name: &str| {
        let signed = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a key");
        std::fs::write(folder.path().join(name), signed.cert.pem()).expect("written");
        signed
    };
    signed("other.pem");
    let own = signed("own.pem");
    std::fs::write(folder.path().join("none.pem"), "nothing\n").expect("written");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(own.signing_key.serialize_der()));
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .expect("a certificate");
    config.alpn_protocols = vec![ALPN.to_vec()];
    config
}

async fn comes_back(wire: &mut Wire, text: &[u8]) {
    wire.output.extend_from_slice(text);
    while wire.input.len() < text.len() {
        assert!(matches!(wire.moved().await.expect("connected"), Moved::In | Moved::Out));
    }
    assert_eq!(wire.input.split().as_ref(), text);
}

#[tokio::test]
async fn bytes_go_over_each_transport() {
    for transport in [Transport::Tcp, Transport::Tls, Transport::Quic] {
        let server = Server::start(transport).await;
        let dialer = server.dialer(Some("own.pem")).expect("settings");
        let mut wire = dialer.dial(DeviceIndex(0), 0).await.expect("connected");
        comes_back(&mut wire, &[7; 100_000]).await;
        assert_eq!(wire.endpoint.is_some(), transport == Transport::Quic);
        drop(server.tasks);
    }
}

#[tokio::test]
async fn a_quic_connection_goes_on_from_another_port() {
    let server = Server::start(Transport::Quic).await;
    let dialer = server.dialer(Some("own.pem")).expect("settings");
    let mut wire = dialer.dial(DeviceIndex(0), 0).await.expect("connected");
    comes_back(&mut wire, b"before").await;
    let endpoint = wire.endpoint.clone().expect("QUIC has one");
    let before = endpoint.local_addr().expect("bound");
    rebind(&endpoint).expect("another port");
    assert_ne!(endpoint.local_addr().expect("bound"), before);
    comes_back(&mut wire, b"after").await;
}

#[tokio::test]
async fn a_server_of_somebody_else_is_not_trusted() {
    for transport in [Transport::Tls, Transport::Quic] {
        let server = Server::start(transport).await;
        let dialer = server.dialer(Some("other.pem")).expect("settings");
        let error = dialer.dial(DeviceIndex(0), 0).await.err().expect("untrusted");
        assert!(format!("{error:#}").contains("certificate"), "{error:#}");
    }
}

#[tokio::test]
async fn encryption_needs_somebody_to_trust() {
    let server = Server::start(Transport::Quic).await;
    let none = server.dialer(None).expect_err("nobody").to_string();
    assert!(none.contains("--ca FILE"), "{none}");
    let empty = server.dialer(Some("none.pem")).expect_err("nobody").to_string();
    assert!(empty.contains("no PEM block"), "{empty}");
    let missing = server.dialer(Some("missing.pem")).expect_err("nobody").to_string();
    assert!(missing.contains("missing.pem"), "{missing}");
}
