//! The new disk's files under the names they have until they are finished.
//!
//! ```text
//! sparse   NAME.vmdk.part ─▶ NAME.vmdk
//! flat     NAME-flat.vmdk.part ─▶ NAME-flat.vmdk    then    NAME.vmdk.part ─▶ NAME.vmdk
//! ```
//!
//! `NAME.vmdk.part` is locked by whoever writes, and the kernel lets go of it when the writer dies. So whoever has the lock
//! knows that all unfinished files are left-overs, and takes them away.

use std::fs::{File, TryLockError};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::Format;
use crate::formats::vmdk;
use crate::host::stand_in::{self, Effect};
use crate::host::{HostError, Result, files, sync};

/// What unfinished files are called.
const PART: &str = ".part";
/// Bytes of a block as the system counts a file's blocks, whatever the file system's own blocks are.
const BLOCK: u64 = 512;

/// A place for a new disk that nobody else writes to. What is not placed is removed.
pub(super) struct Target {
    path: PathBuf,
    part: PathBuf,
    /// Locked for as long as it is open.
    file: File,
    flat: Option<Flat>,
    placed: bool,
}

/// The second file of a flat disk.
struct Flat {
    path: PathBuf,
    part: PathBuf,
    file: File,
    has_its_name: bool,
}

impl Target {
    /// Claims the place, and takes away what a killed process left there.
    ///
    /// # Errors
    /// If there is something already ([`HostError::Exists`]), or another process writes it ([`HostError::BeingWritten`]).
    pub(super) fn claim(path: &Path, format: Format) -> Result<Self> {
        // A file that is there is told before anything is created.
        refuse_existing(path)?;
        let part = with_ending(path, PART);
        let file = lock(&part)?;
        let (flat_path, flat_part) = (flat_name(path), with_ending(&flat_name(path), PART));
        let ready = take_away_left_overs(path, &part, &flat_path, &flat_part).and_then(|()| {
            refuse_existing(path)?;
            if format == Format::Sparse {
                return Ok(None);
            }
            refuse_existing(&flat_path)?;
            let file = files::create_new(&flat_part, files::PUBLIC_FILE)?;
            Ok(Some(Flat { path: flat_path, part: flat_part, file, has_its_name: false }))
        });
        match ready {
            Ok(flat) => Ok(Self { path: path.to_owned(), part, file, flat, placed: false }),
            Err(error) => {
                files::remove_file(&part)?;
                Err(error)
            }
        }
    }

    /// Returns the unfinished file's path, for messages.
    pub(super) fn part(&self) -> &Path {
        self.flat.as_ref().map_or(&self.part, |flat| &flat.part)
    }

    /// Returns the file that the disk's bytes go to.
    pub(super) fn data(&self) -> &File {
        self.flat.as_ref().map_or(&self.file, |flat| &flat.file)
    }

    /// Returns the name that the disk's file will have.
    pub(super) fn name(&self) -> String {
        files::name_of(&self.path)
    }

    /// Returns the name that the file with the disk's bytes will have.
    pub(super) fn data_name(&self) -> String {
        files::name_of(self.flat.as_ref().map_or(&self.path, |flat| &flat.path))
    }

    /// Writes the descriptor of a flat disk. From then on the file with the bytes is known to be ours, whatever its name.
    pub(super) fn descriptor(&self, text: &str) -> std::io::Result<()> {
        stand_in::before(Effect::Sync(self.part()))?;
        sync::to_disk(self.data())?;
        stand_in::write(&mut &self.file, &self.part, text.as_bytes())
    }

    /// Gives the files their names once they are safe on the disk, and returns what room they take.
    pub(super) fn place(mut self) -> Result<u64> {
        let sync = || stand_in::before(Effect::Sync(&self.part)).and_then(|()| sync::to_disk(&self.file));
        sync().map_err(HostError::file("write", &self.part))?;
        refuse_existing(&self.path)?;
        if let Some(flat) = &mut self.flat {
            refuse_existing(&flat.path)?;
            files::rename(&flat.part, &flat.path)?;
            flat.has_its_name = true;
        }
        files::rename(&self.part, &self.path)?;
        self.placed = true;
        let facts = self.data().metadata().map_err(HostError::file("look at", &self.path))?;
        Ok(facts.blocks() * BLOCK)
    }
}

impl Drop for Target {
    /// Takes away what was not finished. The lock goes last, with the open file.
    fn drop(&mut self) {
        if self.placed {
            return;
        }
        if let Some(flat) = &self.flat {
            let _ = files::remove_file(if flat.has_its_name { &flat.path } else { &flat.part });
        }
        let _ = files::remove_file(&self.part);
    }
}

/// Opens and locks a file, which is there afterwards under this name.
fn lock(part: &Path) -> Result<File> {
    loop {
        let file = files::open_or_create(part, files::PUBLIC_FILE)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(HostError::BeingWritten { path: part.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(HostError::file("lock", part)(error)),
        }
        // Whoever had it before may have renamed or removed what was opened here.
        if files::is_same(&file, part) {
            return Ok(file);
        }
    }
}

/// Removes what a killed process left. The lock is held.
fn take_away_left_overs(path: &Path, part: &Path, flat: &Path, flat_part: &Path) -> Result<()> {
    files::remove_file(flat_part)?;
    // Killed between the two renames: the descriptor that waits for its name says whose file this is.
    let described = files::open(part).ok().and_then(|file| vmdk::inspect(&file).ok());
    let is_ours =
        described.is_some_and(|info| info.extents.iter().any(|extent| extent.file == files::name_of(flat)));
    if is_ours && !files::exists(path) {
        files::remove_file(flat)?;
    }
    files::truncate(part)
}

fn refuse_existing(path: &Path) -> Result<()> {
    if files::exists(path) { Err(HostError::Exists { path: path.to_owned() }) } else { Ok(()) }
}

/// Returns `disk-flat.vmdk` for `disk.vmdk`.
fn flat_name(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!("{stem}-flat.vmdk"))
}

fn with_ending(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}
