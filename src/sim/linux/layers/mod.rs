//! Which folders of files a virtual disk stands for, so that snapshots and clones of the disk do what their names say.
//!
//! A real guest's files are not in its VMDK: the VMDK only holds a list of layers, lowest first, and a layer is a folder
//! that an overlay writes what differs into. Whatever copies, links or reverts a VMDK so copies, links or reverts the
//! list, and one rule keeps the folders honest: a layer is written only by the VMDK that made it, and only until
//! somebody else builds upon it.
//!
//! ```text
//! template's disk      [a]         made a, wrote it
//! snapshot, clone 1    [a, b]      found a to be another's: froze it, and stacked b
//! clone 2              [a, c]
//! clone 1 again        [a, b]      b is its own and not frozen: writes on
//! ```

mod collect;
mod folder;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::sim::image;
use crate::sim::seam::Contents;
use folder::Layer;

/// How many layers a disk may stand on: each costs every look at a file that is not there.
const DEEPEST: usize = 20;
/// The version of what is saved in a VMDK.
const VERSION: u32 = 1;

/// What a real guest's VMDK says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    fusionlab_layers: u32,
    /// The key of the image under the lowest layer.
    pub image: String,
    /// Lowest first.
    pub layers: Vec<String>,
    /// How often the uppermost layer had been begun to be written when this was saved.
    pub epoch: u64,
}

/// Why a machine does not boot from its disk, in words for its console.
#[derive(Debug)]
pub enum Refused {
    /// The disk was written by guests of another kind.
    AnotherKind,
    /// Nothing on it boots.
    Nothing,
    /// It was made from another image.
    AnotherImage {
        disk: String,
        world: String,
    },
    /// A layer is gone.
    Lost(String),
    /// The disk's origin is being written to now.
    InUse(String),
    /// The disk's origin was written to after the disk was copied from it.
    MovedOn(String),
    TooDeep(usize),
    Failed(io::Error),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AnotherKind => f.write_str(
                "No bootable system: this disk was written by a simulated guest of another kind. Use the kind that it \
                 was made with (`--sim-guests`), or build the template again.",
            ),
            Self::Nothing => f.write_str(
                "No bootable system: nothing on this disk names a guest image. Real guests start from the template that \
                 `fusionlab template build` makes of one.",
            ),
            Self::AnotherImage { disk, world } => write!(
                f,
                "No bootable system: this disk stands on guest image {disk}, and this simulated Fusion runs {world}. \
                 Build the template again, or set that image."
            ),
            Self::Lost(id) => write!(f, "No bootable system: layer {id} of this disk is gone. Make the VM again."),
            Self::InUse(id) => write!(
                f,
                "No bootable system: the machine that this disk was copied from runs, and writes to layer {id} of both. \
                 Stop it, and copy its disk again."
            ),
            Self::MovedOn(id) => write!(
                f,
                "No bootable system: the machine that this disk was copied from ran since then, and wrote to layer {id} \
                 of both. Take a snapshot before a copy, or copy again."
            ),
            Self::TooDeep(depth) => write!(
                f,
                "No bootable system: this disk stands on {depth} layers, and {DEEPEST} are the most. Each boot after a \
                 snapshot or a clone adds one: start from the template again."
            ),
            Self::Failed(error) => write!(f, "No bootable system: {error}"),
        }
    }
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// The layers of one simulated Mac.
pub struct Layers {
    folder: PathBuf,
    /// Layers that machines write to now.
    busy: Mutex<BTreeMap<String, usize>>,
    released: Notify,
}

/// A disk to boot from.
pub struct Disk<'a> {
    pub vmdk: &'a Path,
    /// What its guest saved.
    pub state: Option<&'a [u8]>,
    pub contents: &'a Contents,
}

/// The layers that a machine runs on. While it lives, nobody else writes to the uppermost.
pub struct Stack {
    layers: Arc<Layers>,
    /// Below the uppermost, highest first, as overlayfs lists them.
    pub lower: Vec<String>,
    /// Written to.
    pub upper: String,
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.layers.busy().remove(&self.upper);
        self.layers.released.notify_waiters();
    }
}

impl Layers {
    pub fn new(folder: PathBuf) -> Arc<Self> {
        Arc::new(Self { folder, busy: Mutex::default(), released: Notify::new() })
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Returns what waits until some machine lets go of its layers, from this moment on.
    pub fn released(&self) -> Notified<'_> {
        self.released.notified()
    }

    /// Finds or makes the layers that a machine writes to and stands on, and saves the list in its disk.
    ///
    /// # Errors
    /// In words for the machine's console.
    pub fn open(
        self: &Arc<Self>,
        image: &str,
        disk: &Disk<'_>,
        save: impl FnOnce(&[u8]) -> io::Result<()>,
    ) -> Result<Stack, Refused> {
        let mut saved = parse(image, disk)?;
        let mut busy = self.busy();
        for id in &saved.layers {
            if !Layer::at(&self.folder, id).exists() {
                return Err(Refused::Lost(id.clone()));
            }
        }
        let own = self.take_top(&busy, disk.vmdk, &saved)?;
        if let Some(layer) = &own {
            saved.epoch = saved.epoch.max(layer.epoch()?) + 1;
        } else {
            if saved.layers.len() == DEEPEST {
                return Err(Refused::TooDeep(saved.layers.len() + 1));
            }
            let layer = Layer::make(&self.folder, disk.vmdk, &saved)?;
            saved.layers.push(layer.id().to_owned());
            saved.epoch = 1;
        }
        let (upper, lower) = saved.layers.split_last().expect("a layer was found or made");
        // The disk first: a copy of it made in between is newer than the layer, and nothing was written yet.
        save(serde_json::to_string(&saved).map_err(io::Error::other)?.as_bytes())?;
        Layer::at(&self.folder, upper).begin(saved.epoch)?;
        busy.insert(upper.clone(), lower.len());
        let lower = lower.iter().rev().cloned().collect();
        Ok(Stack { layers: self.clone(), lower, upper: upper.clone() })
    }

    /// Returns the uppermost layer if this disk may go on writing to it. Another's is frozen.
    fn take_top(
        &self,
        busy: &BTreeMap<String, usize>,
        vmdk: &Path,
        saved: &Saved,
    ) -> Result<Option<Layer>, Refused> {
        let Some(id) = saved.layers.last() else { return Ok(None) };
        let top = Layer::at(&self.folder, id);
        if busy.contains_key(id) {
            return Err(Refused::InUse(id.clone()));
        }
        if top.is_owned_by(vmdk)? {
            return Ok((!top.is_frozen()).then_some(top));
        }
        if top.epoch()? > saved.epoch {
            return Err(Refused::MovedOn(id.clone()));
        }
        top.freeze()?;
        Ok(None)
    }

    fn busy(&self) -> MutexGuard<'_, BTreeMap<String, usize>> {
        // A panic elsewhere leaves the map whole.
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what a disk says, if it is one for real guests of this image.
fn parse(image: &str, disk: &Disk<'_>) -> Result<Saved, Refused> {
    let saved = match (disk.state, disk.contents) {
        (Some(state), _) => serde_json::from_slice::<Saved>(state)
            .ok()
            .filter(|saved| saved.fusionlab_layers == VERSION)
            .ok_or(Refused::AnotherKind)?,
        (None, Contents::Image(words)) => {
            let key = words.strip_prefix(image::SYSTEM).ok_or(Refused::AnotherKind)?;
            Saved { fusionlab_layers: VERSION, image: key.to_owned(), layers: Vec::new(), epoch: 0 }
        }
        (None, Contents::Nothing | Contents::Partitions) => return Err(Refused::Nothing),
    };
    if saved.image != image {
        return Err(Refused::AnotherImage { disk: saved.image, world: image.to_owned() });
    }
    Ok(saved)
}
