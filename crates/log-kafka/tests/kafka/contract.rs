//! The contract of the log.

use std::{sync::Arc, time::Duration};

use log_kafka::{Faults, KafkaConfig, KafkaLog, admin};
use ports::{
    Log,
    contract::{Harness, Refuse},
};

use crate::world;

struct Kafka {
    config: KafkaConfig,
    log: KafkaLog,
}

impl Harness for Kafka {
    async fn open(partitions: u16) -> Self {
        let mut config = world::config(&world::prefix(), "one");
        config.faults = Faults::new();
        admin::apply(&config, &world::wanted(partitions), |_| {}).await.unwrap();
        let log = KafkaLog::open(config.clone()).await.unwrap();
        Self { config, log }
    }

    fn log(&self) -> Arc<dyn Log> {
        self.log.log()
    }

    async fn reopen(self) -> Self {
        self.log.close().await;
        let log = KafkaLog::open(self.config.clone()).await.unwrap();
        Self { config: self.config, log }
    }

    fn now_ms(&self) -> u64 {
        0
    }

    fn advance(&self, _: Duration) -> bool {
        false
    }

    async fn pass(&self, _: Duration) {}

    fn fail_next_append(&self) -> bool {
        self.config.faults.fail_appends(1);
        true
    }

    fn refuse_appends(&self, refuse: Refuse) -> bool {
        self.config.faults.refuse_appends(refuse == Refuse::Everything);
        true
    }

    fn fail_next_store(&self) -> bool {
        false
    }
}

ports::contract_suite!(with_1_partition, Kafka, 1, log);
ports::contract_suite!(with_4_partitions, Kafka, 4, log);
