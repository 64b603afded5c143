//! `vmware-vdiskmanager`: Fusion's program for disks, asked only to grow one.

use std::path::Path;
use std::time::Duration;

use super::Fusion;
use crate::host::process::{self, Options};
use crate::host::{Result, disk_file};

const BYTES_PER_GIB: u64 = 1 << 30;

/// Grows a disk without children or snapshots to at least this many GiB; one that is as large already stays as it is.
///
/// The program refuses a size that the disk has (facts/vmrun-vmrest.md §2.2), and what counts is the disk afterwards.
pub async fn grow(fusion: &Fusion, disk: &Path, gib: u32, limit: Duration) -> Result<()> {
    let wanted = u64::from(gib) * BYTES_PER_GIB;
    if disk_file::inspect(disk)?.capacity >= wanted {
        return Ok(());
    }
    let program = fusion.program("vmware-vdiskmanager");
    let size = format!("{gib}GB");
    let args = [std::ffi::OsStr::new("-x"), size.as_ref(), disk.as_os_str()];
    let finished = process::run(&program, args, Options::limit(limit)).await?;
    if disk_file::inspect(disk)?.capacity >= wanted {
        return Ok(());
    }
    Err(finished.error(&program, args))
}
