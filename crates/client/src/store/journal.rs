//! The bytes of a journal: records of changes, each with its length and checksum.
//!
//! A journal is [`MAGIC`] and then records. A record, integers big-endian: length of the changes
//! in bytes at 0 (4 bytes, never 0), the first 8 bytes of their SHA-256 at 4, the changes at 12,
//! one after the other, each a kind byte and its fields. One record is one commit: all or nothing.

use aws_lc_rs::digest::{SHA256, digest};
use bytes::{Buf, BufMut, Bytes, BytesMut};
use session::client::{Restored, StoreChange};
use wire::{
    Address, ClientFrame, Counter, MessageId, RunId, SendId, Seq, UserId, codec,
    limits::CLIENT_FRAME_BYTES_MAX,
};

pub(super) const MAGIC: &[u8; 8] = b"phjrnl\0\x01";
const HEADER_LEN: usize = 12;

const USER: u8 = 1;
const QUEUED: u8 = 2;
const ACCEPTED: u8 = 3;
const REJECTED: u8 = 4;
const PROCESSED_AHEAD: u8 = 5;
const PROCESSED: u8 = 6;
const CURSOR: u8 = 7;

/// What a journal holds and how much of it is whole.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) restored: Restored,
    /// Bytes after which a torn record begins, or nothing.
    pub(super) whole: usize,
}

/// Appends one record.
pub(super) fn encode(changes: &[StoreChange], out: &mut BytesMut) {
    let mut payload = BytesMut::new();
    for change in changes {
        encode_change(change, &mut payload);
    }
    out.put_u32(u32::try_from(payload.len()).expect("a commit is far below 4 GiB"));
    out.put_slice(&checksum(&payload));
    out.put_slice(&payload);
}

/// Reads a journal up to its end, or to a record that was not wholly written. A record that is not
/// right though others follow it was damaged later: that is an error.
pub(super) fn replay(bytes: &[u8]) -> Result<Replayed, &'static str> {
    if bytes.get(..MAGIC.len()) != Some(MAGIC) {
        return Err("not a journal of this program, or of a newer version of it");
    }
    let mut restored = Restored::default();
    let mut whole = MAGIC.len();
    while let Some(header) = bytes.get(whole..whole + HEADER_LEN) {
        let (mut len, sum) = header.split_at(4);
        let end = whole + HEADER_LEN + len.get_u32() as usize;
        let Some(payload) = bytes.get(whole + HEADER_LEN..end) else { break };
        if payload.is_empty() || checksum(payload) != sum {
            let is_last = payload.is_empty() || end == bytes.len();
            if is_last {
                break;
            }
            return Err("a record does not have its checksum: the file was damaged");
        }
        let mut payload = BytesMut::from(payload);
        while !payload.is_empty() {
            let change = decode_change(&mut payload).ok_or("a change of an unknown kind")?;
            restored.apply(change);
        }
        whole = end;
    }
    Ok(Replayed { restored, whole })
}

fn checksum(payload: &[u8]) -> [u8; 8] {
    digest(&SHA256, payload).as_ref()[..8].try_into().expect("eight bytes")
}

fn encode_change(change: &StoreChange, out: &mut BytesMut) {
    match change {
        StoreChange::User(user) => {
            out.put_u8(USER);
            out.put_slice(user.as_bytes());
        }
        StoreChange::Queued(send) => {
            out.put_u8(QUEUED);
            ClientFrame::Send(send.clone()).encode(out);
        }
        StoreChange::Accepted(id, to) => {
            out.put_u8(ACCEPTED);
            put_send_id(*id, out);
            out.put_slice(&to.to_bytes());
        }
        StoreChange::Rejected(id) => {
            out.put_u8(REJECTED);
            put_send_id(*id, out);
        }
        StoreChange::ProcessedAhead(seq) => {
            out.put_u8(PROCESSED_AHEAD);
            out.put_u64(seq.get());
        }
        StoreChange::Processed(id, to, digest) => {
            out.put_u8(PROCESSED);
            out.put_slice(&id.to_bytes());
            out.put_slice(&to.to_bytes());
            out.put_slice(digest);
        }
        StoreChange::Cursor(seq) => {
            out.put_u8(CURSOR);
            out.put_u64(seq.get());
        }
    }
}

fn decode_change(bytes: &mut BytesMut) -> Option<StoreChange> {
    Some(match bytes.try_get_u8().ok()? {
        USER => StoreChange::User(UserId::from_bytes(array(bytes)?)),
        QUEUED => {
            let frame = codec::take_frame(bytes, CLIENT_FRAME_BYTES_MAX).ok()??;
            // Copied, so that a small send does not hold a large record.
            let frame = ClientFrame::decode(Bytes::copy_from_slice(&frame)).ok()?;
            let ClientFrame::Send(send) = frame else { return None };
            StoreChange::Queued(send)
        }
        ACCEPTED => {
            let id = send_id(bytes)?;
            StoreChange::Accepted(id, address(bytes)?)
        }
        REJECTED => StoreChange::Rejected(send_id(bytes)?),
        PROCESSED_AHEAD => StoreChange::ProcessedAhead(Seq::from_u64(bytes.try_get_u64().ok()?)),
        PROCESSED => {
            let id: [u8; MessageId::LEN] = array(bytes)?;
            let id = MessageId::parse(&id, "journal.id").ok()?;
            let to = address(bytes)?;
            StoreChange::Processed(id, to, array(bytes)?)
        }
        CURSOR => StoreChange::Cursor(Seq::from_u64(bytes.try_get_u64().ok()?)),
        _ => return None,
    })
}

fn put_send_id(id: SendId, out: &mut BytesMut) {
    out.put_u64(id.run.get());
    out.put_u64(id.counter.get());
}

fn send_id(bytes: &mut BytesMut) -> Option<SendId> {
    let run = RunId::new(bytes.try_get_u64().ok()?);
    Some(SendId { run, counter: Counter::new(bytes.try_get_u64().ok()?) })
}

fn address(bytes: &mut BytesMut) -> Option<Address> {
    let to: [u8; Address::LEN] = array(bytes)?;
    Address::parse(&to, "journal.to").ok()
}

fn array<const LEN: usize>(bytes: &mut BytesMut) -> Option<[u8; LEN]> {
    let mut array = [0; LEN];
    bytes.try_copy_to_slice(&mut array).ok()?;
    Some(array)
}
