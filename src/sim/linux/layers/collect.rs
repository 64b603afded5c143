//! Removing layers that no disk needs any more.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::folder::Layer;
use super::{Layers, Saved};
use crate::sim::{disk, files};

/// How deep VMDKs lie under the library: `lab/name.vmwarevm/disk.vmdk`.
const DEPTH: usize = 4;

impl Layers {
    /// Removes every layer whose VMDK is gone and that no VMDK under the library names: a copy that has not booted yet
    /// needs its origin's layers. What cannot be removed stays for the next time.
    pub fn collect(&self, library: &Path) {
        let busy = self.busy();
        let all = Layer::all(self.folder());
        let mut wanted: BTreeSet<String> = busy.keys().cloned().collect();
        wanted.extend(all.iter().filter(|layer| layer.is_wanted()).map(|layer| layer.id().to_owned()));
        wanted.extend(
            vmdks(library, DEPTH).iter().filter_map(|vmdk| saved(vmdk)).flat_map(|saved| saved.layers),
        );
        for layer in all.iter().filter(|layer| wanted.contains(layer.id())).collect::<Vec<_>>() {
            // A layer that cannot be read cannot be booted either.
            wanted.extend(layer.below().unwrap_or_default());
        }
        for layer in all.iter().filter(|layer| !wanted.contains(layer.id())) {
            // Tried again when the next world begins.
            let _ = layer.remove();
        }
    }
}

fn vmdks(folder: &Path, depth: usize) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in files::entries(folder) {
        if depth > 0 && entry.is_dir() && !entry.is_symlink() {
            found.extend(vmdks(&entry, depth - 1));
        } else if entry.extension().is_some_and(|extension| extension == "vmdk") {
            found.push(entry);
        }
    }
    found
}

/// Reads a disk's list; none if it has none, or is no whole disk.
fn saved(vmdk: &Path) -> Option<Saved> {
    let state = disk::Disk::open(vmdk).ok()?.load().ok()??;
    serde_json::from_slice(&state).ok()
}
