//! TLS as the guests' programs use it: servers with their certificates, clients with what they trust.
//!
//! Servers and clients of the same certificates are made once while they are among the last ones; so they know each other again
//! and resume their sessions, which spares most of the cryptography.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ParsedCertificate, ResolvesServerCert, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls::{
    CipherSuite, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use sha2::{Digest, Sha256};

use crate::host::http::OurClock;
use crate::sim::recent::Recent;

thread_local! {
    static SERVERS: Recent<(Pair, Clients), Arc<ServerConfig>> = const { Recent::new() };
    static CLIENTS: Recent<(Trust, Option<Pair>), Arc<ClientConfig>> = const { Recent::new() };
}

/// What a client trusts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Anything: `--insecure`.
    Anything,
    /// Certificates of these authorities (PEM).
    Authorities(String),
}

/// A certificate chain with its key, both PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

/// The suites of SHA-256 come first: processors have instructions for it, and the other one's digest was 4 % of the simulation.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

fn invalid(why: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_string())
}

/// Reads a PEM's certificates.
pub fn certificates(pem: &str) -> io::Result<Vec<CertificateDer<'static>>> {
    let all: Vec<_> =
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(invalid)?;
    if all.is_empty() { Err(invalid("no certificate in the PEM")) } else { Ok(all) }
}

fn key(pem: &str) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(invalid)
}

/// Returns kubeadm's hash of a CA: SHA-256 of its SubjectPublicKeyInfo (facts/kubernetes-cilium.md §1.3).
pub fn public_key_hash(certificate_pem: &str) -> io::Result<String> {
    let all = certificates(certificate_pem)?;
    let parsed = ParsedCertificate::try_from(&all[0]).map_err(invalid)?;
    Ok(format!("sha256:{}", hex::encode(Sha256::digest(parsed.subject_public_key_info().as_ref()))))
}

impl Pair {
    /// Checks that certificate and key belong together.
    pub fn certified(&self) -> io::Result<CertifiedKey> {
        CertifiedKey::from_der(certificates(&self.certificate)?, key(&self.key)?, &provider())
            .map_err(invalid)
    }
}

/// Whose client certificates a server takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Clients {
    /// None is asked for.
    Unknown,
    /// Those of this CA (PEM); without one a client is anonymous.
    Optional(String),
    /// Those of this CA (PEM), or no connection.
    Required(String),
}

/// Makes a server with one certificate.
pub fn server(pair: &Pair, clients: Clients) -> io::Result<Arc<ServerConfig>> {
    SERVERS
        .with(|servers| servers.answer((pair.clone(), clients), |(pair, clients)| new_server(pair, clients)))
}

fn new_server(pair: &Pair, clients: &Clients) -> io::Result<Arc<ServerConfig>> {
    let builder = ServerConfig::builder_with_details(provider(), Arc::new(OurClock))
        .with_safe_default_protocol_versions()
        .map_err(invalid)?;
    let verifier = |ca: &str| -> io::Result<_> {
        Ok(WebPkiClientVerifier::builder_with_provider(Arc::new(roots(ca)?), provider()))
    };
    let builder = match clients {
        Clients::Unknown => builder.with_no_client_auth(),
        Clients::Optional(ca) => {
            builder.with_client_cert_verifier(verifier(ca)?.allow_unauthenticated().build().map_err(invalid)?)
        }
        Clients::Required(ca) => builder.with_client_cert_verifier(verifier(ca)?.build().map_err(invalid)?),
    };
    let config =
        builder.with_single_cert(certificates(&pair.certificate)?, key(&pair.key)?).map_err(invalid)?;
    Ok(Arc::new(config))
}

/// Makes a server that chooses its certificate by the name that the client asks for.
pub fn server_by_name(resolver: Arc<dyn ResolvesServerCert>) -> io::Result<Arc<ServerConfig>> {
    let builder = ServerConfig::builder_with_details(provider(), Arc::new(OurClock))
        .with_safe_default_protocol_versions()
        .map_err(invalid)?;
    Ok(Arc::new(builder.with_no_client_auth().with_cert_resolver(resolver)))
}

/// Makes a client.
pub fn client(trust: &Trust, own: Option<&Pair>) -> io::Result<Arc<ClientConfig>> {
    CLIENTS.with(|clients| {
        clients.answer((trust.clone(), own.cloned()), |(trust, own)| new_client(trust, own.as_ref()))
    })
}

fn new_client(trust: &Trust, own: Option<&Pair>) -> io::Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(OurClock))
        .with_safe_default_protocol_versions()
        .map_err(invalid)?;
    let builder = match trust {
        Trust::Authorities(pem) => builder.with_root_certificates(roots(pem)?),
        Trust::Anything => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Credulous(provider())))
        }
    };
    let config = match own {
        Some(pair) => builder
            .with_client_auth_cert(certificates(&pair.certificate)?, key(&pair.key)?)
            .map_err(invalid)?,
        None => builder.with_no_client_auth(),
    };
    Ok(Arc::new(config))
}

fn roots(pem: &str) -> io::Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    for certificate in certificates(pem)? {
        store.add(certificate).map_err(invalid)?;
    }
    Ok(store)
}

/// Believes any certificate, as `curl --insecure` does.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
