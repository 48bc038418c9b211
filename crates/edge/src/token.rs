//! Tokens of an identity provider: who a bearer is, and until when.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{
    FutureExt as _,
    future::{BoxFuture, Shared},
};
use jsonwebtoken::Validation;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use wire::{
    UserId, auth,
    limits::{TOKEN_BYTES_MAX, TOKEN_LEEWAY},
};

use crate::{
    WallClock,
    jwks::{Key, KeySource},
};

/// The key set is read at most this often, however many tokens name unknown keys.
pub const REFRESH_AT_MOST_EVERY: Duration = Duration::from_secs(30);
/// The same while no key is known at all, so that a provider that comes up late is noticed.
pub const FIRST_READ_AT_MOST_EVERY: Duration = Duration::from_secs(1);
/// The key set is read anew this often, so that keys the provider took back are forgotten.
pub const REFRESH_EVERY: Duration = Duration::from_secs(600);
/// Reading the key set is given up after this, whatever the source does.
const READ_WITHIN: Duration = Duration::from_secs(10);
/// The latest expiry a token can have, seconds since 1970: the end of the year 9999.
const EXPIRES_MAX_S: f64 = 253_402_300_799.0;

/// Options about the operator's identity provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenConfig {
    /// What tokens must have as `iss`, exactly.
    pub issuer: String,
    /// What tokens must have as, or among, `aud`.
    pub audience: String,
    /// The provider's JSON Web Key Set: an HTTPS URL, or a file. Keys for RS256, ES256 and EdDSA
    /// are used. Read again every 10 minutes, and at most every 30 seconds when a token names an
    /// unknown key.
    pub jwks: String,
    /// PEM file with the certificate authorities trusted for the URL; without it the public web's.
    #[serde(default)]
    pub jwks_ca_file: Option<PathBuf>,
}

/// Verifies tokens. Cloning is cheap and shares the keys.
#[derive(Clone)]
pub struct Verifier(Arc<Inner>);

struct Inner {
    issuer: String,
    audience: String,
    source: KeySource,
    wall_clock: WallClock,
    state: Mutex<State>,
}

type Refresh = Shared<BoxFuture<'static, ()>>;

#[derive(Default)]
struct State {
    keys: Arc<Vec<Key>>,
    /// The last or present reading of the key set, and when it began.
    refresh: Option<(Instant, Refresh)>,
    /// Why the last reading failed; none after a good one.
    failure: Option<String>,
}

/// Who a good token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user: UserId,
    /// When the token ends, milliseconds since 1970, without leeway.
    pub expires_ms: u64,
}

/// Why a token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It never will: another one is needed.
    #[error("the token is not valid: {0}")]
    Invalid(&'static str),
    /// The provider's keys were never read: try again later.
    #[error("the identity provider's keys are not available")]
    Unavailable,
}

/// The claims that are looked at; all of them must be there.
#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    exp: f64,
    nbf: f64,
}

impl Verifier {
    /// A verifier that has read no keys yet; it reads them when first needed.
    #[must_use]
    pub fn new(config: &TokenConfig, wall_clock: WallClock) -> Self {
        let source = KeySource::parse(&config.jwks, config.jwks_ca_file.clone());
        Self(Arc::new(Inner {
            issuer: config.issuer.clone(),
            audience: config.audience.clone(),
            source,
            wall_clock,
            state: Mutex::default(),
        }))
    }

    /// Reads the key set now, unless that was done within [`REFRESH_AT_MOST_EVERY`].
    ///
    /// # Errors
    /// Why the last reading failed, for an operator. Keys read before stay in use.
    ///
    /// # Cancel safety
    /// The reading goes on when the call is dropped, and the next caller sees what came of it.
    pub async fn refresh(&self) -> Result<(), String> {
        if let Some(refresh) = self.start_refresh() {
            refresh.await;
        }
        self.state().failure.clone().map_or(Ok(()), Err)
    }

    /// Who this token names, when it is good now.
    ///
    /// The algorithm comes from the key, which comes from the provider's set; headers that carry or
    /// point to keys are not followed. `iss`, `sub`, `aud`, `exp` and `nbf` are all required.
    ///
    /// # Errors
    /// [`TokenError::Invalid`]: refuse. [`TokenError::Unavailable`]: try again later.
    ///
    /// # Cancel safety
    /// As [`Self::refresh`].
    pub async fn verify(&self, token: &str) -> Result<Identity, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::Invalid("too long"));
        }
        let header = jsonwebtoken::decode_header(token)
            .map_err(|_| TokenError::Invalid("not a JWT, or of an unknown algorithm"))?;
        if header.crit.is_some() {
            return Err(TokenError::Invalid("a critical header that is not known"));
        }
        let mut keys = self.keys();
        let mut found = find(&keys, header.kid.as_deref());
        if found.is_none() {
            if let Some(refresh) = self.start_refresh() {
                refresh.await;
            }
            keys = self.keys();
            found = find(&keys, header.kid.as_deref());
        }
        if keys.is_empty() {
            return Err(TokenError::Unavailable);
        }
        self.check(token, found.ok_or(TokenError::Invalid("signed by an unknown key"))?)
    }

    /// Reads the key set every [`REFRESH_EVERY`], and sooner after a failure, until dropped.
    pub(crate) async fn keep_fresh(&self) {
        loop {
            let pause = match self.refresh().await {
                Ok(()) => REFRESH_EVERY,
                Err(failure) => {
                    tracing::warn!(failure, "the identity provider's keys were not read");
                    REFRESH_AT_MOST_EVERY
                }
            };
            tokio::time::sleep(pause).await;
        }
    }

    fn check(&self, token: &str, key: &Key) -> Result<Identity, TokenError> {
        let mut validation = Validation::new(key.algorithm);
        validation.set_required_spec_claims(&["iss", "sub", "aud", "exp", "nbf"]);
        validation.set_issuer(&[&self.0.issuer]);
        validation.set_audience(&[&self.0.audience]);
        // The times are compared below, with the clock this process was given.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        let claims = jsonwebtoken::decode::<Claims>(token, &key.key, &validation)
            .map_err(|_| TokenError::Invalid("signature or claims"))?
            .claims;
        if claims.iss != self.0.issuer {
            return Err(TokenError::Invalid("another issuer"));
        }
        if claims.sub.is_empty() {
            return Err(TokenError::Invalid("no subject"));
        }
        let now_s = (self.0.wall_clock)() as f64 / 1000.0;
        let leeway_s = TOKEN_LEEWAY.as_secs_f64();
        if !(0.0..=EXPIRES_MAX_S).contains(&claims.exp) || claims.exp + leeway_s <= now_s {
            return Err(TokenError::Invalid("expired"));
        }
        if !(0.0..=now_s + leeway_s).contains(&claims.nbf) {
            return Err(TokenError::Invalid("not valid yet"));
        }
        Ok(Identity {
            user: auth::user_id(&claims.iss, &claims.sub),
            expires_ms: (claims.exp * 1000.0) as u64,
        })
    }

    /// The reading under way, or a new one when the last began long enough ago.
    fn start_refresh(&self) -> Option<Refresh> {
        let now = Instant::now();
        let mut state = self.state();
        if let Some((began, refresh)) = &state.refresh {
            if refresh.peek().is_none() {
                return Some(refresh.clone());
            }
            let pause = if state.keys.is_empty() {
                FIRST_READ_AT_MOST_EVERY
            } else {
                REFRESH_AT_MOST_EVERY
            };
            if now.duration_since(*began) < pause {
                return None;
            }
        }
        let this = self.clone();
        let refresh = async move { this.read().await }.boxed().shared();
        state.refresh = Some((now, refresh.clone()));
        Some(refresh)
    }

    async fn read(self) {
        let source = self.0.source.clone();
        let reading = tokio::task::spawn_blocking(move || source.read());
        let outcome = match tokio::time::timeout(READ_WITHIN, reading).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err("reading the key set panicked".to_owned()),
            Err(_) => Err("reading the key set took too long".to_owned()),
        };
        let mut state = self.state();
        match outcome {
            Ok(keys) => {
                state.keys = Arc::new(keys);
                state.failure = None;
            }
            Err(failure) => state.failure = Some(failure),
        }
    }

    fn keys(&self) -> Arc<Vec<Key>> {
        self.state().keys.clone()
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key with this id; a token that names none is only clear when there is a single key.
fn find<'a>(keys: &'a [Key], kid: Option<&str>) -> Option<&'a Key> {
    match (kid, keys) {
        (Some(kid), _) => keys.iter().find(|key| key.kid.as_deref() == Some(kid)),
        (None, [only]) => Some(only),
        (None, _) => None,
    }
}
