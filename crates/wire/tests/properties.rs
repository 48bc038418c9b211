//! Whatever arrives, decoding says what it is or refuses it; whatever is valid comes back the same.

#![allow(clippy::unwrap_used)]

mod values;

use bytes::{Bytes, BytesMut};
use proptest::{collection::vec, prelude::*};
use wire::{
    ClientFrame, DecodeError, DeliveryFrame, Item, ServerFrame,
    codec::take_frame,
    entity::{Decision, Devices, Membership, Roster},
    mesh::MeshFrame,
    record::{ControlRecord, GroupRecord, MailRecord, StoredRow},
    signal::Datagram,
};

/// Decodes, and when that succeeds, encodes and decodes again: the second value is the first.
fn check<T: std::fmt::Debug + PartialEq>(
    bytes: &[u8],
    encode: fn(&T) -> Bytes,
    decode: fn(Bytes) -> Result<T, DecodeError>,
) {
    if let Ok(value) = decode(Bytes::copy_from_slice(bytes)) {
        assert_eq!(decode(encode(&value)).as_ref(), Ok(&value));
    }
}

/// A frame without its length, as its decoder takes it.
fn unframed<T>(value: &T, encode: fn(&T, &mut BytesMut)) -> Bytes {
    let mut out = BytesMut::new();
    encode(value, &mut out);
    let frame = take_frame(&mut out, usize::MAX).unwrap().expect("a whole frame");
    assert!(out.is_empty(), "one frame and nothing after it");
    frame
}

/// Gives the bytes to every decoder.
fn check_all(bytes: &[u8]) {
    check(bytes, |frame| unframed(frame, ClientFrame::encode), ClientFrame::decode);
    check(bytes, |frame| unframed(frame, ServerFrame::encode), ServerFrame::decode);
    check(bytes, |frame| unframed(frame, DeliveryFrame::encode), DeliveryFrame::decode);
    check(bytes, |frame| unframed(frame, MeshFrame::encode), MeshFrame::decode);
    check(bytes, Datagram::encode, Datagram::decode);
    check(bytes, Item::encode, Item::decode);
    check(bytes, MailRecord::encode, MailRecord::decode);
    check(bytes, GroupRecord::encode, GroupRecord::decode);
    check(bytes, ControlRecord::encode, ControlRecord::decode);
    check(bytes, StoredRow::encode, StoredRow::decode);
    check(bytes, Devices::encode, Devices::decode);
    check(bytes, Roster::encode, Roster::decode);
    check(bytes, Decision::encode, Decision::decode);
    check(bytes, Membership::encode, Membership::decode);
}

/// The bytes of something valid, of any kind.
fn valid_bytes() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        values::client_frame().prop_map(|frame| unframed(&frame, ClientFrame::encode)),
        values::server_frame().prop_map(|frame| unframed(&frame, ServerFrame::encode)),
        values::delivery_frame().prop_map(|frame| unframed(&frame, DeliveryFrame::encode)),
        values::mesh_frame().prop_map(|frame| unframed(&frame, MeshFrame::encode)),
        values::datagram().prop_map(|datagram| datagram.encode()),
        values::item().prop_map(|item| item.encode()),
        values::mail_record().prop_map(|record| record.encode()),
        values::control_record().prop_map(|record| record.encode()),
        values::devices().prop_map(|devices| devices.encode()),
        values::roster().prop_map(|roster| roster.encode()),
        values::decision().prop_map(|decision| decision.encode()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..512)) {
        check_all(&bytes);
    }

    #[test]
    fn no_damage_to_something_valid_makes_a_decoder_panic(
        valid in valid_bytes(),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        keep in any::<prop::sample::Index>(),
        is_cut in any::<bool>(),
    ) {
        let mut bytes = valid.to_vec();
        for (at, byte) in damage {
            let len = bytes.len();
            if len > 0 {
                bytes[at.index(len)] = byte;
            }
        }
        if is_cut {
            bytes.truncate(keep.index(bytes.len() + 1));
        }
        check_all(&bytes);
    }

    #[test]
    fn a_client_frame_comes_back_the_same(value in values::client_frame()) {
        prop_assert_eq!(ClientFrame::decode(unframed(&value, ClientFrame::encode)), Ok(value));
    }

    #[test]
    fn a_server_frame_comes_back_the_same(value in values::server_frame()) {
        prop_assert_eq!(ServerFrame::decode(unframed(&value, ServerFrame::encode)), Ok(value));
    }

    #[test]
    fn a_delivery_frame_comes_back_the_same(value in values::delivery_frame()) {
        prop_assert_eq!(DeliveryFrame::decode(unframed(&value, DeliveryFrame::encode)), Ok(value));
    }

    #[test]
    fn a_mesh_frame_comes_back_the_same(value in values::mesh_frame()) {
        prop_assert_eq!(MeshFrame::decode(unframed(&value, MeshFrame::encode)), Ok(value));
    }

    #[test]
    fn a_datagram_comes_back_the_same(value in values::datagram()) {
        prop_assert_eq!(Datagram::decode(value.encode()), Ok(value));
    }

    #[test]
    fn an_item_comes_back_the_same(value in values::item()) {
        prop_assert_eq!(Item::decode(value.encode()), Ok(value));
    }

    #[test]
    fn a_record_comes_back_the_same(
        mail in values::mail_record(),
        control in values::control_record(),
        item in values::item(),
        log_time_ms in any::<u64>(),
    ) {
        let group = GroupRecord(item.encode());
        let row = StoredRow { log_time_ms, item: item.encode() };
        prop_assert_eq!(MailRecord::decode(mail.encode()), Ok(mail));
        prop_assert_eq!(ControlRecord::decode(control.encode()), Ok(control));
        prop_assert_eq!(GroupRecord::decode(group.encode()), Ok(group));
        prop_assert_eq!(StoredRow::decode(row.encode()), Ok(row));
    }

    #[test]
    fn an_entity_comes_back_the_same(
        devices in values::devices(),
        roster in values::roster(),
        decision in values::decision(),
        membership in values::membership(),
    ) {
        prop_assert_eq!(Devices::decode(devices.encode()), Ok(devices));
        prop_assert_eq!(Roster::decode(roster.encode()), Ok(roster));
        prop_assert_eq!(Decision::decode(decision.encode()), Ok(decision));
        prop_assert_eq!(Membership::decode(membership.encode()), Ok(membership));
    }

    /// However bytes are cut on their way, the frames that come out are the same, none is larger
    /// than the limit, and what is held back is less than one frame.
    #[test]
    fn a_stream_is_cut_into_frames_within_the_limit(
        bytes in vec(any::<u8>(), 0..2048),
        cuts in vec(1_usize..64, 1..64),
        limit in 0_usize..256,
    ) {
        let whole = frames(&mut BytesMut::from(&bytes[..]), limit);
        let mut buffer = BytesMut::new();
        let mut taken = Vec::new();
        let mut rest = &bytes[..];
        let mut end = Ok(());
        for cut in cuts.iter().cycle() {
            if rest.is_empty() || end.is_err() {
                break;
            }
            let (piece, later) = rest.split_at(rest.len().min(*cut));
            buffer.extend_from_slice(piece);
            rest = later;
            let (more, result) = frames(&mut buffer, limit);
            taken.extend(more);
            end = result;
            if end.is_ok() {
                prop_assert!(buffer.len() < limit + 5, "more is held than one frame");
            }
        }
        prop_assert!(taken.iter().all(|frame| frame.len() <= limit));
        prop_assert_eq!((taken, end), whole);
    }
}

/// Every frame at the front of the buffer, and whether the stream can go on.
fn frames(buffer: &mut BytesMut, limit: usize) -> (Vec<Bytes>, Result<(), DecodeError>) {
    let mut frames = Vec::new();
    loop {
        match take_frame(buffer, limit) {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, Ok(())),
            Err(error) => return (frames, Err(error)),
        }
    }
}
