//! What a lane holds, shows and forgets.

#![allow(clippy::unwrap_used, reason = "a test")]

use ports::log::ReadError;
use tokio::time::{Duration, Instant};
use wire::Epoch;

use super::{Holes, Lane, Limits, Phase, Todo};

fn opened(records: usize) -> (Lane, u64) {
    let lane = Lane::new(Limits { records, bytes: 1 << 20 });
    lane.give();
    let grant = lane.lock().grant;
    let (reader, finished) = lane.take_over(grant, 10, None).unwrap();
    assert_eq!(finished, 10);
    assert_eq!(lane.todo(Instant::now()), Some(Todo::Seek(10)));
    start(&lane, 10);
    (lane, reader)
}

/// What the thread that fetches does when it was told to seek.
fn start(lane: &Lane, offset: u64) {
    let mut state = lane.lock();
    state.phase = Phase::Fetching(offset);
    state.is_paused = false;
}

fn push(lane: &Lane, offset: u64) {
    lane.push(offset, 1000 - offset, b"record", Epoch::new(1), Holes::Loss);
    lane.show();
}

fn offsets(lane: &Lane, reader: u64) -> Vec<u64> {
    let batch = lane.read(reader, 1000, usize::MAX).unwrap().unwrap_or_default();
    batch.iter().map(|entry| entry.seq.offset().get()).collect()
}

#[test]
fn records_below_what_is_wanted_are_dropped() {
    let (lane, reader) = opened(100);
    [8, 9, 10, 10, 11].iter().for_each(|offset| push(&lane, *offset));
    assert_eq!(offsets(&lane, reader), [10, 11]);
}

#[test]
fn log_times_never_decrease() {
    let (lane, reader) = opened(100);
    [10, 11, 12].iter().for_each(|offset| push(&lane, *offset));
    let batch = lane.read(reader, 1000, usize::MAX).unwrap().unwrap();
    assert!(batch.iter().all(|entry| entry.log_time_ms == 990));
}

#[test]
fn a_hole_is_asked_for_again_and_then_stops_the_lane() {
    let (lane, reader) = opened(100);
    push(&lane, 10);
    push(&lane, 13);
    push(&lane, 14);
    assert_eq!(lane.todo(Instant::now()), Some(Todo::Seek(11)));
    start(&lane, 11);
    push(&lane, 13);
    assert!(matches!(lane.read(reader, 1, 1), Err(ReadError::Stop(_))));
    assert_eq!(lane.todo(Instant::now()), Some(Todo::Pause));
}

#[test]
fn a_hole_that_was_none_is_filled() {
    let (lane, reader) = opened(100);
    push(&lane, 10);
    push(&lane, 12);
    start(&lane, 11);
    [11, 12].iter().for_each(|offset| push(&lane, *offset));
    assert_eq!(offsets(&lane, reader), [10, 11, 12]);
}

#[test]
fn a_full_lane_is_paused_after_a_while_or_when_it_holds_twice_as_much() {
    let (lane, reader) = opened(4);
    let now = Instant::now();
    (10..14).for_each(|offset| push(&lane, offset));
    assert_eq!(lane.todo(now), None);
    assert_eq!(lane.todo(now + Duration::from_secs(3)), Some(Todo::Pause));
    (14..18).for_each(|offset| push(&lane, offset));
    assert_eq!(lane.todo(now), Some(Todo::Pause));
    lane.lock().is_paused = true;
    lane.read(reader, 6, usize::MAX).unwrap();
    assert_eq!(lane.todo(now), None, "it is not half empty");
    lane.read(reader, 1, usize::MAX).unwrap();
    assert_eq!(lane.todo(now), Some(Todo::Resume));
}

#[test]
fn a_partition_that_is_taken_away_is_lost_and_what_was_finished_is_committed() {
    let (lane, reader) = opened(100);
    push(&lane, 10);
    lane.commit(reader, 10).unwrap();
    assert_eq!(lane.take_away(), Some(11));
    assert_eq!(lane.read(reader, 1, 1), Err(ReadError::Lost));
    assert_eq!(lane.commit(reader, 10), Err(ReadError::Lost));
    assert_eq!(lane.take_away(), None);
}

#[test]
fn a_grant_that_is_over_opens_nothing() {
    let lane = Lane::new(Limits { records: 1, bytes: 1 });
    lane.give();
    let grant = lane.lock().grant;
    lane.take_away();
    lane.give();
    assert_eq!(lane.take_over(grant, 0, None), None);
}

#[test]
fn a_new_reader_begins_after_what_the_one_before_finished() {
    let (lane, reader) = opened(100);
    [10, 11, 12].iter().for_each(|offset| push(&lane, *offset));
    lane.commit(reader, 11).unwrap();
    let grant = lane.lock().grant;
    assert_eq!(lane.take_over(grant, 10, None).unwrap().1, 12);
    assert_eq!(lane.todo(Instant::now()), Some(Todo::Seek(12)));
}

#[test]
fn a_lane_that_gets_nothing_though_there_is_something_is_begun_anew() {
    let (lane, _) = opened(100);
    lane.looked(10, 10);
    lane.looked(10, 12);
    assert_eq!(lane.todo(Instant::now()), None, "it may be on its way");
    lane.looked(10, 12);
    assert_eq!(lane.todo(Instant::now()), Some(Todo::Seek(10)));
    assert!(lane.lock().is_stuck);
    start(&lane, 10);
    [10, 11].iter().for_each(|offset| push(&lane, *offset));
    lane.looked(12, 12);
    lane.looked(12, 12);
    assert_eq!(lane.todo(Instant::now()), None);
}
