//! Tokens as an identity provider gives them, made here from its signing key.

use std::{
    collections::HashMap,
    fmt, fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::{Context as _, bail};
use aws_lc_rs::{
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
        RSA_PKCS1_SHA256, RsaKeyPair,
    },
};
use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD},
};
use client::UserId;
use serde_json::{Value, json};

/// A token is good for this, seconds; clients ask for another one in time.
const LIFETIME_S: u64 = 3600;
/// Tokens are good from a little earlier, for clocks that differ; seconds.
const CLOCK_SLACK_S: u64 = 30;
/// Characters of a line of PEM.
const PEM_LINE: usize = 64;

/// What tokens say besides who the bearer is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `iss`: who gave the token.
    pub issuer: String,
    /// `aud`: for whom it is.
    pub audience: String,
    /// `kid`: which key of the issuer's set signed it.
    pub key_id: String,
}

/// As `posthorn dev` has it.
impl Default for Identity {
    fn default() -> Self {
        Self {
            issuer: "https://posthorn.invalid/dev".into(),
            audience: "posthorn".into(),
            key_id: "dev".into(),
        }
    }
}

/// A key that signs tokens.
#[derive(Debug)]
pub struct TokenKey(Signer);

#[derive(Debug)]
enum Signer {
    Ed25519(Ed25519KeyPair),
    P256(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl TokenKey {
    /// Reads a private key from a file: PEM or DER, PKCS #8 or what OpenSSL wrote before it;
    /// Ed25519, P-256 or RSA.
    ///
    /// # Errors
    /// When it is none of these.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes = fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("the token key {}", path.display()))
    }

    /// As [`Self::read`], from bytes.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let der = match std::str::from_utf8(bytes) {
            Ok(text) if text.contains("-----BEGIN") => from_pem(text)?,
            Ok(_) | Err(_) => bytes.to_vec(),
        };
        let p256 = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let signer = Ed25519KeyPair::from_pkcs8(&der)
            .map(Signer::Ed25519)
            .or_else(|_| EcdsaKeyPair::from_pkcs8(p256, &der).map(Signer::P256))
            .or_else(|_| RsaKeyPair::from_pkcs8(&der).map(Signer::Rsa))
            .or_else(|_| EcdsaKeyPair::from_private_key_der(p256, &der).map(Signer::P256))
            .or_else(|_| RsaKeyPair::from_der(&der).map(Signer::Rsa));
        let Ok(signer) = signer else {
            bail!(
                "it is no private key for EdDSA (Ed25519), ES256 (P-256) or RS256 (RSA); one can \
                 be made by `loadtest token-key new DIR`"
            );
        };
        Ok(Self(signer))
    }

    /// A new Ed25519 key.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn generate() -> anyhow::Result<Self> {
        let pair = Ed25519KeyPair::generate().context("the system has no random numbers")?;
        Ok(Self(Signer::Ed25519(pair)))
    }

    /// The key itself, secret: PKCS #8 in PEM.
    ///
    /// # Errors
    /// When it is not Ed25519: only such are made here.
    pub fn to_pem(&self) -> anyhow::Result<String> {
        let Signer::Ed25519(pair) = &self.0 else { bail!("only Ed25519 keys are written") };
        let der = pair.to_pkcs8v1().context("the key cannot be written")?;
        let base64 = BASE64_STANDARD.encode(der.as_ref());
        let lines: Vec<&str> = (0..base64.len())
            .step_by(PEM_LINE)
            .map(|begin| &base64[begin..(begin + PEM_LINE).min(base64.len())])
            .collect();
        let body = lines.join("\n");
        Ok(format!("-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"))
    }

    /// The set with its public half, as an identity provider publishes it.
    ///
    /// # Errors
    /// As [`Self::to_pem`].
    pub fn to_jwks(&self, key_id: &str) -> anyhow::Result<Value> {
        let Signer::Ed25519(pair) = &self.0 else { bail!("only Ed25519 keys are written") };
        let public = BASE64_URL_SAFE_NO_PAD.encode(pair.public_key().as_ref());
        Ok(json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": key_id,
            "x": public,
        }] }))
    }

    /// The name of its algorithm in a token.
    #[must_use]
    pub fn algorithm(&self) -> &'static str {
        match &self.0 {
            Signer::Ed25519(_) => "EdDSA",
            Signer::P256(_) => "ES256",
            Signer::Rsa(_) => "RS256",
        }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        const SIGNS: &str = "a whole private key signs";
        let random = SystemRandom::new();
        match &self.0 {
            Signer::Ed25519(pair) => pair.sign(message).as_ref().to_vec(),
            Signer::P256(pair) => pair.sign(&random, message).expect(SIGNS).as_ref().to_vec(),
            Signer::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).expect(SIGNS);
                signature
            }
        }
    }
}

/// Has tokens for any number of users.
#[derive(Debug)]
pub struct Minter {
    issuer: String,
    source: Source,
}

/// Where tokens come from.
#[derive(Debug)]
enum Source {
    /// They are signed here. The header is the same in all of them.
    Key { key: TokenKey, identity: Identity, header: String },
    /// Somebody else signs them.
    Given(Arc<Given>),
}

/// Tokens that somebody else signed, by user.
#[derive(Default)]
pub struct Given(Mutex<HashMap<String, String>>);

impl Given {
    /// Takes tokens, in the place of those that the same users had.
    pub fn take(&self, tokens: impl IntoIterator<Item = (String, String)>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(tokens);
    }

    /// The token of a user; an empty one, which no cluster takes, for whom none was given.
    fn of(&self, name: &str) -> String {
        let tokens = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        tokens.get(name).cloned().unwrap_or_default()
    }
}

impl fmt::Debug for Given {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Given").finish_non_exhaustive()
    }
}

impl Minter {
    /// Tokens signed by this key.
    #[must_use]
    pub fn new(key: TokenKey, identity: Identity) -> Self {
        let header = json!({ "alg": key.algorithm(), "typ": "JWT", "kid": identity.key_id });
        let header = encode(header.to_string().as_bytes());
        Self { issuer: identity.issuer.clone(), source: Source::Key { key, identity, header } }
    }

    /// Tokens that somebody else signs.
    #[must_use]
    pub fn given(issuer: String, tokens: Arc<Given>) -> Self {
        Self { issuer, source: Source::Given(tokens) }
    }

    /// A token for the user called `name`, good for an hour from now; a given one as it was given.
    #[must_use]
    pub fn mint(&self, name: &str, now_ms: u64) -> String {
        let (key, identity, header) = match &self.source {
            Source::Key { key, identity, header } => (key, identity, header),
            Source::Given(tokens) => return tokens.of(name),
        };
        let now_s = now_ms / 1000;
        let claims = json!({
            "iss": identity.issuer,
            "aud": identity.audience,
            "sub": name,
            "nbf": now_s.saturating_sub(CLOCK_SLACK_S),
            "exp": now_s + LIFETIME_S,
        });
        let signed = format!("{header}.{}", encode(claims.to_string().as_bytes()));
        let signature = encode(&key.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// Who the user called `name` is to the cluster.
    #[must_use]
    pub fn user(&self, name: &str) -> UserId {
        client::user_id(&self.issuer, name)
    }

    /// The issuer of its tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }
}

fn encode(part: &[u8]) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(part)
}

/// The bytes of the first private key in a PEM text.
fn from_pem(text: &str) -> anyhow::Result<Vec<u8>> {
    let mut lines = text.lines().map(str::trim);
    let is_begin = |line: &str| line.starts_with("-----BEGIN") && line.contains("PRIVATE KEY");
    let begin = lines.find(|line| is_begin(line)).context("the PEM text holds no private key")?;
    if begin.contains("ENCRYPTED") {
        bail!("the key is encrypted: take the password off, for one by `openssl pkey`");
    }
    let body: String = lines.take_while(|line| !line.starts_with("-----END")).collect();
    BASE64_STANDARD.decode(body).context("the PEM text is damaged")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use aws_lc_rs::encoding::AsDer as _;
    use aws_lc_rs::rsa::KeySize;
    use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};

    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    fn validation(algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&["posthorn"]);
        validation.set_issuer(&["https://posthorn.invalid/dev"]);
        validation.validate_exp = false;
        validation
    }

    /// The claims of a token by this key, after checking it as a server would.
    fn check(key: TokenKey, algorithm: Algorithm, public: &DecodingKey) -> Value {
        let token = Minter::new(key, Identity::default()).mint("lt-1-7", NOW_MS);
        assert_eq!(decode_header(&token).unwrap().kid.as_deref(), Some("dev"));
        decode::<Value>(&token, public, &validation(algorithm)).unwrap().claims
    }

    #[test]
    fn a_token_of_a_written_key_is_believed_by_its_set() {
        let key = TokenKey::generate().unwrap();
        let set: jsonwebtoken::jwk::JwkSet =
            serde_json::from_value(key.to_jwks("dev").unwrap()).unwrap();
        let public = DecodingKey::from_jwk(set.find("dev").unwrap()).unwrap();
        let written = TokenKey::parse(key.to_pem().unwrap().as_bytes()).unwrap();
        let claims = check(written, Algorithm::EdDSA, &public);
        assert_eq!(claims["sub"], "lt-1-7");
        assert_eq!(
            (claims["nbf"].as_u64(), claims["exp"].as_u64()),
            (Some(NOW_MS / 1000 - 30), Some(NOW_MS / 1000 + 3600))
        );
    }

    #[test]
    fn keys_of_other_providers_sign_too() {
        let p256 = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let pkcs8 = p256.to_pkcs8v1().unwrap();
        let public = DecodingKey::from_ec_der(p256.public_key().as_ref());
        check(TokenKey::parse(pkcs8.as_ref()).unwrap(), Algorithm::ES256, &public);
        let rsa = RsaKeyPair::generate(KeySize::Rsa2048).unwrap();
        let pkcs8 = rsa.as_der().unwrap();
        let public = DecodingKey::from_rsa_der(rsa.public_key().as_ref());
        check(TokenKey::parse(pkcs8.as_ref()).unwrap(), Algorithm::RS256, &public);
    }

    #[test]
    fn what_is_no_key_is_explained() {
        let problem = |bytes: &[u8]| format!("{:#}", TokenKey::parse(bytes).unwrap_err());
        assert!(problem(b"secret").contains("loadtest token-key new"));
        let certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(problem(certificate).contains("no private key"));
        assert!(problem(b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n").contains("password"));
    }
}
