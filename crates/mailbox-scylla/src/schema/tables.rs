//! The one place where tables are written down, and where the databases differ.
//!
//! *Rows* live in partitions of (user, bucket), see [`crate::bucket`], ordered by position. They
//! are written once with their log time as timestamp, for the database sorts them into windows by
//! it, and forgets a whole window when all of it has expired. `log_ms` and `expires_ms` are columns
//! too: readers compare them with their own clock, so that expiry does not depend on when the
//! database forgets. A deletion (erasure) is remembered for longer than the log is kept, so that a
//! row that a replay writes stays away.
//!
//! *Buckets* list a mailbox's buckets, newest first, with the newest position in each: the first of
//! them is the head. They have no time to live, so that a head never moves back; the timestamp is
//! the position, so that the highest wins. A head is written when a quorum has the rows below it:
//! were both in one partition and one write, a write that failed halfway could show the head of
//! rows that a later reader does not find. `log_ms` says when the newest row came, and with it
//! which buckets hold nothing any more.
//!
//! *Cursors*, *marks* and *entities* carry positions as timestamps too; how is said where they are
//! written. Nothing uses compare-and-set, counters, change capture, views or secondary indexes.

use std::time::Duration;

use super::{Dialect, Wanted};
use crate::CqlConfig;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Deletions and ends are remembered for at least this, in which a repair should run.
const GRACE_MIN: Duration = Duration::from_secs(10 * 24 * 3600);

/// What a deletion is remembered beyond the log: log times may be two days ahead.
const GRACE_BEYOND_LOG: Duration = Duration::from_secs(3 * 24 * 3600);

/// Windows of the rows' table: `ScyllaDB` accepts 50.
const WINDOWS_MAX: u64 = 45;

/// A table and how it is made.
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) why: &'static str,
    columns: &'static str,
    /// What follows `WITH`.
    options: fn(&CqlConfig) -> String,
}

/// Tables that say what the others are; made before anything else.
pub(super) const KEEPING: [Table; 2] = [
    Table {
        name: "schema_owner",
        why: "one program changes the schema at a time",
        columns: "part text, owner text, PRIMARY KEY (part, owner)",
        options: |_| "default_time_to_live = 300".to_owned(),
    },
    Table {
        name: "schema_version",
        why: "a program refuses tables it does not know",
        columns: "part text, version int, what text, PRIMARY KEY (part, version)",
        options: |_| "gc_grace_seconds = 864000".to_owned(),
    },
];

/// The tables of version 1.
pub(super) const FIRST: [Table; 5] = [
    Table {
        name: "mailbox_rows",
        why: "what devices read",
        columns: "user_id blob, bucket int, seq bigint, log_ms bigint, expires_ms bigint, \
            item blob, PRIMARY KEY ((user_id, bucket), seq)",
        options: |config| {
            format!(
                "CLUSTERING ORDER BY (seq ASC) AND compaction = {{\
                 'class': 'TimeWindowCompactionStrategy', 'compaction_window_unit': 'DAYS', \
                 'compaction_window_size': {}}} AND default_time_to_live = {} \
                 AND gc_grace_seconds = {}",
                window_days(config),
                config.retention.as_secs() + DAY.as_secs(),
                grace_seconds(config),
            )
        },
    },
    Table {
        name: "mailbox_buckets",
        why: "the head of each mailbox, and where its rows are",
        columns: "user_id blob, bucket int, newest bigint, log_ms bigint, \
            PRIMARY KEY (user_id, bucket)",
        options: |_| format!("CLUSTERING ORDER BY (bucket DESC) AND {LEVELED}"),
    },
    Table {
        name: "marks",
        why: "which derived records are stored",
        columns: "mail_partition int, source_partition int, seq bigint, \
            PRIMARY KEY (mail_partition, source_partition)",
        options: |_| LEVELED.to_owned(),
    },
    Table {
        name: "cursors",
        why: "how far each device is",
        columns: "user_id blob, device_id blob, seq bigint, caught_up_ms bigint, \
            PRIMARY KEY (user_id, device_id)",
        options: |_| LEVELED.to_owned(),
    },
    Table {
        name: "entities",
        why: "devices of users, rosters of groups, and what was decided about them",
        columns: "entity blob, kind tinyint, part blob, position bigint, value blob, \
            PRIMARY KEY (entity, kind, part)",
        options: |config| format!("{LEVELED} AND gc_grace_seconds = {}", grace_seconds(config)),
    },
];

/// For rows that are written over again and again and read one by one.
const LEVELED: &str = "compaction = {'class': 'LeveledCompactionStrategy'}";

/// Tables whose deletions must be remembered for longer than the log is kept.
pub(super) const REMEMBERING: [&str; 2] = ["mailbox_rows", "entities"];

/// How long they are remembered, seconds.
pub(super) fn grace_seconds(config: &CqlConfig) -> u64 {
    config.log_keep.saturating_add(GRACE_BEYOND_LOG).max(GRACE_MIN).as_secs()
}

fn window_days(config: &CqlConfig) -> u64 {
    config.retention.as_secs().div_ceil(DAY.as_secs()).div_ceil(WINDOWS_MAX).max(1)
}

impl Table {
    pub(super) fn statement(&self, config: &CqlConfig) -> String {
        format!(
            "CREATE TABLE IF NOT EXISTS {}.{} ({}) WITH {}",
            config.keyspace,
            self.name,
            self.columns,
            (self.options)(config)
        )
    }
}

/// The statement that makes the keyspace.
pub(super) fn keyspace(config: &CqlConfig, wanted: &Wanted) -> String {
    let copies = wanted.replication.iter().map(|(datacenter, copies)| {
        // A quote in a name would end it; doubled, it is part of it.
        format!(", '{}': {copies}", datacenter.replace('\'', "''"))
    });
    let engine = match wanted.engine {
        Dialect::Scylla => " AND tablets = {'enabled': true}",
        Dialect::Cassandra => "",
    };
    format!(
        "CREATE KEYSPACE IF NOT EXISTS {} WITH replication = \
         {{'class': 'NetworkTopologyStrategy'{}}} AND durable_writes = true{engine}",
        config.keyspace,
        copies.collect::<String>()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_keyspace_tells_the_databases_apart() {
        let config = CqlConfig::new(Vec::new(), "mail");
        let replication = vec![("east".to_owned(), 3), ("o'west".to_owned(), 2)];
        let statement =
            |engine| keyspace(&config, &Wanted { engine, replication: replication.clone() });
        let expected = "CREATE KEYSPACE IF NOT EXISTS mail WITH replication = \
            {'class': 'NetworkTopologyStrategy', 'east': 3, 'o''west': 2} \
            AND durable_writes = true";
        assert_eq!(statement(Dialect::Cassandra), expected);
        let tablets = " AND tablets = {'enabled': true}";
        assert_eq!(statement(Dialect::Scylla), format!("{expected}{tablets}"));
    }

    #[test]
    fn windows_stay_below_what_scylladb_accepts() {
        let mut config = CqlConfig::new(Vec::new(), "mail");
        assert_eq!(window_days(&config), 1);
        config.retention = DAY * 365;
        assert_eq!(window_days(&config), 9);
    }

    #[test]
    fn deletions_are_remembered_beyond_the_log() {
        let mut config = CqlConfig::new(Vec::new(), "mail");
        assert_eq!(grace_seconds(&config), 10 * 86_400);
        config.log_keep = DAY * 30;
        assert_eq!(grace_seconds(&config), 33 * 86_400);
    }
}
