//! All engines in one process, durable on one disk.
