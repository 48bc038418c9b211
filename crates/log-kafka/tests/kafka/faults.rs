//! What only Kafka can do: another topic of the same name, lost offsets, partitions that move.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use log_kafka::{KafkaLog, OpenError};
use ports::{Log, log::ReadError};
use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer},
    types::RDKafkaErrorCode,
};
use tokio::time::{Instant, timeout};
use wire::{Partition, Topic};

use crate::world::{brokers, config, open, prefix};

const SOON: Duration = Duration::from_secs(60);
const FIRST: Partition = Partition::new(0);

fn record(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn append(log: &dyn Log, partition: Partition, text: &str) {
    let answer = log.try_append(Topic::Mail, vec![(partition, record(text))]).unwrap();
    timeout(SOON, answer).await.unwrap().unwrap();
}

fn admin() -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", brokers().join(",")).create().unwrap()
}

/// Deletes a topic and makes one of the same name, with records in it.
async fn make_anew(name: &str) {
    let admin = admin();
    let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(30)));
    admin.delete_topics(&[name], &options).await.unwrap()[0].clone().unwrap();
    let topic = NewTopic::new(name, 1, TopicReplication::Fixed(1));
    loop {
        // Until the brokers have forgotten the old one.
        if admin.create_topics([&topic], &options).await.unwrap()[0].is_ok() {
            return;
        }
    }
}

/// Commits an offset for a group without members, as a tool for people does.
fn commit_as_a_tool(topic: &str, offset: i64) {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", brokers().join(","))
        .set("group.id", topic)
        .create()
        .unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).unwrap();
    // Refused while the group has members, those included that have gone and may come back.
    while let Err(error) = consumer.commit(&list, CommitMode::Sync) {
        assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::UnknownMemberId));
    }
}

#[tokio::test]
async fn another_topic_of_the_same_name_stops_its_reader_and_is_refused() {
    let prefix = prefix();
    let kafka = open(&prefix, "one", 1).await;
    let log = kafka.log();
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    append(log.as_ref(), FIRST, "a").await;
    let entry = reader.next_batch(1, 1).await.unwrap().remove(0);
    reader.commit(entry.seq).await.unwrap();

    make_anew(&format!("{prefix}.mail.e1")).await;
    let read = timeout(SOON, reader.next_batch(10, 1000)).await.unwrap();
    assert!(matches!(read, Err(ReadError::Stop(_))), "{read:?}");
    assert!(kafka.trouble().is_some());
    assert!(log.try_append(Topic::Mail, vec![(FIRST, record("b"))]).is_err());
    let opened = timeout(SOON, log.open(Topic::Mail, FIRST)).await.unwrap();
    assert!(matches!(opened, Err(ReadError::Stop(_))));
    drop((reader, log));
    kafka.close().await;

    let refused = KafkaLog::open(config(&prefix, "one")).await;
    assert!(matches!(refused.err(), Some(OpenError::Refused { .. })));
}

#[tokio::test]
async fn what_is_committed_beyond_the_end_is_refused() {
    let prefix = prefix();
    let kafka = open(&prefix, "one", 1).await;
    let log = kafka.log();
    append(log.as_ref(), FIRST, "a").await;
    commit_as_a_tool(&format!("{prefix}.mail.e1"), 5);
    let opened = timeout(SOON, log.open(Topic::Mail, FIRST)).await.unwrap();
    let Err(ReadError::Stop(reason)) = opened.map(|_| ()) else { panic!("it must not open") };
    assert!(reason.contains("committed to 5 and ends at 1"), "{reason}");
    kafka.close().await;
}

#[tokio::test]
async fn what_was_deleted_before_it_was_read_is_refused() {
    let prefix = prefix();
    let kafka = open(&prefix, "one", 1).await;
    let log = kafka.log();
    for text in ["a", "b", "c"] {
        append(log.as_ref(), FIRST, text).await;
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&format!("{prefix}.mail.e1"), 0, Offset::Offset(2)).unwrap();
    admin().delete_records(&list, &AdminOptions::new()).await.unwrap();
    let opened = timeout(SOON, log.open(Topic::Mail, FIRST)).await.unwrap();
    let Err(ReadError::Stop(reason)) = opened.map(|_| ()) else { panic!("it must not open") };
    assert!(reason.contains("below 2 are deleted"), "{reason}");
    drop(log);
    kafka.close().await;
    commit_as_a_tool(&format!("{prefix}.mail.e1"), 2);
    let kafka = KafkaLog::open(config(&prefix, "one")).await.unwrap();
    let log = kafka.log();
    let mut reader = timeout(SOON, log.open(Topic::Mail, FIRST)).await.unwrap().unwrap();
    let entries = timeout(SOON, reader.next_batch(10, 1000)).await.unwrap().unwrap();
    assert_eq!(entries[0].record, record("c"));
    kafka.close().await;
}

#[tokio::test]
async fn there_is_no_log_without_an_epoch_map() {
    let missing = KafkaLog::open(config(&prefix(), "one")).await;
    assert!(matches!(missing.err(), Some(OpenError::NotReady { .. })));
    let mut nowhere = config(&prefix(), "one");
    nowhere.brokers = vec!["127.0.0.1:1".to_owned()];
    let unreachable = KafkaLog::open(nowhere).await;
    assert!(matches!(unreachable.err(), Some(OpenError::Unreachable(_))));
}

/// What workers have stored: the texts of each partition, in order, and who read them.
#[derive(Default)]
struct Stored(Mutex<BTreeMap<u16, Vec<(String, &'static str)>>>);

impl Stored {
    fn count(&self) -> usize {
        let all = self.0.lock().unwrap();
        all.values().map(|texts| distinct(texts).len()).sum()
    }

    /// Which partitions were last read by whom.
    fn owners(&self) -> BTreeMap<&'static str, usize> {
        let mut owners = BTreeMap::new();
        for texts in self.0.lock().unwrap().values() {
            *owners.entry(texts.last().unwrap().1).or_default() += 1;
        }
        owners
    }
}

fn distinct(texts: &[(String, &'static str)]) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let first = texts.iter().filter(|(text, _)| seen.insert(text.clone()));
    first.map(|(text, _)| text.clone()).collect()
}

/// Reads one partition as a worker does: opens it again whenever it is lost.
async fn work(log: Arc<dyn Log>, who: &'static str, partition: u16, stored: Arc<Stored>) {
    loop {
        let Ok(mut reader) = log.open(Topic::Mail, Partition::new(partition)).await else { return };
        while let Ok(batch) = reader.next_batch(100, 1 << 20).await {
            let last = batch.last().unwrap().seq;
            {
                let mut stored = stored.0.lock().unwrap();
                let texts = stored.entry(partition).or_default();
                let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
                texts.extend(batch.into_iter().map(|entry| (text(entry.record), who)));
            }
            if reader.commit(last).await.is_err() {
                break;
            }
        }
    }
}

fn workers(
    tasks: &mut tokio::task::JoinSet<()>,
    log: &Arc<dyn Log>,
    who: &'static str,
    partitions: u16,
    stored: &Arc<Stored>,
) {
    for partition in 0..partitions {
        tasks.spawn(work(Arc::clone(log), who, partition, Arc::clone(stored)));
    }
}

/// Appends to all partitions until both have been seen to share them as wanted.
async fn until(
    log: &Arc<dyn Log>,
    stored: &Stored,
    sent: &mut usize,
    partitions: u16,
    wanted: impl Fn(&BTreeMap<&'static str, usize>) -> bool,
) -> Duration {
    let begin = Instant::now();
    while begin.elapsed() < SOON {
        for partition in 0..partitions {
            append(log.as_ref(), Partition::new(partition), &format!("{:08}", *sent)).await;
            *sent += 1;
        }
        let all_there = async {
            while stored.count() < *sent {
                tokio::task::yield_now().await;
            }
        };
        // While partitions move, some records wait for their next reader.
        let _ = timeout(Duration::from_millis(100), all_there).await;
        if stored.count() == *sent && wanted(&stored.owners()) {
            return begin.elapsed();
        }
    }
    panic!("{} of {sent} stored, by {:?}", stored.count(), stored.owners());
}

#[tokio::test]
async fn processes_share_the_partitions_and_one_that_goes_leaves_its_own_to_the_other() {
    const PARTITIONS: u16 = 8;
    let prefix = prefix();
    let one = open(&prefix, "one", PARTITIONS).await;
    let stored = Arc::new(Stored::default());
    let mut sent = 0;
    let mut tasks = tokio::task::JoinSet::new();
    let log = one.log();
    workers(&mut tasks, &log, "one", PARTITIONS, &stored);
    let alone = until(&log, &stored, &mut sent, PARTITIONS, |owners| owners.len() == 1).await;

    let two = KafkaLog::open(config(&prefix, "two")).await.unwrap();
    let mut tasks_two = tokio::task::JoinSet::new();
    workers(&mut tasks_two, &two.log(), "two", PARTITIONS, &stored);
    let shared = |owners: &BTreeMap<_, usize>| owners.values().all(|count| *count == 4);
    let shared = |owners: &BTreeMap<_, usize>| owners.len() == 2 && shared(owners);
    let joined = until(&log, &stored, &mut sent, PARTITIONS, shared).await;

    tasks_two.shutdown().await;
    two.close().await;
    let alone_again = |owners: &BTreeMap<_, usize>| owners.len() == 1;
    let closed = until(&log, &stored, &mut sent, PARTITIONS, alone_again).await;

    let three = KafkaLog::open(config(&prefix, "three")).await.unwrap();
    let mut tasks_three = tokio::task::JoinSet::new();
    workers(&mut tasks_three, &three.log(), "three", PARTITIONS, &stored);
    until(&log, &stored, &mut sent, PARTITIONS, shared).await;
    // Readers are not told, as in a crash.
    drop(three);
    let dropped = until(&log, &stored, &mut sent, PARTITIONS, alone_again).await;
    println!(
        "first assignment {alone:?}, a second joins {joined:?}, is closed {closed:?}, a third is \
         dropped {dropped:?}"
    );
    for texts in stored.0.lock().unwrap().values() {
        let first = distinct(texts);
        assert!(first.is_sorted(), "{first:?}");
    }
    assert_eq!(stored.count(), sent);
}
