//! Session tickets that every edge with the same secret can open.

use std::fmt;

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    rand,
};
use rustls::{pki_types::UnixTime, server::ProducesTickets};

use crate::secret::MasterSecret;

/// How long one key makes tickets. It opens them for as long again.
const EPOCH_SECONDS: u64 = 6 * 3600;

/// Length of the epoch in front of a ticket, bytes.
const EPOCH_LEN: usize = 4;

/// Seals session state with a key that follows from the secret and the time, so that edges agree
/// on it without speaking to each other.
///
/// Layout of a ticket: epoch (big-endian) at 0, nonce at 4, AES-256-GCM ciphertext and tag at 16;
/// the epoch is authenticated. Taken are tickets of this epoch, the one before, and the next one
/// for edges whose clocks differ.
pub(crate) struct Tickets {
    current: MasterSecret,
    previous: Option<MasterSecret>,
}

impl Tickets {
    pub(crate) fn new(current: MasterSecret, previous: Option<MasterSecret>) -> Self {
        Self { current, previous }
    }
}

impl ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        u32::try_from(EPOCH_SECONDS).expect("hours fit in 32 bits of seconds")
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        seal(&self.current, epoch_now()?, plain)
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let secrets = std::iter::once(&self.current).chain(&self.previous);
        let epoch = epoch_now()?;
        secrets.into_iter().find_map(|secret| open(secret, epoch, ticket))
    }
}

impl fmt::Debug for Tickets {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tickets(..)")
    }
}

/// Certificates are checked against the same clock, inside the TLS library.
fn epoch_now() -> Option<u32> {
    u32::try_from(UnixTime::now().as_secs() / EPOCH_SECONDS).ok()
}

fn seal(secret: &MasterSecret, epoch: u32, plain: &[u8]) -> Option<Vec<u8>> {
    let epoch = epoch.to_be_bytes();
    let mut nonce = [0; NONCE_LEN];
    rand::fill(&mut nonce).ok()?;
    let mut sealed = plain.to_vec();
    key(secret, epoch)?
        .seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(epoch),
            &mut sealed,
        )
        .ok()?;
    Some([&epoch[..], &nonce, &sealed].concat())
}

fn open(secret: &MasterSecret, now: u32, ticket: &[u8]) -> Option<Vec<u8>> {
    let (epoch, rest) = ticket.split_first_chunk::<EPOCH_LEN>()?;
    let (nonce, sealed) = rest.split_first_chunk::<NONCE_LEN>()?;
    if u32::from_be_bytes(*epoch).abs_diff(now) > 1 {
        return None;
    }
    let mut sealed = sealed.to_vec();
    let nonce = Nonce::assume_unique_for_key(*nonce);
    let plain = key(secret, *epoch)?.open_in_place(nonce, Aad::from(*epoch), &mut sealed).ok()?;
    Some(plain.to_vec())
}

fn key(secret: &MasterSecret, epoch: [u8; EPOCH_LEN]) -> Option<LessSafeKey> {
    let bytes = secret.derive(b"session ticket", &epoch);
    UnboundKey::new(&AES_256_GCM, &bytes).ok().map(LessSafeKey::new)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn another_edge_with_the_secret_opens_a_ticket() {
        let ticket = seal(&MasterSecret::from_bytes([7; 32]), 100, b"session").unwrap();
        let opened = open(&MasterSecret::from_bytes([7; 32]), 100, &ticket);
        assert_eq!(opened.as_deref(), Some(&b"session"[..]));
    }

    #[test]
    fn an_edge_with_another_secret_or_a_later_time_does_not() {
        let ticket = seal(&MasterSecret::from_bytes([7; 32]), 100, b"session").unwrap();
        assert_eq!(open(&MasterSecret::from_bytes([8; 32]), 100, &ticket), None);
        assert!(open(&MasterSecret::from_bytes([7; 32]), 101, &ticket).is_some());
        assert!(open(&MasterSecret::from_bytes([7; 32]), 99, &ticket).is_some());
        assert_eq!(open(&MasterSecret::from_bytes([7; 32]), 102, &ticket), None);
    }

    #[test]
    fn every_changed_bit_and_every_shorter_ticket_is_refused() {
        let secret = MasterSecret::from_bytes([7; 32]);
        let ticket = seal(&secret, 100, b"session").unwrap();
        for index in 0..ticket.len() {
            let mut changed = ticket.clone();
            changed[index] ^= 1;
            assert_eq!(open(&secret, 100, &changed), None, "byte {index}");
            assert_eq!(open(&secret, 100, &ticket[..index]), None, "length {index}");
        }
    }

    #[test]
    fn tickets_of_the_secret_before_are_taken_and_new_ones_are_not_made_with_it() {
        let (old, new) = (MasterSecret::from_bytes([1; 32]), MasterSecret::from_bytes([2; 32]));
        let before = Tickets::new(old.clone(), None);
        let after = Tickets::new(new, Some(old));
        let ticket = before.encrypt(b"session").unwrap();
        assert_eq!(after.decrypt(&ticket).as_deref(), Some(&b"session"[..]));
        assert_eq!(before.decrypt(&after.encrypt(b"session").unwrap()), None);
    }
}
