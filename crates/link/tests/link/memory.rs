//! Links in memory.

use bytes::BytesMut;
use link::{
    Closed, Connection, LinkError,
    config::{MEMORY_STREAM_BYTES_MAX, MEMORY_STREAMS_MAX},
    memory::{Hub, cut, pair},
};

use crate::{
    contract,
    fixture::{poll_once, read_exactly, write_all},
};

fn ends() -> (Connection, Connection) {
    pair([1; 32])
}

#[tokio::test]
async fn streams_carry_bytes() {
    let (here, there) = ends();
    contract::streams_carry_bytes(&here, &there).await;
}

#[tokio::test]
async fn datagrams_arrive_or_are_refused() {
    let (here, there) = ends();
    contract::datagrams_arrive_or_are_refused(&here, &there).await;
}

#[tokio::test]
async fn close_reaches_the_peer() {
    let (here, there) = ends();
    contract::close_reaches_the_peer(&here, &there).await;
}

#[tokio::test]
async fn finished_streams_arrive() {
    let (here, there) = ends();
    contract::finished_streams_arrive(&here, &there).await;
}

#[tokio::test]
async fn dropped_receiver_stops_the_sender() {
    let (here, there) = ends();
    contract::dropped_receiver_stops_the_sender(&here, &there).await;
}

#[tokio::test]
async fn dropped_calls_lose_nothing() {
    let (here, there) = ends();
    contract::dropped_calls_lose_nothing(&here, &there).await;
}

#[tokio::test]
async fn slow_reader_is_bounded() {
    let (here, there) = ends();
    contract::slow_reader_is_bounded(&here, &there, MEMORY_STREAM_BYTES_MAX).await;
}

#[tokio::test]
async fn a_stream_shows_with_its_first_byte() {
    let (here, there) = ends();
    let mut sender = here.open_uni().await.unwrap();
    assert!(poll_once(there.accept_uni()).await.is_none());
    write_all(&mut sender, b"x").await.unwrap();
    assert!(poll_once(there.accept_uni()).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn opening_more_streams_than_allowed_waits_then_times_out() {
    let (here, there) = ends();
    let mut senders = Vec::new();
    for _ in 0..MEMORY_STREAMS_MAX {
        let mut sender = here.open_uni().await.unwrap();
        write_all(&mut sender, b"x").await.unwrap();
        senders.push(sender);
    }
    assert_eq!(here.open_uni().await.unwrap_err(), LinkError::TimedOut);
    drop(there.accept_uni().await.unwrap());
    drop(senders.remove(0));
    here.open_uni().await.unwrap();
}

#[tokio::test]
async fn a_cut_is_seen_by_both_ends_and_loses_what_was_not_read() {
    let (here, there) = ends();
    let mut sender = here.open_uni().await.unwrap();
    write_all(&mut sender, b"x").await.unwrap();
    let mut receiver = there.accept_uni().await.unwrap();
    cut(&here);
    let lost = Closed { code: None, by_peer: false, reason: "connection cut".to_owned() };
    assert_eq!(here.closed().await, lost);
    let error = Err(LinkError::Closed(lost));
    assert_eq!(receiver.read(&mut BytesMut::new()).await, error);
    assert_eq!(sender.write(&mut BytesMut::from("x")).await.map(|()| true), error);
}

#[tokio::test]
async fn a_cut_wakes_those_who_wait() {
    let (here, there) = ends();
    let mut sender = here.open_uni().await.unwrap();
    write_all(&mut sender, b"x").await.unwrap();
    let mut receiver = there.accept_uni().await.unwrap();
    read_exactly(&mut receiver, 1).await;
    let mut buffer = BytesMut::new();
    let (read, accepted, ()) =
        tokio::join!(receiver.read(&mut buffer), there.accept_bi(), async { cut(&here) });
    assert!(read.is_err() && accepted.is_err());
}

#[tokio::test]
async fn dropping_one_end_closes_the_other_once_its_streams_are_gone() {
    let (here, there) = ends();
    let mut sender = there.open_uni().await.unwrap();
    drop(there);
    write_all(&mut sender, b"last words").await.unwrap();
    let mut receiver = here.accept_uni().await.unwrap();
    assert_eq!(read_exactly(&mut receiver, 10).await, b"last words");
    drop(sender);
    assert_eq!(here.closed().await.code, Some(0));
}

#[tokio::test]
async fn a_hub_connects_by_name_and_repeats_itself_with_its_seed() {
    let mut exported = Vec::new();
    for seed in [1, 1, 2] {
        let hub = Hub::new(seed);
        let mut listener = hub.listen("edge-1");
        let here = hub.dial("edge-1").await.unwrap();
        let there = listener.accept().await.unwrap();
        assert_eq!(here.export_keying_material(), there.export_keying_material());
        exported.push(here.export_keying_material());
        let again = hub.dial("edge-1").await.unwrap();
        assert_ne!(here.export_keying_material(), again.export_keying_material());
    }
    assert_eq!(exported[0], exported[1]);
    assert_ne!(exported[1], exported[2]);
}

#[tokio::test]
async fn a_name_nobody_listens_to_is_unreachable() {
    let hub = Hub::new(0);
    drop(hub.listen("edge-1"));
    assert!(matches!(hub.dial("edge-1").await, Err(LinkError::Unreachable(_))));
}

#[tokio::test]
async fn a_listener_that_starts_again_takes_its_name_over() {
    let hub = Hub::new(0);
    let mut old = hub.listen("edge-1");
    let mut new = hub.listen("edge-1");
    assert!(old.accept().await.is_none());
    drop(old);
    let _here = hub.dial("edge-1").await.unwrap();
    assert!(new.accept().await.is_some());
}

#[tokio::test]
async fn a_hub_cuts_what_was_dialled_by_one_name() {
    let hub = Hub::new(0);
    let (_one, _two) = (hub.listen("edge-1"), hub.listen("edge-2"));
    let (first, second) = (hub.dial("edge-1").await.unwrap(), hub.dial("edge-2").await.unwrap());
    hub.cut("edge-1");
    assert_eq!(first.closed().await.reason, "connection cut");
    assert!(poll_once(second.closed()).await.is_none());
    assert!(hub.dial("edge-1").await.is_ok());
}
