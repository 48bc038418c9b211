//! Certificates, and how TLS is spoken: version 1.3 only, post-quantum key exchange preferred.

use std::{fmt, sync::Arc, time::Duration};

use quinn::crypto::rustls::{QuicClientConfig, QuicServerConfig};
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig,
    SignatureScheme,
    client::{
        Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerifier as _},
        verify_server_name,
    },
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

/// Session tickets a client keeps: what the library keeps of one name, and all edges have the same.
const CLIENT_TICKETS_MAX: usize = 8;

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

    /// The leaf and the rest of the chain. A chain of none is an empty leaf, which nobody takes.
    fn parts(&self) -> (&CertificateDer<'static>, &[CertificateDer<'static>]) {
        static NONE: CertificateDer<'static> = CertificateDer::from_slice(&[]);
        self.chain.split_first().unwrap_or((&NONE, &[]))
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

/// Whom one end of the mesh is, and whom it trusts.
#[derive(Clone, Debug)]
pub struct MeshIdentity {
    /// What this side shows.
    pub certificate: Certificate,
    /// What the other side's certificate must lead to. Use a certificate authority of its own:
    /// everything it signs for the right name may push into mailboxes.
    pub roots: Roots,
}

impl MeshIdentity {
    /// Whether others that trust the same roots will take this side, at `now` since 1970, for a
    /// listener called `name`.
    ///
    /// # Errors
    /// Why not: the certificate does not lead to the roots, has another name or is not good now.
    pub fn check_listener(&self, name: &str, now: Duration) -> Result<(), SetupError> {
        let name = mesh_name(name)?;
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&self.roots.0), provider())
                .build()
                .map_err(refused)?;
        let (leaf, intermediates) = self.certificate.parts();
        let now = UnixTime::since_unix_epoch(now);
        verifier.verify_server_cert(leaf, intermediates, &name, &[], now).map_err(refused)?;
        Ok(())
    }

    /// As [`Self::check_listener`], for a dialer called `name`.
    ///
    /// # Errors
    /// As [`Self::check_listener`].
    pub fn check_dialer(&self, name: &str, now: Duration) -> Result<(), SetupError> {
        let clients = NamedClients::new(&self.roots, vec![mesh_name(name)?])?;
        let (leaf, intermediates) = self.certificate.parts();
        let now = UnixTime::since_unix_epoch(now);
        clients.verify_client_cert(leaf, intermediates, now).map_err(refused)?;
        Ok(())
    }
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
    config.resumption = Resumption::in_memory_sessions(CLIENT_TICKETS_MAX);
    QuicClientConfig::try_from(config).map(Arc::new).map_err(refused)
}

/// What a mesh listener speaks with peers that have one of these names.
pub(crate) fn mesh_listener(
    identity: MeshIdentity,
    peer_names: &[&str],
) -> Result<Arc<QuicServerConfig>, SetupError> {
    let names = peer_names.iter().map(|name| mesh_name(name)).collect::<Result<_, _>>()?;
    let clients = NamedClients::new(&identity.roots, names)?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused)?
        .with_client_cert_verifier(Arc::new(clients))
        .with_single_cert(identity.certificate.chain, identity.certificate.key)
        .map_err(refused)?;
    server(config, ALPN_MESH, None)
}

/// What a mesh dialer speaks.
pub(crate) fn mesh_dialer(identity: MeshIdentity) -> Result<Arc<QuicClientConfig>, SetupError> {
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(refused)?
        .with_root_certificates(identity.roots.0)
        .with_client_auth_cert(identity.certificate.chain, identity.certificate.key)
        .map_err(refused)?;
    config.alpn_protocols = vec![ALPN_MESH.to_vec()];
    config.enable_early_data = false;
    config.resumption = Resumption::disabled();
    QuicClientConfig::try_from(config).map(Arc::new).map_err(refused)
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

/// The name as the certificates of the mesh carry it.
pub(crate) fn mesh_name(name: &str) -> Result<ServerName<'static>, SetupError> {
    ServerName::try_from(name.to_owned()).map_err(|_| SetupError::Pem {
        what: "name in the mesh",
        problem: format!("\"{name}\" is no DNS name"),
    })
}

fn refused(error: impl fmt::Display) -> SetupError {
    SetupError::Tls(error.to_string())
}

/// Takes client certificates of the mesh's own authority that carry one of some names.
#[derive(Debug)]
struct NamedClients {
    inner: Arc<dyn ClientCertVerifier>,
    /// At least one.
    names: Vec<ServerName<'static>>,
}

impl NamedClients {
    fn new(roots: &Roots, names: Vec<ServerName<'static>>) -> Result<Self, SetupError> {
        assert!(!names.is_empty(), "nobody could ever connect");
        let inner = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots.0), provider())
            .build()
            .map_err(refused)?;
        Ok(Self { inner, names })
    }
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
        let checked = self.names.iter().map(|name| verify_server_name(&leaf, name));
        checked.reduce(Result::or).expect("there is at least one name")?;
        Ok(verified)
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
