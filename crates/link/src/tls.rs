//! Certificates, and how TLS is spoken: version 1.3 only, post-quantum key exchange preferred.

use std::{fmt, sync::Arc};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{danger::HandshakeSignatureValid, verify_server_name},
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
    server::{
        ParsedCertificate, ProducesTickets, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use wire::version::{ALPN_CLIENT, ALPN_MESH};

use crate::error::SetupError;

/// A certificate chain, leaf first, and the private key of the leaf.
pub struct Certificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Certificate {
    /// Reads both from PEM text.
    ///
    /// # Errors
    /// When either text holds none or a broken one; the message says which and what was expected.
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, SetupError> {
        let chain = certificates("certificate chain", chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| SetupError::Pem {
            what: "private key",
            problem: format!("expected one PEM block \"PRIVATE KEY\" (PKCS #8): {error}"),
        })?;
        Ok(Self { chain, key })
    }

    /// Takes both in DER; the key in PKCS #8, SEC 1 or PKCS #1.
    ///
    /// # Errors
    /// When the key is none of these.
    pub fn from_der(chain: Vec<Vec<u8>>, key: Vec<u8>) -> Result<Self, SetupError> {
        let key = PrivateKeyDer::try_from(key)
            .map_err(|error| SetupError::Pem { what: "private key", problem: error.to_string() })?;
        Ok(Self { chain: chain.into_iter().map(CertificateDer::from).collect(), key })
    }
}

impl Clone for Certificate {
    fn clone(&self) -> Self {
        Self { chain: self.chain.clone(), key: self.key.clone_key() }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Certificate").field("chain_len", &self.chain.len()).finish()
    }
}

/// The certificates that a peer's certificate must lead to.
#[derive(Clone, Debug)]
pub struct Roots(Arc<RootCertStore>);

impl Roots {
    /// Reads every certificate of a PEM text, such as the system's bundle. Ones the TLS library
    /// cannot use are left out, as bundles hold a few.
    ///
    /// # Errors
    /// When the text is broken or leaves no certificate.
    pub fn from_pem(pem: &[u8]) -> Result<Self, SetupError> {
        Self::from_certificates(certificates("roots", pem)?)
    }

    /// Takes certificates in DER.
    ///
    /// # Errors
    /// When none can be used.
    pub fn from_der(certificates: Vec<Vec<u8>>) -> Result<Self, SetupError> {
        Self::from_certificates(certificates.into_iter().map(CertificateDer::from).collect())
    }

    fn from_certificates(certificates: Vec<CertificateDer<'static>>) -> Result<Self, SetupError> {
        let mut store = RootCertStore::empty();
        let (used, unusable) = store.add_parsable_certificates(certificates);
        if used == 0 {
            let problem = format!("no usable certificate ({unusable} could not be understood)");
            return Err(SetupError::Pem { what: "roots", problem });
        }
        Ok(Self(Arc::new(store)))
    }
}

/// Whom one end of the mesh is, and whom it talks to.
#[derive(Clone, Debug)]
pub struct MeshIdentity {
    /// What this side shows.
    pub certificate: Certificate,
    /// What the other side's certificate must lead to. Use a certificate authority of its own:
    /// everything it signs for the right name may push into mailboxes.
    pub roots: Roots,
    /// The DNS name in the other side's certificate, wherever that side runs, such as
    /// `worker.posthorn.internal` for an edge.
    pub peer_name: String,
}

/// What an edge speaks with clients.
pub(crate) fn client_facing(
    certificate: Certificate,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<Arc<QuicServerConfig>, SetupError> {
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused)?
        .with_no_client_auth()
        .with_single_cert(certificate.chain, certificate.key)
        .map_err(refused)?;
    server(config, ALPN_CLIENT, Some(tickets))
}

/// What a client speaks with edges.
pub(crate) fn client(roots: Roots) -> Result<Arc<QuicClientConfig>, SetupError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused)?
        .with_root_certificates(roots.0)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_CLIENT.to_vec()];
    config.enable_early_data = false;
    QuicClientConfig::try_from(config).map(Arc::new).map_err(refused)
}

/// What a mesh listener speaks with peers of the identity's peer name or one of `others`.
pub(crate) fn mesh_listener(
    identity: MeshIdentity,
    others: &[String],
) -> Result<Arc<QuicServerConfig>, SetupError> {
    let names = [identity.peer_name].into_iter().chain(others.iter().cloned());
    let names = names.map(mesh_name).collect::<Result<_, _>>()?;
    let inner = WebPkiClientVerifier::builder_with_provider(identity.roots.0, provider())
        .build()
        .map_err(refused)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused)?
        .with_client_cert_verifier(Arc::new(NamedClients { inner, names }))
        .with_single_cert(identity.certificate.chain, identity.certificate.key)
        .map_err(refused)?;
    server(config, ALPN_MESH, None)
}

/// What a mesh dialer speaks, and the name it expects.
pub(crate) fn mesh_dialer(
    identity: MeshIdentity,
) -> Result<(Arc<QuicClientConfig>, String), SetupError> {
    mesh_name(identity.peer_name.clone())?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused)?
        .with_root_certificates(identity.roots.0)
        .with_client_auth_cert(identity.certificate.chain, identity.certificate.key)
        .map_err(refused)?;
    config.alpn_protocols = vec![ALPN_MESH.to_vec()];
    config.enable_early_data = false;
    config.resumption = rustls::client::Resumption::disabled();
    let config = QuicClientConfig::try_from(config).map_err(refused)?;
    Ok((Arc::new(config), identity.peer_name))
}

fn server(
    mut config: ServerConfig,
    alpn: &[u8],
    tickets: Option<Arc<dyn ProducesTickets>>,
) -> Result<Arc<QuicServerConfig>, SetupError> {
    config.alpn_protocols = vec![alpn.to_vec()];
    config.ignore_client_order = true;
    config.max_early_data_size = 0;
    config.send_tls13_tickets = usize::from(tickets.is_some());
    if let Some(tickets) = tickets {
        config.ticketer = tickets;
    }
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    QuicServerConfig::try_from(config).map(Arc::new).map_err(refused)
}

/// AES-128-GCM with SHA-256 first: handshakes cost a quarter less than with the library's order,
/// whose first suite hashes with SHA-384.
fn provider() -> Arc<CryptoProvider> {
    use aws_lc_rs::cipher_suite::{
        TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256,
    };
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            TLS13_AES_128_GCM_SHA256,
            TLS13_CHACHA20_POLY1305_SHA256,
            TLS13_AES_256_GCM_SHA384,
        ],
        ..aws_lc_rs::default_provider()
    })
}

fn certificates(
    what: &'static str,
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, SetupError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let problem = match read {
        Ok(certificates) if !certificates.is_empty() => return Ok(certificates),
        Ok(_) => "expected PEM blocks \"CERTIFICATE\", found none".to_owned(),
        Err(error) => format!("expected PEM blocks \"CERTIFICATE\": {error}"),
    };
    Err(SetupError::Pem { what, problem })
}

fn mesh_name(name: String) -> Result<ServerName<'static>, SetupError> {
    let problem = format!("\"{name}\" is no DNS name");
    ServerName::try_from(name).map_err(|_| SetupError::Pem { what: "mesh peer name", problem })
}

fn refused(error: impl fmt::Display) -> SetupError {
    SetupError::Tls(error.to_string())
}

/// Takes client certificates of the mesh's own authority that carry one of these names.
#[derive(Debug)]
struct NamedClients {
    inner: Arc<dyn ClientCertVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ClientCertVerifier for NamedClients {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let verified = self.inner.verify_client_cert(leaf, intermediates, now)?;
        let leaf = ParsedCertificate::try_from(leaf)?;
        let mut refused = None;
        for name in &self.names {
            match verify_server_name(&leaf, name) {
                Ok(()) => return Ok(verified),
                Err(error) => refused = Some(error),
            }
        }
        Err(refused.expect("there is at least the identity's peer name"))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, NamedGroup};

    use super::*;

    #[test]
    fn the_cheap_suite_and_the_post_quantum_group_come_first() {
        let provider = provider();
        assert_eq!(provider.cipher_suites[0].suite(), CipherSuite::TLS13_AES_128_GCM_SHA256);
        assert_eq!(provider.kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }
}
