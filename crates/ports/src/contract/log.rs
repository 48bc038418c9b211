//! What every [`crate::Log`] must do.

use std::collections::BTreeMap;

use bytes::Bytes;
use wire::{Partition, Seq, Topic};

use super::{Harness, Refuse, all_partitions, is_pending, soon};
use crate::{
    Log,
    log::{AppendError, DeadLetter, Entry, ReadError, Reader, Refused},
};

const TOPICS: [Topic; 2] = [Topic::Mail, Topic::Group];
const FIRST: Partition = Partition::new(0);

fn record(text: impl AsRef<str>) -> Bytes {
    Bytes::copy_from_slice(text.as_ref().as_bytes())
}

/// Appends to one partition of the mail log.
async fn append(log: &dyn Log, partition: Partition, texts: &[&str]) -> Vec<Seq> {
    let records = texts.iter().map(|text| (partition, record(text))).collect();
    soon(log.try_append(Topic::Mail, records).unwrap()).await.unwrap()
}

/// Reads so many entries.
async fn read(reader: &mut dyn Reader, count: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    while entries.len() < count {
        entries.extend(soon(reader.next_batch(count - entries.len(), usize::MAX)).await.unwrap());
    }
    entries
}

/// Reads until an entry holds this text, which is part of what comes back.
async fn read_until(reader: &mut dyn Reader, last: &str) -> Vec<Entry> {
    let mut entries = Vec::new();
    loop {
        entries.extend(read(reader, 1).await);
        if entries.last().is_some_and(|entry| entry.record == record(last)) {
            return entries;
        }
    }
}

fn texts(entries: &[Entry]) -> Vec<String> {
    entries.iter().map(|entry| String::from_utf8(entry.record.to_vec()).unwrap()).collect()
}

/// Appends without waiting between, over all partitions of both topics in turn.
pub async fn records_of_a_partition_come_in_the_order_of_their_appends<H: Harness>(
    partitions: u16,
) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    for topic in TOPICS {
        assert_eq!(log.partition_count(topic), partitions);
        let mut answers = Vec::new();
        for number in 0..200 {
            for partition in all_partitions(partitions) {
                let text = record(format!("{number} on {partition}"));
                answers.push((partition, log.try_append(topic, vec![(partition, text)]).unwrap()));
            }
        }
        let mut positions: BTreeMap<Partition, Vec<Seq>> = BTreeMap::new();
        for (partition, answer) in answers {
            positions.entry(partition).or_default().extend(soon(answer).await.unwrap());
        }
        for (partition, positions) in positions {
            assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
            assert!(positions[0] > Seq::ZERO, "zero means before every record");
            assert!(positions.iter().all(|position| position.epoch() == log.epoch()));
            let mut reader = log.open(topic, partition).await.unwrap();
            let entries = read(reader.as_mut(), 200).await;
            let expected: Vec<_> = (0..200).map(|i| format!("{i} on {partition}")).collect();
            assert_eq!(texts(&entries), expected);
            assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), positions);
        }
    }
}

/// One call with several partitions, each more than once.
pub async fn positions_are_answered_in_the_order_given<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    let records: Vec<_> = (0..40)
        .map(|number| (Partition::new(number % partitions), record(number.to_string())))
        .collect();
    let positions = soon(log.try_append(Topic::Mail, records.clone()).unwrap()).await.unwrap();
    assert_eq!(positions.len(), records.len());
    for partition in all_partitions(partitions) {
        let of_it = |(to, _): &&(Partition, Bytes)| *to == partition;
        let mut reader = log.open(Topic::Mail, partition).await.unwrap();
        let entries = read(reader.as_mut(), records.iter().filter(of_it).count()).await;
        for entry in entries {
            let index = positions
                .iter()
                .zip(&records)
                .position(|(position, (to, _))| *position == entry.seq && *to == partition);
            assert_eq!(records[index.unwrap()].1, entry.record);
        }
    }
}

/// Appends as fast as it can, until some are refused or many were taken.
pub async fn an_append_is_taken_whole_or_refused_whole<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    let mut taken = Vec::new();
    let mut answers = Vec::new();
    for number in 0..2000 {
        let text = format!("{number}");
        let records = all_partitions(partitions).map(|to| (to, record(&text))).collect();
        match log.try_append(Topic::Mail, records) {
            Ok(answer) => {
                taken.push(text);
                answers.push(answer);
            }
            Err(Refused::Overload | Refused::Storage) => {}
            Err(Refused::Closing) => panic!("nobody closes it"),
        }
    }
    for answer in answers {
        soon(answer).await.unwrap();
    }
    for partition in all_partitions(partitions) {
        let mut reader = log.open(Topic::Mail, partition).await.unwrap();
        assert_eq!(texts(&read(reader.as_mut(), taken.len()).await), taken);
        assert!(is_pending(reader.next_batch(1, 1)).await, "what was refused is not there");
    }
}

/// Needs [`Harness::refuse_appends`].
pub async fn an_append_that_is_refused_leaves_nothing<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    if !harness.refuse_appends(Refuse::Everything) {
        return;
    }
    assert!(log.try_append(Topic::Mail, vec![(FIRST, record("refused"))]).is_err());
    harness.refuse_appends(Refuse::Nothing);
    append(log.as_ref(), FIRST, &["taken"]).await;
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    assert_eq!(texts(&read(reader.as_mut(), 1).await), ["taken"]);
}

/// Drops the answer without looking at it.
pub async fn a_dropped_future_still_appends<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    drop(log.try_append(Topic::Mail, vec![(FIRST, record("dropped"))]).unwrap());
    append(log.as_ref(), FIRST, &["kept"]).await;
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    assert_eq!(texts(&read(reader.as_mut(), 2).await), ["dropped", "kept"]);
}

/// Also when the clock is moved between.
pub async fn log_times_never_decrease<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    for _ in 0..5 {
        append(log.as_ref(), FIRST, &["a", "b"]).await;
        harness.advance(std::time::Duration::from_secs(1));
    }
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    let entries = read(reader.as_mut(), 10).await;
    assert!(entries.is_sorted_by_key(|entry| entry.log_time_ms));
    assert!(entries[0].log_time_ms > 0);
}

/// Opens first, appends then.
pub async fn a_reader_waits_until_there_is_something<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    assert!(is_pending(reader.next_batch(10, usize::MAX)).await);
    let writer = async { append(log.as_ref(), FIRST, &["now"]).await };
    let (entries, positions) = tokio::join!(soon(reader.next_batch(10, usize::MAX)), writer);
    let entries = entries.unwrap();
    assert_eq!(texts(&entries), ["now"]);
    assert_eq!(entries[0].seq, positions[0]);
}

/// Polls once and drops, over and over.
pub async fn a_dropped_read_has_read_nothing<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    let answer = log.try_append(Topic::Mail, vec![(FIRST, record("once"))]).unwrap();
    while is_pending(reader.next_batch(1, 1)).await {
        tokio::task::yield_now().await;
    }
    soon(answer).await.unwrap();
    // The last poll was ready, and its entry was dropped with it: that one was read.
    append(log.as_ref(), FIRST, &["twice"]).await;
    assert_eq!(texts(&read(reader.as_mut(), 1).await), ["twice"]);
}

/// By records, by bytes, and a record larger than the limit.
pub async fn a_batch_keeps_its_limits<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    let large = "x".repeat(5000);
    append(log.as_ref(), FIRST, &["1", "2", "3", "4", "5", &large, "7", &large, "9"]).await;
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    assert_eq!(texts(&soon(reader.next_batch(3, usize::MAX)).await.unwrap()), ["1", "2", "3"]);
    let mut rest = Vec::new();
    while rest.len() < 6 {
        let entries = soon(reader.next_batch(100, 1000)).await.unwrap();
        assert!(!entries.is_empty(), "a batch holds at least one");
        let bytes: usize = entries.iter().map(|entry| entry.record.len()).sum();
        assert!(bytes <= 1000 || entries.len() == 1, "{} entries, {bytes} bytes", entries.len());
        rest.extend(texts(&entries));
    }
    assert_eq!(rest, ["4", "5", &large, "7", &large, "9"]);
}

/// In this process and after reopening.
pub async fn a_reader_starts_after_what_was_committed<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    append(log.as_ref(), FIRST, &["a", "b", "c", "d"]).await;
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    let entries = read(reader.as_mut(), 3).await;
    soon(reader.commit(entries[1].seq)).await.unwrap();
    drop(reader);
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    assert_eq!(texts(&read(reader.as_mut(), 2).await), ["c", "d"]);
    soon(reader.commit(entries[2].seq)).await.unwrap();
    drop((reader, log));

    let harness = harness.reopen().await;
    let log = harness.log();
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    assert_eq!(texts(&read(reader.as_mut(), 1).await), ["d"]);
}

/// Commits a high position, then a low one.
pub async fn a_commit_never_moves_back<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    let positions = append(log.as_ref(), FIRST, &["a", "b", "c"]).await;
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    soon(reader.commit(positions[1])).await.unwrap();
    soon(reader.commit(positions[0])).await.unwrap();
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    assert_eq!(texts(&read(reader.as_mut(), 1).await), ["c"]);
}

/// The one before is told, waiting or not, and can commit nothing more.
pub async fn opening_takes_the_partition_from_its_reader<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    let mut old = log.open(Topic::Mail, FIRST).await.unwrap();
    let take_over = async { log.open(Topic::Mail, FIRST).await.unwrap() };
    let (waiting, mut new) = tokio::join!(soon(old.next_batch(1, 1)), take_over);
    assert_eq!(waiting, Err(ReadError::Lost));
    let positions = append(log.as_ref(), FIRST, &["a"]).await;
    assert_eq!(soon(old.next_batch(1, 1)).await, Err(ReadError::Lost));
    assert_eq!(soon(old.commit(positions[0])).await, Err(ReadError::Lost));
    assert_eq!(texts(&read(new.as_mut(), 1).await), ["a"]);
    soon(new.commit(positions[0])).await.unwrap();
}

/// From the first, and from one in the middle.
pub async fn open_at_reads_again_what_was_committed<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    let positions = append(log.as_ref(), FIRST, &["a", "b", "c"]).await;
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    soon(reader.commit(positions[2])).await.unwrap();
    for (from, expected) in [(0, &["a", "b", "c"][..]), (1, &["b", "c"])] {
        let from = positions[from].offset();
        let mut again = log.open_at(Topic::Mail, FIRST, from).await.unwrap();
        assert_eq!(texts(&read(again.as_mut(), expected.len()).await), expected);
        assert!(is_pending(again.next_batch(1, 1)).await);
    }
    assert_eq!(soon(reader.next_batch(1, 1)).await, Err(ReadError::Lost));
}

/// Several times, with appends between.
pub async fn nothing_is_lost_and_positions_grow_across_reopening<H: Harness>(partitions: u16) {
    let mut harness = H::open(partitions).await;
    let mut positions = Vec::new();
    let rounds = ["a", "b", "c", "d"];
    for text in rounds {
        let log = harness.log();
        positions.extend(append(log.as_ref(), FIRST, &[text, text]).await);
        drop(log);
        harness = harness.reopen().await;
    }
    assert!(positions.is_sorted_by(|a, b| a < b), "{positions:?}");
    let log = harness.log();
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    let entries = read(reader.as_mut(), 8).await;
    assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), positions);
    assert_eq!(texts(&entries).join(""), "aabbccdd");
}

/// Two readers, one of which commits, and one that comes later. An engine may have put records of
/// its own before.
pub async fn control_is_read_whole_by_every_reader<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    assert_eq!(log.partition_count(Topic::Control), 1);
    let mut one = log.open(Topic::Control, FIRST).await.unwrap();
    let mut two = log.open(Topic::Control, FIRST).await.unwrap();
    let records = vec![(FIRST, record("a")), (FIRST, record("b"))];
    let positions = soon(log.try_append(Topic::Control, records).unwrap()).await.unwrap();
    let all = read_until(one.as_mut(), "b").await;
    assert_eq!(texts(&all[all.len() - 2..]), ["a", "b"]);
    soon(one.commit(positions[1])).await.unwrap();
    let mut late = log.open(Topic::Control, FIRST).await.unwrap();
    assert_eq!(read_until(two.as_mut(), "b").await, all);
    assert_eq!(read_until(late.as_mut(), "b").await, all);
}

/// Needs [`Harness::fail_next_append`].
pub async fn what_follows_a_failed_append_fails_until_the_caller_was_told<H: Harness>(
    partitions: u16,
) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    if !harness.fail_next_append() {
        return;
    }
    let append_to = |partition, text: &str| {
        log.try_append(Topic::Mail, vec![(partition, record(text))]).unwrap()
    };
    let failed = append_to(FIRST, "failed");
    let pipelined = append_to(FIRST, "pipelined");
    let elsewhere = (partitions > 1).then(|| append_to(Partition::new(1), "elsewhere"));
    assert!(matches!(soon(pipelined).await, Err(AppendError(_))));
    let later = append_to(FIRST, "later");
    assert!(soon(later).await.is_err(), "the first failure is not told yet");
    assert!(soon(failed).await.is_err());
    if let Some(elsewhere) = elsewhere {
        soon(elsewhere).await.unwrap();
    }
    append(log.as_ref(), FIRST, &["after"]).await;
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    let found = texts(&read_until(reader.as_mut(), "after").await);
    assert!(["failed after", "after"].contains(&found.join(" ").as_str()), "{found:?}");
}

/// Needs [`Harness::fail_next_append`].
pub async fn an_append_that_failed_may_be_repeated<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    if !harness.fail_next_append() {
        return;
    }
    let records: Vec<_> = all_partitions(partitions).map(|to| (to, record("same"))).collect();
    let failed = log.try_append(Topic::Mail, records.clone()).unwrap();
    assert!(soon(failed).await.is_err());
    let positions = soon(log.try_append(Topic::Mail, records).unwrap()).await.unwrap();
    for (partition, position) in all_partitions(partitions).zip(positions) {
        let mut reader = log.open(Topic::Mail, partition).await.unwrap();
        let mut entries = read(reader.as_mut(), 1).await;
        while entries.last().unwrap().seq < position {
            entries.extend(read(reader.as_mut(), 1).await);
        }
        assert!(entries.len() <= 2);
        assert!(entries.iter().all(|entry| entry.record == record("same")));
        assert_eq!(entries.last().unwrap().seq, position);
    }
}

/// The same one twice.
pub async fn dead_letters_are_taken<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    append(log.as_ref(), FIRST, &["cannot be read"]).await;
    let mut reader = log.open(Topic::Mail, FIRST).await.unwrap();
    let entry = read(reader.as_mut(), 1).await.remove(0);
    let reason = "not a record".to_owned();
    let letter = DeadLetter { topic: Topic::Mail, partition: FIRST, entry, reason };
    soon(log.append_dead_letter(letter.clone())).await.unwrap();
    soon(log.append_dead_letter(letter)).await.unwrap();
}

/// Flushes with appends under way.
pub async fn flush_waits_for_what_was_taken<H: Harness>(partitions: u16) {
    let harness = H::open(partitions).await;
    let log = harness.log();
    let answer = log.try_append(Topic::Mail, vec![(FIRST, record("a"))]).unwrap();
    soon(log.flush()).await;
    assert!(!is_pending(answer).await, "it is on the disk");
}
