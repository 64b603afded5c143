//! The guest image: a Debian system made of the distribution's own packages, which every real guest starts from.
//!
//! ```text
//! <images>/<key>/
//!   rootfs/      the system's files, owned as in the system
//!   internet/    what the simulated internet signs with: its certificate authority and its key for packages
//!   disk.qcow2   the same system as a disk that boots, if it was asked for
//!   image.json   what it is, and what it took
//! ```

pub mod disk;
pub mod options;

mod build;

mod tools;
mod traps;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use build::{BuildError, Part, Progress, build, missing};
pub use options::{Options, Suite, key};

use crate::sim::files;

/// The form of [`Manifest`] that this version writes.
const FORMAT: u32 = 1;
const MANIFEST: &str = "image.json";
const DISK: &str = "disk.qcow2";

/// An image that is there, whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestImage {
    pub folder: PathBuf,
    pub key: String,
    pub manifest: Manifest,
}

/// What `image.json` says of an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of this file.
    pub format: u32,
    pub key: String,
    pub suite: Suite,
    pub arch: String,
    /// Whether there is a disk to boot from.
    pub disk: bool,
    /// Its SHA-256 in hexadecimal.
    #[serde(default)]
    pub disk_digest: Option<String>,
    /// Milliseconds that the build took.
    pub build_ms: u64,
    /// Bytes of all files in `rootfs`.
    pub rootfs_bytes: u64,
    /// Package → version.
    pub packages: BTreeMap<String, String>,
}

impl GuestImage {
    /// Opens the image in a folder.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(MANIFEST);
        let invalid = |why: String| {
            let text = format!("{}: {why}; build it anew with: fusionlab sim image build", path.display());
            io::Error::new(io::ErrorKind::InvalidData, text)
        };
        let text = files::read(&path)?.ok_or_else(|| {
            let text = format!(
                "{} holds no guest image; build one with: fusionlab sim image build",
                folder.display()
            );
            io::Error::new(io::ErrorKind::NotFound, text)
        })?;
        let manifest: Manifest = serde_json::from_str(&text).map_err(|error| invalid(error.to_string()))?;
        if manifest.format != FORMAT {
            return Err(invalid(format!("form {}, where this version knows {FORMAT}", manifest.format)));
        }
        Ok(Self { folder: folder.to_owned(), key: manifest.key.clone(), manifest })
    }

    pub fn rootfs(&self) -> PathBuf {
        self.folder.join("rootfs")
    }

    /// Returns the disk that QEMU boots, if the image has one.
    pub fn disk(&self) -> Option<PathBuf> {
        self.manifest.disk.then(|| self.folder.join(DISK))
    }

    /// Where the simulated internet's keys lie.
    pub fn internet(&self) -> PathBuf {
        self.folder.join("internet")
    }
}

/// Returns the image that these options make, if it was built. One with a disk serves who needs none, too.
pub fn find(images: &Path, options: &Options) -> io::Result<Option<GuestImage>> {
    let with_disk = Options { disk: true, ..options.clone() };
    for options in [options, &with_disk] {
        let folder = images.join(key(options));
        if folder.join(MANIFEST).exists() {
            return GuestImage::open(&folder).map(Some);
        }
    }
    Ok(None)
}

/// Returns all images that are there, by key.
pub fn list(images: &Path) -> Vec<io::Result<GuestImage>> {
    let folders = files::entries(images).into_iter().filter(|folder| folder.join(MANIFEST).exists());
    folders.map(|folder| GuestImage::open(&folder)).collect()
}
