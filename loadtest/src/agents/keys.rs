//! Certificates for agents and their coordinator, from an authority made for them.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, ensure};
use link::tls::{Certificate, MeshIdentity, Roots};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};

use crate::clock::wall_clock_ms;

/// The name in the certificates of agents.
pub const AGENT: &str = "agent.loadtest.internal";
/// The name in the certificate of the coordinator.
pub const COORDINATOR: &str = "coordinator.loadtest.internal";

/// The certificate of the authority, which all of them need.
const AUTHORITY_FILE: &str = "authority.pem";

/// Which of the two somebody is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Plays a part of the population.
    Agent,
    /// Leads the agents.
    Coordinator,
}

impl Role {
    /// The name in its certificate.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Agent => AGENT,
            Self::Coordinator => COORDINATOR,
        }
    }

    /// What its files are called.
    fn stem(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Coordinator => "coordinator",
        }
    }
}

/// Makes an authority and a certificate for each role in `dir`, which must hold none yet. The key
/// of the authority is not kept: nobody can add to what it signed.
///
/// # Errors
/// When a file is there already, or cannot be written.
pub fn create(dir: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(dir).with_context(|| format!("make {}", dir.display()))?;
    let key = KeyPair::generate().context("the system has no random numbers")?;
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name = named("loadtest agents");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let authority = params.self_signed(&key)?;
    write_new(&dir.join(AUTHORITY_FILE), 0o644, &authority.pem())?;
    let issuer = Issuer::new(params, key);
    for role in [Role::Agent, Role::Coordinator] {
        let key = KeyPair::generate().context("the system has no random numbers")?;
        let mut params = CertificateParams::new(vec![role.name().to_owned()])?;
        params.distinguished_name = named(role.name());
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let certificate = params.signed_by(&key, &issuer)?;
        let [certificate_file, key_file] = files(role);
        write_new(&dir.join(certificate_file), 0o644, &certificate.pem())?;
        write_new(&dir.join(key_file), 0o600, &key.serialize_pem())?;
    }
    Ok(())
}

/// Reads what somebody of this role shows and trusts, and checks that others will take it.
///
/// # Errors
/// Which file is missing or not as it must be, and what to do.
pub fn identity(dir: &Path, role: Role) -> anyhow::Result<MeshIdentity> {
    let read = |name: &str| {
        let path = dir.join(name);
        fs::read(&path).with_context(|| {
            format!(
                "{}: it cannot be read; keys are made by `loadtest agent-keys new DIR`",
                path.display()
            )
        })
    };
    let [certificate_file, key_file] = files(role);
    let (chain, key) = (read(&certificate_file)?, read(&key_file)?);
    let unusable = || format!("the keys in {} cannot be used", dir.display());
    let certificate = Certificate::from_pem(&chain, &key).with_context(unusable)?;
    let roots = Roots::from_pem(&read(AUTHORITY_FILE)?).with_context(unusable)?;
    let identity = MeshIdentity { certificate, roots };
    let now = Duration::from_millis(wall_clock_ms());
    let checked = match role {
        Role::Agent => identity.check_listener(role.name(), now),
        Role::Coordinator => identity.check_dialer(role.name(), now),
    };
    checked.with_context(unusable)?;
    Ok(identity)
}

/// The files that somebody of this role needs, secret or not.
#[must_use]
pub fn needed(role: Role) -> [String; 3] {
    let [certificate, key] = files(role);
    [AUTHORITY_FILE.to_owned(), certificate, key]
}

fn files(role: Role) -> [String; 2] {
    [format!("{}.pem", role.stem()), format!("{}.key", role.stem())]
}

fn named(name: &str) -> DistinguishedName {
    let mut names = DistinguishedName::new();
    names.push(DnType::CommonName, name);
    names
}

/// Never over a file that is there: agents may trust it.
fn write_new(path: &Path, mode: u32, text: &str) -> anyhow::Result<()> {
    ensure!(!path.exists(), "{} is there already: choose another folder", path.display());
    let file = File::options().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| format!("make {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn keys_are_made_once_and_each_role_has_its_own() {
        let folder = tempfile::tempdir().unwrap();
        create(folder.path()).unwrap();
        identity(folder.path(), Role::Agent).unwrap();
        identity(folder.path(), Role::Coordinator).unwrap();
        let again = create(folder.path()).unwrap_err().to_string();
        assert!(again.contains("there already"), "{again}");

        fs::copy(folder.path().join("agent.pem"), folder.path().join("coordinator.pem")).unwrap();
        fs::copy(folder.path().join("agent.key"), folder.path().join("coordinator.key")).unwrap();
        let other = identity(folder.path(), Role::Coordinator).unwrap_err();
        assert!(format!("{other:#}").contains("cannot be used"), "{other:#}");
    }

    #[test]
    fn missing_keys_are_explained() {
        let folder = tempfile::tempdir().unwrap();
        let problem = identity(folder.path(), Role::Agent).unwrap_err().to_string();
        assert!(problem.contains("agent.pem") && problem.contains("agent-keys new"), "{problem}");
    }
}
