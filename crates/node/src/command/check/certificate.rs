//! Certificates: readable, for the right names, not expired, with their key.

use std::{fs, net::Ipv4Addr, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use link::{
    config::ServerConfig,
    quic::ServerEndpoint,
    secret::MasterSecret,
    tls::{Certificate, MeshIdentity, Roots},
};
use ports::operate::Finding;
use wire::EdgeId;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, pem::Pem, prelude::X509Error,
};

use crate::{
    clock,
    findings::{doubtful, good, wrong},
};

/// A certificate that expires sooner should have been replaced by now: what renews by itself does
/// so at a third of 90 days.
const RENEW_BEFORE_MS: u64 = 14 * DAY_MS;
const DAY_MS: u64 = 86_400_000;

/// Where a certificate is.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// What it is for.
    pub about: &'a str,
    /// PEM, the certificate itself first.
    pub chain: &'a Path,
    /// PEM, its private key.
    pub key: &'a Path,
}

/// What matters of a chain.
#[derive(Debug, PartialEq, Eq)]
struct Facts {
    /// Names of the first certificate.
    names: Vec<String>,
    /// All are good from then, milliseconds since 1970.
    from_ms: u64,
    /// All are good until then.
    until_ms: u64,
}

/// Looks at a certificate, which must be for all of these names. Must be called within a runtime.
#[must_use]
pub fn look(files: Files<'_>, names: &[&str], now_ms: u64) -> Vec<Finding> {
    let Files { about, chain, key } = files;
    let unreadable = |path: &Path, problem: &dyn std::fmt::Display| {
        let found = format!("{}: {problem}", path.display());
        vec![wrong(about, found, "check the path in the configuration, and owner and mode")]
    };
    let chain_pem = match fs::read(chain) {
        Ok(pem) => pem,
        Err(error) => return unreadable(chain, &error),
    };
    let key_pem = match fs::read(key) {
        Ok(pem) => pem,
        Err(error) => return unreadable(key, &error),
    };
    let mut found = vec![pair(about, &chain_pem, &key_pem)];
    match facts(&chain_pem) {
        Ok(facts) => {
            found.push(time(about, &facts, now_ms));
            found.push(named(about, &facts, names));
        }
        Err(problem) => found.push(wrong(
            format!("{about}: contents"),
            format!("{}: {problem}", chain.display()),
            "give a PEM chain of X.509 certificates, the process's own first",
        )),
    }
    found.extend(key_is_private(about, key));
    found
}

/// Looks at a file of certificates that are trusted.
#[must_use]
pub fn look_at_authorities(about: &str, path: &Path, now_ms: u64) -> Vec<Finding> {
    let read = fs::read(path).map_err(|error| error.to_string());
    match read.and_then(|pem| facts(&pem)) {
        Ok(facts) => vec![time(about, &facts, now_ms)],
        Err(problem) => vec![wrong(
            about,
            format!("{}: {problem}", path.display()),
            "name a PEM file with the authority's certificate",
        )],
    }
}

/// Whether a certificate leads to these authorities, under each of the names.
#[must_use]
pub fn look_at_trust(
    files: Files<'_>,
    authorities: &Path,
    names: &[&str],
    now_ms: u64,
) -> Option<Finding> {
    let Files { about, chain, key } = files;
    // What cannot be read was said before.
    let certificate = Certificate::from_pem(&fs::read(chain).ok()?, &fs::read(key).ok()?).ok()?;
    let roots = Roots::from_pem(&fs::read(authorities).ok()?).ok()?;
    let identity = MeshIdentity { certificate, roots };
    let now = Duration::from_millis(now_ms);
    let about = format!("{about}: trusted");
    let refused = names.iter().find_map(|name| identity.check_listener(name, now).err());
    Some(match refused {
        None => good(about, format!("by {}", authorities.display())),
        Some(error) => wrong(
            about,
            error.to_string(),
            "take certificate and authority from the same place: `posthorn admin mesh-ca issue`",
        ),
    })
}

/// Whether TLS can serve with certificate and key.
fn pair(about: &str, chain: &[u8], key: &[u8]) -> Finding {
    let served = Certificate::from_pem(chain, key).and_then(|certificate| {
        let config = ServerConfig {
            certificate,
            edge: EdgeId::new(0),
            secret: MasterSecret::random(),
            previous_secret: None,
        };
        ServerEndpoint::bind((Ipv4Addr::LOCALHOST, 0).into(), config)
    });
    let about = format!("{about}: with its key");
    match served {
        Ok(_) => good(about, "they belong together"),
        Err(error) => wrong(
            about,
            error.to_string(),
            "give the chain with the process's own certificate first, and its key in PKCS #8",
        ),
    }
}

fn time(about: &str, facts: &Facts, now_ms: u64) -> Finding {
    let about = format!("{about}: time");
    let until = clock::date(facts.until_ms);
    let remedy = "replace it; a running process reads it when it starts again";
    if now_ms < facts.from_ms {
        let found = format!("good only from {}", clock::date_time(facts.from_ms));
        return wrong(about, found, "set this machine's clock, or wait");
    }
    let Some(left_ms) = facts.until_ms.checked_sub(now_ms) else {
        return wrong(about, format!("expired on {until}"), remedy);
    };
    let found = format!("good until {until}, {} days", left_ms / DAY_MS);
    if left_ms < RENEW_BEFORE_MS {
        return doubtful(about, found, remedy);
    }
    good(about, found)
}

fn named(about: &str, facts: &Facts, wanted: &[&str]) -> Finding {
    let about = format!("{about}: names");
    let has = |name: &&&str| facts.names.iter().any(|one| one.eq_ignore_ascii_case(name));
    let missing: Vec<&str> = wanted.iter().filter(|name| !has(name)).copied().collect();
    let names = facts.names.join(", ");
    if !missing.is_empty() {
        let found = format!("not for {}, only for {names}", missing.join(" and "));
        return wrong(about, found, "make one with these DNS names as subject alternative names");
    }
    if facts.names.is_empty() {
        return wrong(about, "for no name", "make one with subject alternative names");
    }
    good(about, names)
}

/// A key that everybody on the machine can read is everybody's.
fn key_is_private(about: &str, key: &Path) -> Option<Finding> {
    let mode = fs::metadata(key).ok()?.permissions().mode();
    let found = format!("everybody on this machine may read {}", key.display());
    let remedy = format!("chmod o= {}", key.display());
    (mode & 0o007 != 0).then(|| doubtful(format!("{about}: key file"), found, remedy))
}

fn facts(pem: &[u8]) -> Result<Facts, String> {
    let mut facts = Facts { names: Vec::new(), from_ms: 0, until_ms: u64::MAX };
    let mut count = 0;
    for block in Pem::iter_from_buffer(pem) {
        let block = block.map_err(|error| error.to_string())?;
        if block.label != "CERTIFICATE" {
            continue;
        }
        let certificate = block.parse_x509().map_err(|error| error.to_string())?;
        let validity = certificate.validity();
        let ms = |seconds: i64| u64::try_from(seconds).unwrap_or(0).saturating_mul(1000);
        facts.from_ms = facts.from_ms.max(ms(validity.not_before.timestamp()));
        facts.until_ms = facts.until_ms.min(ms(validity.not_after.timestamp()));
        if count == 0 {
            facts.names = names(&certificate).map_err(|error| error.to_string())?;
        }
        count += 1;
    }
    if count == 0 {
        return Err("no certificate in it".to_owned());
    }
    Ok(facts)
}

fn names(certificate: &X509Certificate<'_>) -> Result<Vec<String>, X509Error> {
    let Some(extension) = certificate.subject_alternative_name()? else { return Ok(Vec::new()) };
    // Those that TLS compares; the other kinds are nothing to it.
    let name = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name {
            return Some((*name).to_owned());
        }
        if let GeneralName::IPAddress(bytes) = name { address(bytes) } else { None }
    };
    Ok(extension.value.general_names.iter().filter_map(name).collect())
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string());
    let v6 = <[u8; 16]>::try_from(bytes).map(|bytes| std::net::IpAddr::from(bytes).to_string());
    v4.or(v6).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use ports::operate::State;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// 2026-01-01.
    const NOW_MS: u64 = 1_767_225_600_000;

    /// A certificate made for these names, good until a day of 2026, and its key.
    struct Made {
        folder: tempfile::TempDir,
    }

    impl Made {
        fn new(names: &[&str], until: (u8, u8)) -> Self {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            let mut params = CertificateParams::new(names).unwrap();
            params.not_before = date_time_ymd(2025, 12, 1);
            params.not_after = date_time_ymd(2026, until.0, until.1);
            let key = KeyPair::generate().unwrap();
            let certificate = params.self_signed(&key).unwrap();
            let folder = tempfile::tempdir().unwrap();
            fs::write(folder.path().join("pem"), certificate.pem()).unwrap();
            fs::write(folder.path().join("key"), key.serialize_pem()).unwrap();
            let private = fs::Permissions::from_mode(0o600);
            fs::set_permissions(folder.path().join("key"), private).unwrap();
            Self { folder }
        }

        fn look_at(&self, key: &Path, names: &[&str], now_ms: u64) -> Vec<(State, String)> {
            let chain = &self.folder.path().join("pem");
            let found = look(Files { about: "it", chain, key }, names, now_ms);
            found.into_iter().map(|one| (one.state, one.found)).collect()
        }

        fn look(&self, names: &[&str], now_ms: u64) -> Vec<(State, String)> {
            self.look_at(&self.folder.path().join("key"), names, now_ms)
        }
    }

    #[tokio::test]
    async fn a_good_certificate_is_good_in_every_way() {
        let made = Made::new(&["a.example", "127.0.0.1"], (12, 31));
        let expected = [
            (State::Good, "they belong together".to_owned()),
            (State::Good, "good until 2026-12-31, 364 days".to_owned()),
            (State::Good, "a.example, 127.0.0.1".to_owned()),
        ];
        assert_eq!(made.look(&["A.example"], NOW_MS), expected);
    }

    #[tokio::test]
    async fn expiry_is_told_before_and_after() {
        let made = Made::new(&["a"], (1, 10));
        let soon = made.look(&[], NOW_MS)[1].clone();
        assert_eq!(soon, (State::Doubtful, "good until 2026-01-10, 9 days".to_owned()));
        let over = made.look(&[], NOW_MS + 10 * DAY_MS)[1].clone();
        assert_eq!(over, (State::Wrong, "expired on 2026-01-10".to_owned()));
        let early = made.look(&[], NOW_MS - 60 * DAY_MS)[1].clone();
        assert_eq!(early, (State::Wrong, "good only from 2025-12-01T00:00:00Z".to_owned()));
    }

    #[tokio::test]
    async fn a_name_that_is_missing_is_wrong() {
        let made = Made::new(&["a", "b"], (12, 31));
        let found = made.look(&["a", "c"], NOW_MS)[2].clone();
        assert_eq!(found, (State::Wrong, "not for c, only for a, b".to_owned()));
    }

    #[tokio::test]
    async fn the_key_of_another_certificate_is_wrong() {
        let made = Made::new(&["a"], (12, 31));
        let other = Made::new(&["a"], (12, 31));
        let found = made.look_at(&other.folder.path().join("key"), &[], NOW_MS);
        assert_eq!(found[0].0, State::Wrong, "{found:?}");
        let found = made.look_at(Path::new("/nowhere"), &[], NOW_MS);
        assert_eq!((found.len(), found[0].0), (1, State::Wrong), "{found:?}");
    }

    #[tokio::test]
    async fn a_key_for_all_to_read_is_doubtful() {
        let made = Made::new(&["a"], (12, 31));
        let open = fs::Permissions::from_mode(0o644);
        fs::set_permissions(made.folder.path().join("key"), open).unwrap();
        assert_eq!(made.look(&[], NOW_MS)[3].0, State::Doubtful);
    }
}
