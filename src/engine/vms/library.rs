//! Fusion's library: the VMs in it, and where VMs may be that nobody can look at now.

use std::path::{Path, PathBuf};

use crate::formats::vmx::Vmx;
use crate::host::files;
use crate::host::fusion::{Fusion, vmx_file};

/// Where macOS puts the disks that come and go.
const VOLUMES: &str = "/Volumes";

/// Returns every VM in the library whose VMX can be read, by that file. One that vanishes while we look is no VM.
pub fn vms(library: &Path) -> impl Iterator<Item = (PathBuf, Vmx)> {
    vmx_files(library, &mut |_| {}).into_iter().filter_map(|vmx| {
        let config = vmx_file::read(&vmx).ok()??;
        Some((vmx, config))
    })
}

/// Returns where VMs may be that cannot be looked at: a library that leads to a disk which is away, folders and files that we
/// may not read, and what Fusion's window knows on disks that are away. Whoever removes what others' VMs may need asks this,
/// since those that are not seen count as not there everywhere else.
pub fn unseen(fusion: &Fusion) -> Vec<PathBuf> {
    let mut unseen = Vec::new();
    if files::exists(&fusion.library) && !files::is_folder(&fusion.library) {
        unseen.push(fusion.library.clone());
    }
    let found = vmx_files(&fusion.library, &mut |folder| unseen.push(folder.to_owned()));
    unseen.extend(found.into_iter().chain([fusion.inventory()]).filter(|file| vmx_file::read(file).is_err()));
    unseen.extend(vmx_file::listed(fusion).into_iter().filter(|vmx| is_on_a_disk_that_is_away(vmx)));
    unseen
}

fn is_on_a_disk_that_is_away(path: &Path) -> bool {
    let name = path.strip_prefix(VOLUMES).ok().and_then(|rest| rest.iter().next());
    name.is_some_and(|name| !files::exists(&Path::new(VOLUMES).join(name)))
}

/// Returns the VMX files of bundles in the library and one folder below. `closed` hears of folders that cannot be listed.
fn vmx_files(library: &Path, closed: &mut dyn FnMut(&Path)) -> Vec<PathBuf> {
    let mut list = |folder: &Path| {
        files::list(folder).unwrap_or_else(|_| {
            closed(folder);
            Vec::new()
        })
    };
    let is_bundle = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "vmwarevm");
    let (mut bundles, folders): (Vec<PathBuf>, Vec<PathBuf>) = list(library).into_iter().partition(is_bundle);
    for folder in folders.iter().filter(|path| path.is_dir()) {
        bundles.extend(list(folder).into_iter().filter(is_bundle));
    }
    let is_vmx = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "vmx");
    bundles.iter().flat_map(|bundle| list(bundle)).filter(is_vmx).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixture::{Bench, Machines};

    #[test]
    fn what_cannot_be_looked_at_is_told_and_what_is_not_there_is_not() {
        let bench = Bench::new(Machines::default());
        let fusion = &bench.engine.fusion;
        let unseen = || super::unseen(fusion);
        assert_eq!(unseen(), [] as [PathBuf; 0], "a Mac without VMs has no library");
        let vmx = bench.engine.vmx("gateway1");
        bench.file(&vmx, "displayName = \"gateway1\"\n");
        let list = |path: &str| bench.file(&fusion.inventory(), &format!("vmlist1.config = \"{path}\"\n"));
        list("/nowhere/deleted.vmwarevm/deleted.vmx");
        assert_eq!(unseen(), [] as [PathBuf; 0], "Fusion's window forgets nothing");
        let away = "/Volumes/a disk that is away/one.vmwarevm/one.vmx";
        list(away);
        assert_eq!(unseen(), [PathBuf::from(away)]);
        list("");
        let broken = vmx.with_file_name("broken.vmx");
        bench.file(&broken, "displayName = \"never closed\n");
        assert_eq!(unseen(), std::slice::from_ref(&broken));
        files::remove_file(&broken).unwrap();
        let moved = bench.engine.home.0.join("library");
        files::rename(&fusion.library, &moved).unwrap();
        std::os::unix::fs::symlink(&moved, &fusion.library).unwrap();
        assert_eq!((unseen(), vms(&fusion.library).count()), (Vec::new(), 1));
        files::rename(&moved, &moved.with_file_name("away")).unwrap();
        assert_eq!((unseen(), vms(&fusion.library).count()), (vec![fusion.library.clone()], 0));
    }
}
