//! The log on a cluster that only pretends to be Kafka, and can be told to fail.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use bytes::Bytes;
use ports::{
    BoxFuture, Log,
    log::{AppendError, ReadError, Refused},
};
use rdkafka::{
    mocking::MockCluster,
    producer::DefaultProducerContext,
    types::{RDKafkaApiKey, RDKafkaRespErr},
};
use tokio::time::{Instant, interval, timeout};
use wire::{Epoch, Partition, Seq, Topic, record::EpochMap};

use super::KafkaLog;
use crate::{config::KafkaConfig, epoch_map, settings::Reach};

const SOON: Duration = Duration::from_secs(60);
const BROKERS: i32 = 3;
const MAIL: &str = "mock.mail.e1";
const NO_ERROR: RDKafkaRespErr = RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR;

struct Mock {
    cluster: MockCluster<'static, DefaultProducerContext>,
    kafka: KafkaLog,
    log: Arc<dyn Log>,
}

type Answer = BoxFuture<'static, Result<Vec<Seq>, AppendError>>;

impl Mock {
    /// Brokers, topics with this many partitions, and a log whose producer has been heard of.
    async fn start(partitions: u16) -> Self {
        let config = |_: &mut KafkaConfig| {};
        Self::start_with(partitions, config).await
    }

    async fn start_with(partitions: u16, change: impl FnOnce(&mut KafkaConfig)) -> Self {
        let cluster = MockCluster::new(BROKERS).unwrap();
        for name in ["mail.e1", "group.e1", "control", "dead-letters"] {
            let name = format!("mock.{name}");
            cluster.create_topic(&name, i32::from(partitions), BROKERS).unwrap();
        }
        let map = EpochMap {
            epoch: Epoch::new(1),
            mail_partitions: partitions,
            group_partitions: partitions,
            mail_topic: None,
            group_topic: None,
        };
        let mut config = KafkaConfig::new(vec![cluster.bootstrap_servers()], "mock", "one");
        change(&mut config);
        let kafka = KafkaLog::open_unchecked(config, map).unwrap();
        let log = kafka.log();
        let mock = Self { cluster, kafka, log };
        for partition in 0..partitions {
            soon(mock.append(partition, "first").unwrap()).await.unwrap();
        }
        mock
    }

    fn append(&self, partition: u16, text: &str) -> Result<Answer, Refused> {
        let record = Bytes::copy_from_slice(text.as_bytes());
        self.log.try_append(Topic::Mail, vec![(Partition::new(partition), record)])
    }

    /// Takes the broker away that leads partition 0, and no other of the mail log.
    fn take_leader_away(&self, partitions: i32) {
        for partition in 1..partitions {
            self.cluster.partition_leader(MAIL, partition, Some(2)).unwrap();
        }
        self.cluster.partition_leader(MAIL, 0, Some(1)).unwrap();
        self.cluster.broker_down(1).unwrap();
    }

    fn fail_produce(&self, errors: &[RDKafkaRespErr]) {
        self.cluster.request_errors(RDKafkaApiKey::Produce, errors);
    }

    /// The records of partition 0 after the first, by offset.
    fn read(&self) -> Vec<(u64, String)> {
        let config = KafkaConfig::new(vec![self.cluster.bootstrap_servers()], "mock", "reads");
        let mut records = Vec::new();
        epoch_map::read_all(&config, MAIL, 1, &Reach::default(), |offset, record, _| {
            records.push((offset, String::from_utf8(record.to_vec()).unwrap()));
            true
        })
        .unwrap();
        records
    }

    /// Appends 0 to `count` to partition 0, many at a time, and again from the first that failed
    /// on, as a worker does. How many rounds that took.
    async fn append_in_order(&self, count: usize) -> usize {
        let (mut next, mut rounds) = (0, 0);
        let mut told = Vec::new();
        let mut pace = interval(Duration::from_millis(3));
        while next < count {
            rounds += 1;
            let mut answers = Vec::new();
            for number in next..count {
                answers.push(self.append(0, &format!("{number:05}")).unwrap());
                if number % 16 == 0 {
                    // Not all at once, so that they travel in several requests.
                    pace.tick().await;
                }
            }
            let mut failed = false;
            for answer in answers {
                match soon(answer).await {
                    Ok(positions) => {
                        assert!(!failed, "what follows a failure fails until it is told");
                        told.push((positions[0].offset().get(), format!("{next:05}")));
                        next += 1;
                    }
                    Err(AppendError(_)) => failed = true,
                }
            }
            assert!(rounds < 100, "it goes on some day");
        }
        self.check(&told, count);
        rounds
    }

    /// All was appended, in order, where it was said to be.
    fn check(&self, told: &[(u64, String)], count: usize) {
        let records = self.read();
        let mut seen = BTreeSet::new();
        let first: Vec<_> = records.iter().filter(|(_, text)| seen.insert(text.clone())).collect();
        let expected: Vec<_> = (0..count).map(|number| format!("{number:05}")).collect();
        assert_eq!(first.iter().map(|(_, text)| text.clone()).collect::<Vec<_>>(), expected);
        assert!(told.is_sorted_by(|a, b| a.0 < b.0));
        told.iter().for_each(|place| assert!(records.contains(place), "{place:?}"));
    }
}

async fn soon<F: Future>(future: F) -> F::Output {
    timeout(SOON, future).await.expect("it resolves")
}

#[tokio::test]
async fn errors_that_pass_are_not_seen_by_callers() {
    let mock = Mock::start(1).await;
    for error in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT,
    ] {
        mock.fail_produce(&[NO_ERROR, error, error]);
    }
    assert_eq!(mock.append_in_order(200).await, 1);
}

#[tokio::test]
async fn an_error_for_good_stops_the_lane_and_skips_nothing() {
    for error in [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
    ] {
        let mock = Mock::start(1).await;
        mock.fail_produce(&[NO_ERROR, NO_ERROR, error]);
        let rounds = mock.append_in_order(200).await;
        println!("{error:?}: {rounds} rounds, {:?}", mock.kafka.stats());
    }
}

#[tokio::test]
async fn a_producer_that_failed_is_replaced_and_the_other_lanes_go_on() {
    let mock = Mock::start(2).await;
    mock.fail_produce(&[RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD]);
    let failed = mock.append(0, "00000").unwrap();
    assert!(soon(failed).await.is_err());
    soon(mock.append(1, "other").unwrap()).await.unwrap();
    soon(mock.append(0, "00000").unwrap()).await.unwrap();
    assert!(mock.kafka.stats().producer_rebuilds >= 1);
    assert_eq!(mock.kafka.trouble(), None);
}

#[tokio::test]
async fn leaders_that_move_change_nothing() {
    let mock = Mock::start(1).await;
    let mut pace = interval(Duration::from_millis(20));
    let moving = async {
        for leader in [1, 2, 3, 1, 2, 3] {
            mock.cluster.partition_leader(MAIL, 0, Some(leader)).unwrap();
            pace.tick().await;
        }
    };
    let (rounds, ()) = tokio::join!(mock.append_in_order(400), moving);
    assert_eq!(rounds, 1);
}

#[tokio::test]
async fn brokers_that_come_back_get_what_waited_in_order() {
    let mock = Mock::start(1).await;
    let comes_back = async {
        while mock.kafka.stats().delivered < 20 {
            tokio::task::yield_now().await;
        }
        (1..=BROKERS).for_each(|broker| mock.cluster.broker_down(broker).unwrap());
        let until = Instant::now() + SOON;
        while mock.kafka.trouble().is_none() && Instant::now() < until {
            tokio::task::yield_now().await;
        }
        let trouble = mock.kafka.trouble();
        (1..=BROKERS).for_each(|broker| mock.cluster.broker_up(broker).unwrap());
        trouble
    };
    let (rounds, trouble) = tokio::join!(mock.append_in_order(400), comes_back);
    assert_eq!(rounds, 1);
    assert!(trouble.is_some(), "it was told while they were away");
    assert_eq!(mock.kafka.trouble(), None);
}

#[tokio::test]
async fn slow_brokers_keep_the_order() {
    let mock = Mock::start(1).await;
    for broker in 1..=BROKERS {
        mock.cluster.broker_round_trip_time(broker, Duration::from_millis(100)).unwrap();
    }
    mock.fail_produce(&[NO_ERROR, RDKafkaRespErr::RD_KAFKA_RESP_ERR__TRANSPORT, NO_ERROR]);
    assert_eq!(mock.append_in_order(200).await, 1);
}

#[tokio::test]
async fn a_partition_without_a_leader_does_not_starve_the_others() {
    let mock = Mock::start_with(2, |config| config.queue_records_max = 400).await;
    mock.take_leader_away(2);
    let mut stuck = Vec::new();
    while let Ok(answer) = mock.append(0, "stuck") {
        stuck.push(answer);
    }
    assert!(!stuck.is_empty());
    for _ in 0..20 {
        soon(mock.append(1, "goes on").unwrap()).await.unwrap();
    }
    assert!(matches!(mock.append(0, "stuck").err(), Some(Refused::Overload)));
    mock.cluster.broker_up(1).unwrap();
    for answer in stuck {
        soon(answer).await.unwrap();
    }
}

#[tokio::test]
async fn a_group_that_does_not_let_this_process_in_is_trouble() {
    for (request, error) in [
        (
            RDKafkaApiKey::FindCoordinator,
            RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
        ),
        (RDKafkaApiKey::JoinGroup, RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT),
    ] {
        let mock = Mock::start(1).await;
        mock.cluster.request_errors(request, &[error; 1000]);
        let trouble = async {
            let mut pace = interval(Duration::from_millis(20));
            loop {
                pace.tick().await;
                if let Some(trouble) = mock.kafka.trouble() {
                    return trouble;
                }
            }
        };
        let trouble = tokio::select! {
            _ = mock.log.open(Topic::Mail, Partition::new(0)) => panic!("it is not let in"),
            trouble = soon(trouble) => trouble,
        };
        assert!(trouble.contains("does not let it read"), "{trouble}");
        mock.kafka.close().await;
    }
}

#[tokio::test]
async fn a_log_that_ends_tells_the_readers_of_the_control_log() {
    let mock = Mock::start(1).await;
    let mut reader = mock.log.open(Topic::Control, Partition::new(0)).await.unwrap();
    let Mock { kafka, log: _log, cluster: _cluster } = mock;
    let (read, ()) = soon(async { tokio::join!(reader.next_batch(1, 1), kafka.close()) }).await;
    assert_eq!(read, Err(ReadError::Lost));
}

#[tokio::test]
async fn a_log_that_reads_ends_without_brokers() {
    let mock = Mock::start(1).await;
    let mut reader = soon(mock.log.open(Topic::Mail, Partition::new(0))).await.unwrap();
    let entries = soon(reader.next_batch(1, 1)).await.unwrap();
    (1..=BROKERS).for_each(|broker| mock.cluster.broker_down(broker).unwrap());
    reader.commit(entries[0].seq).await.unwrap();
    let asked = Instant::now();
    soon(mock.kafka.close()).await;
    assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    println!("closed after {:?}", asked.elapsed());
}

#[tokio::test]
async fn a_log_that_ends_answers_everything() {
    let mock = Mock::start(1).await;
    mock.take_leader_away(1);
    let waiting: Vec<_> = (0..100).map(|_| mock.append(0, "waits").unwrap()).collect();
    let Mock { kafka, log, cluster } = mock;
    drop(kafka);
    for answer in waiting {
        assert!(soon(answer).await.is_err());
    }
    let late = log.try_append(Topic::Mail, vec![(Partition::new(0), Bytes::new())]);
    assert!(matches!(late.err(), Some(Refused::Closing)));
    drop(cluster);
}
