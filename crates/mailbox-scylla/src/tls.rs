//! Encrypted connections.

use std::{path::Path, sync::Arc};

use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore, crypto::aws_lc_rs, pki_types::CertificateDer};

use crate::OpenError;

/// Where systems keep the certificates they trust.
const SYSTEM_BUNDLES: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// What connections are encrypted with; the nodes show a certificate with their address in it.
pub(crate) fn client(ca_file: Option<&Path>) -> Result<Arc<ClientConfig>, OpenError> {
    let bundle = || SYSTEM_BUNDLES.map(Path::new).into_iter().find(|path| path.exists());
    let path = ca_file.or_else(bundle).ok_or_else(|| {
        OpenError::refused(
            "this system has no file of certificates to trust",
            "name the file that vouches for the nodes as ca_file",
        )
    })?;
    let roots = read_roots(path)?;
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has the default versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

fn read_roots(path: &Path) -> Result<RootCertStore, OpenError> {
    let wrong = |why: String| {
        OpenError::refused(
            format!("the certificates in {} cannot be used: {why}", path.display()),
            "name a PEM file of the certificates that vouch for the nodes as ca_file",
        )
    };
    let mut roots = RootCertStore::empty();
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("there is none in it".to_owned()));
    }
    Ok(roots)
}
