//! What a store says when it cannot open.

use std::time::Duration;

use mailbox_scylla::{CqlConfig, CqlStore, OpenError};
use tokio::net::TcpListener;

use crate::world;

async fn refusal(config: CqlConfig) -> OpenError {
    let opening = CqlStore::open(config, world::now_ms);
    match tokio::time::timeout(Duration::from_secs(12), opening).await {
        Ok(Ok(_)) => panic!("it opened"),
        Ok(Err(error)) => error,
        Err(_) => panic!("it hangs"),
    }
}

fn at(node: String) -> CqlConfig {
    CqlConfig { nodes: vec![node], ..world::config("nowhere") }
}

#[tokio::test]
async fn a_database_that_is_not_there_is_unreachable() {
    // A port that was free a moment ago.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = refusal(at(address.clone())).await;
    assert!(matches!(&error, OpenError::Unreachable(why) if why.contains(&address)), "{error}");
}

#[tokio::test]
async fn a_database_that_never_answers_is_unreachable_within_ten_seconds() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let error = refusal(at(listener.local_addr().unwrap().to_string())).await;
    assert!(matches!(error, OpenError::Unreachable(_)), "{error}");
}

#[tokio::test]
async fn a_missing_keyspace_is_named_with_what_to_do() {
    let error = refusal(world::config("nowhere")).await;
    let OpenError::NotReady { what, remedy } = error else { panic!("{error}") };
    assert_eq!(what, "there is no keyspace nowhere");
    assert!(remedy.contains("schema apply"));
}

#[tokio::test]
async fn a_name_that_is_no_keyspace_is_refused() {
    let refused = refusal(world::config("Mail; DROP")).await;
    assert!(matches!(refused, OpenError::Refused { .. }), "{refused}");
}

#[tokio::test]
async fn a_datacenter_without_nodes_is_refused() {
    let config = CqlConfig { datacenter: Some("moon".to_owned()), ..world::prepared().await };
    let refused = refusal(config).await;
    let OpenError::Refused { what, .. } = refused else { panic!("{refused}") };
    assert!(what.contains("no node is in the datacenter moon"), "{what}");
}

#[tokio::test]
async fn too_few_copies_are_refused_unless_accepted() {
    let config = CqlConfig { unsafe_replication: false, ..world::prepared().await };
    if world::copies() >= 3 {
        CqlStore::open(config, world::now_ms).await.unwrap();
        return;
    }
    let refused = refusal(config).await;
    let OpenError::Refused { what, remedy } = refused else { panic!("{refused}") };
    assert!(what.contains("needed are 3"), "{what}");
    assert!(remedy.contains("unsafe_replication"), "{remedy}");
}
