//! What the simulated internet proves itself by: an authority for HTTPS, and a key for repositories.

use std::io;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};

use super::openpgp::SigningKey;
use crate::host::{clock, files};
use crate::sim::guest::tls::Pair;

const CERTIFICATE: &str = "authority.crt";
const KEY: &str = "authority.key";
const SIGNING_KEY: &str = "archive.key";
/// What both are called by those who look.
const NAME: &str = "fusionlab simulated internet";

/// The keys of one image's internet.
pub struct Keys {
    authority: Pair,
    pub archive: SigningKey,
}

/// Makes the keys that an image lacks, in its folder.
pub fn make_keys(folder: &Path) -> io::Result<Keys> {
    if folder.join(SIGNING_KEY).exists() {
        return Keys::open(folder);
    }
    files::create_private_dir(folder).map_err(io::Error::other)?;
    let authority = authority().map_err(io::Error::other)?;
    let archive = SigningKey::generate(NAME, clock::now())?;
    let write = |name: &str, text: &str| {
        files::write_atomic(&folder.join(name), text.as_bytes(), files::PRIVATE_FILE)
            .map_err(io::Error::other)
    };
    write(CERTIFICATE, &authority.certificate)?;
    write(KEY, &authority.key)?;
    // Last, since it says that all are there.
    write(SIGNING_KEY, &archive.to_text())?;
    Ok(Keys { authority, archive })
}

impl Keys {
    /// Reads the keys of an image.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let read = |name: &str| files::read_text(&folder.join(name)).map_err(io::Error::other);
        let authority = Pair { certificate: read(CERTIFICATE)?, key: read(KEY)? };
        let archive = SigningKey::from_text(NAME, &read(SIGNING_KEY)?)?;
        Ok(Self { authority, archive })
    }

    /// Returns the authority's certificate, PEM.
    pub fn certificate(&self) -> &str {
        &self.authority.certificate
    }

    /// Issues a server's certificate.
    pub fn issue(&self, name: &str) -> io::Result<Pair> {
        let issue = || -> Result<Pair, rcgen::Error> {
            let key = KeyPair::from_pem(&self.authority.key)?;
            let issuer = Issuer::from_ca_cert_pem(&self.authority.certificate, key)?;
            let mut params = CertificateParams::new(vec![name.to_owned()])?;
            params.distinguished_name.push(DnType::CommonName, name);
            params.use_authority_key_identifier_extension = true;
            let key = KeyPair::generate()?;
            let certificate = params.signed_by(&key, &issuer)?;
            Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
        };
        issue().map_err(io::Error::other)
    }
}

fn authority() -> Result<Pair, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}
