//! What a new lab has to fit into: the home network, this machine's size, the keys of its user.
//!
//! ```text
//! macos.rs      asks the programs of a Mac's root: the real one's, or the simulated Mac's
//! condition.rs  the same of the Mac's own state: memory, processors, when it sleeps
//! linux.rs      reads /proc where there is no such root
//! ```
//!
//! Nothing here is an error: what cannot be found out is left for the user to say.

mod condition;
#[cfg(target_os = "linux")]
mod linux;
mod macos;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::Ipv4Net;

use super::{files, system};
use crate::formats::mac::Mac;
pub use condition::{Condition, Memory, condition, memory};

/// A way into a home network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LanInterface {
    /// Such as `en0`.
    pub interface: String,
    /// As its owner knows it, such as `Wi-Fi`.
    pub name: String,
    pub wireless: bool,
    /// This machine's own address.
    pub address: Ipv4Addr,
    pub subnet: Ipv4Net,
    pub router: Option<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
}

/// This machine, as far as a new lab is concerned.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The one that leads to the internet comes first.
    pub lan: Vec<LanInterface>,
    /// 0 if the machine does not say.
    pub memory_mib: u64,
    pub cpus: u32,
    /// For what fusionlab and Fusion keep; none if the disk does not say.
    pub disk_free_mib: Option<u64>,
    /// The user's public keys, the most usual kind first.
    pub ssh_keys: Vec<PathBuf>,
}

/// Looks around, once. `root` is the root of Fusion's Mac; each question may take `limit`.
pub async fn look(root: &Path, home: Option<&Path>, limit: Duration) -> Surroundings {
    let (lan, (memory_mib, cpus)) = tokio::join!(lan(root, limit), condition::size(root, limit));
    Surroundings {
        lan,
        memory_mib: memory_mib.unwrap_or(0),
        cpus: cpus.unwrap_or_else(system::cpus),
        disk_free_mib: home.and_then(|home| system::free_mib(home).ok()),
        ssh_keys: home.map(|home| ssh_keys(&home.join(".ssh"))).unwrap_or_default(),
    }
}

/// Returns the ways into home networks, that of the default route first.
pub async fn lan(root: &Path, limit: Duration) -> Vec<LanInterface> {
    match macos::lan(root, limit).await {
        Some(lan) => lan,
        None => own_lan(),
    }
}

/// Asks who is at each of these addresses of the LAN, all at once; those that nobody answered for are not in the answer.
/// None if there is no way to ask here. It takes `limit` at most.
pub async fn probe(root: &Path, addresses: &[Ipv4Addr], limit: Duration) -> Option<BTreeMap<Ipv4Addr, Mac>> {
    let found = tokio::time::timeout(limit, async {
        match macos::probe(root, addresses, limit).await {
            Some(found) => Some(found),
            None => own_probe(addresses, limit).await,
        }
    });
    found.await.ok().flatten()
}

#[cfg(target_os = "linux")]
fn own_lan() -> Vec<LanInterface> {
    linux::lan()
}

#[cfg(not(target_os = "linux"))]
fn own_lan() -> Vec<LanInterface> {
    Vec::new()
}

#[cfg(target_os = "linux")]
async fn own_probe(addresses: &[Ipv4Addr], limit: Duration) -> Option<BTreeMap<Ipv4Addr, Mac>> {
    linux::probe(addresses, limit).await
}

#[cfg(not(target_os = "linux"))]
async fn own_probe(_addresses: &[Ipv4Addr], _limit: Duration) -> Option<BTreeMap<Ipv4Addr, Mac>> {
    None
}

/// Kinds of keys by how their files are called, the one that ssh-keygen makes today first.
const KEY_KINDS: [&str; 5] = ["id_ed25519", "id_ed25519_sk", "id_ecdsa", "id_ecdsa_sk", "id_rsa"];

/// Returns the public keys in a folder.
fn ssh_keys(folder: &Path) -> Vec<PathBuf> {
    let mut keys = files::list(folder).unwrap_or_default();
    keys.retain(|path| path.extension() == Some(OsStr::new("pub")));
    let rank = |path: &Path| {
        let stem = path.file_stem().unwrap_or_default();
        KEY_KINDS.iter().position(|kind| stem == *kind).unwrap_or(KEY_KINDS.len())
    };
    keys.sort_by_key(|path| (rank(path), path.clone()));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_usual_key_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["work.pub", "id_rsa.pub", "id_ed25519", "id_ed25519.pub", "known_hosts"] {
            files::write_atomic(&folder.path().join(name), b"x", 0o644).unwrap();
        }
        let names: Vec<_> =
            ssh_keys(folder.path()).iter().map(|path| path.file_name().unwrap().to_owned()).collect();
        assert_eq!(names, ["id_ed25519.pub", "id_rsa.pub", "work.pub"]);
        assert!(ssh_keys(&folder.path().join("none")).is_empty());
    }

    #[tokio::test]
    async fn a_root_without_programs_leaves_this_machine_to_speak_for_itself() {
        let root = tempfile::tempdir().unwrap();
        let seen = look(root.path(), Some(root.path()), Duration::from_secs(5)).await;
        assert_eq!(seen.lan, own_lan());
        assert!(seen.cpus > 0 && seen.disk_free_mib.is_some() && seen.ssh_keys.is_empty());
    }
}
