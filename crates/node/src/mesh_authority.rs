//! A small certificate authority for the mesh, kept in a folder.
//!
//! Layout (folder 0700 when made here, files 0600): `ca.pem` and `ca.key`, and for every process
//! `NAME.pem` and `NAME.key`.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use crate::{
    catalogue::Code,
    failure::{Failure, Outcome},
    private_file, x509,
};

/// The authority's own name.
const AUTHORITY: &str = "posthorn mesh authority";
/// The authority is good for so long, days: twice as long as any certificate it signs.
const CA_DAYS: u32 = 7300;
/// Certificates are good from a little earlier, for clocks that differ.
const CLOCK_SLACK: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);
/// The name that leaves the authority's own files alone.
const CA: &str = "ca";

/// An authority that can sign.
pub struct MeshAuthority {
    folder: PathBuf,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

/// A certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The certificate, PEM.
    pub certificate_file: PathBuf,
    /// Its key, PEM, PKCS #8.
    pub key_file: PathBuf,
}

/// From when and for how long a certificate is good.
#[derive(Clone, Copy, Debug)]
pub struct Lifetime {
    /// Milliseconds since 1970.
    pub now_ms: u64,
    /// Days from then.
    pub days: u32,
}

impl MeshAuthority {
    /// Makes an authority in a folder, which is made when it is not there.
    ///
    /// # Errors
    /// When there is one already, or the folder cannot be written.
    pub fn make(folder: &Path, now_ms: u64) -> Outcome<Self> {
        let key_file = ca_file(folder, "key");
        if key_file.exists() {
            return Err(Failure::new(Code::MeshAuthority, "there is an authority already")
                .at(key_file.display().to_string())
                .remedy("use it (`mesh-ca issue`), or choose another folder"));
        }
        private_file::make_folder(folder).map_err(|error| unusable(folder, &error))?;
        let mut params = x509::authority(AUTHORITY);
        (Lifetime { now_ms, days: CA_DAYS }).put_into(&mut params);
        let key = rcgen::KeyPair::generate().map_err(|error| failed(folder, &error))?;
        let certificate = params.self_signed(&key).map_err(|error| failed(folder, &error))?;
        write(&ca_file(folder, "pem"), &certificate.pem())?;
        write(&key_file, &key.serialize_pem())?;
        let issuer = rcgen::Issuer::new(params, key);
        Ok(Self { folder: folder.to_owned(), issuer })
    }

    /// The authority that is in a folder.
    ///
    /// # Errors
    /// When there is none, or its key cannot be read.
    pub fn open(folder: &Path) -> Outcome<Self> {
        let key_file = ca_file(folder, "key");
        let pem = fs::read_to_string(&key_file).map_err(|error| {
            Failure::new(Code::MeshAuthority, format!("its key cannot be read: {error}"))
                .at(key_file.display().to_string())
                .remedy(format!("`posthorn admin mesh-ca new {}` makes one", folder.display()))
        })?;
        let key = rcgen::KeyPair::from_pem(&pem).map_err(|error| failed(&key_file, &error))?;
        let issuer = rcgen::Issuer::new(x509::authority(AUTHORITY), key);
        Ok(Self { folder: folder.to_owned(), issuer })
    }

    /// What every process of the mesh trusts.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        ca_file(&self.folder, "pem")
    }

    /// What signs.
    #[must_use]
    pub fn ca_key_file(&self) -> PathBuf {
        ca_file(&self.folder, "key")
    }

    /// Makes a certificate with these DNS names for the process called `name`, in place of an
    /// earlier one.
    ///
    /// # Errors
    /// When the name cannot be that of a file, or the folder cannot be written.
    pub fn issue(&self, name: &str, names: Vec<String>, lifetime: Lifetime) -> Outcome<Issued> {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name == CA || name.starts_with('.') || name.is_empty() || !name.chars().all(is_plain) {
            return Err(Failure::new(Code::BadName, "not a name for a process")
                .at("--name")
                .remedy("use letters, digits, '-', '_' and '.'; not \"ca\""));
        }
        let failed = |error: rcgen::Error| failed(&self.folder, &error);
        let mut params = rcgen::CertificateParams::new(names).map_err(failed)?;
        params.distinguished_name = x509::named(name);
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![rcgen::KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            rcgen::ExtendedKeyUsagePurpose::ServerAuth,
            rcgen::ExtendedKeyUsagePurpose::ClientAuth,
        ];
        lifetime.put_into(&mut params);
        let key = rcgen::KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &self.issuer).map_err(failed)?;
        let issued = Issued {
            certificate_file: self.folder.join(format!("{name}.pem")),
            key_file: self.folder.join(format!("{name}.key")),
        };
        write(&issued.certificate_file, &certificate.pem())?;
        write(&issued.key_file, &key.serialize_pem())?;
        Ok(issued)
    }
}

impl Lifetime {
    fn put_into(self, params: &mut rcgen::CertificateParams) {
        let now = UNIX_EPOCH + Duration::from_millis(self.now_ms);
        params.not_before = (now - CLOCK_SLACK).into();
        params.not_after = (now + DAY * self.days).into();
    }
}

fn ca_file(folder: &Path, extension: &str) -> PathBuf {
    folder.join(format!("{CA}.{extension}"))
}

fn write(path: &Path, text: &str) -> Outcome {
    private_file::write(path, text.as_bytes()).map_err(|error| unusable(path, &error))
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(Code::MeshAuthority, error.to_string())
        .at(path.display().to_string())
        .remedy("check that the disk has room and the folder is yours, or choose another one")
}

fn failed(path: &Path, error: &rcgen::Error) -> Failure {
    Failure::new(Code::MeshAuthority, error.to_string())
        .at(path.display().to_string())
        .remedy("choose another folder and make a new authority")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::clock::wall_clock_ms;

    #[test]
    fn keys_are_for_their_owner_and_an_authority_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("mesh");
        let now_ms = wall_clock_ms();
        MeshAuthority::make(&folder, now_ms).unwrap();
        let before = fs::read(folder.join("ca.key")).unwrap();
        let again = MeshAuthority::make(&folder, now_ms).err().unwrap();
        assert_eq!(again.code(), Code::MeshAuthority);
        assert_eq!(fs::read(folder.join("ca.key")).unwrap(), before);
        let lifetime = Lifetime { now_ms, days: 1 };
        let authority = MeshAuthority::open(&folder).unwrap();
        authority.issue("node-1", vec!["edge.example".to_owned()], lifetime).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&folder), 0o700);
        for entry in fs::read_dir(&folder).unwrap() {
            assert_eq!(mode(&entry.unwrap().path()), 0o600);
        }
    }

    #[test]
    fn a_name_that_would_leave_the_folder_or_hit_the_authority_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let authority = MeshAuthority::make(folder.path(), wall_clock_ms()).unwrap();
        for name in ["", "ca", "..", "../x", "a/b", "a b"] {
            let lifetime = Lifetime { now_ms: wall_clock_ms(), days: 1 };
            let refused = authority.issue(name, vec!["x.example".to_owned()], lifetime);
            assert_eq!(refused.err().unwrap().code(), Code::BadName, "{name:?}");
        }
    }
}
