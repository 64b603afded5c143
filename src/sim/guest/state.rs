//! What is on a model guest's disk: files, packages, enabled units, images, etcd's data; saved as JSON, or where all of it is
//! inside one thread, kept in memory under a number.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::kube::data::EtcdOnDisk;
use crate::sim::inside;

/// The first bytes of a disk that a model guest wrote; any other disk holds a cloud image as downloaded.
pub const MARKER: &str = "{\"fusionlab_guest\":";
/// The version of the form that this build reads and writes.
const VERSION: u32 = 1;

/// Everything that survives power-off.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Must stay the first field: it begins with [`MARKER`].
    fusionlab_guest: u32,
    files: BTreeMap<String, File>,
    directories: BTreeSet<String>,
    /// Debian package → version.
    pub packages: BTreeMap<String, String>,
    /// Units that start at boot.
    pub enabled: BTreeSet<String>,
    /// Container images that containerd holds.
    pub images: BTreeSet<String>,
    /// The instance-id that cloud-init last ran for.
    pub instance: Option<String>,
    /// The network configuration that cloud-init wrote for that instance (network-config v2).
    pub netplan: Option<serde_json::Value>,
    /// A member's etcd data (`/var/lib/etcd`).
    pub etcd: Option<EtcdOnDisk>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    pub mode: u32,
    pub owner: String,
    #[serde(with = "content")]
    pub content: Arc<Vec<u8>>,
}

/// Why a disk cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error(
        "the guest's disk was written by another version of fusionlab (form {found}, this one reads {VERSION})"
    )]
    Version { found: u64 },
    #[error("the guest's disk is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
}

impl Disk {
    /// Reads a disk; one that no model guest wrote is a fresh cloud image.
    pub fn read(bytes: Option<&[u8]>) -> Result<Self, DiskError> {
        if let Some(disk) = bytes.and_then(|bytes| inside::current()?.kept(bytes)) {
            return Ok(disk);
        }
        let Some(bytes) = bytes.filter(|bytes| bytes.starts_with(MARKER.as_bytes())) else {
            return Ok(Self::cloud_image());
        };
        let value: serde_json::Value = serde_json::from_slice(bytes)?;
        match value["fusionlab_guest"].as_u64() {
            Some(found) if found == u64::from(VERSION) => Ok(serde_json::from_value(value)?),
            found => Err(DiskError::Version { found: found.unwrap_or_default() }),
        }
    }

    /// Writes the disk's form.
    pub fn write(&self) -> Vec<u8> {
        if let Some(inside) = inside::current() {
            return inside.keep(self.clone());
        }
        serde_json::to_vec(self).expect("a disk is maps with text keys: they always serialise")
    }

    /// Returns a disk with nothing on it.
    pub fn empty() -> Self {
        Self {
            fusionlab_guest: VERSION,
            files: BTreeMap::new(),
            directories: BTreeSet::new(),
            packages: BTreeMap::new(),
            enabled: BTreeSet::new(),
            images: BTreeSet::new(),
            instance: None,
            netplan: None,
            etcd: None,
        }
    }

    /// Returns Ubuntu 24.04's server cloud image as far as anyone looks (facts/vm-images-cloudinit.md §3).
    fn cloud_image() -> Self {
        let mut disk = Self {
            directories: ["/root", "/tmp", "/usr/local/sbin"].map(str::to_owned).into(),
            packages: [("cloud-init", "26.2"), ("openssh-server", "9.6p1"), ("open-vm-tools", "13.0.10")]
                .map(|(name, version)| (name.to_owned(), version.to_owned()))
                .into(),
            enabled: ["ssh", "open-vm-tools", "systemd-networkd", "systemd-resolved"]
                .map(str::to_owned)
                .into(),
            ..Self::empty()
        };
        disk.put(
            "/etc/os-release",
            0o644,
            "PRETTY_NAME=\"Ubuntu 24.04 LTS\"\nID=ubuntu\nVERSION_ID=\"24.04\"\n",
        );
        disk.put("/etc/hostname", 0o644, "ubuntu\n");
        disk.put("/etc/hosts", 0o644, "127.0.0.1 localhost\n::1 localhost\n");
        disk.put("/etc/machine-id", 0o444, "");
        disk.put("/etc/fstab", 0o644, "LABEL=cloudimg-rootfs / ext4 discard,errors=remount-ro 0 1\n");
        disk.put("/etc/passwd", 0o644, "root:x:0:0:root:/root:/bin/bash\n");
        disk
    }

    pub fn files(&self) -> impl Iterator<Item = (&String, &File)> {
        self.files.iter()
    }

    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.get(path)
    }

    /// Returns a file's text; none if there is no file or it is not UTF-8.
    pub fn text(&self, path: &str) -> Option<String> {
        String::from_utf8(self.files.get(path)?.content.to_vec()).ok()
    }

    /// Writes a file of root's.
    pub fn put(&mut self, path: &str, mode: u32, content: impl Into<Vec<u8>>) {
        self.put_file(path, File { mode, owner: "root".into(), content: Arc::new(content.into()) });
    }

    pub fn put_file(&mut self, path: &str, file: File) {
        self.files.insert(path.to_owned(), file);
    }

    pub fn take(&mut self, path: &str) -> Option<File> {
        self.files.remove(path)
    }

    pub fn set_mode(&mut self, path: &str, mode: u32) -> bool {
        self.files.get_mut(path).map(|file| file.mode = mode).is_some()
    }

    pub fn make_directory(&mut self, path: &str) {
        self.directories.insert(path.trim_end_matches('/').to_owned());
    }

    /// Returns the names of what lies right in a directory.
    pub fn names_in(&self, path: &str) -> BTreeSet<String> {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let below = self.files.keys().chain(&self.directories).filter_map(|path| path.strip_prefix(&prefix));
        below
            .filter_map(|rest| Some(rest.split('/').next()?.to_owned()))
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// Says whether a directory exists: it was made, or something lies under it.
    pub fn has_directory(&self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let prefix = format!("{path}/");
        let below = |set: &mut dyn Iterator<Item = &String>| {
            set.next().is_some_and(|first| first.starts_with(&prefix))
        };
        path.is_empty()
            || self.directories.contains(path)
            || below(&mut self.files.range(prefix.clone()..).map(|(path, _)| path))
            || below(&mut self.directories.range(prefix.clone()..))
            || matches!(
                path,
                "/etc" | "/usr" | "/usr/local" | "/var" | "/var/lib" | "/opt" | "/home" | "/root"
            )
            || (path == "/var/lib/etcd" || path == "/var/lib/etcd/member") && self.etcd.is_some()
    }

    /// Removes a file, or a directory with everything in it; says whether anything was there.
    pub fn remove(&mut self, path: &str) -> bool {
        let path = path.trim_end_matches('/');
        let prefix = format!("{path}/");
        let before = (self.files.len(), self.directories.len());
        self.files.retain(|file, _| file != path && !file.starts_with(&prefix));
        self.directories.retain(|directory| directory != path && !directory.starts_with(&prefix));
        let etcd = (path == "/var/lib/etcd" || path == "/var/lib") && self.etcd.take().is_some();
        etcd || before != (self.files.len(), self.directories.len())
    }

    /// Gives a directory and all in it another path.
    pub fn move_directory(&mut self, from: &str, to: &str) {
        let under = format!("{from}/");
        let moved = |path: &str| path.strip_prefix(&under).map(|rest| format!("{to}/{rest}"));
        self.files = std::mem::take(&mut self.files)
            .into_iter()
            .map(|(path, file)| (moved(&path).unwrap_or(path), file))
            .collect();
        self.directories = std::mem::take(&mut self.directories)
            .into_iter()
            .map(|path| if path == from { to.to_owned() } else { moved(&path).unwrap_or(path) })
            .collect();
    }

    /// Returns the paths of the files directly or deeper under a directory, in order.
    pub fn under(&self, directory: &str) -> Vec<String> {
        let prefix = format!("{}/", directory.trim_end_matches('/'));
        self.files
            .range(prefix.clone()..)
            .map(|(path, _)| path)
            .take_while(|path| path.starts_with(&prefix))
            .cloned()
            .collect()
    }

    /// Returns the files a shell's `directory/*.suffix` would name.
    pub fn glob(&self, directory: &str, suffix: &str) -> Vec<String> {
        let depth = directory.trim_end_matches('/').matches('/').count() + 1;
        let here = |path: &String| path.ends_with(suffix) && path.matches('/').count() == depth;
        self.under(directory).into_iter().filter(here).collect()
    }
}

/// A file's content in JSON: text as text, anything else as base64.
mod content {
    use super::*;

    #[derive(Serialize, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Form {
        Text(String),
        Base64(String),
    }

    pub fn serialize<S: serde::Serializer>(content: &Arc<Vec<u8>>, to: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(content) {
            Ok(text) => Form::Text(text.to_owned()),
            Err(_) => Form::Base64(STANDARD.encode(content.as_slice())),
        }
        .serialize(to)
    }

    pub fn deserialize<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Arc<Vec<u8>>, D::Error> {
        let bytes = match Form::deserialize(from)? {
            Form::Text(text) => text.into_bytes(),
            Form::Base64(text) => STANDARD.decode(text).map_err(serde::de::Error::custom)?,
        };
        Ok(Arc::new(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_survives_writing_and_reading() {
        let mut disk = Disk::read(None).unwrap();
        disk.put("/etc/fusionlab/a", 0o600, "text");
        disk.put("/opt/chart.tgz", 0o644, vec![0x1f, 0x8b, 0xff, 0x00]);
        let bytes = disk.write();
        assert!(bytes.starts_with(MARKER.as_bytes()));
        let read = Disk::read(Some(&bytes)).unwrap();
        assert_eq!(read.file("/opt/chart.tgz"), disk.file("/opt/chart.tgz"));
        assert_eq!(read.text("/etc/fusionlab/a").as_deref(), Some("text"));
    }

    #[test]
    fn a_disk_of_another_version_is_refused_and_a_foreign_one_is_a_cloud_image() {
        assert!(matches!(Disk::read(Some(b"{\"fusionlab_guest\":9}")), Err(DiskError::Version { found: 9 })));
        assert!(matches!(Disk::read(Some(b"{\"fusionlab_guest\":")), Err(DiskError::Damaged(_))));
        assert_eq!(Disk::read(Some(b"QFI\xfb")).unwrap().text("/etc/hostname").as_deref(), Some("ubuntu\n"));
    }

    #[test]
    fn directories_exist_while_something_is_in_them() {
        let mut disk = Disk::read(None).unwrap();
        disk.put("/a/b/c", 0o644, "");
        assert!(disk.has_directory("/a/b") && disk.has_directory("/a"));
        assert!(disk.remove("/a") && !disk.has_directory("/a") && disk.file("/a/b/c").is_none());
        assert!(!disk.remove("/a"));
    }

    #[test]
    fn a_glob_stays_in_its_directory() {
        let mut disk = Disk::read(None).unwrap();
        disk.put("/m/a.conf", 0o644, "");
        disk.put("/m/deep/b.conf", 0o644, "");
        assert_eq!(disk.glob("/m", ".conf"), ["/m/a.conf"]);
    }
}
