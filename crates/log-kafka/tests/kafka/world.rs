//! Topics of its own for every test, on the brokers it is given.

use std::{
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use log_kafka::{
    KafkaConfig, KafkaLog,
    admin::{self, Wanted},
};

/// The brokers.
pub(crate) fn brokers() -> Vec<String> {
    let brokers = std::env::var("POSTHORN_TEST_KAFKA").expect(
        "POSTHORN_TEST_KAFKA names Kafka brokers (host:port,..): run `cargo xtask test engines`",
    );
    brokers.split(',').map(str::to_owned).collect()
}

/// A prefix nothing else has: the process and a count, and what the clock of this machine adds to
/// tell it from earlier runs.
pub(crate) fn prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let run = tempfile::tempdir().unwrap();
    let run = run.path().file_name().unwrap().to_string_lossy().replace('.', "");
    format!("test-{}-{run}-{}", std::process::id(), NEXT.fetch_add(1, SeqCst))
}

/// Settings for a process of this name on topics of this prefix.
pub(crate) fn config(prefix: &str, name: &str) -> KafkaConfig {
    let mut config = KafkaConfig::new(brokers(), prefix, name);
    config.unsafe_replication = true;
    config.session_timeout = Duration::from_secs(6);
    config
}

/// What all tests want, with this many partitions.
pub(crate) fn wanted(partitions: u16) -> Wanted {
    Wanted {
        mail_partitions: partitions,
        group_partitions: partitions,
        replication: 1,
        min_insync: 1,
        log_retention: Duration::from_secs(7 * 24 * 3600),
    }
}

/// Topics of this prefix, and a log on them.
pub(crate) async fn open(prefix: &str, name: &str, partitions: u16) -> KafkaLog {
    let config = config(prefix, name);
    admin::apply(&config, &wanted(partitions), |_| {}).await.unwrap();
    KafkaLog::open(config).await.unwrap()
}
