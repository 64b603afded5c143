//! Lock folders beside a VM's files, as VMware's programs make them (`formats::file_lock`).

use std::path::{Path, PathBuf};

use super::files;
use super::refusal::Refusal;
use super::vmlog;
use crate::formats::file_lock::{self, Holder};

/// What VMware calls this Mac and another one.
const THIS_MAC: &str = "uuid=56-4d-00-00-00-00-00-01";
const ANOTHER_MAC: &str = "uuid=56-4d-00-00-00-00-00-02";
const PROGRAM: &str = "vmware-vmx";
/// The process that holds a lock on the other Mac; no process has such a number here.
const ANOTHERS_PROCESS: u32 = 99_999_999;

/// Takes a VM's locks: the VMX's, and its disk's. Those of a world that is gone are taken over; another Mac's are
/// respected.
pub fn take(vmx: &Path, disk: Option<&Path>) -> Result<(), Refusal> {
    let me = std::process::id();
    for folder in folders(vmx) {
        for holder in holders(&folder) {
            if is_live(&holder, Some(me)) {
                let by = &holder.machine;
                vmlog::error(
                    vmx,
                    &format!("Failed to lock the file {}: held by {holder} of {by}.", vmx.display()),
                );
                return Err(Refusal::InUse);
            }
        }
        files::remove(&folder)?;
    }
    for file in std::iter::once(vmx).chain(disk) {
        write(file, THIS_MAC, me).map_err(|_| Refusal::CannotConnect)?;
    }
    Ok(())
}

/// Leaves a lock on a VM as another Mac that has it open does.
pub fn leave_anothers(vmx: &Path) -> Result<(), Refusal> {
    Ok(write(vmx, ANOTHER_MAC, ANOTHERS_PROCESS)?)
}

/// Lets go of a VM's files.
pub fn release(vmx: &Path) {
    for folder in folders(vmx) {
        if !holders(&folder).iter().any(|holder| holder.machine == ANOTHER_MAC) {
            // A folder that vanished with its VM needs no release.
            let _ = files::remove(&folder);
        }
    }
}

/// Says whether a VM's files are held by the world that runs, if one does, or by another Mac. What a world left
/// that is gone holds nothing.
pub fn are_held(vmx: &Path, world: Option<u32>) -> bool {
    folders(vmx).iter().flat_map(|folder| holders(folder)).any(|holder| is_live(&holder, world))
}

fn is_live(holder: &Holder, world: Option<u32>) -> bool {
    holder.machine != THIS_MAC || Some(holder.pid) == world
}

fn write(file: &Path, machine: &str, pid: u32) -> std::io::Result<()> {
    let holder = Holder { machine: machine.to_owned(), pid, program: Some(PROGRAM.to_owned()) };
    let member = format!("M{:05}.lck", pid % 100_000);
    files::write(&folder(file).join(&member), file_lock::render(&holder, &member))
}

fn folder(file: &Path) -> PathBuf {
    let mut name = file.as_os_str().to_owned();
    name.push(".lck");
    PathBuf::from(name)
}

/// Returns a VM's lock folders: the VMX's, and each disk's that stands beside it.
fn folders(vmx: &Path) -> Vec<PathBuf> {
    let locked = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "lck");
    files::entries(vmx.parent().unwrap_or(Path::new("/"))).into_iter().filter(locked).collect()
}

/// Returns who holds a lock. What cannot be read is taken over, as by VMware.
fn holders(folder: &Path) -> Vec<Holder> {
    let texts = files::entries(folder).into_iter().filter_map(|file| files::read_bytes(&file).ok());
    texts.filter_map(|text| file_lock::holder(&text)).collect()
}
