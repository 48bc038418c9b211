//! Dead letters, as they are kept.

use bytes::Bytes;
use ports::log::{DeadLetter, Entry};
use wire::{DecodeError, record::DeadLetterRecord};

/// The letter as kept.
pub(crate) fn encode(letter: &DeadLetter) -> Bytes {
    let DeadLetter { topic, partition, entry, reason } = letter.clone();
    let Entry { seq, log_time_ms, record } = entry;
    DeadLetterRecord { topic, partition, seq, log_time_ms, reason, record }.encode()
}

/// The letter in `bytes`.
///
/// # Errors
/// It is not one, or of a newer version.
pub(crate) fn decode(bytes: Bytes) -> Result<DeadLetter, DecodeError> {
    let DeadLetterRecord { topic, partition, seq, log_time_ms, reason, record } =
        DeadLetterRecord::decode(bytes)?;
    Ok(DeadLetter { topic, partition, entry: Entry { seq, log_time_ms, record }, reason })
}
