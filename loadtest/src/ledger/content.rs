//! What every message of a run carries: who sent it, its number, when it was due, a checksum.
//!
//! ```text
//! offset  bytes  all numbers little-endian
//!      0      8  "phload-1"
//!      8      8  xxh3-64 of everything from offset 16 to the end of the body
//!     16      8  run
//!     24      4  sending device
//!     28      4  conversation
//!     32      8  counter: 0, 1, 2, .. of this device in this conversation
//!     40      8  intended time: nanoseconds on the run's clock
//!     48         body: filler, or a message of a file
//! ```

use bytes::{BufMut, BytesMut};
use xxhash_rust::xxh3::xxh3_64;

use super::record::Message;
use crate::population::{ConversationIndex, DeviceIndex};

/// Bytes before the body: the smallest payload there can be.
pub const HEADER_BYTES: usize = 48;

const MAGIC: [u8; 8] = *b"phload-1";
/// Where the part begins that the checksum covers.
const COVERED: usize = 16;

/// What a payload says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Tells this run's messages from those of another, left over in a mailbox.
    pub run: u64,
    /// The device that sent it.
    pub from: DeviceIndex,
    /// Where it was sent to.
    pub conversation: ConversationIndex,
    /// Which one of this device in this conversation, from 0; at most 2^32 - 2.
    pub counter: u64,
    /// When it should have been sent: nanoseconds on the run's clock.
    pub intended_ns: u64,
}

impl Header {
    /// The name of the message within its run.
    #[must_use]
    pub fn message(&self) -> Message {
        Message { from: self.from, conversation: self.conversation, counter: self.counter }
    }
}

/// Why a payload is not a message of a load test as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// It is too short, or begins with something else.
    #[error("the payload is not one of a load test, or its first bytes were changed")]
    Alien,
    /// It begins like one of ours, but the checksum does not fit; what it says may be wrong.
    #[error("the payload was changed on its way: its checksum does not fit")]
    Changed(Header),
}

/// Appends a payload of `HEADER_BYTES + body.len()` bytes.
pub fn write(header: &Header, body: &[u8], into: &mut BytesMut) {
    into.reserve(HEADER_BYTES + body.len());
    let begin = into.len();
    into.put_slice(&MAGIC);
    into.put_u64_le(0);
    into.put_u64_le(header.run);
    into.put_u32_le(header.from.0);
    into.put_u32_le(header.conversation.0);
    into.put_u64_le(header.counter);
    into.put_u64_le(header.intended_ns);
    into.put_slice(body);
    let checksum = xxh3_64(&into[begin + COVERED..]);
    into[begin + MAGIC.len()..begin + COVERED].copy_from_slice(&checksum.to_le_bytes());
}

/// What a payload says of itself, if it is one and arrived as it was sent.
///
/// # Errors
/// When it is not ours, or was changed on its way.
pub fn read(payload: &[u8]) -> Result<Header, NotOurs> {
    if payload.len() < HEADER_BYTES || payload[..MAGIC.len()] != MAGIC {
        return Err(NotOurs::Alien);
    }
    let header = Header {
        run: u64_at(payload, 16),
        from: DeviceIndex(u32_at(payload, 24)),
        conversation: ConversationIndex(u32_at(payload, 28)),
        counter: u64_at(payload, 32),
        intended_ns: u64_at(payload, 40),
    };
    if xxh3_64(&payload[COVERED..]) != u64_at(payload, 8) {
        return Err(NotOurs::Changed(header));
    }
    Ok(header)
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn header() -> Header {
        Header {
            run: 0x1122_3344_5566_7788,
            from: DeviceIndex(7),
            conversation: ConversationIndex(9),
            counter: 3,
            intended_ns: 1_000_000,
        }
    }

    fn payload(body: &[u8]) -> BytesMut {
        let mut payload = BytesMut::new();
        write(&header(), body, &mut payload);
        payload
    }

    #[test]
    fn what_was_written_is_read() {
        for body in [&b""[..], b"x", &[0xAB; 5000]] {
            let payload = payload(body);
            assert_eq!(payload.len(), HEADER_BYTES + body.len());
            assert_eq!(read(&payload), Ok(header()));
        }
    }

    #[test]
    fn writing_appends() {
        let mut both = payload(b"first");
        let begin = both.len();
        write(&header(), b"second", &mut both);
        assert_eq!(read(&both[begin..]), Ok(header()));
        assert_eq!(both[..begin], payload(b"first"));
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let sound = payload(b"a body of some length");
        for at in 0..sound.len() {
            for bit in 0..8 {
                let mut changed = sound.clone();
                changed[at] ^= 1 << bit;
                read(&changed).unwrap_err();
            }
        }
    }

    #[test]
    fn every_cut_and_every_added_byte_is_noticed() {
        let sound = payload(b"a body of some length");
        for len in 0..sound.len() {
            read(&sound[..len]).unwrap_err();
        }
        let mut longer = sound;
        longer.put_u8(0);
        read(&longer).unwrap_err();
    }

    #[test]
    fn a_changed_body_still_names_its_message() {
        let mut changed = payload(b"body");
        changed[HEADER_BYTES] ^= 1;
        assert_eq!(read(&changed), Err(NotOurs::Changed(header())));
    }
}
