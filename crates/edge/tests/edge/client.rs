//! A client that speaks frames, and an edge for it.

use std::{net::SocketAddr, time::Duration};

use aws_lc_rs::{
    rand,
    signature::{Ed25519KeyPair, KeyPair as _},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use bytes::{Bytes, BytesMut};
use edge::{
    Edge, EdgeConfig, EdgeHandle, EdgeMetrics, Parts, RunError,
    token::{TokenConfig, Verifier},
};
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use link::{
    Connection, LinkError, MeshDialer, MeshListener, Receiver, Sender,
    config::ServerConfig,
    memory::Hub,
    quic::{ClientEndpoint, ServerEndpoint},
    secret::MasterSecret,
    tls::{Certificate, Roots},
};
use prometheus::Registry;
use serde_json::json;
use session::close::CloseCode;
use tokio::{task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use wire::{
    Address, ClientFrame, Counter, DeliveryFrame, DeviceId, EdgeId, RunId, SendId, Seq,
    ServerFrame, UserId,
    auth::{Signed, device_id, user_id},
    client_frame::{Hello, Proof, Send},
    codec::take_frame,
    item::Body,
    limits::SERVER_FRAME_BYTES_MAX,
    server_frame::Welcome,
    signal::{Datagram, Sighting, SignalFrom},
    version::PROTOCOL,
};

use crate::{NOW_MS, world::World};

const ISSUER: &str = "https://id.example";
const NAME: &str = "edge.example";
pub(crate) const MESH: &str = "edge-1";
const SECOND_MESH: &str = "edge-2";
/// Everything the tests wait for happens much earlier.
const SOON: Duration = Duration::from_secs(20);

/// A running edge and everything its clients need.
pub(crate) struct Cluster {
    pub(crate) world: World,
    pub(crate) hub: Hub,
    pub(crate) handle: EdgeHandle,
    pub(crate) stop: CancellationToken,
    pub(crate) abort: CancellationToken,
    pub(crate) edge: JoinSet<Result<(), RunError>>,
    pub(crate) metrics: EdgeMetrics,
    /// One more edge, once it is started.
    pub(crate) second: Option<Running>,
    config: EdgeConfig,
    certificate: Certificate,
    verifier: Verifier,
    endpoint: ClientEndpoint,
    address: SocketAddr,
    idp: EncodingKey,
    _folder: tempfile::TempDir,
}

/// An edge and how to end it.
pub(crate) struct Running {
    pub(crate) handle: EdgeHandle,
    pub(crate) stop: CancellationToken,
    pub(crate) abort: CancellationToken,
    pub(crate) edge: JoinSet<Result<(), RunError>>,
    pub(crate) metrics: EdgeMetrics,
    address: SocketAddr,
}

/// A device's key.
pub(crate) struct Key(Ed25519KeyPair);

/// A connection that has said Hello.
pub(crate) struct Client {
    pub(crate) connection: Connection,
    pub(crate) welcome: Option<Welcome>,
    control: Sender,
    answers: Receiver,
    input: BytesMut,
    delivery: Option<(Receiver, BytesMut)>,
    counter: u64,
}

impl Key {
    pub(crate) fn new() -> Self {
        Self(Ed25519KeyPair::generate().unwrap())
    }

    pub(crate) fn public(&self) -> [u8; 32] {
        self.0.public_key().as_ref().try_into().unwrap()
    }

    pub(crate) fn device(&self) -> DeviceId {
        device_id(&self.public())
    }

    /// A good proof for this exporter.
    pub(crate) fn prove(&self, exporter: &[u8; 32], token: String) -> Proof {
        let mut nonce = [0; 16];
        rand::fill(&mut nonce).unwrap();
        let device = self.device();
        let signed = Signed { version: PROTOCOL, exporter, token: &token, device, nonce: &nonce };
        let signature = self.0.sign(&signed.to_bytes()).as_ref().try_into().unwrap();
        Proof { token, nonce, signature }
    }
}

impl Cluster {
    pub(crate) async fn start() -> Self {
        Self::start_with(EdgeConfig { drain_jitter_ms: 0, ..EdgeConfig::default() }).await
    }

    pub(crate) async fn start_with(config: EdgeConfig) -> Self {
        config.check().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (verifier, idp) = identity_provider(folder.path());
        let issued = rcgen::generate_simple_self_signed([NAME.to_owned()]).unwrap();
        let der = issued.cert.der().to_vec();
        let certificate =
            Certificate::from_der(vec![der.clone()], issued.signing_key.serialize_der()).unwrap();
        let (world, hub) = (World::new(), Hub::new(1));
        let first =
            run_edge(&world, &hub, MESH, 1, config.clone(), certificate.clone(), verifier.clone());
        let Running { handle, stop, abort, edge, metrics, address } = first;
        let endpoint = ClientEndpoint::bind(Roots::from_der(vec![der]).unwrap()).unwrap();
        let cluster = Self {
            world,
            hub,
            handle,
            stop,
            abort,
            edge,
            metrics,
            second: None,
            config,
            certificate,
            verifier,
            endpoint,
            address,
            idp,
            _folder: folder,
        };
        cluster.until(|| cluster.handle.is_ready().ready).await;
        cluster
    }

    /// As [`Self::start`], with two edges.
    pub(crate) async fn start_two() -> Self {
        let mut cluster = Self::start().await;
        let Self { world, hub, config, certificate, verifier, .. } = &cluster;
        let parts = (config.clone(), certificate.clone(), verifier.clone());
        let second = run_edge(world, hub, SECOND_MESH, 2, parts.0, parts.1, parts.2);
        cluster.second = Some(second);
        cluster.until(|| cluster.world.leases() == 2).await;
        cluster
    }

    pub(crate) fn token(&self, subject: &str) -> String {
        self.token_until(subject, NOW_MS as f64 / 1000.0 + 600.0)
    }

    pub(crate) fn token_until(&self, subject: &str, exp: f64) -> String {
        let claims = json!({
            "iss": ISSUER, "sub": subject, "aud": "posthorn", "exp": exp, "nbf": 0,
        });
        let header = Header { kid: Some("idp".to_owned()), ..Header::new(Algorithm::EdDSA) };
        encode(&header, &claims, &self.idp).unwrap()
    }

    pub(crate) async fn dial(&self) -> Result<Connection, LinkError> {
        self.endpoint.connect(self.address, NAME).await
    }

    /// Connects and says Hello with a good proof.
    pub(crate) async fn hello(&self, subject: &str, key: &Key, after: Option<Seq>) -> Client {
        let connection = self.dial().await.unwrap();
        let proof = key.prove(&connection.export_keying_material(), self.token(subject));
        Client::say_hello(connection, hello(key, proof, after)).await
    }

    /// As [`Self::connect`], to the second edge.
    pub(crate) async fn connect_to_second(&self, subject: &str, key: &Key) -> Client {
        let address = self.second.as_ref().expect("it is started").address;
        let connection = self.endpoint.connect(address, NAME).await.unwrap();
        let proof = key.prove(&connection.export_keying_material(), self.token(subject));
        let mut client = Client::say_hello(connection, hello(key, proof, None)).await;
        client.be_welcome().await;
        client
    }

    /// As [`Self::hello`], and is welcome.
    pub(crate) async fn connect(&self, subject: &str, key: &Key) -> Client {
        self.connect_after(subject, key, None).await
    }

    pub(crate) async fn connect_after(
        &self,
        subject: &str,
        key: &Key,
        after: Option<Seq>,
    ) -> Client {
        let mut client = self.hello(subject, key, after).await;
        client.be_welcome().await;
        client
    }

    /// Waits until something is so; nothing tells of it.
    pub(crate) async fn until(&self, holds: impl Fn() -> bool) {
        let mut ticks = tokio::time::interval(Duration::from_millis(2));
        let polling = async {
            while !holds() {
                ticks.tick().await;
            }
        };
        timeout(SOON, polling).await.expect("it happens soon");
    }

    /// The edge's own end.
    pub(crate) async fn ended(&mut self) -> Result<(), RunError> {
        timeout(SOON, self.edge.join_next()).await.unwrap().unwrap().unwrap()
    }
}

impl Client {
    pub(crate) async fn say_hello(connection: Connection, hello: Hello) -> Self {
        let (control, answers) = connection.open_bi().await.unwrap();
        let mut client = Self {
            connection,
            welcome: None,
            control,
            answers,
            input: BytesMut::new(),
            delivery: None,
            counter: 0,
        };
        client.say(ClientFrame::Hello(hello)).await;
        client
    }

    async fn be_welcome(&mut self) {
        let answer = self.answer().await;
        let ServerFrame::Welcome(welcome) = answer else { panic!("not welcome: {answer:?}") };
        self.welcome = Some(welcome);
    }

    /// The next signal.
    pub(crate) async fn signal(&mut self) -> SignalFrom {
        let datagram = timeout(SOON, self.connection.read_datagram()).await.unwrap().unwrap();
        let Datagram::Signal(signal) = Datagram::decode(datagram).unwrap();
        signal
    }

    /// What the control stream says next, which is about presence.
    pub(crate) async fn presence(&mut self) -> Vec<Sighting> {
        let answer = self.answer().await;
        let ServerFrame::Presence(sightings) = answer else { panic!("not presence: {answer:?}") };
        sightings
    }

    pub(crate) async fn say(&mut self, frame: ClientFrame) {
        let mut out = BytesMut::new();
        frame.encode(&mut out);
        self.write(out).await;
    }

    pub(crate) async fn write(&mut self, mut out: BytesMut) {
        while !out.is_empty() {
            timeout(SOON, self.control.write(&mut out)).await.unwrap().unwrap();
        }
    }

    /// The next message to a user, not yet sent.
    pub(crate) fn message(&mut self, to: UserId, text: &str) -> Send {
        self.counter += 1;
        let id = SendId { run: RunId::new(1), counter: Counter::new(self.counter) };
        let body = Body::Message(Bytes::copy_from_slice(text.as_bytes()));
        Send { id, to: Address::User(to), previous: None, ttl_s: 0, body }
    }

    pub(crate) async fn answer(&mut self) -> ServerFrame {
        let frame = next_frame(&mut self.answers, &mut self.input).await;
        ServerFrame::decode(frame).unwrap()
    }

    pub(crate) async fn delivered(&mut self) -> DeliveryFrame {
        if self.delivery.is_none() {
            let stream = timeout(SOON, self.connection.accept_uni()).await.unwrap().unwrap();
            self.delivery = Some((stream, BytesMut::new()));
        }
        let (stream, input) = self.delivery.as_mut().unwrap();
        DeliveryFrame::decode(next_frame(stream, input).await).unwrap()
    }

    /// What the edge closes the connection with.
    pub(crate) async fn closed(&self) -> CloseCode {
        let closed = timeout(SOON, self.connection.closed()).await.unwrap();
        CloseCode::from_code(closed.code.expect("closed by the edge")).unwrap()
    }
}

fn run_edge(
    world: &World,
    hub: &Hub,
    mesh: &str,
    number: u64,
    config: EdgeConfig,
    certificate: Certificate,
    verifier: Verifier,
) -> Running {
    let edge_id = EdgeId::new(number);
    let secret = MasterSecret::random();
    let server = ServerConfig { certificate, edge: edge_id, secret, previous_secret: None };
    let endpoint = ServerEndpoint::bind("127.0.0.1:0".parse().unwrap(), server).unwrap();
    let address = endpoint.local_addr().unwrap();
    let metrics = EdgeMetrics::register(&Registry::new()).unwrap();
    let parts = Parts {
        engines: world.engines(),
        endpoint,
        mesh: MeshListener::Memory(hub.listen(mesh)),
        mesh_address: mesh.to_owned(),
        dialer: MeshDialer::Memory(hub.clone()),
        verifier,
        wall_clock: || NOW_MS,
        metrics: metrics.clone(),
        edge_id,
    };
    let running = Edge::start(config, parts);
    let handle = running.handle();
    let (stop, abort) = (CancellationToken::new(), CancellationToken::new());
    let mut edge = JoinSet::new();
    edge.spawn(running.run_until(stop.clone(), abort.clone()));
    Running { handle, stop, abort, edge, metrics, address }
}

pub(crate) fn hello(key: &Key, proof: Proof, resume_after: Option<Seq>) -> Hello {
    let agent = "test/1".to_owned();
    Hello { versions: vec![PROTOCOL], agent, device_key: key.public(), proof, resume_after }
}

pub(crate) fn user(subject: &str) -> UserId {
    user_id(ISSUER, subject)
}

async fn next_frame(stream: &mut Receiver, input: &mut BytesMut) -> Bytes {
    loop {
        if let Some(frame) = take_frame(input, SERVER_FRAME_BYTES_MAX).unwrap() {
            return frame;
        }
        assert!(timeout(SOON, stream.read(input)).await.unwrap().unwrap(), "the stream goes on");
    }
}

fn identity_provider(folder: &std::path::Path) -> (Verifier, EncodingKey) {
    let pair = Ed25519KeyPair::generate().unwrap();
    let x = BASE64.encode(pair.public_key().as_ref());
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "kid": "idp", "x": x });
    let path = folder.join("jwks.json");
    std::fs::write(&path, json!({ "keys": [jwk] }).to_string()).unwrap();
    let config = TokenConfig {
        issuer: ISSUER.to_owned(),
        audience: "posthorn".to_owned(),
        jwks: path.to_str().unwrap().to_owned(),
        jwks_ca_file: None,
    };
    let key = EncodingKey::from_ed_der(pair.to_pkcs8v1().unwrap().as_ref());
    (Verifier::new(&config, || NOW_MS), key)
}
