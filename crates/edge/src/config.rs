//! Options of an edge.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use wire::limits::{ITEM_BYTES_MAX, TTL_MAX};

/// Options of an edge. Every one has a default that suits one machine and a small cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EdgeConfig {
    /// Client connections at once, 1 to 1,000,000. One needs about 50 KB. At the limit: new ones
    /// are refused, clients go to another edge.
    pub connections_max: usize,
    /// Client connections at once from one IPv4 address or one IPv6 /64 network, 1 to 1,000,000. At
    /// the limit: new ones are refused.
    pub connections_per_ip_max: usize,
    /// Connections that are not yet authenticated, 1 to 1,000,000. Above it: a client first proves
    /// that its address is its own, one more round trip (QUIC Retry).
    pub half_open_retry: usize,
    /// Connections that are not yet authenticated, at least `half_open_retry`. Above it: packets of
    /// new clients are ignored, they try again by themselves.
    pub half_open_ignore: usize,
    /// Pushes waiting for one connection, 1 to 65,536. At the limit: the device reads its mailbox
    /// instead.
    pub push_queue_len: usize,
    /// Bytes of answers waiting for one connection, 1 MiB to 64 MiB. Over it: the connection is
    /// closed as a slow reader.
    pub control_bytes_max: usize,
    /// Milliseconds a client may take no byte of waiting answers, 1,000 to 600,000. Over it: the
    /// connection is closed as a slow reader.
    pub slow_reader_ms: u64,
    /// Bytes a device may send per second, each counted once per recipient, 1,024 to 2^40. Over it:
    /// sends are answered Busy.
    pub send_bytes_per_s: u64,
    /// Bytes a device may send at once after a pause, counted likewise, at least the largest item.
    /// One send may overdraw it, later ones wait until it is paid back.
    pub send_bytes_burst: u64,
    /// Milliseconds without hearing the control log after which sends are answered Busy and the
    /// edge is not ready, 2,000 to 600,000.
    pub control_silence_ms: u64,
    /// Milliseconds the oldest unfinished record of a partition may be old, 1,000 to 86,400,000.
    /// Over it: sends to this partition are answered Busy.
    pub lag_max_ms: u64,
    /// Milliseconds within which every connected device's mailbox is compared with what it was
    /// given, 100 to 3,600,000: how late an item is at most when every push is lost.
    pub head_check_ms: u64,
    /// Milliseconds cursors are gathered before they are stored, 10 to 60,000.
    pub cursor_flush_ms: u64,
    /// Milliseconds the lease of this edge holds without being renewed, 1,000 to 600,000. It is
    /// renewed every third of it.
    pub lease_ttl_ms: u64,
    /// Milliseconds a drain takes at most, 0 to 3,600,000. What is left then is closed.
    pub drain_within_ms: u64,
    /// Milliseconds over which clients of a draining edge spread their reconnecting, 0 to
    /// `drain_within_ms`. With 0 connections close as soon as their sends are answered.
    pub drain_jitter_ms: u64,
    /// Milliseconds mailbox rows are kept, 1,000 to 30 days. A device that was away for longer is
    /// told that something may be missing.
    pub retention_ms: u64,
}

impl Default for EdgeConfig {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            connections_per_ip_max: 2_000,
            half_open_retry: 256,
            half_open_ignore: 2_048,
            push_queue_len: 512,
            control_bytes_max: 2 * 1024 * 1024,
            slow_reader_ms: 30_000,
            send_bytes_per_s: 16 * 1024 * 1024,
            send_bytes_burst: 64 * 1024 * 1024,
            control_silence_ms: 30_000,
            lag_max_ms: 600_000,
            head_check_ms: 60_000,
            cursor_flush_ms: 200,
            lease_ttl_ms: 10_000,
            drain_within_ms: 30_000,
            drain_jitter_ms: 10_000,
            retention_ms: u64::try_from(TTL_MAX.as_millis()).expect("30 days in milliseconds"),
        }
    }
}

impl EdgeConfig {
    /// Whether every option is in its range.
    ///
    /// # Errors
    /// The name of the first option that is not, and its range.
    pub fn check(&self) -> Result<(), OutOfRange> {
        let retention_max = u64::try_from(TTL_MAX.as_millis()).expect("30 days in milliseconds");
        let burst_min = u64::try_from(ITEM_BYTES_MAX).expect("an item is small");
        let in_range = [
            ("connections_max", self.connections_max as u64, 1, 1_000_000),
            ("connections_per_ip_max", self.connections_per_ip_max as u64, 1, 1_000_000),
            ("half_open_retry", self.half_open_retry as u64, 1, 1_000_000),
            (
                "half_open_ignore",
                self.half_open_ignore as u64,
                self.half_open_retry as u64,
                1_000_000,
            ),
            ("push_queue_len", self.push_queue_len as u64, 1, 65_536),
            ("control_bytes_max", self.control_bytes_max as u64, 1 << 20, 64 << 20),
            ("slow_reader_ms", self.slow_reader_ms, 1_000, 600_000),
            ("send_bytes_per_s", self.send_bytes_per_s, 1_024, 1 << 40),
            ("send_bytes_burst", self.send_bytes_burst, burst_min, 1 << 40),
            ("control_silence_ms", self.control_silence_ms, 2_000, 600_000),
            ("lag_max_ms", self.lag_max_ms, 1_000, 86_400_000),
            ("head_check_ms", self.head_check_ms, 100, 3_600_000),
            ("cursor_flush_ms", self.cursor_flush_ms, 10, 60_000),
            ("lease_ttl_ms", self.lease_ttl_ms, 1_000, 600_000),
            ("drain_within_ms", self.drain_within_ms, 0, 3_600_000),
            ("drain_jitter_ms", self.drain_jitter_ms, 0, self.drain_within_ms),
            ("retention_ms", self.retention_ms, 1_000, retention_max),
        ];
        for (option, value, min, max) in in_range {
            if !(min..=max).contains(&value) {
                return Err(OutOfRange { option, value, min, max });
            }
        }
        Ok(())
    }

    /// How long a drain takes at most.
    #[must_use]
    pub fn drain_within(&self) -> Duration {
        Duration::from_millis(self.drain_within_ms)
    }

    /// How late an item is at most when every push is lost.
    #[must_use]
    pub fn head_check(&self) -> Duration {
        Duration::from_millis(self.head_check_ms)
    }
}

/// An option outside its range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("edge.{option} is {value}, it must be from {min} to {max}")]
pub struct OutOfRange {
    /// Its name.
    pub option: &'static str,
    /// What it was set to.
    pub value: u64,
    /// The least it may be.
    pub min: u64,
    /// The most it may be.
    pub max: u64,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_defaults_are_in_range() {
        EdgeConfig::default().check().unwrap();
    }

    #[test]
    fn an_unknown_option_is_refused() {
        let config = serde_json::json!({ "conections_max": 1 });
        assert!(serde_json::from_value::<EdgeConfig>(config).is_err());
    }

    #[test]
    fn an_option_out_of_range_is_named() {
        let config = EdgeConfig { drain_jitter_ms: 31_000, ..EdgeConfig::default() };
        assert_eq!(config.check().unwrap_err().option, "drain_jitter_ms");
    }
}
