//! Looking at what became of a VM, whatever the program that was asked said.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::host::{HostError, Hypervisor, Result, clock, files};

/// Pauses between two looks: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_millis(1000);
/// How many looks a start gets before it counts as not having happened.
const START_LOOKS: u32 = 6;

pub async fn is_running(fusion: &dyn Hypervisor, vmx: &Path) -> Result<bool> {
    Ok(is_among(&fusion.running().await?, vmx))
}

/// Looks until the VM runs; a few times only, for what was said to have failed may yet appear.
pub async fn appears(fusion: &dyn Hypervisor, vmx: &Path, until: Instant) -> Result<bool> {
    let mut pauses = Pauses::default();
    for _ in 0..START_LOOKS {
        if is_running(fusion, vmx).await? {
            return Ok(true);
        }
        if clock::monotonic() >= until {
            break;
        }
        pauses.next().await;
    }
    Ok(false)
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

/// Waits until a VM's lock folders are gone: after it left the list, Fusion still writes its files
/// (facts/vmrun-vmrest.md §1.5).
pub async fn await_unlocked(vmx: &Path, limit: Duration, locks: Locks) -> Result<()> {
    let until = clock::monotonic() + limit;
    let mut pauses = Pauses::default();
    loop {
        let mut live = false;
        for lock in lock_folders(vmx)? {
            live |= locks == Locks::AreLive || !is_older_than(&lock, limit);
        }
        if !live {
            return Ok(());
        }
        if clock::monotonic() >= until {
            let what = format!("Fusion letting go of {}", vmx.display());
            return Err(HostError::Deadline { what, limit });
        }
        pauses.next().await;
    }
}

fn lock_folders(vmx: &Path) -> Result<Vec<PathBuf>> {
    let Some(bundle) = vmx.parent() else { return Ok(Vec::new()) };
    let mut paths = files::list(bundle)?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "lck"));
    Ok(paths)
}

fn is_older_than(path: &Path, age: Duration) -> bool {
    // A lock that vanishes while we look is no lock.
    files::modified(path).map_or(true, |modified| modified.elapsed().is_ok_and(|elapsed| elapsed > age))
}

/// Says whether a clone has what it needs to be one: its VMX and a disk.
pub fn is_whole(vmx: &Path) -> Result<bool> {
    let Some(bundle) = vmx.parent() else { return Ok(false) };
    let is_disk = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "vmdk");
    Ok(files::exists(vmx) && files::list(bundle)?.iter().any(is_disk))
}

/// Growing pauses between looks.
pub struct Pauses(Duration);

impl Default for Pauses {
    fn default() -> Self {
        Self(FIRST_PAUSE)
    }
}

impl Pauses {
    pub async fn next(&mut self) {
        clock::pause(self.0).await;
        self.0 = (self.0 * 2).min(LONGEST_PAUSE);
    }
}
