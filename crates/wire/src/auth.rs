//! Who is who: ids made from an identity provider's claims and from keys, and the bytes a device
//! signs.

use sha2::{Digest, Sha256};

use crate::id::{DeviceId, UserId};

/// Label of the TLS exporter (RFC 8446, section 7.5) both sides take 32 bytes from, with an empty
/// context.
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-posthorn-device-authentication";

/// Length of the exported keying material, bytes.
pub const EXPORTER_LEN: usize = 32;

/// Length of a device's Ed25519 public key, bytes.
pub const DEVICE_KEY_LEN: usize = 32;

/// Length of an Ed25519 signature, bytes.
pub const SIGNATURE_LEN: usize = 64;

/// Length of the nonce, bytes.
pub const NONCE_LEN: usize = 16;

const CONTEXT: &[u8; 33] = b"posthorn/1 device authentication\0";

/// Length of the signed bytes.
pub const SIGNED_LEN: usize = 33 + 4 + EXPORTER_LEN + 32 + 8 + NONCE_LEN;

/// What the authentication signature covers.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// The highest protocol version both sides know, so that it cannot be lowered on the way.
    pub version: u32,
    /// Exported from the TLS session of this very connection, so that a recording opens no other.
    pub exporter: &'a [u8; EXPORTER_LEN],
    /// The token that goes with the signature.
    pub token: &'a str,
    /// The device that signs.
    pub device: DeviceId,
    /// Drawn at random by the device.
    pub nonce: &'a [u8; NONCE_LEN],
}

impl Signed<'_> {
    /// The bytes that are signed, 125 of them.
    ///
    /// Layout: context `posthorn/1 device authentication` and a zero byte at 0, version
    /// (big-endian) at 33, exporter at 37, SHA-256 of the token at 69, device at 101, nonce at 109.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; SIGNED_LEN] {
        let mut bytes = [0; SIGNED_LEN];
        bytes[..33].copy_from_slice(CONTEXT);
        bytes[33..37].copy_from_slice(&self.version.to_be_bytes());
        bytes[37..69].copy_from_slice(self.exporter);
        bytes[69..101].copy_from_slice(&Sha256::digest(self.token.as_bytes()));
        bytes[101..109].copy_from_slice(self.device.as_bytes());
        bytes[109..].copy_from_slice(self.nonce);
        bytes
    }
}

/// The user a token names: the first 16 bytes of SHA-256 over `posthorn user`, a zero byte, the
/// issuer's length in bytes as 4 big-endian bytes, the issuer, and the subject.
#[must_use]
pub fn user_id(issuer: &str, subject: &str) -> UserId {
    UserId::from_bytes(named(b"posthorn user\0", issuer, subject))
}

/// A group id from a name, for programs that let people name groups: as [`user_id`] with
/// `posthorn group`. The protocol itself takes any 16 bytes.
#[must_use]
pub fn group_id(issuer: &str, name: &str) -> crate::id::GroupId {
    crate::id::GroupId::from_bytes(named(b"posthorn group\0", issuer, name))
}

/// The device with this public key: the first 8 bytes of its SHA-256.
#[must_use]
pub fn device_id(device_key: &[u8; DEVICE_KEY_LEN]) -> DeviceId {
    let digest = Sha256::digest(device_key);
    DeviceId::from_bytes(digest[..8].try_into().expect("eight bytes"))
}

fn named(kind: &[u8], issuer: &str, name: &str) -> [u8; 16] {
    let issuer_len = u32::try_from(issuer.len()).expect("a token is shorter than 4 GiB");
    let digest = Sha256::new()
        .chain_update(kind)
        .chain_update(issuer_len.to_be_bytes())
        .chain_update(issuer)
        .chain_update(name)
        .finalize();
    digest[..16].try_into().expect("sixteen bytes")
}
