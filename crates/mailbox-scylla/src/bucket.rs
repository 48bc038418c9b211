//! How a mailbox is cut into partitions of the database.

use wire::{Seq, limits::EPOCH_MAX};

/// Positions of a bucket: 2^30 of them.
///
/// A bucket is a function of the position alone, so that a replay writes where the first writer
/// did and no clock takes part. At 2,000 records a second in one mail partition a bucket spans six
/// days; a user who gets 600 rows a day has some 3,700 of them in one, about 2 MB. At low rates one
/// bucket holds everything that was not yet forgotten, 30 days at most.
const BITS: u32 = 30;

/// The highest position there is.
pub(crate) const SEQ_MAX: u64 = (((EPOCH_MAX as u64) + 1) << Seq::OFFSET_BITS) - 1;

const _: () = assert!(SEQ_MAX >> BITS <= i32::MAX as u64);
const _: () = assert!(SEQ_MAX <= i64::MAX as u64);

/// The bucket of a position, which is at most [`SEQ_MAX`].
pub(crate) fn of(seq: u64) -> i32 {
    i32::try_from(seq.min(SEQ_MAX) >> BITS).expect("the highest position has a bucket")
}

/// A position as the database keeps it; positions that cannot be are the highest.
pub(crate) fn stored(seq: u64) -> i64 {
    i64::try_from(seq.min(SEQ_MAX)).expect("the highest position is a number of the database")
}

/// A position the database kept.
pub(crate) fn read(stored: i64) -> Seq {
    Seq::from_u64(u64::try_from(stored).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_grow_with_positions_also_over_epochs() {
        let positions = [0, 1, (1 << 30) - 1, 1 << 30, 1 << 44, (1 << 44) + (1 << 30), SEQ_MAX];
        let buckets = positions.map(of);
        assert_eq!(buckets, [0, 0, 0, 1, 1 << 14, (1 << 14) + 1, (101 << 14) - 1]);
        assert_eq!(of(u64::MAX), of(SEQ_MAX));
    }
}
