//! With encryption and a password: `POSTHORN_TEST_CQL_TLS`, and `POSTHORN_TEST_CA` that vouches.

use mailbox_scylla::{CqlConfig, CqlStore, OpenError, Password, schema};

use crate::world;

fn config() -> CqlConfig {
    let node = world::variable("POSTHORN_TEST_CQL_TLS");
    let user = Some(("cassandra".to_owned(), Password::new("cassandra")));
    let ca_file = Some(world::variable("POSTHORN_TEST_CA").into());
    let keyspace = world::keyspace("secured");
    CqlConfig { nodes: vec![node], user, ca_file, ..world::config(&keyspace) }
}

async fn refusal(config: CqlConfig) -> OpenError {
    CqlStore::open(config, world::now_ms).await.err().unwrap()
}

#[tokio::test]
async fn a_store_opens_encrypted_and_with_a_password() {
    let config = config();
    let wanted = schema::wanted(&config, 1).await.unwrap();
    schema::apply(&config, &wanted, |_| {}).await.unwrap();
    let store = CqlStore::open(config, world::now_ms).await.unwrap();
    assert_eq!(store.mailbox().heads(Vec::new()).await.unwrap(), []);
    assert_eq!(store.trouble(), None);
    store.close().await;
}

#[tokio::test]
async fn who_gives_no_password_or_a_wrong_one_is_told_so() {
    let mut config = config();
    config.user = None;
    let OpenError::Refused { what, .. } = refusal(config.clone()).await else { panic!("opened") };
    assert!(what.contains("asks for a user"), "{what}");
    config.user = Some(("cassandra".to_owned(), Password::new("wrong")));
    let refused = refusal(config.clone()).await;
    let OpenError::Refused { what, .. } = &refused else { panic!("{refused}") };
    assert!(what.contains("does not let this user in"), "{what}");
    assert!(!format!("{config:?}{refused}").contains("wrong"), "a password is not printed");
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_refused() {
    let refused = refusal(CqlConfig { ca_file: None, tls: true, ..config() }).await;
    assert!(
        matches!(&refused, OpenError::Refused { what, .. }
        if what.contains("encrypted") || what.contains("certificates")),
        "{refused}"
    );
}
