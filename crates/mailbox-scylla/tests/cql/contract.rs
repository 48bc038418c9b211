//! The contract of the ports.

use std::{sync::Arc, time::Duration};

use mailbox_scylla::CqlStore;
use ports::{
    Entities, Mailbox,
    contract::{Harness, Refuse},
};
use tokio::sync::Mutex;

use crate::{
    ids::{Case, OwnEntities, OwnMailbox},
    relay::Relay,
    world,
};

pub(crate) struct Cql {
    store: CqlStore,
    case: Case,
}

impl Harness for Cql {
    async fn open(_partitions: u16) -> Self {
        let relay = Relay::start(world::nodes()).await;
        let store = world::open_through(&relay).await;
        let case = Case {
            number: world::next_number(),
            relay: Arc::new(Mutex::new(relay)),
            fail_next: Arc::default(),
        };
        Self { store, case }
    }

    fn mailbox(&self) -> Arc<dyn Mailbox> {
        Arc::new(OwnMailbox(self.case.clone(), self.store.mailbox()))
    }

    fn entities(&self) -> Arc<dyn Entities> {
        Arc::new(OwnEntities(self.case.clone(), self.store.entities()))
    }

    async fn reopen(self) -> Self {
        self.store.close().await;
        let store = world::open_through(&*self.case.relay.lock().await).await;
        Self { store, case: self.case }
    }

    fn now_ms(&self) -> u64 {
        world::now_ms()
    }

    fn advance(&self, by: Duration) -> bool {
        world::advance(by);
        true
    }

    async fn pass(&self, _by: Duration) {}

    fn fail_next_append(&self) -> bool {
        false
    }

    fn refuse_appends(&self, _refuse: Refuse) -> bool {
        false
    }

    fn fail_next_store(&self) -> bool {
        self.case.fail_next.store(true, std::sync::atomic::Ordering::SeqCst);
        true
    }
}

ports::contract_suite!(with_1_partition, Cql, 1, mailbox entities);
