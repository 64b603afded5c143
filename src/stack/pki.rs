//! Certificate authorities and the certificates they issue, as PEM text.
//!
//! Keys are ECDSA P-256: kubeadm takes no Ed25519, and RSA costs a small VM seconds
//! (facts/kubernetes-cilium.md §1.2). They come from the operating system's generator, by way of `ring`.

use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DistinguishedName, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, PublicKeyData, SanType,
    SerialNumber,
};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use x509_parser::prelude::{GeneralName, Pem, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::stack::validity::Validity;

/// kubeadm's own validity of authorities: ten years.
const AUTHORITY_SECONDS: u64 = 10 * 365 * 24 * 3600;
/// kubeadm's own validity of certificates: one year.
const LEAF_SECONDS: u64 = 365 * 24 * 3600;
/// A guest whose clock is late must still believe a new certificate.
const BACKDATED_SECONDS: u64 = 24 * 3600;

/// Why a key or certificate could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    #[error("certificate of {subject}: {source}")]
    Issue { subject: String, source: rcgen::Error },
    #[error("name {name:?} cannot stand in a certificate: {source}")]
    Name { name: String, source: rcgen::Error },
    #[error("certificate cannot be read: {0}")]
    Read(String),
}

/// A certificate with its private key, both PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    pub certificate: String,
    pub key: SecretString,
}

/// A key pair without a certificate, both PEM (PKCS#8 and SubjectPublicKeyInfo).
#[derive(Clone, Debug)]
pub struct Keys {
    pub private: SecretString,
    pub public: String,
}

/// What a certificate is to say.
pub struct Subject<'a> {
    pub common_name: &'a str,
    pub organisation: Option<&'a str>,
    /// DNS names (`*.lab.test` too) and addresses of a server; none for a client.
    pub names: &'a [String],
}

/// What an authority's certificates may be for.
#[derive(Clone, Copy, Debug)]
pub enum Reach<'a> {
    Anything,
    /// Servers by this name and all below it: whoever believes the authority believes it for no other site.
    Domain(&'a str),
}

/// Makes a self-signed authority, valid for ten years.
pub fn authority(common_name: &str, reach: Reach<'_>, now_unix: u64) -> Result<Pair, PkiError> {
    let failed = |source| PkiError::Issue { subject: common_name.to_owned(), source };
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    if let Reach::Domain(domain) = reach {
        params.name_constraints = Some(only_below(domain));
    }
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyCertSign,
    ];
    set_validity(&mut params, now_unix, AUTHORITY_SECONDS);
    let key = KeyPair::generate().map_err(failed)?;
    params.serial_number = Some(serial_of(&key));
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem().into() })
}

/// Constraints on names of one kind say nothing of the others, so addresses are shut out as such (RFC 5280 §4.2.1.10).
fn only_below(domain: &str) -> NameConstraints {
    let every = [CidrSubnet::V4([0; 4], [0; 4]), CidrSubnet::V6([0; 16], [0; 16])];
    NameConstraints {
        permitted_subtrees: vec![GeneralSubtree::DnsName(domain.to_owned())],
        excluded_subtrees: every.into_iter().map(GeneralSubtree::IpAddress).collect(),
    }
}

/// Issues a certificate, valid for one year: for a server if it has names, otherwise for a client.
pub fn issue(authority: &Pair, subject: &Subject, now_unix: u64) -> Result<Pair, PkiError> {
    let failed = |source| PkiError::Issue { subject: subject.common_name.to_owned(), source };
    let mut params = CertificateParams::new(Vec::new()).map_err(failed)?;
    let mut name = DistinguishedName::new();
    if let Some(organisation) = subject.organisation {
        name.push(DnType::OrganizationName, organisation);
    }
    name.push(DnType::CommonName, subject.common_name);
    params.distinguished_name = name;
    params.subject_alt_names =
        subject.names.iter().map(|name| alternative(name)).collect::<Result<_, _>>()?;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![if subject.names.is_empty() {
        ExtendedKeyUsagePurpose::ClientAuth
    } else {
        ExtendedKeyUsagePurpose::ServerAuth
    }];
    params.use_authority_key_identifier_extension = true;
    set_validity(&mut params, now_unix, LEAF_SECONDS);
    let key = KeyPair::generate().map_err(failed)?;
    params.serial_number = Some(serial_of(&key));
    let issuer_key = KeyPair::from_pem(authority.key.expose_secret()).map_err(failed)?;
    let issuer = Issuer::from_ca_cert_pem(&authority.certificate, issuer_key).map_err(failed)?;
    let certificate = params.signed_by(&key, &issuer).map_err(failed)?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem().into() })
}

/// Makes a key pair, such as the one that signs service accounts' tokens.
pub fn keys(purpose: &str) -> Result<Keys, PkiError> {
    let key =
        KeyPair::generate().map_err(|source| PkiError::Issue { subject: purpose.to_owned(), source })?;
    Ok(Keys { private: key.serialize_pem().into(), public: key.public_key_pem() })
}

/// Returns `sha256:<hex>` of the certificate's SubjectPublicKeyInfo: what kubeadm's discovery pins
/// (facts/kubernetes-cilium.md §1.3).
pub fn public_key_hash(certificate: &str) -> Result<String, PkiError> {
    with_certificate(certificate, |parsed| {
        format!("sha256:{}", hex::encode(Sha256::digest(parsed.public_key().raw)))
    })
}

/// Returns the SHA-256 of a certificate as programs show it: `AB:CD:…`. None if the text holds no certificate.
pub fn fingerprint(certificate: &str) -> Option<String> {
    let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).ok()?;
    let bytes: Vec<String> = Sha256::digest(&pem.contents).iter().map(|byte| format!("{byte:02X}")).collect();
    Some(bytes.join(":"))
}

/// Says whether the private key is the one that the certificate certifies.
pub fn belong_together(pair: &Pair) -> Result<bool, PkiError> {
    let key = KeyPair::from_pem(pair.key.expose_secret())
        .map_err(|source| PkiError::Issue { subject: "a stored key".to_owned(), source })?;
    let public = key.subject_public_key_info();
    with_certificate(&pair.certificate, |parsed| parsed.public_key().raw == public.as_slice())
}

/// Returns the certificate's names and addresses, in its order.
pub fn names_of(certificate: &str) -> Result<Vec<String>, PkiError> {
    with_certificate(certificate, |parsed| {
        let names = parsed.subject_alternative_name().ok().flatten();
        names.map(|names| names.value.general_names.iter().filter_map(text_of).collect()).unwrap_or_default()
    })
}

/// Returns the domain that an authority is confined to; none if it may sign for any.
pub fn domain_of(authority: &str) -> Result<Option<String>, PkiError> {
    with_certificate(authority, |parsed| {
        let constraints = parsed.name_constraints().ok().flatten()?;
        constraints.value.permitted_subtrees.as_ref()?.iter().find_map(|subtree| text_of(&subtree.base))
    })
}

/// Says whether an authority may sign for a domain and all names below it.
pub fn may_sign_for(authority: &str, domain: &str) -> Result<bool, PkiError> {
    let is_below =
        |of: String| domain == of || domain.strip_suffix(&of).is_some_and(|rest| rest.ends_with('.'));
    Ok(domain_of(authority)?.is_none_or(is_below))
}

/// Returns how long the certificate is valid.
pub fn validity(certificate: &str) -> Result<Validity, PkiError> {
    with_certificate(certificate, |parsed| {
        // What began before 1970 began long ago.
        let seconds = |time: ASN1Time| u64::try_from(time.timestamp()).unwrap_or_default();
        let validity = parsed.validity();
        Validity { begins: seconds(validity.not_before), ends: seconds(validity.not_after) }
    })
}

fn with_certificate<T>(pem: &str, read: impl FnOnce(&X509Certificate) -> T) -> Result<T, PkiError> {
    let (pem, _) = Pem::read(std::io::Cursor::new(pem)).map_err(|bad| PkiError::Read(bad.to_string()))?;
    let parsed = pem.parse_x509().map_err(|bad| PkiError::Read(bad.to_string()))?;
    Ok(read(&parsed))
}

fn text_of(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            <[u8; 4]>::try_from(*bytes).ok().map(|four| std::net::Ipv4Addr::from(four).to_string())
        }
        _ => None,
    }
}

fn alternative(name: &str) -> Result<SanType, PkiError> {
    match name.parse::<IpAddr>() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => name
            .try_into()
            .map(SanType::DnsName)
            .map_err(|source| PkiError::Name { name: name.to_owned(), source }),
    }
}

fn set_validity(params: &mut CertificateParams, now_unix: u64, seconds: u64) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    params.not_before = epoch + Duration::from_secs(now_unix.saturating_sub(BACKDATED_SECONDS));
    params.not_after = epoch + Duration::from_secs(now_unix + seconds);
}

/// A serial number as unique as the key; 19 bytes and positive, as RFC 5280 §4.1.2.2 asks.
fn serial_of(key: &KeyPair) -> SerialNumber {
    let mut bytes = Sha256::digest(key.subject_public_key_info())[..19].to_vec();
    bytes[0] &= 0x7f;
    SerialNumber::from(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_790_000_000;

    #[test]
    fn a_server_certificate_names_what_it_serves() {
        let lab = authority("lab", Reach::Anything, NOW).unwrap();
        let names = ["*.lab.test".to_owned(), "lab.test".to_owned(), "10.10.0.10".to_owned()];
        let subject = Subject { common_name: "lab.test", organisation: None, names: &names };
        let server = issue(&lab, &subject, NOW).unwrap();
        assert_eq!(names_of(&server.certificate).unwrap(), names);
        let year = Validity { begins: NOW - BACKDATED_SECONDS, ends: NOW + LEAF_SECONDS };
        assert_eq!(validity(&server.certificate).unwrap(), year);
        assert!(belong_together(&server).unwrap());
        assert!(!belong_together(&Pair { certificate: server.certificate, key: lab.key }).unwrap());
    }

    #[test]
    fn a_certificate_verifies_against_its_authority() {
        let root = authority("kubernetes", Reach::Anything, NOW).unwrap();
        let subject = Subject { common_name: "kubernetes-admin", organisation: Some("admins"), names: &[] };
        let admin = issue(&root, &subject, NOW).unwrap();
        let pem = |text: &str| Pem::read(std::io::Cursor::new(text.to_owned())).unwrap().0;
        let (root, admin) = (pem(&root.certificate), pem(&admin.certificate));
        let (root, admin) = (root.parse_x509().unwrap(), admin.parse_x509().unwrap());
        assert_eq!(admin.issuer(), root.subject());
        assert_eq!(admin.subject().to_string(), "O=admins, CN=kubernetes-admin");
        assert!(admin.extended_key_usage().unwrap().unwrap().value.client_auth);
        assert!(root.is_ca() && !admin.is_ca());
    }

    #[test]
    fn an_authority_of_one_domain_signs_for_no_other() {
        let lab = authority("lab", Reach::Domain("lab.test"), NOW).unwrap();
        let may = |domain: &str| may_sign_for(&lab.certificate, domain).unwrap();
        assert!(may("lab.test") && may("deep.lab.test"));
        assert!(!may("test") && !may("collab.test") && !may("lab.internal"));
        assert_eq!(domain_of(&lab.certificate).unwrap().as_deref(), Some("lab.test"));
        let anything = authority("lab", Reach::Anything, NOW).unwrap();
        assert!(may_sign_for(&anything.certificate, "lab.internal").unwrap());
    }
}
