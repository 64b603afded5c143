//! VMX files on disk: read whole, and changed only while nobody else has the VM.
//!
//! A VM that runs has its VMX in memory and writes it back when it is powered off; a VM that is open in Fusion's window
//! may do the same. An edit beside them is lost, or mixes with theirs (facts/vmrun-vmrest.md §2.3).

use std::path::{Path, PathBuf};

use super::{Fusion, locks, observe};
use crate::formats::vmx::Vmx;
use crate::host::{HostError, Hypervisor, Result, files};

/// Other programs read lines of up to 16 MiB, and data that guests set ends at 1 MiB.
pub const LARGEST: u64 = 16 << 20;

/// Reads a VMX file; none if there is none.
///
/// # Errors
/// [`HostError::BadVmx`] with everything that is wrong in it, or if it is larger than [`LARGEST`].
pub fn read(path: &Path) -> Result<Option<Vmx>> {
    if !files::exists(path) {
        return Ok(None);
    }
    let size = files::size(path)?;
    if size > LARGEST {
        let reason = format!("{size} bytes are no VMX file: one has at most {LARGEST}");
        return Err(HostError::Content { path: path.to_owned(), reason });
    }
    let Some(bytes) = files::read_if_exists(path)? else { return Ok(None) };
    let vmx = Vmx::parse(bytes);
    vmx.map(Some).map_err(|bad| HostError::BadVmx { path: path.to_owned(), problems: bad.problems })
}

/// Returns the VMX files in the list of VMs that Fusion's window keeps, which has the form of a VMX file:
/// `vmlist1.config = "/…/one.vmx"`. What it lists may be gone; a list that cannot be read has none.
pub fn listed(fusion: &Fusion) -> Vec<PathBuf> {
    let Ok(Some(list)) = read(&fusion.inventory()) else { return Vec::new() };
    let is_entry = |key: &&str| {
        let key = key.to_ascii_lowercase();
        key.strip_prefix("vmlist").and_then(|rest| rest.strip_suffix(".config")).is_some()
    };
    let configs = list.keys().filter(is_entry).filter_map(|key| list.get(key));
    configs.filter(|path| path.ends_with(".vmx")).map(PathBuf::from).collect()
}

/// Writes a VMX file whole, durably, with the owner and mode of the one that was there. A link stays one.
pub fn write(path: &Path, vmx: &Vmx) -> Result<()> {
    files::write_keeping_owner(&files::resolved(path), &vmx.render(), files::PUBLIC_FILE)
}

/// Changes a VMX file, unless its VM runs or is open. Says whether that changed anything; if not, nothing is written.
///
/// # Errors
/// [`HostError::VmRuns`] or [`HostError::VmLocked`] while somebody has the VM; those of [`read`]; and if there is no
/// such file.
pub async fn edit(vms: &dyn Hypervisor, path: &Path, change: impl FnOnce(&mut Vmx) + Send) -> Result<bool> {
    must_be_free(vms, path).await?;
    let gone = || HostError::Content { path: path.to_owned(), reason: "it is gone".to_owned() };
    let before = read(&files::canonicalize(path)?)?.ok_or_else(gone)?;
    let mut after = before.clone();
    change(&mut after);
    if after == before {
        return Ok(false);
    }
    write(path, &after)?;
    Ok(true)
}

/// Makes sure that a VM neither runs nor is open.
pub async fn must_be_free(vms: &dyn Hypervisor, path: &Path) -> Result<()> {
    if observe::is_running(vms, path).await? {
        return Err(HostError::VmRuns { vmx: path.to_owned() });
    }
    locks::must_not_be_open(path)
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::host::fusion::fake::Fake;
    use crate::host::fusion::vmrun::Vmrun;

    fn setup(text: &str) -> (Fake, Vmrun, PathBuf) {
        let fake = Fake::new();
        fake.program(
            "vmrun",
            "touch \"$FOLDER/running\"; echo \"Total running VMs: $(wc -l < \"$FOLDER/running\")\"; cat \"$FOLDER/running\"",
        );
        let vmx = fake.root().join("one.vmwarevm/one.vmx");
        fake.write(&vmx, text);
        let vmrun = Vmrun::new(fake.fusion(), fake.deadlines());
        (fake, vmrun, vmx)
    }

    #[tokio::test]
    async fn an_edit_keeps_owner_mode_and_the_other_lines() {
        let (fake, vms, vmx) = setup("# mine\r\nmemsize = \"4096\"\r\n");
        files::set_mode(&vmx, 0o640).unwrap();
        assert!(edit(&vms, &vmx, |vmx| vmx.set("memSize", "8192")).await.unwrap());
        assert_eq!(files::read_text(&vmx).unwrap(), "# mine\r\nmemsize = \"8192\"\r\n");
        assert_eq!(files::ownership(&vmx).unwrap().mode, 0o640);
        let written = files::modified(&vmx).unwrap();
        assert!(!edit(&vms, &vmx, |vmx| vmx.set("memsize", "8192")).await.unwrap());
        assert_eq!(files::modified(&vmx).unwrap(), written, "what changes nothing is not written");

        let link = fake.root().join("link.vmx");
        std::os::unix::fs::symlink(&vmx, &link).unwrap();
        write(&link, &Vmx::new()).unwrap();
        assert!(files::is_link(&link));
        assert_eq!(files::read_text(&vmx).unwrap(), ".encoding = \"UTF-8\"\n");
    }

    #[tokio::test]
    async fn a_vm_that_runs_or_is_open_is_not_edited() {
        let (fake, vms, vmx) = setup("a = \"1\"\n");
        fake.write(&fake.root().join("running"), &format!("{}\n", vmx.display()));
        let error = edit(&vms, &vmx, |vmx| vmx.set("a", "2")).await.unwrap_err();
        assert!(matches!(error, HostError::VmRuns { .. }), "{error}");

        fake.write(&fake.root().join("running"), "");
        locks::tests::lock(&fake, &vmx, std::process::id(), "VMware Fusion");
        let error = edit(&vms, &vmx, |vmx| vmx.set("a", "2")).await.unwrap_err();
        assert!(matches!(error, HostError::VmLocked { .. }), "{error}");
        assert_eq!(files::read_text(&vmx).unwrap(), "a = \"1\"\n");

        locks::tests::lock(&fake, &vmx, locks::tests::NO_PROCESS, "vmware-vmx");
        assert!(edit(&vms, &vmx, |vmx| vmx.set("a", "2")).await.unwrap());
    }

    #[tokio::test]
    async fn a_file_that_cannot_be_read_is_not_written() {
        let (_fake, vms, vmx) = setup("nonsense\na = \"1\nb = \"2\"\n");
        let error = edit(&vms, &vmx, |vmx| vmx.set("b", "3")).await.unwrap_err();
        let HostError::BadVmx { problems, .. } = &error else { panic!("{error}") };
        assert_eq!(problems.len(), 2);
        assert!(error.to_string().contains("line 1, column 1"), "{error}");

        let absent = vmx.with_file_name("absent.vmx");
        assert_eq!(read(&absent).unwrap(), None);
        assert!(edit(&vms, &absent, |_| ()).await.is_err());

        let file = files::create_new(&vmx.with_file_name("large.vmx"), 0o600).unwrap();
        file.set_len(LARGEST + 1).unwrap();
        assert!(read(&vmx.with_file_name("large.vmx")).unwrap_err().to_string().contains("no VMX file"));
    }
}
