//! How a Mac is doing: what it has and can give, and when it goes to sleep by itself.
//!
//! Asked of macOS's own programs below Fusion's root, so that the simulated Mac answers as a real one does. Where there is no
//! such program, this machine is asked, which knows nothing of a Mac's sleep.

use std::path::Path;
use std::time::Duration;

use super::macos;
use crate::formats;
use crate::formats::power::{self, PowerSource};
use crate::host::system;

const SYSCTL: &str = "usr/sbin/sysctl";
const VM_STAT: &str = "usr/bin/vm_stat";
const PMSET: &str = "usr/bin/pmset";

/// A Mac's memory; none stands for what it does not tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub mib: Option<u64>,
    /// What programs can have now without pushing others out.
    pub free_mib: Option<u64>,
}

/// What a Mac says of itself; none stands for what it does not tell.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Such as `26.1`.
    pub macos: Option<String>,
    pub memory: Memory,
    pub cpus: Option<u32>,
    pub power: Option<Vec<PowerSource>>,
}

/// Asks all that at once. `root` is the root of Fusion's Mac; each question may take `limit`.
pub async fn condition(root: &Path, limit: Duration) -> Condition {
    let ((mib, cpus), free_mib, custom) = tokio::join!(
        size(root, limit),
        free_memory(root, limit),
        macos::run(root, PMSET, &["-g", "custom"], limit),
    );
    Condition {
        macos: system::macos_version(root),
        memory: Memory { mib, free_mib },
        cpus,
        power: custom.map(|told| power::parse(&told.text())).filter(|sources| !sources.is_empty()),
    }
}

/// Asks for the memory alone.
pub async fn memory(root: &Path, limit: Duration) -> Memory {
    let ((mib, _), free_mib) = tokio::join!(size(root, limit), free_memory(root, limit));
    Memory { mib, free_mib }
}

/// Returns MiB of memory and the number of processors.
pub(super) async fn size(root: &Path, limit: Duration) -> (Option<u64>, Option<u32>) {
    match macos::run(root, SYSCTL, &["-n", "hw.memsize", "hw.ncpu"], limit).await {
        Some(told) => formats::memory::size(&told.text()).unzip(),
        None => (Some(system::memory_mib()).filter(|mib| *mib > 0), Some(system::cpus())),
    }
}

async fn free_memory(root: &Path, limit: Duration) -> Option<u64> {
    match macos::run(root, VM_STAT, &[], limit).await {
        Some(told) => formats::memory::available_mib(&told.text()),
        None => system::free_memory_mib(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fusion::fake::install;

    const LIMIT: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_macs_programs_are_believed_and_else_this_machine_is() {
        let root = tempfile::tempdir().unwrap();
        let own = condition(root.path(), LIMIT).await;
        assert_eq!(own.cpus, Some(system::cpus()));
        assert!(own.memory.mib.is_some() && own.power.is_none() && own.macos.is_none());
        for (program, prints) in
            [(SYSCTL, "17179869184\n8\n"), (PMSET, "AC Power:\n sleep 1\n"), (VM_STAT, "?\n")]
        {
            let path = root.path().join(program);
            crate::host::files::create_dir(path.parent().unwrap()).unwrap();
            install(&path, &format!("#!/bin/sh\nprintf '{prints}'\n"));
        }
        // As root we run only what root alone could have changed, which a temporary folder is not.
        if !system::is_root() {
            let told = condition(root.path(), LIMIT).await;
            assert_eq!((told.memory.mib, told.cpus, told.memory.free_mib), (Some(16 * 1024), Some(8), None));
            assert_eq!(told.power.unwrap()[0].sleep_minutes, Some(1));
        }
    }
}
