//! What the people who run a cluster do.

use bytes::Bytes;
use log_kafka::{
    KafkaLog,
    admin::{self, AdminError},
};
use ports::{
    log::{DeadLetter, Entry},
    operate::State,
};
use wire::{Epoch, Offset, Partition, Seq, Topic};

use crate::world::{config, open, prefix, wanted};

const FIRST: Partition = Partition::new(0);
const MONTH: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3600);

#[tokio::test]
async fn applying_again_changes_nothing() {
    let config = config(&prefix(), "one");
    let wanted = wanted(3);
    let plan = admin::plan(&config, &wanted).await.unwrap();
    assert!(plan.iter().any(|step| !step.done));
    let mut told = Vec::new();
    admin::apply(&config, &wanted, |step| told.push(step.what.clone())).await.unwrap();
    assert_eq!(told, plan.iter().map(|step| step.what.clone()).collect::<Vec<_>>());
    let again = admin::plan(&config, &wanted).await.unwrap();
    assert!(again.iter().all(|step| step.done), "{again:?}");
    admin::apply(&config, &wanted, |step| assert!(step.done)).await.unwrap();
    KafkaLog::open(config).await.unwrap().close().await;
}

#[tokio::test]
async fn a_setting_that_was_changed_is_found_and_put_right() {
    let config = config(&prefix(), "one");
    let before = wanted(1);
    admin::apply(&config, &before, |_| {}).await.unwrap();
    let mut longer = before.clone();
    longer.log_retention *= 2;
    let plan = admin::plan(&config, &longer).await.unwrap();
    assert_eq!(plan.iter().filter(|step| !step.done).count(), 2, "{plan:?}");
    admin::apply(&config, &longer, |_| {}).await.unwrap();
    // The other settings are still there: the log opens.
    KafkaLog::open(config).await.unwrap().close().await;
}

#[tokio::test]
async fn the_number_of_partitions_does_not_change_within_an_epoch() {
    let config = config(&prefix(), "one");
    admin::apply(&config, &wanted(2), |_| {}).await.unwrap();
    let refused = admin::plan(&config, &wanted(3)).await;
    assert!(matches!(refused, Err(AdminError::Refused { .. })), "{refused:?}");
}

#[tokio::test]
async fn replication_that_loses_records_is_refused() {
    let mut config = config(&prefix(), "one");
    admin::apply(&config, &wanted(1), |_| {}).await.unwrap();
    config.unsafe_replication = false;
    let refused = KafkaLog::open(config.clone()).await.err();
    assert!(matches!(refused, Some(log_kafka::OpenError::Refused { .. })), "{refused:?}");
    let findings = admin::check(&config, MONTH).await;
    assert!(findings.iter().any(|finding| finding.state == State::Wrong), "{findings:?}");
}

#[tokio::test]
async fn dead_letters_are_listed_and_put_back() {
    let prefix = prefix();
    let kafka = open(&prefix, "one", 2).await;
    let log = kafka.log();
    let letter = |offset: u64| DeadLetter {
        topic: Topic::Mail,
        partition: Partition::new(1),
        entry: Entry {
            seq: Seq::new(Epoch::new(1), Offset::new(offset)),
            log_time_ms: 7,
            record: Bytes::from(format!("record {offset}")),
        },
        reason: "nobody reads it".into(),
    };
    log.append_dead_letter(letter(5)).await.unwrap();
    log.append_dead_letter(letter(6)).await.unwrap();
    let config = config(&prefix, "two");
    let all = admin::dead_letters(&config, None, 10).await.unwrap();
    assert_eq!(all, [(0, letter(5)), (1, letter(6))]);
    assert_eq!(admin::dead_letters(&config, Some(0), 10).await.unwrap(), all[1..]);
    assert_eq!(admin::dead_letters(&config, None, 1).await.unwrap(), all[..1]);
    assert!(admin::dead_letters(&config, Some(1), 10).await.unwrap().is_empty());

    let position = admin::put_back(&config, 1).await.unwrap();
    let mut reader = log.open(Topic::Mail, Partition::new(1)).await.unwrap();
    let entry = reader.next_batch(1, 1).await.unwrap().remove(0);
    assert_eq!((entry.seq, entry.record), (position, Bytes::from("record 6")));
    assert!(matches!(admin::put_back(&config, 2).await, Err(AdminError::Refused { .. })));
    let findings = admin::check(&config, MONTH).await;
    let letters = findings.iter().find(|finding| finding.about == "kafka: dead letters");
    assert_eq!(letters.map(|finding| finding.state), Some(State::Doubtful), "{findings:?}");
    kafka.close().await;
}

#[tokio::test]
async fn epochs_tell_how_far_each_partition_is() {
    let prefix = prefix();
    let kafka = open(&prefix, "one", 2).await;
    let log = kafka.log();
    let records = (0..3).map(|_| (FIRST, Bytes::from_static(b"a"))).collect();
    let positions = log.try_append(Topic::Mail, records).unwrap().await.unwrap();
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    reader.next_batch(3, 100).await.unwrap();
    reader.commit(positions[1]).await.unwrap();
    drop((reader, log));
    kafka.close().await;
    let epochs = admin::epochs(&config(&prefix, "two")).await.unwrap();
    assert_eq!(epochs.len(), 1);
    assert!(epochs[0].current);
    let mail = &epochs[0].topics[0];
    assert_eq!(mail.id, mail.found_id);
    assert_eq!(mail.partitions.len(), 2);
    let first = mail.partitions[0];
    assert_eq!((first.start, first.end, first.committed, first.lag), (0, 3, Some(2), 1));
    assert_eq!(mail.partitions[1].lag, 0);
}
