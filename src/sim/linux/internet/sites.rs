//! The servers that a bake downloads from: host and path → content, as the real ones answer.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sha2::{Digest, Sha256};

use super::deb;
use super::keys::Keys;
use super::repository::{self, Repository};
use super::tar::Tar;
use crate::sim::agent::packages;
use crate::sim::files;
use crate::sim::guest::kube::images;
use crate::sim::linux::net::INTERNET;

/// What a server answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Found(Vec<u8>),
    /// Ask this address instead.
    Elsewhere(String),
    Missing,
}

/// All servers.
pub struct Sites {
    keys: Keys,
    /// Repositories that somebody asked for, by what they are.
    made: Mutex<HashMap<String, Arc<Repository>>>,
}

impl Sites {
    pub fn new(keys: Keys) -> Self {
        Self { keys, made: Mutex::default() }
    }

    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Answers a request for a path, which begins with `/`.
    pub fn get(&self, host: &str, path: &str) -> Answer {
        let path = path.trim_start_matches('/');
        let answer = match host {
            "deb.debian.org" | "security.debian.org" => self.debian(path),
            "download.docker.com" => self.docker(path),
            "pkgs.k8s.io" => kubernetes_moved(path),
            "prod-cdn.packages.k8s.io" => self.kubernetes(path),
            "get.helm.sh" => helm(path),
            "helm.cilium.io" => chart(path),
            "github.com" => gateway_api_moved(path),
            "release-assets.githubusercontent.com" => gateway_api(path),
            // For machines that share no file with this computer: see `files/join.sh` of the image.
            world if path == "fusionlab" && world == INTERNET.to_string() => own_program(),
            _ => None,
        };
        answer.unwrap_or(Answer::Missing)
    }

    fn debian(&self, path: &str) -> Option<Answer> {
        let (archive, path) = path.split_once('/')?;
        if archive != "debian" && archive != "debian-security" {
            return None;
        }
        if let Some(rest) = path.strip_prefix("dists/") {
            let (suite, _) = rest.split_once('/')?;
            let repository = self.of_debian(suite)?;
            return found(&repository, path);
        }
        // A pool is not a suite's; the file's name tells it from others.
        let made: Vec<_> =
            self.made.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        made.iter().find_map(|repository| found(repository, path))
    }

    fn of_debian(&self, suite: &str) -> Option<Arc<Repository>> {
        is_word(suite).then(|| {
            self.repository(&format!("debian {suite}"), |keys| repository::debian(suite, &keys.archive))
        })
    }

    fn docker(&self, path: &str) -> Option<Answer> {
        let path = path.strip_prefix("linux/debian/")?;
        // The key is the same for all.
        let suite = path.strip_prefix("dists/").and_then(|rest| rest.split('/').next()).unwrap_or("trixie");
        let make = |keys: &Keys| repository::docker(suite, &keys.archive);
        is_word(suite)
            .then(|| self.repository(&format!("docker {suite}"), make))
            .and_then(|it| found(&it, path))
    }

    fn kubernetes(&self, path: &str) -> Option<Answer> {
        let (minor, path) =
            path.strip_prefix("repositories/isv:/kubernetes:/core:/stable:/v")?.split_once("/deb/")?;
        let (major, number) = minor.split_once('.')?;
        if !is_number(major) || !is_number(number) {
            return None;
        }
        let make = |keys: &Keys| repository::kubernetes(minor, &keys.archive);
        found(&self.repository(&format!("kubernetes {minor}"), make), path)
    }

    /// Makes a repository once, so that what is asked for in several requests belongs together.
    fn repository(&self, name: &str, make: impl FnOnce(&Keys) -> Repository) -> Arc<Repository> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let repository = made.entry(name.to_owned()).or_insert_with(|| Arc::new(make(&self.keys)));
        Arc::clone(repository)
    }
}

fn found(repository: &Repository, path: &str) -> Option<Answer> {
    // Flat repositories are named `./` by some.
    let path = path.trim_start_matches("./");
    repository.get(path).map(|content| Answer::Found(content.clone()))
}

/// Returns this very program.
fn own_program() -> Option<Answer> {
    let program = std::env::current_exe().and_then(|path| files::read_bytes(&path));
    program.ok().map(Answer::Found)
}

fn kubernetes_moved(path: &str) -> Option<Answer> {
    path.strip_prefix("core:/stable:/").map(|rest| {
        Answer::Elsewhere(format!(
            "https://prod-cdn.packages.k8s.io/repositories/isv:/kubernetes:/core:/stable:/{rest}"
        ))
    })
}

fn helm(path: &str) -> Option<Answer> {
    let (name, wants_sum) = match path.strip_suffix(".sha256sum") {
        Some(name) => (name, true),
        None => (path, false),
    };
    let arch = deb::architecture();
    let version = name.strip_prefix("helm-v")?.strip_suffix(&format!("-linux-{arch}.tar.gz"))?;
    if !is_version(version) {
        return None;
    }
    let mut tar = Tar::default();
    tar.folder(&format!("linux-{arch}/"));
    tar.file(&format!("linux-{arch}/helm"), 0o755, packages::helm(version).as_bytes());
    let archive = tar.gzip();
    Some(Answer::Found(match wants_sum {
        true => format!("{}  {name}\n", hex::encode(Sha256::digest(&archive))).into_bytes(),
        false => archive,
    }))
}

fn chart(path: &str) -> Option<Answer> {
    let version = path.strip_prefix("cilium-")?.strip_suffix(".tgz")?;
    is_version(version).then(|| Answer::Found(images::chart(version)))
}

const RELEASES: &str = "kubernetes-sigs/gateway-api/releases/download/";

fn gateway_api_moved(path: &str) -> Option<Answer> {
    path.strip_prefix(RELEASES)
        .map(|_| Answer::Elsewhere(format!("https://release-assets.githubusercontent.com/{path}")))
}

fn gateway_api(path: &str) -> Option<Answer> {
    let (version, file) = path.strip_prefix(RELEASES)?.strip_prefix('v')?.split_once('/')?;
    let is_known = ["standard-install.yaml", "experimental-install.yaml"].contains(&file);
    (is_known && is_version(version)).then(|| Answer::Found(images::gateway_api(version).into_bytes()))
}

fn is_number(text: &str) -> bool {
    (1..=4).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_word(text: &str) -> bool {
    (1..=40).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// Says whether a text is three numbers, perhaps with what a release before the release adds.
fn is_version(text: &str) -> bool {
    let (numbers, rest) = text.split_once('-').unwrap_or((text, "x"));
    let is_rest = (1..=20).contains(&rest.len())
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'.');
    numbers.split('.').count() == 3 && numbers.split('.').all(is_number) && is_rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::linux::internet::make_keys;

    fn sites() -> (tempfile::TempDir, Sites) {
        let folder = tempfile::tempdir().unwrap();
        let keys = make_keys(&folder.path().join("internet")).unwrap();
        (folder, Sites::new(keys))
    }

    fn content(sites: &Sites, url: &str) -> Vec<u8> {
        let (host, path) = url.strip_prefix("https://").unwrap().split_once('/').unwrap();
        match sites.get(host, &format!("/{path}")) {
            Answer::Found(content) => content,
            Answer::Elsewhere(url) => content(sites, &url),
            Answer::Missing => panic!("nothing at {url}"),
        }
    }

    #[test]
    fn what_a_bake_asks_for_is_there() {
        let (_folder, sites) = sites();
        let text = |url: &str| String::from_utf8(content(&sites, url)).unwrap();
        let packages = text("https://pkgs.k8s.io/core:/stable:/v1.36/deb/Packages");
        assert!(packages.contains("Package: kubelet\n"));
        assert!(text("https://pkgs.k8s.io/core:/stable:/v1.36/deb/Release.key").contains("PGP PUBLIC KEY"));
        let docker = "https://download.docker.com/linux/debian";
        assert!(text(&format!("{docker}/gpg")).contains("PGP PUBLIC KEY"));
        assert!(text(&format!("{docker}/dists/bookworm/InRelease")).contains("Codename: bookworm\n"));
        let helm = format!("helm-v3.18.6-linux-{}.tar.gz", deb::architecture());
        let sum = hex::encode(Sha256::digest(content(&sites, &format!("https://get.helm.sh/{helm}"))));
        assert_eq!(text(&format!("https://get.helm.sh/{helm}.sha256sum")), format!("{sum}  {helm}\n"));
        assert!(!content(&sites, "https://helm.cilium.io/cilium-1.20.3.tgz").is_empty());
        let definitions =
            "https://github.com/kubernetes-sigs/gateway-api/releases/download/v1.6.1/standard-install.yaml";
        assert!(text(definitions).contains("bundle-version: v1.6.1"));
    }

    #[test]
    fn what_was_never_released_is_missing() {
        let (_folder, sites) = sites();
        for (host, path) in [
            ("pkgs.k8s.io", "/"),
            ("prod-cdn.packages.k8s.io", "/repositories/isv:/kubernetes:/core:/stable:/vx/deb/Packages"),
            ("get.helm.sh", "/helm-v3-linux-amd64.tar.gz"),
            ("helm.cilium.io", "/cilium-latest.tgz"),
            ("example.org", "/"),
            ("deb.debian.org", "/debian/pool/main/c/containerd/containerd_9_amd64.deb"),
        ] {
            assert_eq!(sites.get(host, path), Answer::Missing, "{host}{path}");
        }
    }
}
