//! Framed, bounded channels between processes: QUIC, and memory for tests.
