//! What edges with the same secret do for each other's clients.

use link::{Closed, quic::ClientEndpoint, secret::MasterSecret};

use crate::fixture::{Authority, NAME, Proxy, accept, write_all};

#[tokio::test]
async fn a_client_learns_from_another_edge_that_its_own_is_gone() {
    let authority = Authority::new();
    let lost = authority.server_with(MasterSecret::from_bytes([1; 32]));
    let taking_over = authority.server_with(MasterSecret::from_bytes([1; 32]));
    let client = ClientEndpoint::bind(authority.roots()).unwrap();
    let proxy = Proxy::towards(&lost).await;
    let (here, there) = tokio::join!(client.connect(proxy.address, NAME), accept(&lost));
    let (here, _there) = (here.unwrap(), there.unwrap());

    proxy.switch_to(&taking_over);
    let (mut ask, _answers) = here.open_bi().await.unwrap();
    write_all(&mut ask, b"hello?").await.unwrap();
    let reset = Closed { code: None, by_peer: true, reason: "reset by peer".to_owned() };
    assert_eq!(here.closed().await, reset);
}

#[tokio::test]
async fn an_address_proved_at_one_edge_is_proved_at_another() {
    let authority = Authority::new();
    let busy = authority.server_with(MasterSecret::from_bytes([1; 32]));
    let other = authority.server_with(MasterSecret::from_bytes([1; 32]));
    let client = ClientEndpoint::bind(authority.roots()).unwrap();
    let proxy = Proxy::towards(&busy).await;
    let moving = async {
        let incoming = busy.accept().await.unwrap();
        assert!(!incoming.is_validated() && incoming.may_retry());
        proxy.switch_to(&other);
        incoming.retry();
        let incoming = other.accept().await.unwrap();
        assert!(incoming.is_validated() && !incoming.may_retry());
        incoming.accept().await
    };
    let (here, there) = tokio::join!(client.connect(proxy.address, NAME), moving);
    assert_eq!(here.unwrap().export_keying_material(), there.unwrap().export_keying_material());
}
