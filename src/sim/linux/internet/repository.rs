//! Repositories as apt reads them: an index of packages, and a signed list of the index's digests.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::deb::{self, Deb};
use super::openpgp::SigningKey;
use super::tar;
use crate::host::clock;
use crate::sim::agent::packages::{self, Package};

/// Kubernetes' patch releases that each minor has: more than there have ever been.
const PATCHES: u32 = 40;
/// Debian's containerd of each release, which is older than Kubernetes wants (its backports have none, as in November 2026), and the
/// one of Docker's repository.
const CONTAINERD: &[(&str, &str)] = &[("bookworm", "1.6.20"), ("trixie", "1.7.24")];
const CONTAINERD_OF_DOCKER: &str = "2.2.1";
const BACKPORTS: &str = "-backports";
const DAY: u64 = 24 * 3600;

/// A repository: path below its root → content.
pub type Repository = BTreeMap<String, Vec<u8>>;

/// What a repository says of itself.
struct Face<'a> {
    origin: &'a str,
    suite: &'a str,
    codename: &'a str,
    component: &'a str,
    /// Its packages are taken only if somebody asks for them (`apt-get -t`).
    on_demand: bool,
}

/// Makes the repository of one of Kubernetes' minors, such as `1.36`: all its patch releases.
pub fn kubernetes(minor: &str, key: &SigningKey) -> Repository {
    let all = (0..=PATCHES).flat_map(|patch| packages::kubernetes(&format!("{minor}.{patch}")));
    // Patch releases share what is not Kubernetes' own.
    let all: BTreeMap<_, _> =
        all.map(|package| (format!("{} {}", package.name, package.version), package)).collect();
    let debs: Vec<_> = all.values().map(deb::make).collect();
    let mut files = Repository::new();
    let mut index = String::new();
    for deb in debs {
        add(&mut index, &mut files, deb, &format!("{}/", deb::architecture()));
    }
    let mut indices = Repository::new();
    put_index(&mut indices, "Packages", index);
    let origin = format!("obs://build.opensuse.org/isv:kubernetes:core:stable:v{minor}/deb");
    let face = Face { origin: &origin, suite: "", codename: "deb", component: "main", on_demand: false };
    sign(&face, &mut indices, key);
    files.extend(indices);
    files.insert("Release.key".into(), key.public_armored().into_bytes());
    files
}

/// Makes one suite of Debian, such as `trixie-backports`: it has nothing but what the bake would not find installed.
pub fn debian(suite: &str, key: &SigningKey) -> Repository {
    let mut files = Repository::new();
    let mut indices = Repository::new();
    let mut index = String::new();
    if let Some(package) = of_suite(suite) {
        add(
            &mut index,
            &mut files,
            deb::make(&package),
            &format!("pool/main/{}/{}/", &package.name[..1], package.name),
        );
    }
    put_index(&mut indices, &format!("main/binary-{}/Packages", deb::architecture()), index);
    put_index(&mut indices, "main/source/Sources", String::new());
    let on_demand = suite.ends_with(BACKPORTS);
    let face = Face { origin: "Debian", suite, codename: suite, component: "main", on_demand };
    sign(&face, &mut indices, key);
    files.extend(indices.into_iter().map(|(path, content)| (format!("dists/{suite}/{path}"), content)));
    files
}

/// Makes Docker's suite for one release of Debian, such as `trixie`: of its packages, containerd's alone.
pub fn docker(suite: &str, key: &SigningKey) -> Repository {
    let mut files = Repository::new();
    let mut indices = Repository::new();
    let mut index = String::new();
    let (deb, arch) = (deb::make(&packages::containerd_io(CONTAINERD_OF_DOCKER)), deb::architecture());
    add(&mut index, &mut files, deb, &format!("dists/{suite}/pool/stable/{arch}/"));
    put_index(&mut indices, &format!("stable/binary-{arch}/Packages"), index);
    let face = Face { origin: "Docker", suite, codename: suite, component: "stable", on_demand: false };
    sign(&face, &mut indices, key);
    files.extend(indices.into_iter().map(|(path, content)| (format!("dists/{suite}/{path}"), content)));
    files.insert("gpg".into(), key.public_armored().into_bytes());
    files
}

fn of_suite(suite: &str) -> Option<Package> {
    let (_, version) = CONTAINERD.iter().find(|(release, _)| *release == suite)?;
    Some(packages::containerd(version))
}

fn add(index: &mut String, files: &mut Repository, deb: Deb, folder: &str) {
    let path = format!("{folder}{}", deb.name);
    index.push_str(&format!("{}Filename: {path}\n\n", deb.paragraph));
    files.insert(path, deb.file);
}

/// Puts an index in both forms that apt takes.
fn put_index(indices: &mut Repository, path: &str, text: String) {
    indices.insert(format!("{path}.gz"), tar::gzip(text.as_bytes()));
    indices.insert(path.to_owned(), text.into_bytes());
}

/// Adds the signed list of the indices.
fn sign(face: &Face<'_>, indices: &mut Repository, key: &SigningKey) {
    let now = clock::now();
    let word =
        |name: &str, value: &str| if value.is_empty() { String::new() } else { format!("{name}: {value}\n") };
    let mut text = word("Origin", face.origin)
        + &word("Label", face.origin)
        + &word("Suite", face.suite)
        + &word("Codename", face.codename)
        + &word("Date", &date(now))
        + &word("Architectures", deb::architecture())
        + &word("Components", face.component)
        + &word("Description", "packages of a simulated internet");
    if face.on_demand {
        text += "NotAutomatic: yes\nButAutomaticUpgrades: yes\n";
    }
    text += "SHA256:\n";
    for (path, content) in &*indices {
        text += &format!(" {} {} {path}\n", hex::encode(Sha256::digest(content)), content.len());
    }
    indices.insert("InRelease".into(), key.clear_sign(&text, now).into_bytes());
}

/// Returns a date as mail has it, such as `Fri, 27 Nov 2026 07:15:00 UTC`.
fn date(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // 2026-11-27T07:15:00Z
    let text = clock::rfc3339(seconds);
    let day = DAYS[(seconds / DAY % 7) as usize];
    let month = text[5..7].parse::<usize>().ok().and_then(|month| MONTHS.get(month - 1)).unwrap_or(&"Jan");
    format!("{day}, {} {month} {} {} UTC", &text[8..10], &text[..4], &text[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SigningKey {
        SigningKey::generate("a name", 1_700_000_000).unwrap()
    }

    fn text(repository: &Repository, path: &str) -> String {
        String::from_utf8(repository[path].clone()).unwrap()
    }

    #[test]
    fn a_minor_has_every_patch_release_and_each_file_is_the_one_of_the_index() {
        let repository = kubernetes("1.36", &key());
        let index = text(&repository, "Packages");
        assert!(index.contains("Package: kubeadm\nVersion: 1.36.4-"), "{index}");
        for paragraph in index.split("\n\n").filter(|paragraph| !paragraph.is_empty()) {
            let field = |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            let file = &repository[field("Filename: ")];
            assert_eq!(field("SHA256: "), hex::encode(Sha256::digest(file)));
        }
        let release = text(&repository, "InRelease");
        assert!(release.contains(&hex::encode(Sha256::digest(index))));
    }

    #[test]
    fn only_docker_has_a_containerd_that_will_do() {
        let packages = format!("main/binary-{}/Packages", deb::architecture());
        let index = |suite: &str| text(&debian(suite, &key()), &format!("dists/{suite}/{packages}"));
        assert!(index("trixie").contains("Package: containerd\nVersion: 1.7.24"));
        assert_eq!((index("trixie-updates"), index("trixie-backports")), (String::new(), String::new()));
        let docker = docker("trixie", &key());
        let packages = format!("dists/trixie/stable/binary-{}/Packages", deb::architecture());
        assert!(text(&docker, &packages).contains("Package: containerd.io\nVersion: 2.2.1"));
        assert!(text(&docker, "dists/trixie/InRelease").contains("Components: stable\n"));
        assert!(text(&docker, "gpg").contains("PGP PUBLIC KEY"));
        assert!(
            text(&debian("trixie-backports", &key()), "dists/trixie-backports/InRelease")
                .contains("NotAutomatic: yes")
        );
    }

    #[test]
    fn dates_are_as_mail_has_them() {
        assert_eq!(date(1_795_763_700), "Fri, 27 Nov 2026 07:15:00 UTC");
    }
}
