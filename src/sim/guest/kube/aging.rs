//! Certificates on a machine's disk: when they end, whom they name, and how they grow old while a Mac sleeps.
//!
//! The simulated Mac's clock is the computer's own, which nobody sets: when it slept for a year, all that its machines hold
//! is a year older instead.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::parse_x509_pem;
use x509_parser::time::ASN1Time;

use super::pki::{self, PKI, Subject};
use crate::sim::guest::state::Disk;
use crate::sim::guest::tls::Pair;
use crate::sim::guest::yaml;

const KUBERNETES: &str = "/etc/kubernetes";
/// Who signs what: a path's beginning, and the authority's name below the folder of keys; the first that fits.
const SIGNERS: [(&str, &str); 4] = [
    ("/etc/kubernetes/pki/etcd/", "etcd/ca"),
    ("/etc/kubernetes/pki/apiserver-etcd-client", "etcd/ca"),
    ("/etc/kubernetes/pki/front-proxy-client", "front-proxy-ca"),
    ("/", "ca"),
];

/// What a certificate says.
struct Read {
    begins: u64,
    ends: u64,
    name: String,
    organization: Option<String>,
    server: bool,
    names: Vec<String>,
}

fn read(pem: &str) -> Option<Read> {
    let (_, pem) = parse_x509_pem(pem.as_bytes()).ok()?;
    let certificate = pem.parse_x509().ok()?;
    let text = |mut all: Box<dyn Iterator<Item = &x509_parser::x509::AttributeTypeAndValue<'_>> + '_>| {
        all.next().and_then(|one| one.as_str().ok()).map(str::to_owned)
    };
    let subject = certificate.subject();
    let usage = certificate.extended_key_usage().ok().flatten();
    let seconds = |time: ASN1Time| u64::try_from(time.timestamp()).unwrap_or_default();
    Some(Read {
        begins: seconds(certificate.validity().not_before),
        ends: seconds(certificate.validity().not_after),
        name: text(Box::new(subject.iter_common_name())).unwrap_or_default(),
        organization: text(Box::new(subject.iter_organization())),
        server: usage.is_some_and(|usage| usage.value.server_auth),
        names: alternative(&certificate),
    })
}

fn alternative(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Some(names) = certificate.subject_alternative_name().ok().flatten() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(bytes) => {
            <[u8; 4]>::try_from(*bytes).ok().map(|four| std::net::Ipv4Addr::from(four).to_string())
        }
        _ => None,
    };
    names.value.general_names.iter().filter_map(text).collect()
}

/// Returns the certificate inside a kubeconfig.
fn inside(kubeconfig: &str) -> Option<String> {
    let config = yaml::document(kubeconfig).ok()?;
    pki::decode(&config["users"][0]["user"]["client-certificate-data"]).ok()
}

/// Lists the files that hold certificates or are kubeconfigs with one, without those of authorities.
fn leaves(disk: &Disk) -> Vec<String> {
    let is_leaf = |path: &String| !path.ends_with("/ca.crt") && !path.ends_with("/front-proxy-ca.crt");
    let keys = disk.under(PKI).into_iter().filter(|path| path.ends_with(".crt")).filter(is_leaf);
    keys.chain(disk.glob(KUBERNETES, ".conf")).collect()
}

fn certificate_at(disk: &Disk, path: &str) -> Option<String> {
    let text = disk.text(path)?;
    if path.ends_with(".conf") { inside(&text) } else { Some(text) }
}

/// Returns every certificate's file with its begin and its end in seconds since 1970.
pub fn validities(disk: &Disk) -> Vec<(String, u64, u64)> {
    let authorities = disk.under(PKI).into_iter().filter(|path| path.ends_with("ca.crt"));
    let all = leaves(disk).into_iter().chain(authorities);
    let of = |path: String| {
        let read = read(&certificate_at(disk, &path)?)?;
        Some((path, read.begins, read.ends))
    };
    all.filter_map(of).collect()
}

/// Returns the names in the API server's certificate.
pub fn api_names(disk: &Disk) -> Vec<String> {
    let text = disk.text(&format!("{PKI}/apiserver.crt"));
    text.and_then(|text| read(&text)).map(|certificate| certificate.names).unwrap_or_default()
}

/// Makes certificates older by a time; `authorities` are the disk of the machine that signs them ([`signer`]).
pub fn age(disk: &mut Disk, authorities: &Disk, by: Duration) {
    for path in leaves(disk) {
        // What cannot be read cannot age either.
        let _ = reissue(disk, authorities, &path, |ends| ends.saturating_sub(by.as_secs()));
    }
}

/// Returns the disk that holds the keys of the very authority that a machine trusts: another cluster's has the same name.
pub fn signer<'a>(disk: &Disk, machines: &'a [Disk]) -> Option<&'a Disk> {
    let certificate = disk.text(&format!("{PKI}/ca.crt"))?;
    machines.iter().find(|other| pki::authority(other, "ca").is_some_and(|ca| ca.certificate == certificate))
}

/// Issues all of a control plane's certificates anew but its kubelet's, as `kubeadm certs renew all` does.
pub fn renew(disk: &mut Disk, ends: u64) -> Result<(), String> {
    let authorities = disk.clone();
    for path in leaves(disk).into_iter().filter(|path| path != super::kubelet::KUBECONFIG) {
        reissue(disk, &authorities, &path, |_| ends)?;
    }
    Ok(())
}

/// Issues one certificate anew: the same key, names and use, another end.
fn reissue(
    disk: &mut Disk,
    authorities: &Disk,
    path: &str,
    ends: impl FnOnce(u64) -> u64,
) -> Result<(), String> {
    let unreadable = || format!("failed to read {path}");
    let old = read(&certificate_at(disk, path).ok_or_else(unreadable)?).ok_or_else(unreadable)?;
    let signer = SIGNERS.iter().find(|(beginning, _)| path.starts_with(beginning));
    let signer = signer.and_then(|(_, name)| pki::authority(authorities, name));
    let signer = signer.ok_or_else(|| format!("no authority for {path} is here"))?;
    let subject = Subject {
        name: &old.name,
        organization: old.organization.as_deref(),
        server: old.server,
        alternative: &old.names,
    };
    let Some(stem) = path.strip_suffix(".crt") else {
        return reissue_inside(disk, path, &signer, &subject, ends(old.ends));
    };
    let key = disk.text(&format!("{stem}.key")).ok_or_else(unreadable)?;
    let certificate = pki::sign(&signer, &key, &subject, ends(old.ends))?;
    disk.put(path, 0o644, certificate);
    Ok(())
}

fn reissue_inside(
    disk: &mut Disk,
    path: &str,
    signer: &Pair,
    subject: &Subject<'_>,
    ends: u64,
) -> Result<(), String> {
    let mut config: Value = yaml::document(&disk.text(path).unwrap_or_default())?;
    let user = &mut config["users"][0]["user"];
    let key = pki::decode(&user["client-key-data"])?;
    let certificate = pki::sign(signer, &key, subject, ends)?;
    user["client-certificate-data"] = STANDARD.encode(certificate).into();
    disk.put(path, 0o600, format!("{config:#}\n"));
    Ok(())
}

#[cfg(test)]
mod tests {
    use x509_parser::prelude::FromDer;

    use super::super::kubelet::KUBECONFIG;
    use super::*;
    use crate::sim::guest::tls;

    const HOUR: Duration = Duration::from_secs(3600);

    /// A control plane's disk, and that of a worker which it has let in.
    fn cluster() -> [Disk; 2] {
        let (mut control_plane, mut worker) = (Disk::empty(), Disk::empty());
        let ca = pki::ensure_authority(&mut control_plane, "ca", "kubernetes").unwrap();
        let node = Subject { name: "node", organization: None, server: false, alternative: &[] };
        for disk in [&mut control_plane, &mut worker] {
            let pair = pki::issue(&ca, &node).unwrap();
            disk.put(KUBECONFIG, 0o600, pki::kubeconfig("lab", "node", "https://k8s:6443", "", &pair));
        }
        worker.put(&format!("{PKI}/ca.crt"), 0o644, ca.certificate);
        [control_plane, worker]
    }

    fn signed_by(disk: &Disk, ca: &Pair) -> bool {
        let certificate = tls::certificates(&inside(&disk.text(KUBECONFIG).unwrap()).unwrap()).unwrap();
        let ca = tls::certificates(&ca.certificate).unwrap();
        let (_, ca) = X509Certificate::from_der(&ca[0]).unwrap();
        let (_, leaf) = X509Certificate::from_der(&certificate[0]).unwrap();
        leaf.verify_signature(Some(ca.public_key())).is_ok()
    }

    #[test]
    fn a_clusters_certificates_age_by_its_own_authority() {
        let ([other, _], [control_plane, mut worker]) = (cluster(), cluster());
        let before = validities(&worker)[0].2;
        assert!(signer(&worker, std::slice::from_ref(&other)).is_none(), "another's of the same name");
        let both = [other, control_plane];
        let authorities = signer(&worker, &both).unwrap();
        age(&mut worker, authorities, HOUR);
        assert_eq!(validities(&worker)[0].2, before - HOUR.as_secs());
        assert!(signed_by(&worker, &pki::authority(&both[1], "ca").unwrap()));
        assert!(signer(&Disk::empty(), &both).is_none(), "a machine of no cluster");
    }
}
