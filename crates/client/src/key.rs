//! The key that makes a device.

use std::fmt;

use aws_lc_rs::{
    rand,
    signature::{Ed25519KeyPair, KeyPair},
};
use wire::{
    DeviceId,
    auth::{self, DEVICE_KEY_LEN, EXPORTER_LEN, NONCE_LEN, Signed},
    client_frame::Proof,
    version::PROTOCOL,
};

/// An Ed25519 key pair. Its public half names the device; the private half never leaves it.
pub struct DeviceKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl DeviceKey {
    /// A new device.
    #[must_use]
    pub fn generate() -> Self {
        Self::from_seed(random())
    }

    /// The device made of this seed, as a store keeps it.
    #[must_use]
    pub fn from_seed(seed: [u8; 32]) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).expect("any 32 bytes are a seed");
        Self { seed, pair }
    }

    /// What a store keeps, secretly.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public key.
    #[must_use]
    pub fn public(&self) -> [u8; DEVICE_KEY_LEN] {
        self.pair.public_key().as_ref().try_into().expect("an Ed25519 public key has 32 bytes")
    }

    /// The device.
    #[must_use]
    pub fn device(&self) -> DeviceId {
        auth::device_id(&self.public())
    }

    /// Proves that this device is on the connection with this exporter, together with a token.
    #[must_use]
    pub fn prove(&self, token: String, exporter: &[u8; EXPORTER_LEN]) -> Proof {
        let nonce: [u8; NONCE_LEN] = random();
        let device = self.device();
        let signed = Signed { version: PROTOCOL, exporter, token: &token, device, nonce: &nonce };
        let signature = self.pair.sign(&signed.to_bytes());
        let signature = signature.as_ref().try_into().expect("an Ed25519 signature has 64 bytes");
        Proof { token, nonce, signature }
    }
}

impl Clone for DeviceKey {
    fn clone(&self) -> Self {
        Self::from_seed(self.seed)
    }
}

/// Hides the key.
impl fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceKey({:?})", self.device())
    }
}

/// Bytes nobody can guess.
pub(crate) fn random<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    rand::fill(&mut bytes).expect("the system gives random bytes");
    bytes
}
