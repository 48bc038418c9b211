//! With encryption and a password: `POSTHORN_TEST_KAFKA_TLS`, and `POSTHORN_TEST_CA` that vouches.

use std::{path::PathBuf, time::Duration};

use bytes::Bytes;
use log_kafka::{
    KafkaConfig, KafkaLog, Mechanism, OpenError, Password, Sasl, Security, Tls, admin,
};
use ports::operate::State;
use tokio::time::timeout;
use wire::{Partition, Topic};

use crate::world;

const FIRST: Partition = Partition::new(0);
/// Trying to connect ends long before.
const SOON: Duration = Duration::from_secs(30);

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run `cargo xtask test engines`"))
}

/// What the listener wants.
fn config() -> KafkaConfig {
    let sasl = Sasl {
        mechanism: Mechanism::ScramSha512,
        user: "posthorn".into(),
        password: Password::new("posthorn-secret"),
    };
    let ca_file = Some(PathBuf::from(variable("POSTHORN_TEST_CA")));
    let tls = Tls { ca_file, ..Tls::default() };
    let security = Security { tls: Some(tls), sasl: Some(sasl) };
    let brokers = vec![variable("POSTHORN_TEST_KAFKA_TLS")];
    KafkaConfig { brokers, security, ..world::config(&world::prefix(), "one") }
}

/// Why it does not open, and that a password is not among it.
async fn refusal(config: KafkaConfig) -> OpenError {
    let opened = timeout(SOON, KafkaLog::open(config.clone())).await.unwrap();
    let error = opened.err().unwrap();
    let password = config.security.sasl.map(|sasl| sasl.password);
    let is_shown = |it: Password| format!("{error} {error:?}").contains(it.reveal());
    assert!(!password.is_some_and(is_shown));
    error
}

#[tokio::test]
async fn what_is_appended_encrypted_and_with_a_password_is_read() {
    let config = config();
    admin::apply(&config, &world::wanted(1), |_| {}).await.unwrap();
    let kafka = KafkaLog::open(config.clone()).await.unwrap();
    let log = kafka.log();
    let record = vec![(FIRST, Bytes::from_static(b"secret"))];
    let positions = log.try_append(Topic::Mail, record).unwrap().await.unwrap();
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    let entry = reader.next_batch(1, 100).await.unwrap().remove(0);
    assert_eq!((entry.seq, &entry.record[..]), (positions[0], &b"secret"[..]));
    reader.commit(entry.seq).await.unwrap();
    assert_eq!(kafka.trouble(), None);
    drop((reader, log));
    kafka.close().await;
    let findings = admin::check(&config, Duration::from_secs(30 * 24 * 3600)).await;
    assert!(findings.iter().all(|finding| finding.state != State::Wrong), "{findings:?}");
}

#[tokio::test]
async fn a_wrong_password_is_told_so() {
    let mut config = config();
    config.security.sasl.as_mut().unwrap().password = Password::new("another");
    let error = refusal(config).await;
    let OpenError::Refused { what, remedy } = &error else { panic!("{error}") };
    assert!(what.contains("does not let this user in"), "{what}");
    assert!(remedy.contains("password"), "{remedy}");
}

#[tokio::test]
async fn who_does_not_log_in_is_told_so() {
    let mut config = config();
    config.security.sasl = None;
    let error = refusal(config).await;
    assert!(error.to_string().contains("may want TLS, or a user"), "{error:?}");
}

#[tokio::test]
async fn who_does_not_encrypt_is_told_so() {
    let mut config = config();
    config.security = Security::default();
    let text = refusal(config.clone()).await.to_string();
    assert!(text.contains("may want TLS"), "{text}");
    config.security.sasl = self::config().security.sasl;
    let text = refusal(config).await.to_string();
    assert!(text.contains("may want TLS"), "{text}");
}

#[tokio::test]
async fn a_certificate_nobody_vouches_for_is_refused() {
    let mut config = config();
    // The authorities of the system, which did not sign this one.
    config.security.tls = Some(Tls::default());
    let error = refusal(config).await;
    let OpenError::Refused { what, remedy } = &error else { panic!("{error}") };
    assert!(what.contains("certificate"), "{what}");
    assert!(remedy.contains("ca_file"), "{remedy}");
}
