//! kubeadm's certificates, signed with rcgen by the authorities on the machine's disk, and its kubeconfig files.

use std::net::IpAddr;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};

use crate::sim::guest::state::Disk;
use crate::sim::guest::tls::Pair;
use crate::sim::guest::yaml;
use crate::sim::now_ms;
use crate::sim::recent::Recent;

pub const PKI: &str = "/etc/kubernetes/pki";

/// What a certificate is for.
pub struct Subject<'a> {
    pub name: &'a str,
    pub organization: Option<&'a str>,
    pub server: bool,
    pub alternative: &'a [String],
}

/// Returns an authority from the disk.
pub fn authority(disk: &Disk, name: &str) -> Option<Pair> {
    pair(disk, &format!("{PKI}/{name}"))
}

/// Returns the certificate and the key that lie beside each other.
pub fn pair(disk: &Disk, stem: &str) -> Option<Pair> {
    Some(Pair { certificate: disk.text(&format!("{stem}.crt"))?, key: disk.text(&format!("{stem}.key"))? })
}

/// Returns an authority from the disk, made now if there is none: kubeadm reuses what it finds.
pub fn ensure_authority(disk: &mut Disk, name: &str, common_name: &str) -> Result<Pair, String> {
    if let Some(pair) = authority(disk, name) {
        let belongs = pair.certified().map(drop);
        belongs.map_err(|error| {
            format!("failure loading {name} certificate: the certificate is not valid: {error}")
        })?;
        return Ok(pair);
    }
    if disk.file(&format!("{PKI}/{name}.crt")).is_some() {
        return Err(format!(
            "error execution phase certs/{name}: external CA mode is not part of the model: {name}.key is missing"
        ));
    }
    let pair = new_authority(common_name)?;
    put_pair(disk, name, &pair);
    Ok(pair)
}

/// Makes an authority that is nowhere yet.
pub fn new_authority(common_name: &str) -> Result<Pair, String> {
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
    Ok(Pair { certificate: certificate.pem(), key: key.serialize_pem() })
}

pub fn put_pair(disk: &mut Disk, name: &str, pair: &Pair) {
    disk.put(&format!("{PKI}/{name}.crt"), 0o644, pair.certificate.clone());
    disk.put(&format!("{PKI}/{name}.key"), 0o600, pair.key.clone());
}

/// How long a certificate lasts if nothing else is said: kubeadm's own year (facts/kubernetes-cilium.md §1.11).
pub const YEAR_SECONDS: u64 = 365 * 24 * 3600;

/// Signs a new key with an authority, for a year from now.
pub fn issue(authority: &Pair, subject: &Subject<'_>) -> Result<Pair, String> {
    issue_until(authority, subject, now_ms() / 1000 + YEAR_SECONDS)
}

/// Signs a new key with an authority, until so many seconds since 1970.
pub fn issue_until(authority: &Pair, subject: &Subject<'_>, ends: u64) -> Result<Pair, String> {
    let key = KeyPair::generate().map_err(|error| error.to_string())?.serialize_pem();
    Ok(Pair { certificate: sign(authority, &key, subject, ends)?, key })
}

/// Signs a key (PEM) with an authority, and returns the certificate.
pub fn sign(authority: &Pair, key: &str, subject: &Subject<'_>, ends: u64) -> Result<String, String> {
    let sign = || -> Result<String, rcgen::Error> {
        let issuer = Issuer::from_ca_cert_pem(&authority.certificate, KeyPair::from_pem(&authority.key)?)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, subject.name);
        if let Some(organization) = subject.organization {
            params.distinguished_name.push(DnType::OrganizationName, organization);
        }
        params.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(ends);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        if subject.server {
            params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        }
        for name in subject.alternative {
            params.subject_alt_names.push(match name.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(name.as_str().try_into()?),
            });
        }
        Ok(params.signed_by(&KeyPair::from_pem(key)?, &issuer)?.pem())
    };
    sign().map_err(|error| format!("cannot sign a certificate for {}: {error}", subject.name))
}

/// Returns a kubeconfig with its certificates inside.
pub fn kubeconfig(cluster: &str, user: &str, server: &str, ca: &str, pair: &Pair) -> String {
    let encode = |text: &str| STANDARD.encode(text);
    let context = format!("{user}@{cluster}");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "clusters": [{ "name": cluster, "cluster": { "certificate-authority-data": encode(ca), "server": server } }],
        "contexts": [{ "name": context, "context": { "cluster": cluster, "user": user } }],
        "users": [{ "name": user, "user": {
            "client-certificate-data": encode(&pair.certificate), "client-key-data": encode(&pair.key),
        } }],
    });
    format!("{config:#}\n")
}

/// What a kubeconfig says: where, whom to trust, who to be.
#[derive(Clone, Debug)]
pub struct Kubeconfig {
    pub host: String,
    pub port: u16,
    pub ca: String,
    pub pair: Pair,
}

thread_local! {
    static READ: Recent<String, Kubeconfig> = const { Recent::new() };
}

impl Kubeconfig {
    pub fn read(text: &str) -> Result<Self, String> {
        READ.with(|read| read.answer(text.to_owned(), |text| Self::parse(text)))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let value = yaml::document(text)?;
        let cluster = &value["clusters"][0]["cluster"];
        let server =
            cluster["server"].as_str().ok_or("invalid configuration: no server found for cluster")?;
        let place = server.strip_prefix("https://").ok_or("the model's clients speak https only")?;
        let (host, port) = place.trim_end_matches('/').rsplit_once(':').unwrap_or((place, "443"));
        let user = &value["users"][0]["user"];
        Ok(Self {
            host: host.to_owned(),
            port: port.parse().map_err(|_| format!("bad server {server}"))?,
            ca: decode(&cluster["certificate-authority-data"])?,
            pair: Pair {
                certificate: decode(&user["client-certificate-data"])?,
                key: decode(&user["client-key-data"])?,
            },
        })
    }
}

/// Decodes a base64 text that holds PEM.
pub fn decode(value: &Value) -> Result<String, String> {
    let text = value.as_str().ok_or("invalid configuration: certificate data is missing")?;
    let bytes =
        STANDARD.decode(text.split_whitespace().collect::<String>()).map_err(|error| error.to_string())?;
    String::from_utf8(bytes).map_err(|_| "certificate data is not PEM".to_owned())
}
