//! Presence on Redis or Valkey.
