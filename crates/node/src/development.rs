//! A development cluster's own certificate authority and identity provider, kept in its data
//! folder.
//!
//! Layout, below `DATA/dev` (mode 0700, files 0600): `ca.pem` and `ca.key` (the authority),
//! `server.pem` and `server.key` (made anew at each start), `token.key` (Ed25519, PKCS #8, DER) and
//! `jwks.json` (its public half), `secret` (what `listen.secret` is, 64 hexadecimal digits),
//! `cluster.json` (where the running cluster is).

use std::{
    fs, io,
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::{
    catalogue::Code,
    failure::{Failure, Outcome},
    private_file, x509,
};

/// The issuer of development tokens; no such host can exist.
pub const ISSUER: &str = "https://posthorn.invalid/dev";
/// The audience of development tokens.
pub const AUDIENCE: &str = "posthorn";
/// The name in the server certificate that clients check.
pub const SERVER_NAME: &str = "localhost";
/// A development token is good for this, seconds.
pub const TOKEN_LIFETIME_S: u64 = 3600;

/// The name of the authority.
const AUTHORITY: &str = "posthorn development authority";
const KEY_ID: &str = "dev";
/// Tokens are good from a little earlier, for clocks that differ; seconds.
const CLOCK_SLACK_S: u64 = 30;

/// What a development cluster makes by itself.
#[derive(Clone, Debug)]
pub struct Development {
    folder: PathBuf,
}

/// Where a running development cluster is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Address and port for clients.
    pub address: SocketAddr,
    /// Further edges.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more: Vec<SocketAddr>,
    /// The operators' listener, when there is one.
    pub admin: Option<SocketAddr>,
}

impl Development {
    /// The development identity in the data folder, which is made when it is not there; the
    /// server's certificate is made anew for `address`.
    ///
    /// # Errors
    /// When a file cannot be read, written or understood.
    pub fn prepare(data: &Path, address: IpAddr) -> Outcome<Self> {
        let this = Self { folder: data.join("dev") };
        private_file::make_folder(&this.folder)
            .map_err(|error| this.unusable(&this.folder, &error))?;
        this.prepare_token_key()?;
        this.prepare_secret()?;
        this.prepare_certificates(address)?;
        Ok(this)
    }

    /// The development identity that is already in the data folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn find(data: &Path) -> Outcome<Self> {
        let this = Self { folder: data.join("dev") };
        if this.path("token.key").exists() {
            return Ok(this);
        }
        Err(Failure::new(
            Code::NoDevelopmentCluster,
            "no development cluster was ever started here",
        )
        .at(data.display().to_string())
        .remedy("start `posthorn dev` in another terminal, or name its folder by --data DIR"))
    }

    /// The authority that clients trust.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.path("ca.pem")
    }

    /// The server's certificate.
    #[must_use]
    pub fn certificate_file(&self) -> PathBuf {
        self.path("server.pem")
    }

    /// The key of the server's certificate.
    #[must_use]
    pub fn key_file(&self) -> PathBuf {
        self.path("server.key")
    }

    /// The keys that tokens are checked with.
    #[must_use]
    pub fn jwks_file(&self) -> PathBuf {
        self.path("jwks.json")
    }

    /// What edges derive their keys from. The same at every start, so that a process which takes
    /// the place of a killed one can tell its clients at once that their connections are gone.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn secret(&self) -> Outcome<String> {
        let path = self.path("secret");
        fs::read_to_string(&path).map_err(|error| self.unusable(&path, &error))
    }

    /// Says where the cluster is; [`Self::withdraw`] takes it back.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn announce(&self, cluster: &Cluster) -> Outcome {
        let text = serde_json::to_vec_pretty(cluster).expect("addresses are always JSON");
        self.write("cluster.json", &text)
    }

    /// The cluster ends: nobody finds it here any more.
    pub fn withdraw(&self) {
        if let Err(error) = fs::remove_file(self.path("cluster.json")) {
            tracing::warn!(%error, "the file that says where the cluster is could not be removed");
        }
    }

    /// Where the running cluster is.
    ///
    /// # Errors
    /// When none runs.
    pub fn cluster(&self) -> Outcome<Cluster> {
        let path = self.path("cluster.json");
        let text = fs::read(&path).map_err(|_| {
            Failure::new(Code::NoDevelopmentCluster, "the development cluster here is not running")
                .at(self.folder.display().to_string())
                .remedy("start `posthorn dev` in another terminal")
        })?;
        serde_json::from_slice(&text).map_err(|error| self.damaged(&path, error))
    }

    /// A token for the person called `name`.
    ///
    /// # Errors
    /// When the signing key cannot be read.
    pub fn mint(&self, name: &str, now_ms: u64) -> Outcome<String> {
        let now_s = now_ms / 1000;
        let header = serde_json::json!({ "alg": "EdDSA", "typ": "JWT", "kid": KEY_ID });
        let claims = serde_json::json!({
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": name,
            "nbf": now_s.saturating_sub(CLOCK_SLACK_S),
            "exp": now_s + TOKEN_LIFETIME_S,
        });
        let encode = |part: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(part);
        let signed = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let signature = self.token_key()?.sign(signed.as_bytes());
        Ok(format!("{signed}.{}", encode(signature.as_ref())))
    }

    fn token_key(&self) -> Outcome<Ed25519KeyPair> {
        let path = self.path("token.key");
        let der = fs::read(&path).map_err(|error| self.unusable(&path, &error))?;
        Ed25519KeyPair::from_pkcs8(&der).map_err(|error| self.damaged(&path, error))
    }

    fn prepare_token_key(&self) -> Outcome {
        if !self.path("token.key").exists() {
            let pair = Ed25519KeyPair::generate().expect("the system has random numbers");
            let der = pair.to_pkcs8v1().expect("a fresh key can be written");
            self.write("token.key", der.as_ref())?;
        }
        let public = BASE64_URL_SAFE_NO_PAD.encode(self.token_key()?.public_key().as_ref());
        let set = serde_json::json!({ "keys": [{
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": KEY_ID,
            "x": public,
        }] });
        self.write("jwks.json", set.to_string().as_bytes())
    }

    fn prepare_secret(&self) -> Outcome {
        if self.path("secret").exists() {
            return Ok(());
        }
        let mut secret = [0; 32];
        aws_lc_rs::rand::fill(&mut secret).expect("the system has random numbers");
        let digits: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        self.write("secret", digits.as_bytes())
    }

    fn prepare_certificates(&self, address: IpAddr) -> Outcome {
        let failed = |error: rcgen::Error| {
            Failure::new(Code::CertificateUnusable, format!("making certificates: {error}"))
                .at(self.folder.display().to_string())
                .remedy("remove the folder; the next start makes a new authority")
        };
        let params = x509::authority(AUTHORITY);
        let path = self.path("ca.key");
        let issuer = if path.exists() {
            let pem = fs::read_to_string(&path).map_err(|error| self.unusable(&path, &error))?;
            rcgen::Issuer::new(params, rcgen::KeyPair::from_pem(&pem).map_err(failed)?)
        } else {
            let key = rcgen::KeyPair::generate().map_err(failed)?;
            let certificate = params.self_signed(&key).map_err(failed)?;
            self.write("ca.pem", certificate.pem().as_bytes())?;
            self.write("ca.key", key.serialize_pem().as_bytes())?;
            rcgen::Issuer::new(params, key)
        };
        let mut names = vec![SERVER_NAME.to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        if !address.is_loopback() && !address.is_unspecified() {
            names.push(address.to_string());
        }
        let mut params = rcgen::CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name = x509::named("posthorn development server");
        params.use_authority_key_identifier_extension = true;
        params.insert_extended_key_usage(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
        self.write("server.pem", certificate.pem().as_bytes())?;
        self.write("server.key", key.serialize_pem().as_bytes())
    }

    fn path(&self, file: &str) -> PathBuf {
        self.folder.join(file)
    }

    fn write(&self, file: &str, bytes: &[u8]) -> Outcome {
        let path = self.path(file);
        private_file::write(&path, bytes).map_err(|error| self.unusable(&path, &error))
    }

    fn unusable(&self, path: &Path, error: &io::Error) -> Failure {
        Failure::new(Code::DataUnusable, error.to_string())
            .at(path.display().to_string())
            .remedy("check that the disk has room and that the folder is yours, or use --data DIR")
    }

    fn damaged(&self, path: &Path, error: impl std::fmt::Display) -> Failure {
        Failure::new(Code::DataForeign, format!("the file is damaged: {error}"))
            .at(path.display().to_string())
            .remedy("remove the folder `dev`; the next `posthorn dev` makes a new one")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{net::Ipv4Addr, os::unix::fs::PermissionsExt as _};

    use super::*;

    fn prepare(data: &Path) -> Development {
        Development::prepare(data, IpAddr::V4(Ipv4Addr::LOCALHOST)).unwrap()
    }

    #[test]
    fn the_authority_and_the_keys_stay_the_server_certificate_does_not() {
        const FILES: [&str; 6] =
            ["ca.pem", "ca.key", "token.key", "jwks.json", "secret", "server.pem"];
        let data = tempfile::tempdir().unwrap();
        let read = |file: &str| fs::read(data.path().join("dev").join(file)).unwrap();
        prepare(data.path());
        let before = FILES.map(read);
        prepare(data.path());
        let after = FILES.map(read);
        assert_eq!(before[..5], after[..5]);
        assert_ne!(before[5], after[5]);
    }

    #[test]
    fn nobody_else_can_read_what_is_made() {
        let data = tempfile::tempdir().unwrap();
        prepare(data.path());
        let folder = data.path().join("dev");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        for entry in fs::read_dir(&folder).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
    }

    #[test]
    fn a_token_is_signed_by_the_key_in_the_set() {
        let data = tempfile::tempdir().unwrap();
        let token = prepare(data.path()).mint("alice", 1_000_000).unwrap();
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let decode = |text: &str| BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        let set = fs::read(data.path().join("dev/jwks.json")).unwrap();
        let set: serde_json::Value = serde_json::from_slice(&set).unwrap();
        let public = decode(set["keys"][0]["x"].as_str().unwrap());
        aws_lc_rs::signature::UnparsedPublicKey::new(&aws_lc_rs::signature::ED25519, public)
            .verify(signed.as_bytes(), &decode(signature))
            .unwrap();
        let claims: serde_json::Value =
            serde_json::from_slice(&decode(signed.split('.').nth(1).unwrap())).unwrap();
        assert_eq!(claims["sub"], "alice");
        assert_eq!(claims["nbf"], 970);
        assert_eq!(claims["exp"], 4600);
    }

    #[test]
    fn a_cluster_is_found_while_it_runs() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(Development::find(data.path()).unwrap_err().code(), Code::NoDevelopmentCluster);
        let development = prepare(data.path());
        let cluster =
            Cluster { address: "127.0.0.1:4433".parse().unwrap(), more: Vec::new(), admin: None };
        development.announce(&cluster).unwrap();
        let found = Development::find(data.path()).unwrap();
        assert_eq!(found.cluster().unwrap(), cluster);
        development.withdraw();
        assert_eq!(found.cluster().unwrap_err().code(), Code::NoDevelopmentCluster);
    }
}
