//! A machine's folder, known for ours by marks that name its lab and its node, whatever of the machine is in it.
//!
//! ```text
//! <library>/<lab>/<node>.vmwarevm/.fusionlab              all its life, also when Fusion has deleted the VMX
//! <library>/<lab>/<node>.vmwarevm/.fusionlab-unfinished   while a linked clone is made there
//! <library>/<lab>/.making-<node>/                         in the making, or on its way out: no machine, and ours by its name
//! ```
//!
//! What a crash leaves is one of these, and whoever comes next clears it away. A folder that somebody has copied or
//! renamed has marks that name another, and is left alone.

use std::path::Path;

use crate::formats::vmx::Vmx;
use crate::host::files;
use crate::lab::{names, paths};

use crate::engine::error::Result;

/// Marks a machine's folder as ours for its life.
const OURS: &str = ".fusionlab";
/// Marks a machine's folder while its clone is not finished.
const UNFINISHED: &str = ".fusionlab-unfinished";

/// Where a machine is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Where it is to stand: Fusion notes the path of a linked clone in its parent.
    Final,
    /// Beside it, from where it is moved once it is whole.
    Beside,
}

/// Makes the folder of a clone that begins, with marks that the disk has before anything else is in it. Nobody else may enter it:
/// a machine's disk holds the cluster's keys, and its mode is whatever Fusion gives it.
pub fn begin(folder: &Path, lab: &str, node: &str, place: Place) -> Result<()> {
    files::create_private_dir(folder)?;
    let marks: &[&str] = if place == Place::Final { &[UNFINISHED, OURS] } else { &[OURS] };
    for mark in marks {
        files::write_new_atomic(&folder.join(mark), text(lab, node).as_bytes(), files::PUBLIC_FILE)?;
    }
    Ok(())
}

/// Says that a clone is whole: once all of it is on the disk, Fusion's own files as well.
pub fn finish(made: &Path, bundle: &Path) -> Result<()> {
    files::sync_tree(made)?;
    if made != bundle {
        return Ok(files::rename(made, bundle)?);
    }
    files::remove_file(&bundle.join(UNFINISHED))?;
    Ok(files::sync_names(bundle)?)
}

/// Says whether a folder under a machine's name holds a clone that is not finished, whosever it is.
pub fn is_unfinished(bundle: &Path) -> bool {
    files::exists(&bundle.join(UNFINISHED))
}

/// Says whether a folder is this node's but holds no finished machine: it may be cleared away.
pub fn is_leftover(bundle: &Path, lab: &str, node: &str) -> bool {
    let bears = |mark: &str| {
        files::read_if_exists(&bundle.join(mark))
            .ok()
            .flatten()
            .is_some_and(|found| found == text(lab, node).as_bytes())
    };
    bears(UNFINISHED) || (bears(OURS) && !holds_a_vmx(bundle))
}

/// Says whether a VMX is that of this lab's node, by what it says of itself.
pub fn is_marked(vmx: &Vmx, lab: &str, node: &str) -> bool {
    vmx.get(names::VMX_LAB).as_deref() == Some(lab) && vmx.get(names::VMX_NODE).as_deref() == Some(node)
}

/// Returns the lab and the node of which a VMX says that it is, if it lies where theirs does: a copy bears the marks of what
/// it is a copy of.
pub fn owner(library: &Path, vmx: &Path, config: &Vmx) -> Option<(String, String)> {
    let (lab, node) = (config.get(names::VMX_LAB)?, config.get(names::VMX_NODE)?);
    (vmx == paths::vmx_of(&paths::vm_bundle(library, &lab, &node))).then_some((lab, node))
}

/// Whatever it is called: who renames a folder in the Finder does not rename what is in it.
fn holds_a_vmx(bundle: &Path) -> bool {
    let is_vmx =
        |path: &Path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("vmx"));
    files::list(bundle).is_ok_and(|paths| paths.iter().any(|path| is_vmx(path)))
}

/// Removes a machine's folder. From its first moment on its name says that it is no machine, so that what a crash leaves
/// of it is cleared away as any clone in the making is.
pub fn remove(bundle: &Path, library: &Path) -> Result<()> {
    if paths::node_in_making(bundle).is_some() {
        return Ok(files::remove_tree(bundle, library)?);
    }
    Ok(files::remove_by_way_of(&paths::making(bundle), bundle, library)?)
}

fn text(lab: &str, node: &str) -> String {
    format!("{lab}/{node}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn library() -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let bundle = paths::vm_bundle(folder.path(), "lab", "gateway1");
        (folder, bundle)
    }

    fn put(path: &Path) {
        files::write_atomic(path, b"", files::PUBLIC_FILE).unwrap();
    }

    #[test]
    fn a_clone_is_a_leftover_until_it_is_whole_and_once_its_vmx_is_gone() {
        let (_library, bundle) = library();
        assert!(!is_leftover(&bundle, "lab", "gateway1"), "there is nothing");
        begin(&bundle, "lab", "gateway1", Place::Final).unwrap();
        put(&paths::vmx_of(&bundle));
        assert!(is_leftover(&bundle, "lab", "gateway1") && is_unfinished(&bundle));
        finish(&bundle, &bundle).unwrap();
        assert!(!is_leftover(&bundle, "lab", "gateway1") && !is_unfinished(&bundle));
        files::remove_file(&paths::vmx_of(&bundle)).unwrap();
        assert!(is_leftover(&bundle, "lab", "gateway1"), "Fusion has deleted half of it");
    }

    #[test]
    fn what_somebody_has_copied_or_renamed_is_not_ours_to_clear_away() {
        let (_library, bundle) = library();
        begin(&bundle, "lab", "gateway1", Place::Final).unwrap();
        put(&paths::vmx_of(&bundle));
        let renamed = bundle.with_file_name("mine.vmwarevm");
        files::rename(&bundle, &renamed).unwrap();
        assert!(!is_leftover(&renamed, "lab", "mine"), "half a clone of another name");
        finish(&renamed, &renamed).unwrap();
        assert!(!is_leftover(&renamed, "lab", "mine"), "a machine whose VMX has its old name");
        assert!(!is_leftover(&renamed, "lab", "gateway1"));
        files::remove_file(&renamed.join("gateway1.vmx")).unwrap();
        assert!(is_leftover(&renamed, "lab", "gateway1") && !is_leftover(&renamed, "other", "gateway1"));
    }

    #[test]
    fn a_machine_that_is_made_beside_its_place_has_its_marks_when_it_comes_there() {
        let (library, bundle) = library();
        let made = paths::making(&bundle);
        begin(&made, "lab", "gateway1", Place::Beside).unwrap();
        finish(&made, &bundle).unwrap();
        assert!(!files::exists(&made) && is_leftover(&bundle, "lab", "gateway1"));
        remove(&bundle, library.path()).unwrap();
        assert!(!files::exists(&bundle) && !files::exists(&made));
    }

    #[test]
    fn a_removal_takes_what_an_earlier_one_has_left_with_it() {
        let (library, bundle) = library();
        let made = paths::making(&bundle);
        for folder in [&made, &bundle] {
            files::create_dir(folder).unwrap();
            put(&folder.join("disk.vmdk"));
        }
        remove(&bundle, library.path()).unwrap();
        assert!(!files::exists(&bundle) && !files::exists(&made));
        begin(&made, "lab", "gateway1", Place::Beside).unwrap();
        remove(&made, library.path()).unwrap();
        assert!(!files::exists(&made));
    }
}
