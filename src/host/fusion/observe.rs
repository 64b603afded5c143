//! Looking at what became of a VM, whatever the program that was asked said.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::locks::{self, Grip, Lock};
use super::verbs::Pauses;
use crate::host::{HostError, Hypervisor, Result, clock, files};

pub async fn is_running(fusion: &dyn Hypervisor, vmx: &Path) -> Result<bool> {
    Ok(is_among(&fusion.running().await?, vmx))
}

/// Says whether a VMX is in a set of [`Hypervisor::running`], however its path is spelled.
pub fn is_among(running: &BTreeSet<PathBuf>, vmx: &Path) -> bool {
    let vmx = files::resolved(vmx);
    if cfg!(target_os = "macos") {
        // A Mac's file system ignores case, and Fusion writes what it was given.
        let lower = |path: &Path| path.to_string_lossy().to_lowercase();
        let vmx = lower(&vmx);
        return running.iter().any(|path| lower(path) == vmx);
    }
    running.contains(&vmx)
}

/// What a lock folder of a VM that does not run can mean.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Locks {
    /// The VM ran a moment ago: Fusion still writes.
    AreLive,
    /// It was not running when we came: an old lock is one that a crash left.
    MayBeStale,
}

/// Waits until a VM's files are let go of: after it left the list, Fusion still writes them
/// (facts/vmrun-vmrest.md §1.5).
///
/// # Errors
/// [`HostError::VmLocked`] if that takes longer than `limit`.
pub async fn await_unlocked(vmx: &Path, limit: Duration, meaning: Locks) -> Result<()> {
    let until = clock::monotonic() + limit;
    let mut pauses = Pauses::default();
    while let Some(lock) = in_the_way(vmx, limit, meaning)? {
        if clock::monotonic() >= until {
            return Err(HostError::VmLocked { vmx: vmx.to_owned(), lock: Box::new(lock) });
        }
        pauses.next().await;
    }
    Ok(())
}

/// Returns a lock that is to be waited for. What a dead process left is not, nor is the lock of a VM's window, which
/// stays for as long as that is open.
fn in_the_way(vmx: &Path, limit: Duration, meaning: Locks) -> Result<Option<Lock>> {
    let mut locks = locks::of(vmx)?;
    locks.retain(|lock| match lock.grip {
        Grip::Held => !lock.is_of_window(),
        Grip::Left => false,
        Grip::Unknown => meaning == Locks::AreLive || !lock.is_older_than(limit),
    });
    Ok(locks.into_iter().next())
}

/// Says whether a clone has what it needs to be one: its VMX and a disk.
pub fn is_whole(vmx: &Path) -> Result<bool> {
    let Some(bundle) = vmx.parent() else { return Ok(false) };
    let is_disk = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "vmdk");
    Ok(files::exists(vmx) && files::list(bundle)?.iter().any(is_disk))
}
