//! Lock folders beside a VM's files: whether somebody has the VM open, who, and since when.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::formats::file_lock::{self, Holder};
use crate::host::{HostError, Result, clock, files, system};

/// What the names of lock folders end with.
const EXTENSION: &str = "lck";
/// The program that runs a VM.
const VMX_PROGRAM: &str = "vmware-vmx";

/// Whether a lock still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grip {
    /// A process of that number runs on this machine.
    Held,
    /// No process of that number runs here: a crash left the lock, or another machine has the VM open.
    Left,
    /// It does not say whose it is.
    Unknown,
}

/// One lock folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    pub folder: PathBuf,
    pub holder: Option<Holder>,
    pub since: SystemTime,
    pub grip: Grip,
}

impl Lock {
    /// Says whether the lock is older than this.
    pub fn is_older_than(&self, age: Duration) -> bool {
        self.since.elapsed().is_ok_and(|elapsed| elapsed > age)
    }

    /// Says whether nothing more than the VM's window in Fusion holds it: such a lock outlives a stopped VM.
    pub fn is_of_window(&self) -> bool {
        let program = self.holder.as_ref().and_then(|holder| holder.program.as_deref());
        self.grip == Grip::Held
            && self.folder.to_string_lossy().ends_with(".vmx.lck")
            && program.is_some_and(|program| program != VMX_PROGRAM)
    }
}

/// Says who holds it: `one.vmx.lck is held by process 7 (vmware-vmx) since 2026-11-27T03:00:00Z`.
impl fmt::Display for Lock {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.folder.file_name().unwrap_or_default().to_string_lossy();
        let seconds = self.since.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let since = clock::rfc3339(seconds);
        match (&self.holder, self.grip) {
            (Some(holder), Grip::Held) => write!(out, "{name} is held by {holder} since {since}"),
            (Some(holder), _) => {
                write!(out, "{name} is of {since}, by {holder} of machine {}", holder.machine)
            }
            (None, _) => write!(out, "{name} is of {since} and does not say whose it is"),
        }
    }
}

/// Returns the lock folders beside a VMX, whatever they lock.
pub fn of(vmx: &Path) -> Result<Vec<Lock>> {
    // A bare name has a folder only once it is resolved.
    let vmx = files::resolved(vmx);
    let Some(bundle) = vmx.parent() else { return Ok(Vec::new()) };
    let mut folders = files::list(bundle)?;
    folders.retain(|path| path.extension().is_some_and(|extension| extension == EXTENSION));
    Ok(folders.into_iter().filter_map(read).collect())
}

/// Returns the lock of the VMX itself: who has the VM open, be it running or in a window.
pub fn of_vmx(vmx: &Path) -> Result<Option<Lock>> {
    let vmx = files::resolved(vmx);
    let mut name = vmx.file_name().unwrap_or_default().to_owned();
    name.push(".");
    name.push(EXTENSION);
    Ok(of(&vmx)?.into_iter().find(|lock| lock.folder.file_name() == Some(&name)))
}

/// Makes sure that nobody has a VM open, as far as its locks tell.
///
/// # Errors
/// [`HostError::VmLocked`] if somebody has it, or may have it.
pub fn must_not_be_open(vmx: &Path) -> Result<()> {
    match of_vmx(vmx)? {
        Some(lock) if lock.grip != Grip::Left => {
            Err(HostError::VmLocked { vmx: vmx.to_owned(), lock: Box::new(lock) })
        }
        _ => Ok(()),
    }
}

/// Reads a lock folder, or the plain file that takes its place on some volumes. One that vanishes while we look is no lock,
/// nor is one with nobody's name in it: who locks puts a member there, and who lets go removes it before the folder.
fn read(folder: PathBuf) -> Option<Lock> {
    let members = if files::is_folder(&folder) { files::list(&folder).ok()? } else { vec![folder.clone()] };
    let since = files::modified(members.first()?).or_else(|_| files::modified(&folder)).ok()?;
    let holders = members.iter().filter_map(|path| file_lock::holder(&files::read(path).ok()?));
    let holders: Vec<Holder> = holders.map(named).collect();
    let held = holders.iter().find(|holder| may_hold(holder)).cloned();
    let grip = match (&held, holders.is_empty()) {
        (Some(_), _) => Grip::Held,
        (None, false) => Grip::Left,
        (None, true) => Grip::Unknown,
    };
    Some(Lock { holder: held.or_else(|| holders.into_iter().next()), folder, since, grip })
}

/// Returns a holder with the name of its program, which no lock tells on a Mac: the system does, of whoever has that number now.
fn named(holder: Holder) -> Holder {
    let program = holder.program.or_else(|| {
        let path = system::program_of(holder.pid)?;
        Some(path.file_name()?.to_string_lossy().into_owned())
    });
    Holder { program, ..holder }
}

/// Says whether a process of this number runs that may have the lock. Numbers begin anew with each boot, so that what a crash left is
/// soon somebody else's: one whose program is none of VMware's has no lock of a VM.
fn may_hold(holder: &Holder) -> bool {
    let is_vmwares = |program: &PathBuf| program.to_string_lossy().to_lowercase().contains("vmware");
    let is_named = holder.program.as_ref().is_some_and(|name| name.to_lowercase().contains("vmware"));
    system::is_process(holder.pid)
        && (is_named || system::program_of(holder.pid).as_ref().is_none_or(is_vmwares))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::host::fusion::fake::Fake;

    /// A number that no process has: Linux and macOS end far below.
    pub const NO_PROCESS: u32 = 99_999_999;

    /// Puts a lock beside a file, as a process of this number leaves it.
    pub fn lock(fake: &Fake, file: &Path, pid: u32, program: &str) -> PathBuf {
        let holder = Holder { machine: "uuid=1".to_owned(), pid, program: Some(program.to_owned()) };
        let folder = PathBuf::from(format!("{}.lck", file.display()));
        fake.write(&folder.join("M00001.lck"), &file_lock::render(&holder, "M00001.lck"));
        folder
    }

    #[test]
    fn a_lock_tells_who_holds_it_and_whether_it_still_does() {
        let fake = Fake::new();
        let vmx = fake.root().join("one.vmwarevm/one.vmx");
        fake.write(&vmx, "");
        assert_eq!(of(&vmx).unwrap(), []);
        assert!(must_not_be_open(&vmx).is_ok());

        lock(&fake, &vmx, std::process::id(), VMX_PROGRAM);
        let held = of_vmx(&vmx).unwrap().unwrap();
        assert_eq!((held.grip, held.is_of_window()), (Grip::Held, false));
        let text = held.to_string();
        assert!(
            text.starts_with(&format!("one.vmx.lck is held by process {} (vmware-vmx)", std::process::id()))
        );
        let error = must_not_be_open(&vmx).unwrap_err().to_string();
        assert!(error.contains(&text), "{error}");

        lock(&fake, &vmx, std::process::id(), "VMware Fusion");
        assert!(of_vmx(&vmx).unwrap().unwrap().is_of_window());

        lock(&fake, &vmx, NO_PROCESS, VMX_PROGRAM);
        let left = of_vmx(&vmx).unwrap().unwrap();
        assert_eq!(left.grip, Grip::Left);
        assert!(left.to_string().ends_with("by process 99999999 (vmware-vmx) of machine uuid=1"), "{left}");
        assert!(must_not_be_open(&vmx).is_ok(), "what a crash left does not hold us");
    }

    #[test]
    fn a_lock_that_names_no_program_is_of_the_one_that_has_its_number() {
        let fake = Fake::new();
        let vmx = fake.root().join("one.vmwarevm/one.vmx");
        fake.write(&vmx, "");
        let member = vmx.with_file_name("one.vmx.lck/M1.lck");
        // As on a Mac: the time in microseconds, and no name.
        fake.write(&member, &format!("uuid=1 {}-1790000000123456 0 X M1.lck lc=0", std::process::id()));
        let found = of_vmx(&vmx).unwrap().unwrap();
        assert_eq!(found.grip, Grip::Left, "this test is no program of VMware's: {found}");
        assert!(must_not_be_open(&vmx).is_ok(), "its number was a crashed one's before");
    }

    #[test]
    fn a_lock_folder_with_nothing_in_it_locks_nothing() {
        let fake = Fake::new();
        let vmx = fake.root().join("one.vmwarevm/one.vmx");
        let folder = lock(&fake, &vmx, std::process::id(), VMX_PROGRAM);
        assert!(must_not_be_open(&vmx).is_err());
        files::remove_file(&folder.join("M00001.lck")).unwrap();
        assert!(files::is_folder(&folder) && of(&vmx).unwrap().is_empty() && must_not_be_open(&vmx).is_ok());
    }

    #[test]
    fn a_lock_without_a_name_may_be_anybodys() {
        let fake = Fake::new();
        let vmx = fake.root().join("one.vmwarevm/one.vmx");
        fake.write(&vmx.with_file_name("one.vmx.lck/M1.lck"), "nonsense");
        let unknown = of_vmx(&vmx).unwrap().unwrap();
        assert_eq!(unknown.grip, Grip::Unknown);
        assert!(must_not_be_open(&vmx).is_err());
        fake.write(&vmx.with_file_name("disk.vmdk.lck"), "uuid=1 7-0");
        assert_eq!(of(&vmx).unwrap().len(), 2, "a plain file locks as well");
    }
}
