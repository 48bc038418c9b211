//! Ports for servers that are started again at the same place.

use std::{
    fs,
    net::{Ipv4Addr, TcpListener, UdpSocket},
    sync::atomic::{AtomicU16, Ordering},
};

use anyhow::bail;

/// Ports are looked for from here on.
const LOWEST: u16 = 10_000;
/// Where the system begins to give ports by itself, unless it says otherwise.
const EPHEMERAL_DEFAULT: u16 = 32_768;
/// Searches of one process start apart, and so do those of processes started in a row.
const STRIDE: u16 = 97;

/// The first of `count` consecutive ports that nobody uses, for UDP and for TCP.
///
/// They lie below those that the system gives by itself: while a server is down, none of its
/// clients may be given its port.
///
/// # Errors
/// When there are none.
pub(crate) fn free(count: u16) -> anyhow::Result<u16> {
    static SEARCHES: AtomicU16 = AtomicU16::new(0);
    let end = ephemeral_begin().max(LOWEST + count);
    let room = end - LOWEST - count + 1;
    let searches = SEARCHES.fetch_add(1, Ordering::Relaxed);
    let own = (std::process::id() % u32::from(room)) as u16;
    let begin = own.wrapping_mul(STRIDE).wrapping_add(searches.wrapping_mul(STRIDE));
    for step in 0..room {
        let first = LOWEST + begin.wrapping_add(step) % room;
        if (first..first + count).all(is_free) {
            return Ok(first);
        }
    }
    bail!("there are no {count} free ports in a row between {LOWEST} and {end}");
}

fn is_free(port: u16) -> bool {
    let here = (Ipv4Addr::LOCALHOST, port);
    UdpSocket::bind(here).is_ok() && TcpListener::bind(here).is_ok()
}

fn ephemeral_begin() -> u16 {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let begin = range.split_whitespace().next().and_then(|begin| begin.parse().ok());
    begin.unwrap_or(EPHEMERAL_DEFAULT)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn ports_are_free_and_not_given_by_the_system() {
        let first = free(5).unwrap();
        assert!(first >= LOWEST && first + 5 <= ephemeral_begin());
        let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, first)).unwrap();
        assert!(!is_free(taken.local_addr().unwrap().port()));
    }
}
