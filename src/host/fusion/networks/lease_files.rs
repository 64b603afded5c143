//! The lease files, which `--configure` was seen to lose (facts/fusion-networking.md §2.2): other networks' VMs keep
//! their addresses.

use std::path::{Path, PathBuf};

use crate::host::fusion::Fusion;
use crate::host::{Result, files, system, trust};

/// Every lease file's content.
pub(super) struct LeaseFiles(Vec<(PathBuf, Vec<u8>)>);

/// Returns the lease files' folder; none if there is none.
///
/// # Errors
/// If we are root and somebody else could have changed it: then nothing may be written there.
pub(super) fn folder(fusion: &Fusion) -> Result<Option<PathBuf>> {
    let folder = fusion.lease_folder();
    if !files::exists(&folder) {
        return Ok(None);
    }
    // On a Mac `/var` is a link, so the path that was checked is not the one that was asked for.
    Ok(Some(if system::is_root() { trust::folder(&folder)?.path } else { folder }))
}

/// Refuses the folder if somebody other than root could have changed it.
pub(super) fn trusted(fusion: &Fusion) -> Result<()> {
    let folder = fusion.lease_folder();
    if files::exists(&folder) { trust::folder(&folder).map(|_| ()) } else { Ok(()) }
}

impl LeaseFiles {
    /// Reads them. What cannot be read cannot be put back; that is no reason not to go on.
    pub fn read(fusion: &Fusion) -> Result<Self> {
        let Some(folder) = folder(fusion)? else { return Ok(Self(Vec::new())) };
        let mut paths = files::list(&folder).unwrap_or_default();
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "leases"));
        let read = |path: PathBuf| files::read(&path).ok().map(|bytes| (path, bytes));
        Ok(Self(paths.into_iter().filter_map(read).collect()))
    }

    /// Puts back those that are gone or empty now and were not; the error is of the first one that could not be.
    pub fn put_back(&self) -> Result<()> {
        let mut outcome = Ok(());
        for (path, bytes) in &self.0 {
            outcome = outcome.and(put_back(path, bytes));
        }
        outcome
    }
}

fn put_back(path: &Path, bytes: &[u8]) -> Result<()> {
    let is_lost = files::read_if_exists(path)?.is_none_or(|now| now.is_empty());
    if is_lost && !bytes.is_empty() {
        files::write_keeping_owner(path, bytes, files::PUBLIC_FILE)?;
    }
    Ok(())
}
