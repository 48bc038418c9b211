//! Workers to edges.

use std::{sync::Arc, time::Duration};

use link::{
    LinkError, MeshDialer, MeshListener,
    memory::Hub,
    mesh::{QuicDialer, QuicListener},
    tls::MeshIdentity,
};
use quinn::crypto::rustls::QuicClientConfig;

use crate::{
    contract,
    fixture::{Authority, LOCAL},
};

const EDGE: &str = "edge.test";
const WORKER: &str = "worker.test";
const OTHER: &str = "other.test";

fn listen(authority: &Authority) -> (MeshListener, String) {
    let listener = QuicListener::bind(LOCAL, authority.identity(EDGE), &[WORKER, OTHER]).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (MeshListener::Quic(listener), address)
}

fn dialer(authority: &Authority, name: &str, peer_name: &str) -> MeshDialer {
    MeshDialer::Quic(QuicDialer::bind(authority.identity(name), peer_name).unwrap())
}

/// Dials with a proper certificate: whoever is accepted must be this one.
async fn only_the_proper_one_is_accepted(
    authority: &Authority,
    listener: &mut MeshListener,
    address: &str,
) {
    let proper = dialer(authority, WORKER, EDGE);
    let (here, there) = tokio::join!(proper.dial(address), listener.accept());
    let (here, there) = (here.unwrap(), there.unwrap());
    assert_eq!(here.export_keying_material(), there.export_keying_material());
    contract::streams_carry_bytes(&here, &there).await;
}

#[tokio::test]
async fn a_worker_reaches_an_edge_in_memory() {
    let hub = Hub::new(0);
    let mut listener = MeshListener::Memory(hub.listen("edge-1"));
    let here = MeshDialer::Memory(hub).dial("edge-1").await.unwrap();
    let there = listener.accept().await.unwrap();
    contract::streams_carry_bytes(&here, &there).await;
}

#[tokio::test]
async fn a_worker_reaches_an_edge_over_quic() {
    let authority = Authority::new();
    let (mut listener, address) = listen(&authority);
    only_the_proper_one_is_accepted(&authority, &mut listener, &address).await;
}

#[tokio::test]
async fn each_of_the_names_that_are_taken_may_connect() {
    let authority = Authority::new();
    let (mut listener, address) = listen(&authority);
    for name in [WORKER, OTHER] {
        let dialer = dialer(&authority, name, EDGE);
        let (here, there) = tokio::join!(dialer.dial(&address), listener.accept());
        contract::streams_carry_bytes(&here.unwrap(), &there.unwrap()).await;
    }
}

#[test]
fn a_side_knows_beforehand_whether_others_will_take_it() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let now = Duration::from_secs(1_800_000_000);
    let proper = authority.identity(EDGE);
    proper.check_listener(EDGE, now).unwrap();
    proper.check_dialer(EDGE, now).unwrap();
    let stranger = MeshIdentity { roots: foreign.roots(), ..proper.clone() };
    let before_1975 = Duration::from_secs(1);
    for (identity, name, now) in
        [(&proper, OTHER, now), (&stranger, EDGE, now), (&proper, EDGE, before_1975)]
    {
        identity.check_listener(name, now).unwrap_err();
        identity.check_dialer(name, now).unwrap_err();
    }
}

#[tokio::test]
async fn a_foreign_or_misnamed_worker_is_refused() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let (mut listener, address) = listen(&authority);
    let mut stranger = foreign.identity(WORKER);
    stranger.roots = authority.roots();
    let stranger = MeshDialer::Quic(QuicDialer::bind(stranger, EDGE).unwrap());
    let misnamed = dialer(&authority, EDGE, EDGE);
    for refused in [stranger, misnamed] {
        let dialled = async {
            let connection = refused.dial(&address).await.unwrap();
            connection.closed().await
        };
        let closed = tokio::select! {
            closed = dialled => closed,
            accepted = listener.accept() => panic!("accepted {accepted:?}"),
        };
        assert_eq!((closed.code, closed.by_peer), (None, true), "{closed:?}");
    }
    only_the_proper_one_is_accepted(&authority, &mut listener, &address).await;
}

#[tokio::test]
async fn a_worker_without_certificate_is_refused() {
    let authority = Authority::new();
    let (mut listener, address) = listen(&authority);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.root_der().into()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"posthorn-mesh/1".to_vec()];
    let config = QuicClientConfig::try_from(config).unwrap();
    let mut client = quinn::Endpoint::client(LOCAL).unwrap();
    client.set_default_client_config(quinn::ClientConfig::new(Arc::new(config)));
    let dialled = async {
        let connecting = client.connect(address.parse().unwrap(), EDGE).unwrap();
        match connecting.await {
            Ok(connection) => connection.closed().await,
            Err(error) => error,
        }
    };
    tokio::select! {
        error = dialled => assert!(matches!(error, quinn::ConnectionError::ConnectionClosed(_))),
        accepted = listener.accept() => panic!("accepted {accepted:?}"),
    }
    only_the_proper_one_is_accepted(&authority, &mut listener, &address).await;
}

#[tokio::test]
async fn a_foreign_or_misnamed_edge_is_not_trusted() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    for (edge, worker) in [
        (&foreign, dialer(&authority, WORKER, EDGE)),
        (&authority, dialer(&authority, WORKER, OTHER)),
    ] {
        let (mut listener, address) = listen(edge);
        let refused = tokio::select! {
            dialled = worker.dial(&address) => dialled,
            accepted = listener.accept() => panic!("accepted {accepted:?}"),
        };
        assert!(matches!(refused, Err(LinkError::Untrusted(_))), "{refused:?}");
    }
}

#[tokio::test]
async fn a_host_that_is_none_is_unreachable() {
    let dialer = dialer(&Authority::new(), WORKER, EDGE);
    let refused = dialer.dial("no port").await;
    assert!(matches!(refused, Err(LinkError::Unreachable(_))), "{refused:?}");
}
