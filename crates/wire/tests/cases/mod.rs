//! The golden vectors as values: one case a file, append-only.

mod frames;
mod records;

use std::fmt::Debug;

use bytes::{Bytes, BytesMut};
use wire::{DecodeError, codec::take_frame};

/// A golden vector.
pub(crate) struct Case {
    /// The name of its file, without the ending.
    pub(crate) name: String,
    /// What it is.
    pub(crate) what: String,
    /// What the value encodes to.
    pub(crate) bytes: Bytes,
    /// Fails unless the bytes decode to the value.
    pub(crate) check: Box<dyn Fn(Bytes)>,
}

/// Every vector, in the order of the index.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    frames::add(&mut cases);
    records::add(&mut cases);
    cases
}

/// A frame, with its length in front.
fn frame<T: Debug + PartialEq + 'static>(
    name: &str,
    what: &str,
    value: T,
    encode: fn(&T, &mut BytesMut),
    decode: fn(Bytes) -> Result<T, DecodeError>,
) -> Case {
    let mut out = BytesMut::new();
    encode(&value, &mut out);
    let check = move |bytes: Bytes| {
        let mut buffer = BytesMut::from(&bytes[..]);
        let frame = take_frame(&mut buffer, bytes.len()).unwrap().expect("a whole frame");
        assert!(buffer.is_empty(), "one frame and nothing after it");
        assert_eq!(decode(frame).as_ref(), Ok(&value));
    };
    Case { name: name.into(), what: what.into(), bytes: out.freeze(), check: Box::new(check) }
}

/// A record, an item or an entity.
fn record<T: Debug + PartialEq + 'static>(
    name: &str,
    what: &str,
    value: T,
    encode: fn(&T) -> Bytes,
    decode: fn(Bytes) -> Result<T, DecodeError>,
) -> Case {
    let bytes = encode(&value);
    let check = move |bytes: Bytes| assert_eq!(decode(bytes).as_ref(), Ok(&value));
    Case { name: name.into(), what: what.into(), bytes, check: Box::new(check) }
}

/// `NoSuchGroup` as `no_such_group`.
fn snake(value: impl Debug) -> String {
    let mut name = String::new();
    for letter in format!("{value:?}").chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}
