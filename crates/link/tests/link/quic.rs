//! Clients and edges over QUIC.

use std::sync::Arc;

use bytes::BytesMut;
use link::{
    LinkError, SetupError,
    config::{CLIENT_RECEIVE_BYTES_MAX, UNAUTHENTICATED_BYTES_MAX},
    mesh::QuicDialer,
    quic::ClientEndpoint,
    tls::{Certificate, Roots},
};
use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::{ClientSessionMemoryCache, ClientSessionStore as _, Resumption};

use crate::{
    contract,
    fixture::{
        Authority, Connected, LOCAL, NAME, accept, connect, pass_byte, poll_once, read_exactly,
        write_all,
    },
};

#[tokio::test]
async fn streams_carry_bytes() {
    let ends = Connected::new().await;
    contract::streams_carry_bytes(&ends.here, &ends.there).await;
}

#[tokio::test]
async fn datagrams_arrive_or_are_refused() {
    let ends = Connected::new().await;
    contract::datagrams_arrive_or_are_refused(&ends.here, &ends.there).await;
}

#[tokio::test]
async fn close_reaches_the_peer() {
    let ends = Connected::new().await;
    contract::close_reaches_the_peer(&ends.here, &ends.there).await;
}

#[tokio::test]
async fn finished_streams_arrive() {
    let ends = Connected::new().await;
    contract::finished_streams_arrive(&ends.here, &ends.there).await;
}

#[tokio::test]
async fn dropped_receiver_stops_the_sender() {
    let ends = Connected::new().await;
    contract::dropped_receiver_stops_the_sender(&ends.here, &ends.there).await;
}

#[tokio::test]
async fn dropped_calls_lose_nothing() {
    let ends = Connected::new().await;
    contract::dropped_calls_lose_nothing(&ends.here, &ends.there).await;
}

#[tokio::test]
async fn last_words_that_arrived_can_be_read_after_the_close() {
    let ends = Connected::new().await;
    let mut push = ends.there.open_uni().await.unwrap();
    write_all(&mut push, b"last words").await.unwrap();
    let mut pushed = ends.here.accept_uni().await.unwrap();
    push.finished().await.unwrap();
    ends.there.close(1, "");
    assert_eq!(ends.here.closed().await.code, Some(1));
    assert_eq!(read_exactly(&mut pushed, 10).await, b"last words");
}

#[tokio::test]
async fn slow_reader_is_bounded() {
    let ends = Connected::new().await;
    let room = CLIENT_RECEIVE_BYTES_MAX as usize;
    contract::slow_reader_is_bounded(&ends.here, &ends.there, room).await;
}

#[tokio::test]
async fn both_ends_export_the_same_and_no_two_connections_do() {
    let ends = Connected::new().await;
    let exported = ends.here.export_keying_material();
    assert_eq!(exported, ends.there.export_keying_material());
    let (here, there) = connect(&ends.client, &ends.server).await;
    assert_eq!(here.export_keying_material(), there.export_keying_material());
    assert_ne!(exported, here.export_keying_material());
}

#[tokio::test]
async fn before_authentication_a_client_has_one_stream_towards_the_server() {
    let ends = Connected::new().await;
    let (mut ask, mut answers) = ends.here.open_bi().await.unwrap();
    write_all(&mut ask, b".").await.unwrap();
    let (mut answer, mut asked) = ends.there.accept_bi().await.unwrap();
    read_exactly(&mut asked, 1).await;
    pass_byte(&mut answer, &mut answers).await;
    assert!(poll_once(ends.here.open_bi()).await.is_none());
    assert!(poll_once(ends.here.open_uni()).await.is_none());

    ends.there.set_authenticated();
    let (mut second, _answers) = ends.here.open_bi().await.unwrap();
    write_all(&mut second, b".").await.unwrap();
    ends.there.accept_bi().await.unwrap();
    assert!(poll_once(ends.here.open_uni()).await.is_none());
}

#[tokio::test]
async fn before_authentication_a_client_may_send_16_kib() {
    let ends = Connected::new().await;
    let (mut ask, mut answers) = ends.here.open_bi().await.unwrap();
    write_all(&mut ask, &[1; UNAUTHENTICATED_BYTES_MAX as usize]).await.unwrap();
    let (mut answer, mut asked) = ends.there.accept_bi().await.unwrap();
    pass_byte(&mut answer, &mut answers).await;
    let mut more = BytesMut::zeroed(128 * 1024);
    assert_eq!(poll_once(ask.write(&mut more)).await, None);

    ends.there.set_authenticated();
    write_all(&mut ask, &more).await.unwrap();
    read_exactly(&mut asked, UNAUTHENTICATED_BYTES_MAX as usize + more.len()).await;
}

#[tokio::test]
async fn a_server_may_open_one_stream_towards_a_client() {
    let ends = Connected::new().await;
    let (mut ask, _answers) = ends.here.open_bi().await.unwrap();
    write_all(&mut ask, b".").await.unwrap();
    let (_answer, mut asked) = ends.there.accept_bi().await.unwrap();
    let _push = ends.there.open_uni().await.unwrap();
    pass_byte(&mut ask, &mut asked).await;
    assert!(poll_once(ends.there.open_uni()).await.is_none());
    assert!(poll_once(ends.there.open_bi()).await.is_none());
}

#[tokio::test]
async fn a_client_that_moves_keeps_its_connection() {
    let ends = Connected::new().await;
    let (mut ask, mut answers) = ends.here.open_bi().await.unwrap();
    write_all(&mut ask, b".").await.unwrap();
    let (mut answer, mut asked) = ends.there.accept_bi().await.unwrap();
    read_exactly(&mut asked, 1).await;
    let before = ends.there.remote_address().unwrap();

    ends.client.rebind().unwrap();
    pass_byte(&mut ask, &mut asked).await;
    pass_byte(&mut answer, &mut answers).await;
    let after = ends.there.remote_address().unwrap();
    assert_eq!(before.ip(), after.ip());
    assert_ne!(before.port(), after.port());
    assert_eq!(after.port(), ends.client.local_addr().unwrap().port());
}

#[tokio::test]
async fn another_protocol_is_refused() {
    let authority = Authority::new();
    let server = authority.server();
    let worker = QuicDialer::bind(authority.identity("worker.test"), NAME).unwrap();
    let address = server.local_addr().unwrap().to_string();
    let (here, there) = tokio::join!(worker.dial(&address), accept(&server));
    assert!(matches!(here, Err(LinkError::Untrusted(_))), "{here:?}");
    assert!(matches!(there, Err(LinkError::Untrusted(_))), "{there:?}");
}

#[tokio::test]
async fn a_certificate_of_another_authority_or_name_is_refused() {
    let authority = Authority::new();
    let server = authority.server();
    let address = server.local_addr().unwrap();
    for (roots, name) in [(Authority::new().roots(), NAME), (authority.roots(), "other.test")] {
        let client = ClientEndpoint::bind(roots).unwrap();
        let (here, there) = tokio::join!(client.connect(address, name), accept(&server));
        assert!(matches!(here, Err(LinkError::Untrusted(_))), "{here:?}");
        assert!(matches!(there, Err(LinkError::Untrusted(_))), "{there:?}");
    }
}

#[tokio::test]
async fn a_refused_attempt_is_unreachable() {
    let authority = Authority::new();
    let (server, client) = (authority.server(), ClientEndpoint::bind(authority.roots()).unwrap());
    let address = server.local_addr().unwrap();
    let refuse = async { server.accept().await.unwrap().refuse() };
    let (here, ()) = tokio::join!(client.connect(address, NAME), refuse);
    assert!(matches!(here, Err(LinkError::Unreachable(_))), "{here:?}");
}

#[tokio::test]
async fn a_replaced_certificate_is_shown_to_new_connections_only() {
    let ends = Connected::new().await;
    let renewed = Authority::new();
    ends.server.set_certificate(renewed.certificate(NAME)).unwrap();
    contract::streams_carry_bytes(&ends.here, &ends.there).await;
    let client = ClientEndpoint::bind(renewed.roots()).unwrap();
    let (here, there) = connect(&client, &ends.server).await;
    contract::streams_carry_bytes(&here, &there).await;
}

#[tokio::test]
async fn a_certificate_that_does_not_fit_its_key_is_refused_and_changes_nothing() {
    let ends = Connected::new().await;
    let (one, other) = (rcgen::KeyPair::generate().unwrap(), rcgen::KeyPair::generate().unwrap());
    let params = rcgen::CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let chain = vec![params.self_signed(&one).unwrap().der().to_vec()];
    let mixed = Certificate::from_der(chain, other.serialize_der()).unwrap();
    assert!(matches!(ends.server.set_certificate(mixed), Err(SetupError::Tls(_))));
    let (here, there) = connect(&ends.client, &ends.server).await;
    contract::streams_carry_bytes(&here, &there).await;
}

#[tokio::test]
async fn no_bytes_can_be_sent_before_the_handshake_is_over() {
    let authority = Authority::new();
    let server = authority.server();
    let address = server.local_addr().unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.root_der().into()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut eager = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let tickets = Arc::new(ClientSessionMemoryCache::new(1));
    eager.resumption = Resumption::store(Arc::clone(&tickets) as _);
    eager.enable_early_data = true;
    eager.alpn_protocols = vec![b"posthorn/1".to_vec()];
    let eager = QuicClientConfig::try_from(eager).unwrap();
    let mut client = quinn::Endpoint::client(LOCAL).unwrap();
    client.set_default_client_config(quinn::ClientConfig::new(Arc::new(eager)));

    let connecting = client.connect(address, NAME).unwrap();
    let (here, there) = tokio::join!(connecting, accept(&server));
    let (here, there) = (here.unwrap(), there.unwrap());
    let mut push = there.open_uni().await.unwrap();
    write_all(&mut push, b"the ticket came before").await.unwrap();
    here.accept_uni().await.unwrap();
    let name = NAME.try_into().unwrap();
    let ticket = tickets.take_tls13_ticket(&name).unwrap();
    tickets.insert_tls13_ticket(name, ticket);

    let again = client.connect(address, NAME).unwrap();
    assert!(again.into_0rtt().is_err());
}

#[test]
fn broken_pem_is_told_apart_and_explained() {
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let told = |problem: SetupError| problem.to_string();
    let missing = told(Certificate::from_pem(key.as_bytes(), key.as_bytes()).unwrap_err());
    assert_eq!(missing, "certificate chain: expected PEM blocks \"CERTIFICATE\", found none");
    let roots = told(Roots::from_pem(b"").unwrap_err());
    assert_eq!(roots, "roots: expected PEM blocks \"CERTIFICATE\", found none");
    let authority = Authority::new();
    let useless = told(Roots::from_der(vec![authority.root_der()[1..].to_vec()]).unwrap_err());
    assert_eq!(useless, "roots: no usable certificate (1 could not be understood)");
}
