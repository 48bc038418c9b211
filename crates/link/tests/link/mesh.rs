//! Workers to edges.

use std::sync::Arc;

use link::{
    LinkError, MeshDialer, MeshListener,
    memory::Hub,
    mesh::{QuicDialer, QuicListener},
};
use quinn::crypto::rustls::QuicClientConfig;

use crate::{
    contract,
    fixture::{Authority, LOCAL},
};

const EDGE: &str = "edge.test";
const WORKER: &str = "worker.test";

fn listen(authority: &Authority) -> (MeshListener, String) {
    let listener = QuicListener::bind(LOCAL, authority.identity(EDGE, WORKER)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (MeshListener::Quic(listener), address)
}

fn dialer(authority: &Authority, name: &str, peer_name: &str) -> MeshDialer {
    MeshDialer::Quic(QuicDialer::bind(authority.identity(name, peer_name)).unwrap())
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
async fn a_foreign_or_misnamed_worker_is_refused() {
    let (authority, foreign) = (Authority::new(), Authority::new());
    let (mut listener, address) = listen(&authority);
    let mut stranger = foreign.identity(WORKER, EDGE);
    stranger.roots = authority.roots();
    let stranger = MeshDialer::Quic(QuicDialer::bind(stranger).unwrap());
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
async fn a_listener_takes_every_name_it_is_told_and_no_other() {
    let authority = Authority::new();
    let names = [EDGE.to_owned()];
    let identity = authority.identity(EDGE, WORKER);
    let listener = QuicListener::bind_also(LOCAL, identity, &names).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut listener = MeshListener::Quic(listener);
    let stranger = dialer(&authority, "stranger.test", EDGE);
    let dialled = async { stranger.dial(&address).await.unwrap().closed().await };
    let closed = tokio::select! {
        closed = dialled => closed,
        accepted = listener.accept() => panic!("accepted {accepted:?}"),
    };
    assert_eq!((closed.code, closed.by_peer), (None, true), "{closed:?}");
    for name in [WORKER, EDGE] {
        let dialer = dialer(&authority, name, EDGE);
        let (here, there) = tokio::join!(dialer.dial(&address), listener.accept());
        contract::streams_carry_bytes(&here.unwrap(), &there.unwrap()).await;
    }
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
        (&authority, dialer(&authority, WORKER, "other.test")),
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
