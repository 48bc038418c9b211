//! Certificates, servers, connected pairs, and small steps on streams.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex},
};

use bytes::BytesMut;
use link::{
    Connection, LinkError, Receiver, Sender,
    config::ServerConfig,
    quic::{ClientEndpoint, ServerEndpoint},
    secret::MasterSecret,
    tls::{Certificate, MeshIdentity, Roots},
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{net::UdpSocket, task::JoinSet};
use wire::EdgeId;

pub(crate) const LOCAL: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 0);
pub(crate) const NAME: &str = "edge.test";

/// A certificate authority for one test.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn certificate(&self, name: &str) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &self.0).unwrap();
        Certificate::from_pem(leaf.pem().as_bytes(), key.serialize_pem().as_bytes()).unwrap()
    }

    pub(crate) fn roots(&self) -> Roots {
        Roots::from_pem(self.0.pem().as_bytes()).unwrap()
    }

    pub(crate) fn root_der(&self) -> Vec<u8> {
        self.0.der().to_vec()
    }

    pub(crate) fn identity(&self, name: &str) -> MeshIdentity {
        MeshIdentity { certificate: self.certificate(name), roots: self.roots() }
    }

    pub(crate) fn server(&self) -> ServerEndpoint {
        self.server_with(MasterSecret::random())
    }

    pub(crate) fn server_with(&self, secret: MasterSecret) -> ServerEndpoint {
        let config = ServerConfig {
            certificate: self.certificate(NAME),
            edge: EdgeId::new(7),
            secret,
            previous_secret: None,
        };
        ServerEndpoint::bind(LOCAL, config).unwrap()
    }
}

/// A client, a server, and a connection between them.
pub(crate) struct Connected {
    pub(crate) client: ClientEndpoint,
    pub(crate) server: ServerEndpoint,
    pub(crate) here: Connection,
    pub(crate) there: Connection,
}

impl Connected {
    pub(crate) async fn new() -> Self {
        let authority = Authority::new();
        let client = ClientEndpoint::bind(authority.roots()).unwrap();
        let server = authority.server();
        let (here, there) = connect(&client, &server).await;
        Self { client, server, here, there }
    }
}

pub(crate) async fn connect(
    client: &ClientEndpoint,
    server: &ServerEndpoint,
) -> (Connection, Connection) {
    let address = server.local_addr().unwrap();
    let (here, there) = tokio::join!(client.connect(address, NAME), accept(server));
    (here.unwrap(), there.unwrap())
}

pub(crate) async fn accept(server: &ServerEndpoint) -> Result<Connection, LinkError> {
    server.accept().await.unwrap().accept().await
}

pub(crate) async fn write_all(sender: &mut Sender, bytes: &[u8]) -> Result<(), LinkError> {
    let mut buffer = BytesMut::from(bytes);
    while !buffer.is_empty() {
        sender.write(&mut buffer).await?;
    }
    Ok(())
}

pub(crate) async fn read_exactly(receiver: &mut Receiver, len: usize) -> Vec<u8> {
    let mut buffer = BytesMut::new();
    while buffer.len() < len {
        assert!(receiver.read(&mut buffer).await.unwrap(), "ended after {} bytes", buffer.len());
    }
    assert_eq!(buffer.len(), len);
    buffer.to_vec()
}

/// Runs `future` until it first waits, then drops it.
pub(crate) async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    tokio::select! {
        biased;
        output = future => Some(output),
        () = std::future::ready(()) => None,
    }
}

/// Sends a byte on a new stream from `from` to `to`: what `from` did before has then happened.
pub(crate) async fn pass_byte(from: &mut Sender, to: &mut Receiver) {
    write_all(from, b".").await.unwrap();
    read_exactly(to, 1).await;
}

/// Passes datagrams between one client and a server that can be exchanged.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    target: Arc<Mutex<SocketAddr>>,
    _task: JoinSet<()>,
}

impl Proxy {
    pub(crate) async fn towards(server: &ServerEndpoint) -> Self {
        let near = UdpSocket::bind(LOCAL).await.unwrap();
        let far = UdpSocket::bind(LOCAL).await.unwrap();
        let address = near.local_addr().unwrap();
        let target = Arc::new(Mutex::new(server.local_addr().unwrap()));
        let mut task = JoinSet::new();
        task.spawn(forward(near, far, Arc::clone(&target)));
        Self { address, target, _task: task }
    }

    pub(crate) fn switch_to(&self, server: &ServerEndpoint) {
        *self.target.lock().unwrap() = server.local_addr().unwrap();
    }
}

async fn forward(near: UdpSocket, far: UdpSocket, target: Arc<Mutex<SocketAddr>>) {
    let (mut out, mut back) = (vec![0; 65_535], vec![0; 65_535]);
    let mut client = None;
    loop {
        tokio::select! {
            Ok((len, from)) = near.recv_from(&mut out) => {
                client = Some(from);
                let target = *target.lock().unwrap();
                far.send_to(&out[..len], target).await.unwrap();
            }
            Ok((len, _)) = far.recv_from(&mut back) => {
                near.send_to(&back[..len], client.unwrap()).await.unwrap();
            }
        }
    }
}
