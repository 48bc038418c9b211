//! Where an identity provider's keys come from: a file or a URL, read with every bound there is.

use std::{io::Read as _, path::PathBuf, sync::Arc, time::Duration};

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse},
};
use serde::Deserialize;
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

/// A key set, bytes. Over it: the set is not taken, the old keys stay.
pub const KEY_SET_BYTES_MAX: u64 = 256 * 1024;
/// Keys of a set. Further ones are left out.
pub const KEYS_MAX: usize = 64;
/// Fetching a key set takes at most this.
const FETCH_WITHIN: Duration = Duration::from_secs(5);

/// Where the keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// A file on this machine; replaced as a whole when keys change.
    File(PathBuf),
    /// An HTTPS URL (HTTP only to this machine itself), never another one it redirects to.
    Url {
        /// The URL.
        url: String,
        /// PEM file with the only authorities trusted for it; without it the public web's.
        ca_file: Option<PathBuf>,
    },
}

/// A key that may verify tokens.
pub(crate) struct Key {
    pub(crate) kid: Option<String>,
    /// The only algorithm it is good for, from the key and never from a token.
    pub(crate) algorithm: Algorithm,
    pub(crate) key: DecodingKey,
}

impl KeySource {
    /// The source a person writes: a URL when it has a scheme, otherwise a file.
    #[must_use]
    pub fn parse(text: &str, ca_file: Option<PathBuf>) -> Self {
        if text.contains("://") {
            Self::Url { url: text.to_owned(), ca_file }
        } else {
            Self::File(PathBuf::from(text))
        }
    }

    /// Reads the set; blocks for up to [`FETCH_WITHIN`].
    ///
    /// # Errors
    /// Why there is no usable set, for an operator to read.
    pub(crate) fn read(&self) -> Result<Vec<Key>, String> {
        let bytes = match self {
            Self::File(path) => {
                let file =
                    std::fs::File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
                let mut bytes = Vec::new();
                file.take(KEY_SET_BYTES_MAX + 1)
                    .read_to_end(&mut bytes)
                    .map_err(|e| format!("{}: {e}", path.display()))?;
                bytes
            }
            Self::Url { url, ca_file } => fetch(url, ca_file.as_ref())?,
        };
        if bytes.len() as u64 > KEY_SET_BYTES_MAX {
            return Err(format!("the key set is larger than {KEY_SET_BYTES_MAX} bytes"));
        }
        parse_keys(&bytes)
    }
}

fn fetch(url: &str, ca_file: Option<&PathBuf>) -> Result<Vec<u8>, String> {
    let this_machine = ["http://127.0.0.1:", "http://localhost:", "http://[::1]:"];
    let is_local = this_machine.iter().any(|prefix| url.starts_with(prefix));
    let roots = match ca_file {
        None => RootCerts::WebPki,
        Some(path) => {
            let pem = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
            let certificates: Vec<_> = parse_pem(&pem)
                .filter_map(|item| match item {
                    Ok(PemItem::Certificate(certificate)) => Some(certificate),
                    Ok(_) | Err(_) => None,
                })
                .collect();
            if certificates.is_empty() {
                return Err(format!("{}: no certificate in it", path.display()));
            }
            RootCerts::from(certificates)
        }
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let tls =
        TlsConfig::builder().root_certs(roots).unversioned_rustls_crypto_provider(provider).build();
    let agent = ureq::Agent::config_builder()
        .https_only(!is_local)
        .max_redirects(0)
        .max_redirects_will_error(true)
        .timeout_global(Some(FETCH_WITHIN))
        .tls_config(tls)
        .build()
        .new_agent();
    let response = agent.get(url).call().map_err(|e| e.to_string())?;
    if response.status() != 200 {
        return Err(format!("answered {}", response.status()));
    }
    let body = response.into_body().into_with_config().limit(KEY_SET_BYTES_MAX).read_to_vec();
    body.map_err(|e| e.to_string())
}

/// The keys of a set that can verify tokens: others in it, of whatever kind, are passed over.
pub(crate) fn parse_keys(bytes: &[u8]) -> Result<Vec<Key>, String> {
    #[derive(Deserialize)]
    struct KeySet {
        keys: Vec<serde_json::Value>,
    }
    let set: KeySet =
        serde_json::from_slice(bytes).map_err(|e| format!("not a JSON Web Key Set: {e}"))?;
    let keys: Vec<Key> = set.keys.into_iter().filter_map(parse_key).take(KEYS_MAX).collect();
    if keys.is_empty() {
        return Err("no key for RS256, ES256 or EdDSA in the set".to_owned());
    }
    Ok(keys)
}

fn parse_key(value: serde_json::Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    if jwk.common.public_key_use.as_ref().is_some_and(|usage| *usage != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        // Other curves and kinds, symmetric keys above all: whoever verifies with one could mint
        // with it.
        AlgorithmParameters::EllipticCurve(_)
        | AlgorithmParameters::OctetKeyPair(_)
        | AlgorithmParameters::OctetKey(_)
        | AlgorithmParameters::Other(_)
        | _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|declared| declared != named) {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { kid: jwk.common.key_id, algorithm, key })
}
