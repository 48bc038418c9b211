//! The highest source positions seen, which tell a derived record that comes again.

use std::collections::BTreeMap;

use wire::{Partition, Seq, record::Source};

/// For one partition of the mail log: the highest position seen of each partition of the group log.
pub(crate) struct Marks {
    partition: Partition,
    seen: BTreeMap<Partition, Seq>,
    /// Raised since the last [`Self::take_raised`].
    raised: BTreeMap<Partition, Seq>,
}

impl Marks {
    pub(crate) fn new(partition: Partition, stored: Vec<Source>) -> Self {
        let mut marks = Self { partition, seen: BTreeMap::new(), raised: BTreeMap::new() };
        for source in stored {
            marks.rise(source);
        }
        marks.raised.clear();
        marks
    }

    /// Whether the source is above what was seen of its partition. It is the highest seen then.
    pub(crate) fn rise(&mut self, source: Source) -> bool {
        let above = self.seen.get(&source.partition).is_none_or(|seen| source.seq > *seen);
        if above {
            self.seen.insert(source.partition, source.seq);
            self.raised.insert(source.partition, source.seq);
        }
        above
    }

    /// What has to be stored after the rows of these sources.
    pub(crate) fn take_raised(&mut self) -> Vec<(Partition, Source)> {
        let raised = std::mem::take(&mut self.raised).into_iter();
        raised.map(|(partition, seq)| (self.partition, Source { partition, seq })).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(partition: u16, seq: u64) -> Source {
        Source { partition: Partition::new(partition), seq: Seq::from_u64(seq) }
    }

    #[test]
    fn only_what_is_above_the_highest_seen_of_its_partition_is_new() {
        let mut marks = Marks::new(Partition::new(7), vec![source(1, 10)]);
        assert!(!marks.rise(source(1, 10)));
        assert!(!marks.rise(source(1, 9)));
        assert!(marks.rise(source(2, 3)));
        assert!(marks.rise(source(1, 11)));
        assert!(!marks.rise(source(1, 11)));
    }

    #[test]
    fn what_rose_is_stored_once() {
        let mut marks = Marks::new(Partition::new(7), vec![source(1, 10), source(3, 1)]);
        marks.rise(source(1, 11));
        marks.rise(source(1, 12));
        marks.rise(source(2, 5));
        let mail = Partition::new(7);
        assert_eq!(marks.take_raised(), vec![(mail, source(1, 12)), (mail, source(2, 5))]);
        assert_eq!(marks.take_raised(), vec![]);
    }
}
