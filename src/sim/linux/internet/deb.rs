//! Makes Debian packages (deb(5)) of what the stand-ins' packages hold.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use sha2::{Digest, Sha256};

use super::tar::Tar;
use crate::sim::agent::packages::{Entry, Package};

const MAINTAINER: &str = "fusionlab <fusionlab@localhost>";
/// Files below it are a machine's own: dpkg does not replace them when somebody changed them.
const CONFIGURATION: &str = "/etc/";

/// One package as a file.
pub struct Deb {
    pub file: Vec<u8>,
    /// What stands of it in a repository's index, without where the file is.
    pub paragraph: String,
    /// Such as `kubeadm_1.36.4-1.1_amd64.deb`.
    pub name: String,
}

/// Makes a package's file.
pub fn make(package: &Package) -> Deb {
    let control = control(package);
    let mut file = b"!<arch>\n".to_vec();
    let members = [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar.gz", meta(package, &control)),
        ("data.tar.gz", data(package)),
    ];
    for (name, content) in members {
        // Name, date, user, group, mode, size: text of fixed widths.
        let head = format!("{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n", 0, 0, 0, "100644", content.len());
        file.extend(head.as_bytes());
        file.extend(&content);
        if content.len() % 2 == 1 {
            file.push(b'\n');
        }
    }
    let digest = hex::encode(Sha256::digest(&file));
    let paragraph = format!("{control}Size: {}\nSHA256: {digest}\n", file.len());
    let name = format!("{}_{}_{}.deb", package.name, package.version, architecture());
    Deb { file, paragraph, name }
}

/// Returns Debian's name of this computer's architecture.
pub fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

fn control(package: &Package) -> String {
    let mut text = format!(
        "Package: {}\nVersion: {}\nArchitecture: {}\nMaintainer: {MAINTAINER}\nSection: admin\nPriority: optional\n",
        package.name,
        package.version,
        architecture()
    );
    if !package.depends.is_empty() {
        let _ = writeln!(text, "Depends: {}", package.depends.join(", "));
    }
    let _ = writeln!(text, "Description: {}", package.description);
    text
}

/// The archive of what dpkg is told about the package.
fn meta(package: &Package, control: &str) -> Vec<u8> {
    let mut tar = Tar::default();
    tar.folder("./");
    tar.file("./control", 0o644, control.as_bytes());
    let own: String = files(package)
        .filter(|(path, _)| path.starts_with(CONFIGURATION))
        .map(|(path, _)| format!("{path}\n"))
        .collect();
    if !own.is_empty() {
        tar.file("./conffiles", 0o644, own.as_bytes());
    }
    for (name, text) in &package.scripts {
        tar.file(&format!("./{name}"), 0o755, text.as_bytes());
    }
    tar.gzip()
}

fn files(package: &Package) -> impl Iterator<Item = &(String, Entry)> {
    package.files.iter().filter(|(_, entry)| matches!(entry, Entry::File { .. }))
}

/// The archive of what is installed; every folder stands before what is in it.
fn data(package: &Package) -> Vec<u8> {
    let mut tar = Tar::default();
    tar.folder("./");
    let mut folders = BTreeSet::new();
    for (path, entry) in &package.files {
        for (end, _) in path.match_indices('/').skip(1) {
            if folders.insert(&path[..end]) {
                tar.folder(&format!(".{}/", &path[..end]));
            }
        }
        match entry {
            Entry::File { mode, content } => tar.file(&format!(".{path}"), *mode, content.as_bytes()),
            Entry::Link(to) => tar.link(&format!(".{path}"), to),
        }
    }
    tar.gzip()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn package() -> Package {
        Package {
            name: "kubelet",
            version: "1.36.4-1.1".into(),
            depends: vec!["kubernetes-cni", "iptables"],
            description: "kubelet 1.36.4 as fusionlab simulates it".into(),
            files: vec![
                ("/usr/bin/kubelet".into(), Entry::Link("/usr/lib/fusionlab-sim/fusionlab".into())),
                (
                    "/usr/lib/systemd/system/kubelet.service".into(),
                    Entry::File { mode: 0o644, content: "[Unit]\n".into() },
                ),
                (
                    "/etc/default/kubelet".into(),
                    Entry::File { mode: 0o644, content: "KUBELET_EXTRA_ARGS=\n".into() },
                ),
            ],
            scripts: vec![("postinst", "#!/bin/sh\n".into())],
        }
    }

    #[test]
    fn a_package_is_always_the_same_bytes() {
        let deb = make(&package());
        assert_eq!(deb.file, make(&package()).file);
        assert!(deb.name.starts_with("kubelet_1.36.4-1.1_"));
        assert!(deb.paragraph.contains("\nDepends: kubernetes-cni, iptables\n"));
        assert!(deb.paragraph.ends_with(&format!("SHA256: {}\n", hex::encode(Sha256::digest(&deb.file)))));
    }
}
