//! Mailboxes and entities on ScyllaDB or Cassandra.
