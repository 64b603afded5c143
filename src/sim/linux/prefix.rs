//! The one prefix by which everything that a simulated Mac has in the kernel is known: namespaces, control groups, links.
//!
//! It follows from the simulated Mac's root folder alone, so that whoever comes after a killed world finds what it left,
//! and two labs in two homes never meet.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::needs;
use crate::sim::files;
use crate::sim::places::Places;

/// Where `ip netns` keeps its namespaces.
pub const NAMESPACES: &str = "/run/netns";
/// How many bytes of the root's digest name it.
const DIGEST_BYTES: usize = 3;

/// A simulated Mac's prefix, such as `fl3a90c1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(String);

impl Prefix {
    /// Returns the prefix of the Mac with this root folder, which must exist.
    pub fn of(places: &Places) -> io::Result<Self> {
        let root = places.root();
        let canonical = root
            .canonicalize()
            .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", root.display())))?;
        let digest = Sha256::digest(canonical.as_os_str().as_encoded_bytes());
        Ok(Self(format!("fl{}", hex::encode(&digest[..DIGEST_BYTES]))))
    }

    /// Returns the name of the Mac's own network namespace.
    pub fn mac(&self) -> String {
        format!("{self}-mac")
    }

    /// Returns the name of the home router's network namespace.
    pub fn lan(&self) -> String {
        format!("{self}-lan")
    }

    /// Returns the name of the network namespace of a vmnet's services: its NAT, and its DHCP server where the Mac
    /// itself is not on the network.
    pub fn nat(&self, vmnet: u8) -> String {
        format!("{self}-nat{vmnet}")
    }

    /// Returns the name of a guest's network namespace, by a number that no other guest has.
    pub fn guest(&self, number: u32) -> String {
        format!("{self}-g{number}")
    }

    /// Returns the paths of the network namespaces of this prefix that exist.
    pub fn namespaces(&self) -> Vec<PathBuf> {
        let beginning = format!("{self}-");
        let mut found = files::entries(Path::new(NAMESPACES));
        found.retain(|path| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&beginning))
        });
        found
    }

    /// Returns the folder of this prefix's control groups; it need not exist.
    ///
    /// # Errors
    /// If this computer has no cgroup2 hierarchy mounted.
    pub fn cgroup(&self) -> io::Result<PathBuf> {
        let mount = needs::cgroup2_mount().ok_or_else(|| {
            io::Error::new(io::ErrorKind::Unsupported, "no cgroup2 hierarchy is mounted (/proc/mounts)")
        })?;
        Ok(mount.join(&self.0))
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Returns the path of a network namespace by its name.
pub fn namespace_path(name: &str) -> PathBuf {
    Path::new(NAMESPACES).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_short_and_each_roots_own() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let of = |folder: &Path| Prefix::of(&Places::new(folder)).unwrap();
        assert_eq!(of(one.path()), of(&one.path().join(".")));
        assert_ne!(of(one.path()), of(other.path()));
        let prefix = of(one.path());
        assert_eq!(prefix.to_string().len(), 8);
        assert_eq!(prefix.guest(7), format!("{prefix}-g7"));
        let missing = Prefix::of(&Places::new(one.path().join("no"))).unwrap_err().to_string();
        assert!(missing.contains("/no: "), "{missing}");
    }
}
