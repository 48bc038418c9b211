//! Partitions that are elsewhere for a while before a worker begins with them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use ports::{
    BoxFuture, Engines, Log,
    log::{AppendError, DeadLetter, ReadError, Reader, Refused},
};
use tokio::sync::Notify;
use wire::{Address, Epoch, Offset, Partition, Seq, Topic};
use worker::WorkerConfig;

use crate::{
    house::{House, clock, config, user},
    pushes::{Edge, attach, text},
};

/// A log whose first reader that reads again stands still until it is told to go on.
struct Away {
    log: Arc<dyn Log>,
    stands: AtomicBool,
    reached: Notify,
    go_on: Notify,
}

impl Log for Away {
    fn partition_count(&self, topic: Topic) -> u16 {
        self.log.partition_count(topic)
    }

    fn epoch(&self) -> Epoch {
        self.log.epoch()
    }

    fn try_append(
        &self,
        topic: Topic,
        records: Vec<(Partition, Bytes)>,
    ) -> Result<BoxFuture<'static, Result<Vec<Seq>, AppendError>>, Refused> {
        self.log.try_append(topic, records)
    }

    fn open(
        &self,
        topic: Topic,
        partition: Partition,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        self.log.open(topic, partition)
    }

    fn open_at(
        &self,
        topic: Topic,
        partition: Partition,
        from: Offset,
    ) -> BoxFuture<'_, Result<Box<dyn Reader>, ReadError>> {
        Box::pin(async move {
            if self.stands.swap(false, SeqCst) {
                self.reached.notify_one();
                self.go_on.notified().await;
            }
            self.log.open_at(topic, partition, from).await
        })
    }

    fn append_dead_letter(&self, letter: DeadLetter) -> BoxFuture<'_, Result<(), AppendError>> {
        self.log.append_dead_letter(letter)
    }

    fn flush(&self) -> BoxFuture<'_, ()> {
        self.log.flush()
    }
}

#[tokio::test]
async fn what_another_did_while_a_worker_read_again_is_not_skipped_by_a_push() {
    let house = House::new(1);
    let to = Address::User(user(2));
    house.say(user(1), to, "a").await;
    house.say(user(1), to, "b").await;
    house.work().await;
    let away = Arc::new(Away {
        log: Arc::clone(&house.engines.log),
        stands: AtomicBool::new(true),
        reached: Notify::new(),
        go_on: Notify::new(),
    });
    let log = Arc::clone(&away) as Arc<dyn Log>;
    let engines = Engines { log, ..house.engines.clone() };
    let recall_within = Duration::from_secs(60);
    let worker = house.start_on(engines, WorkerConfig { recall_within, ..config() }, clock);
    away.reached.notified().await;
    house.say(user(1), to, "c").await;
    house.work().await;
    let mut edge = Edge::new(&house, 1).await;
    attach(&house, 2, 1, 1).await;
    away.go_on.notify_one();
    house.say(user(1), to, "d").await;
    let push = edge.next().await;
    assert_eq!(text(&push), "d");
    let rows = house.rows(user(2)).await;
    let before = rows[rows.len() - 2].0;
    assert!(push.deliver.prev.is_none_or(|prev| prev == before), "it skips {before}: {push:?}");
    worker.stop().await;
}
