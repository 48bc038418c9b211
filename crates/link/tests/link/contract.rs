//! What every kind of link promises, as checks run by each.

use bytes::{Bytes, BytesMut};
use link::{Closed, Connection, LinkError};

use crate::fixture::{pass_byte, poll_once, read_exactly, write_all};

/// Both kinds of streams carry bytes in order and end when finished.
pub(crate) async fn streams_carry_bytes(here: &Connection, there: &Connection) {
    let (mut ask, mut answers) = here.open_bi().await.unwrap();
    write_all(&mut ask, b"control").await.unwrap();
    let (mut answer, mut asked) = there.accept_bi().await.unwrap();
    assert_eq!(read_exactly(&mut asked, 7).await, b"control");
    write_all(&mut answer, b"answer").await.unwrap();
    assert_eq!(read_exactly(&mut answers, 6).await, b"answer");

    let mut push = there.open_uni().await.unwrap();
    push.set_priority(-1);
    write_all(&mut push, b"delivery").await.unwrap();
    let mut pushed = here.accept_uni().await.unwrap();
    assert_eq!(read_exactly(&mut pushed, 8).await, b"delivery");
    push.finish();
    let mut rest = BytesMut::new();
    assert!(!pushed.read(&mut rest).await.unwrap());
    assert!(!pushed.read(&mut rest).await.unwrap());
    assert_eq!(push.write(&mut BytesMut::from("x")).await, Err(LinkError::StreamStopped));
}

/// A datagram arrives whole; a queue nobody empties refuses at some point, and streams go on.
pub(crate) async fn datagrams_arrive_or_are_refused(here: &Connection, there: &Connection) {
    let datagram = |byte| Bytes::from(vec![byte; wire::limits::DATAGRAM_BYTES_MAX]);
    assert!(here.send_datagram(datagram(1)));
    assert_eq!(there.read_datagram().await, Ok(datagram(1)));
    assert!(there.send_datagram(datagram(2)));
    assert_eq!(here.read_datagram().await, Ok(datagram(2)));
    assert!((0..100).any(|_| !here.send_datagram(datagram(3))), "what waits is bounded");
    assert_eq!(there.read_datagram().await, Ok(datagram(3)));
    streams_carry_bytes(here, there).await;
    there.close(9, "");
    here.closed().await;
    assert!(!here.send_datagram(datagram(4)));
    assert!(matches!(here.read_datagram().await, Err(LinkError::Closed(_))));
}

/// The peer learns code and reason; everything on either side ends.
pub(crate) async fn close_reaches_the_peer(here: &Connection, there: &Connection) {
    let (mut sender, mut receiver) = here.open_bi().await.unwrap();
    write_all(&mut sender, b"x").await.unwrap();
    let (_answer, mut asked) = there.accept_bi().await.unwrap();
    read_exactly(&mut asked, 1).await;

    there.close(9, "slow reader");
    there.close(10, "too late");
    let seen = Closed { code: Some(9), by_peer: true, reason: "slow reader".to_owned() };
    assert_eq!(here.closed().await, seen);
    let own = there.closed().await;
    assert_eq!((own.code, own.by_peer), (None, false));

    let error = LinkError::Closed(seen);
    assert_eq!(receiver.read(&mut BytesMut::new()).await, Err(error.clone()));
    assert_eq!(sender.write(&mut BytesMut::from("x")).await, Err(error.clone()));
    assert_eq!(here.open_bi().await.unwrap_err(), error);
    assert_eq!(here.open_uni().await.unwrap_err(), error);
    assert_eq!(here.accept_bi().await.unwrap_err(), error);
    assert_eq!(here.accept_uni().await.unwrap_err(), error);
}

/// What was written before a stream was finished for good is read even after a close.
pub(crate) async fn finished_streams_arrive(here: &Connection, there: &Connection) {
    let mut push = there.open_uni().await.unwrap();
    write_all(&mut push, b"last words").await.unwrap();
    let mut pushed = here.accept_uni().await.unwrap();
    let reading = async { read_exactly(&mut pushed, 10).await };
    let (finished, read) = tokio::join!(push.finished(), reading);
    assert_eq!((finished, read.as_slice()), (Ok(()), &b"last words"[..]));
    drop(pushed);
    assert_eq!(push.finished().await, Ok(()));

    there.close(1, "");
    assert_eq!(here.closed().await.code, Some(1));
}

/// Whoever drops a receiver stops the sender and keeps the connection.
pub(crate) async fn dropped_receiver_stops_the_sender(here: &Connection, there: &Connection) {
    let (mut sender, mut answers) = here.open_bi().await.unwrap();
    write_all(&mut sender, b"x").await.unwrap();
    let (mut answer, asked) = there.accept_bi().await.unwrap();
    drop(asked);
    let mut buffer = BytesMut::zeroed(8 * 1024 * 1024);
    let stopped = loop {
        if let Err(error) = sender.write(&mut buffer).await {
            break error;
        }
    };
    assert_eq!(stopped, LinkError::StreamStopped);
    pass_byte(&mut answer, &mut answers).await;
}

/// Calls that are dropped while they wait neither lose nor repeat a byte.
pub(crate) async fn dropped_calls_lose_nothing(here: &Connection, there: &Connection) {
    let bytes: Vec<u8> = (0..700_000_u32).flat_map(|number| number.to_be_bytes()).collect();
    let (mut sender, _answers) = here.open_bi().await.unwrap();
    write_all(&mut sender, b".").await.unwrap();
    let (_answer, mut receiver) = there.accept_bi().await.unwrap();
    read_exactly(&mut receiver, 1).await;

    let writing = async {
        let mut left = BytesMut::from(&bytes[..]);
        while !left.is_empty() {
            match poll_once(sender.write(&mut left)).await {
                Some(written) => written.unwrap(),
                None => tokio::task::yield_now().await,
            }
        }
        sender.finish();
    };
    let reading = async {
        let mut read = BytesMut::new();
        loop {
            match poll_once(receiver.read(&mut read)).await {
                Some(Ok(false)) => return read,
                Some(more) => assert!(more.unwrap()),
                None => tokio::task::yield_now().await,
            }
        }
    };
    let ((), read) = tokio::join!(writing, reading);
    assert!(read == bytes, "bytes arrived changed");
}

/// A sender whose peer does not read gets rid of exactly `room` bytes, and of more once it reads.
pub(crate) async fn slow_reader_is_bounded(here: &Connection, there: &Connection, room: usize) {
    let (mut ask, _answers) = here.open_bi().await.unwrap();
    write_all(&mut ask, b".").await.unwrap();
    let (_answer, mut asked) = there.accept_bi().await.unwrap();
    read_exactly(&mut asked, 1).await;

    let mut push = there.open_uni().await.unwrap();
    write_all(&mut push, &vec![1; room]).await.unwrap();
    let mut pushed = here.accept_uni().await.unwrap();
    let mut one_more = BytesMut::from("x");
    for _ in 0..10 {
        pass_byte(&mut ask, &mut asked).await;
        assert_eq!(poll_once(push.write(&mut one_more)).await, None);
    }
    read_exactly(&mut pushed, room).await;
    push.write(&mut one_more).await.unwrap();
    read_exactly(&mut pushed, 1).await;
}
