//! Names of topics, and the lanes appends go through.

use wire::{Epoch, Partition, Topic, record::EpochMap};

/// The topics of one epoch, by name, and their lanes: mail, then group, control, dead letters.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) map: EpochMap,
    mail: String,
    group: String,
    control: String,
    dead_letters: String,
}

impl Layout {
    pub(crate) fn new(prefix: &str, map: EpochMap) -> Self {
        Self {
            map,
            mail: mail_name(prefix, map.epoch),
            group: group_name(prefix, map.epoch),
            control: control_name(prefix),
            dead_letters: dead_letters_name(prefix),
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.map.epoch
    }

    pub(crate) fn count(&self, topic: Topic) -> u16 {
        match topic {
            Topic::Mail => self.map.mail_partitions,
            Topic::Group => self.map.group_partitions,
            Topic::Control => 1,
        }
    }

    /// The topic's name; of the mail and group log also their consumer group's.
    pub(crate) fn name(&self, topic: Topic) -> &str {
        match topic {
            Topic::Mail => &self.mail,
            Topic::Group => &self.group,
            Topic::Control => &self.control,
        }
    }

    pub(crate) fn lanes(&self) -> usize {
        usize::from(self.map.mail_partitions) + usize::from(self.map.group_partitions) + 2
    }

    /// The lane of a partition.
    ///
    /// # Panics
    /// When the topic has no such partition: the caller took it from elsewhere.
    pub(crate) fn lane(&self, topic: Topic, partition: Partition) -> usize {
        assert!(partition.get() < self.count(topic), "the partition is one of the topic's");
        let first = match topic {
            Topic::Mail => 0,
            Topic::Group => usize::from(self.map.mail_partitions),
            Topic::Control => self.lanes() - 2,
        };
        first + usize::from(partition.get())
    }

    /// The lane of the dead letters.
    pub(crate) fn dead_letters(&self) -> usize {
        self.lanes() - 1
    }

    /// Whether it is the lane of the control log.
    pub(crate) fn is_control(&self, lane: usize) -> bool {
        lane == self.lanes() - 2
    }

    /// The topic and the partition of a lane, as Kafka calls them.
    pub(crate) fn place(&self, lane: usize) -> (&str, i32) {
        let mail = usize::from(self.map.mail_partitions);
        let (name, partition) = if lane < mail {
            (&self.mail, lane)
        } else if lane < self.lanes() - 2 {
            (&self.group, lane - mail)
        } else if self.is_control(lane) {
            (&self.control, 0)
        } else {
            (&self.dead_letters, 0)
        };
        (name, i32::try_from(partition).expect("at most 4096 partitions"))
    }
}

pub(crate) fn mail_name(prefix: &str, epoch: Epoch) -> String {
    format!("{prefix}.mail.e{epoch}")
}

pub(crate) fn group_name(prefix: &str, epoch: Epoch) -> String {
    format!("{prefix}.group.e{epoch}")
}

pub(crate) fn control_name(prefix: &str) -> String {
    format!("{prefix}.control")
}

pub(crate) fn dead_letters_name(prefix: &str) -> String {
    format!("{prefix}.dead-letters")
}
