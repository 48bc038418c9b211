//! The one secret all edges share, and the keys made from it.

use std::fmt;

use aws_lc_rs::{hkdf, hmac, rand};

/// Separates our keys from any other use of the same bytes.
const SALT: &[u8] = b"posthorn link 1";

/// Length of the secret and of each derived key, bytes.
const KEY_LEN: usize = 32;

/// 32 bytes from which edges derive the keys for session tickets, stateless resets and retry
/// tokens. With the same secret everywhere a client may resume, retry or learn of a lost
/// connection at any edge.
#[derive(Clone)]
pub struct MasterSecret([u8; KEY_LEN]);

impl MasterSecret {
    /// The secret with these bytes, which must be random and known to edges only.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; KEY_LEN]) -> Self {
        Self(bytes)
    }

    /// A fresh secret: right for a single edge, which forgets it when it ends.
    ///
    /// # Panics
    /// When the system gives no random bytes.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0; KEY_LEN];
        rand::fill(&mut bytes).expect("the system gives random bytes");
        Self(bytes)
    }

    /// The key that signs stateless resets.
    pub(crate) fn reset_key(&self) -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &self.derive(b"stateless reset", &[]))
    }

    /// The key that seals retry and address tokens.
    pub(crate) fn token_key(&self) -> hkdf::Prk {
        hkdf::Prk::new_less_safe(hkdf::HKDF_SHA256, &self.derive(b"address token", &[]))
    }

    /// 32 bytes for one purpose and context, by HKDF-SHA-256.
    pub(crate) fn derive(&self, purpose: &[u8], context: &[u8]) -> [u8; KEY_LEN] {
        let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, SALT).extract(&self.0);
        let purpose_len = [u8::try_from(purpose.len()).expect("purposes are short literals")];
        let info = [&purpose_len[..], purpose, context];
        let mut key = [0; KEY_LEN];
        pseudorandom
            .expand(&info, hkdf::HKDF_SHA256)
            .and_then(|expanded| expanded.fill(&mut key))
            .expect("one block of the hash can always be expanded");
        key
    }
}

impl fmt::Debug for MasterSecret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MasterSecret(..)")
    }
}
