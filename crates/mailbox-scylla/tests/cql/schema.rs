//! The schema: planned, applied, applied again, and looked at.

use mailbox_scylla::{CqlStore, OpenError, schema};
use ports::operate::{Finding, State};
use scylla::client::session_builder::SessionBuilder;

use crate::world;

fn named<'a>(findings: &'a [Finding], about: &str) -> &'a Finding {
    findings.iter().find(|finding| finding.about.contains(about)).unwrap()
}

#[tokio::test]
async fn a_schema_is_planned_applied_and_found_in_order() {
    let mut config = world::config(&world::keyspace("schema"));
    let wanted = schema::wanted(&config, world::copies()).await.unwrap();
    let plan = schema::plan(&config, &wanted).await.unwrap();
    assert!(plan.iter().all(|step| !step.done), "{plan:#?}");
    let missing = schema::check(&config, world::real_ms).await;
    assert_eq!(named(&missing, "schema version").state, State::Wrong);
    assert_eq!(named(&missing, "replication").found, "there is no such keyspace");

    let mut taken = Vec::new();
    schema::apply(&config, &wanted, |step| taken.push(step.what.clone())).await.unwrap();
    assert_eq!(taken, plan.into_iter().map(|step| step.what).collect::<Vec<_>>());
    let plan = schema::plan(&config, &wanted).await.unwrap();
    assert!(plan.iter().all(|step| step.done), "{plan:#?}");
    schema::apply(&config, &wanted, |step| panic!("{step:?} was done")).await.unwrap();

    let findings = schema::check(&config, world::real_ms).await;
    let expected = if world::copies() < 3 { State::Doubtful } else { State::Good };
    for finding in &findings {
        let about_copies = finding.about.contains("replication");
        assert_eq!(finding.state, if about_copies { expected } else { State::Good }, "{finding:?}");
    }
    CqlStore::open(config.clone(), world::now_ms).await.unwrap();

    // The log is kept for longer than deletions were remembered until now.
    config.log_keep *= 4;
    assert_eq!(
        named(&schema::check(&config, world::real_ms).await, "remembers").state,
        State::Wrong
    );
    let mut taken = 0;
    schema::apply(&config, &wanted, |_| taken += 1).await.unwrap();
    assert_eq!(taken, 2);
    assert_eq!(
        named(&schema::check(&config, world::real_ms).await, "remembers").state,
        State::Good
    );
}

#[tokio::test]
async fn older_and_newer_schemas_and_two_owners_are_told_apart() {
    let config = world::config(&world::keyspace("version"));
    let wanted = schema::wanted(&config, world::copies()).await.unwrap();
    schema::apply(&config, &wanted, |_| {}).await.unwrap();
    let session = SessionBuilder::new().known_nodes(&config.nodes).build().await.unwrap();
    let run = async |statement: &str| {
        let statement = statement.replace("{ks}", &config.keyspace);
        session.query_unpaged(statement, ()).await.unwrap()
    };
    let open = || async { CqlStore::open(config.clone(), world::now_ms).await.err().unwrap() };

    run("DELETE FROM {ks}.schema_version WHERE part = 'posthorn'").await;
    let older = open().await;
    let OpenError::NotReady { what, .. } = &older else { panic!("{older}") };
    assert!(what.contains("has schema version 0, needed is 1"), "{what}");

    run("INSERT INTO {ks}.schema_version (part, version) VALUES ('posthorn', 9)").await;
    let newer = open().await;
    let OpenError::Refused { what, .. } = &newer else { panic!("{newer}") };
    assert!(what.contains("has schema version 9"), "{what}");
    assert!(schema::apply(&config, &wanted, |_| {}).await.is_err());

    run("DELETE FROM {ks}.schema_version WHERE part = 'posthorn'").await;
    run("INSERT INTO {ks}.schema_owner (part, owner) VALUES ('schema', 'someone')").await;
    let refused = schema::apply(&config, &wanted, |_| {}).await.unwrap_err().to_string();
    assert!(refused.contains("being changed by another program"), "{refused}");
    run("DELETE FROM {ks}.schema_owner WHERE part = 'schema' AND owner = 'someone'").await;
    schema::apply(&config, &wanted, |_| {}).await.unwrap();
}
