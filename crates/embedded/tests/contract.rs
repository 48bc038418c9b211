//! The contract of the ports, with 1 and with 4 partitions.
#![allow(clippy::unwrap_used)]

use std::{
    cell::Cell,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use embedded::{Engine, EngineConfig, faults::Faults};
use ports::{
    Entities, Log, Mailbox, Presence,
    contract::{Harness, Refuse},
};
use tempfile::TempDir;

thread_local! {
    /// Every test has a thread, and so a clock, of its own.
    static NOW_MS: Cell<u64> = const { Cell::new(1_700_000_000_000) };
}

fn now_ms() -> u64 {
    NOW_MS.get()
}

struct Embedded {
    engine: Engine,
    config: EngineConfig,
    faults: Faults,
    directory: Arc<TempDir>,
    paused: AtomicBool,
}

impl Harness for Embedded {
    async fn open(partitions: u16) -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        let faults = Faults::new();
        let config = EngineConfig {
            mail_partitions: partitions,
            group_partitions: partitions,
            maintain_every: None,
            faults: faults.clone(),
            ..EngineConfig::new(directory.path())
        };
        let engine = Engine::open(config.clone(), now_ms).unwrap();
        Self { engine, config, faults, directory, paused: AtomicBool::new(false) }
    }

    fn log(&self) -> Arc<dyn Log> {
        self.engine.engines().log
    }

    fn mailbox(&self) -> Arc<dyn Mailbox> {
        self.engine.engines().mailbox
    }

    fn entities(&self) -> Arc<dyn Entities> {
        self.engine.engines().entities
    }

    fn presence(&self) -> Arc<dyn Presence> {
        self.engine.engines().presence
    }

    async fn reopen(self) -> Self {
        self.engine.close().unwrap();
        let engine = Engine::open(self.config.clone(), now_ms).unwrap();
        let Self { config, faults, directory, paused, .. } = self;
        Self { engine, config, faults, directory, paused }
    }

    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn advance(&self, by: Duration) -> bool {
        NOW_MS.set(now_ms() + u64::try_from(by.as_millis()).unwrap());
        self.engine.sync();
        self.engine.maintain(now_ms()).unwrap();
        assert!(self.directory.path().exists());
        true
    }

    async fn pass(&self, by: Duration) {
        if !self.paused.swap(true, SeqCst) {
            tokio::time::pause();
        }
        tokio::time::advance(by).await;
    }

    fn fail_next_append(&self) -> bool {
        self.faults.fail_appends(1);
        true
    }

    fn refuse_appends(&self, refuse: Refuse) -> bool {
        self.faults.refuse_appends(refuse == Refuse::Everything);
        true
    }

    fn fail_next_store(&self) -> bool {
        self.faults.fail_stores(1);
        true
    }
}

ports::contract_suite!(with_1_partition, Embedded, 1);
ports::contract_suite!(with_4_partitions, Embedded, 4);
