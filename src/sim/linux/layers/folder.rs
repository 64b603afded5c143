//! One layer on this computer's disk: a folder of what differs, who may write it, and what it stands on.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Saved;
use crate::sim::{files, now_ms};

/// What differs; the overlay's own folder stands beside it.
const FILES: &str = "up";
const RECORD: &str = "layer.json";
/// A hard link to the VMDK that made the layer: the same file as long as nobody replaced or copied it.
const OWNER: &str = "owner";
/// Present once somebody builds upon the layer.
const FROZEN: &str = "frozen";
/// The version of a layer's record.
const VERSION: u32 = 1;

/// A layer's folder; it need not exist.
pub struct Layer {
    id: String,
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    image: String,
    /// What it stands on, lowest first.
    below: Vec<String>,
    /// How often a machine began to write to it.
    epoch: u64,
    /// The owner's device and number, for a VMDK on another file system, which cannot be linked.
    device: u64,
    number: u64,
    vmdk: PathBuf,
}

impl Layer {
    pub fn at(layers: &Path, id: &str) -> Self {
        Self { id: id.to_owned(), folder: layers.join(id) }
    }

    /// Makes an empty layer for a VMDK, on those that are saved in it.
    pub fn make(layers: &Path, vmdk: &Path, saved: &Saved) -> io::Result<Self> {
        let seed = format!("{} {} {:?}", vmdk.display(), now_ms(), saved.layers);
        let id = hex::encode(&Sha256::digest(seed)[..4]);
        let layer = Self::at(layers, &id);
        files::make_folder(&layer.folder.join(FILES))?;
        let metadata = fs::metadata(vmdk)?;
        match fs::hard_link(vmdk, layer.folder.join(OWNER)) {
            Err(error) if error.kind() != io::ErrorKind::CrossesDevices => return Err(error),
            _ => {}
        }
        layer.write(&Record {
            version: VERSION,
            image: saved.image.clone(),
            below: saved.layers.clone(),
            epoch: 0,
            device: metadata.dev(),
            number: metadata.ino(),
            vmdk: vmdk.to_owned(),
        })?;
        Ok(layer)
    }

    /// Lists all layers.
    pub fn all(layers: &Path) -> Vec<Self> {
        let folders = files::entries(layers).into_iter().filter(|folder| folder.join(FILES).is_dir());
        folders
            .filter_map(|folder| Some(Self { id: folder.file_name()?.to_str()?.to_owned(), folder }))
            .collect()
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn exists(&self) -> bool {
        self.folder.join(FILES).is_dir()
    }

    fn record(&self) -> io::Result<Record> {
        let path = self.folder.join(RECORD);
        let text = files::read(&path)?.unwrap_or_default();
        let record: Record = serde_json::from_str(&text).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", path.display()))
        })?;
        Ok(record)
    }

    fn write(&self, record: &Record) -> io::Result<()> {
        files::write(&self.folder.join(RECORD), serde_json::to_string_pretty(record)? + "\n")
    }

    /// Returns what it stands on, lowest first.
    pub fn below(&self) -> io::Result<Vec<String>> {
        Ok(self.record()?.below)
    }

    pub fn epoch(&self) -> io::Result<u64> {
        Ok(self.record()?.epoch)
    }

    /// Notes that a machine begins to write to it.
    pub fn begin(&self, epoch: u64) -> io::Result<()> {
        self.write(&Record { epoch, ..self.record()? })
    }

    pub fn is_owned_by(&self, vmdk: &Path) -> io::Result<bool> {
        let metadata = fs::metadata(vmdk)?;
        let record = self.record()?;
        Ok((record.device, record.number) == (metadata.dev(), metadata.ino()) && self.has_owner(&record))
    }

    /// Says whether the VMDK that made it still exists somewhere, under whatever name.
    pub fn is_wanted(&self) -> bool {
        self.record().is_ok_and(|record| self.has_owner(&record))
    }

    fn has_owner(&self, record: &Record) -> bool {
        if let Ok(owner) = fs::metadata(self.folder.join(OWNER)) {
            return owner.nlink() > 1;
        }
        fs::metadata(&record.vmdk)
            .is_ok_and(|there| (there.dev(), there.ino()) == (record.device, record.number))
    }

    pub fn is_frozen(&self) -> bool {
        self.folder.join(FROZEN).exists()
    }

    /// Lets nobody write to it any more.
    pub fn freeze(&self) -> io::Result<()> {
        files::write_new(&self.folder.join(FROZEN), "")
    }

    pub fn remove(&self) -> io::Result<()> {
        files::remove(&self.folder)
    }
}
