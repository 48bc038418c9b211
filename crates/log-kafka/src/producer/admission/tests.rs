//! Who gets room, and who does not.

#![allow(clippy::unwrap_used, reason = "a test")]

use ports::log::Refused;

use super::{Admission, Origin};

/// Records of one byte taken for a lane until one is refused.
fn fill(admission: &Admission, lane: usize) -> usize {
    let take = || admission.take(Origin::Client, [(lane, 1)].into_iter());
    (0..).take_while(|_| take().is_ok()).count()
}

#[test]
fn a_lane_nobody_drains_leaves_the_others_their_reserve() {
    let admission = Admission::new(800, 1 << 30, 4);
    assert_eq!(fill(&admission, 0), 100 + 100, "its reserve and a quarter of the common half");
    assert_eq!(fill(&admission, 1), 200);
    assert_eq!(fill(&admission, 2), 200);
    assert_eq!(fill(&admission, 3), 200);
    assert_eq!(fill(&admission, 0), 0);
}

#[test]
fn the_common_half_is_shared_and_the_reserve_is_not() {
    let admission = Admission::new(800, 1 << 30, 8);
    let taken: Vec<usize> = (0..8).map(|lane| fill(&admission, lane)).collect();
    assert_eq!(taken, [150, 150, 150, 150, 50, 50, 50, 50]);
}

#[test]
fn what_does_not_fit_whole_takes_nothing() {
    let admission = Admission::new(80, 1 << 30, 4);
    let many = [(0, 1), (1, 1)].into_iter().cycle().take(60);
    assert_eq!(admission.take(Origin::Client, many), Err(Refused::Overload));
    let (clients, owed, refused) = admission.queued();
    assert_eq!((clients.records, clients.bytes, owed.records, refused), (0, 0, 0, 1));
    assert_eq!(fill(&admission, 0), 20);
}

#[test]
fn what_is_owed_has_room_when_clients_have_none() {
    let admission = Admission::new(8, 1 << 30, 1);
    fill(&admission, 0);
    assert!(admission.take(Origin::Owed, [(0, 1)].into_iter()).is_ok());
}

#[test]
fn a_record_of_any_size_has_room_in_an_empty_lane() {
    let admission = Admission::new(8, 10, 4);
    let largest = wire::limits::RECORD_BYTES_MAX;
    assert!(admission.take(Origin::Client, [(0, largest)].into_iter()).is_ok());
    assert!(admission.take(Origin::Client, [(1, largest)].into_iter()).is_ok());
    assert!(admission.take(Origin::Client, [(1, largest)].into_iter()).is_err());
}

#[test]
fn bytes_are_given_back() {
    let admission = Admission::new(8, 1 << 20, 1);
    for _ in 0..100 {
        let round = admission.take(Origin::Client, [(0, 300_000)].into_iter()).unwrap();
        admission.release(Origin::Client, 0, 300_000, round);
    }
    assert!(admission.is_empty());
}

#[tokio::test]
async fn a_flush_waits_for_what_was_taken_and_for_nothing_later() {
    let admission = Admission::new(8, 1 << 20, 1);
    let before = admission.take(Origin::Client, [(0, 1)].into_iter()).unwrap();
    let mut flush = std::pin::pin!(admission.flush());
    assert!(futures_pending(&mut flush).await);
    admission.take(Origin::Client, [(0, 1)].into_iter()).unwrap();
    admission.release(Origin::Client, 0, 1, before);
    flush.await;
}

async fn futures_pending<F: Future>(future: &mut std::pin::Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| {
        std::task::Poll::Ready(future.as_mut().poll(context).is_pending())
    })
    .await
}
