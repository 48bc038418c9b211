//! Where a user or a group lives: a fixed hash to a virtual shard, and shards to partitions.

use sha2::{Digest, Sha256};

use crate::{
    id::{Address, Partition},
    limits::VSHARDS,
};

/// A virtual shard, below [`VSHARDS`]. A user or group never changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VShard(u16);

impl VShard {
    /// The shard of an address: the first 12 bits of SHA-256 over its 17 bytes.
    ///
    /// A cryptographic hash, because clients choose group ids: a weaker one would let them be made
    /// to share a shard with less work.
    #[must_use]
    pub fn of(address: Address) -> Self {
        let digest = Sha256::digest(address.to_bytes());
        Self(u16::from_be_bytes([digest[0], digest[1]]) >> 4)
    }

    /// The number of the shard.
    #[must_use]
    pub const fn get(self) -> u16 {
        self.0
    }

    /// The partition of this shard among `partition_count`: `shard * count / 4096`, so that a
    /// doubled count splits every partition in two.
    ///
    /// # Panics
    /// When `partition_count` is 0 or above 4096.
    #[must_use]
    pub fn partition(self, partition_count: u16) -> Partition {
        assert!(partition_count > 0, "a log has a partition");
        assert!(partition_count <= VSHARDS, "a partition has a shard");
        let partition = u32::from(self.0) * u32::from(partition_count) / u32::from(VSHARDS);
        Partition::new(u16::try_from(partition).expect("below partition_count"))
    }
}

/// The partition of an address among `partition_count`.
#[must_use]
pub fn partition_of(address: Address, partition_count: u16) -> Partition {
    VShard::of(address).partition(partition_count)
}
