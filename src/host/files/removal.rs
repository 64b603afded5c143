//! What goes: what killed runs were writing, and whole folders, each only below what the caller owns.
#![expect(clippy::disallowed_methods, reason = "this is where the program touches files")]

use std::ffi::OsStr;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{TEMPORARY, TEMPORARY_LETTERS, canonicalize, exists, is_folder, is_link, list, parent, rename};
use crate::host::stand_in::{self, Effect};
use crate::host::{HostError, Result, system};

/// No file of ours that is written whole takes that long, where no lock on it can tell.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Returns the files that runs of ours write in a folder, or wrote when they were killed.
pub fn half_written(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_temporary = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let letters = name.strip_prefix(TEMPORARY).unwrap_or_default();
        letters.len() == TEMPORARY_LETTERS
            && letters.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && fs::symlink_metadata(path).is_ok_and(|facts| facts.is_file())
    };
    Ok(list(folder)?.into_iter().filter(is_temporary).collect())
}

/// Removes what killed runs of ours were writing in a folder, be it one that others write to as well, ours among them: what
/// nobody writes any more.
pub fn sweep(folder: &Path) -> Result<()> {
    for path in half_written(folder)? {
        // One that cannot be opened has got its name meanwhile, or is another user's, and not ours to judge.
        let Ok(file) = File::open(&path) else { continue };
        if is_ours(&file) && is_abandoned(&file) {
            // The lock is held until the file is gone.
            remove_file(&path)?;
        }
    }
    Ok(())
}

fn is_ours(file: &File) -> bool {
    let user = system::user_id();
    user == 0 || file.metadata().is_ok_and(|facts| facts.uid() == user)
}

fn is_abandoned(file: &File) -> bool {
    match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        // A file system without locks.
        Err(TryLockError::Error(_)) => {
            let age =
                file.metadata().and_then(|facts| facts.modified()).ok().and_then(|then| then.elapsed().ok());
            age.is_some_and(|age| age > ABANDONED)
        }
    }
}

/// Removes a file or a link; none there is as good.
pub fn remove_file(path: &Path) -> Result<()> {
    match stand_in::before(Effect::Remove(path)).and_then(|()| fs::remove_file(path)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(HostError::file("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a folder with all that is in it, if it lies below `base`; none there is as good.
///
/// `base` says what the caller believes to own. A path outside it, the user's home, or a folder above
/// that is refused whatever the caller says; a link is removed, never followed.
pub fn remove_tree(path: &Path, base: &Path) -> Result<()> {
    let Ok(facts) = fs::symlink_metadata(path) else { return Ok(()) };
    if facts.file_type().is_symlink() || facts.is_file() {
        refuse_outside(path, base)?;
        return remove_file(path);
    }
    refuse_outside(path, base)?;
    if stand_in::current().is_some() {
        return piece_by_piece(path);
    }
    fs::remove_dir_all(path).map_err(HostError::file("remove folder", path))
}

/// Removes a folder as one thing: it is called `away`, beside it, before anything in it is gone. What a crash leaves has that
/// name, and so has what an earlier crash left, which goes with it.
pub fn remove_by_way_of(away: &Path, path: &Path, base: &Path) -> Result<()> {
    remove_tree(away, base)?;
    if exists(path) {
        refuse_outside(path, base)?;
        rename(path, away)?;
    }
    remove_tree(away, base)
}

/// Removes a folder as the system does it, and lets whoever stands in for the computer have a say in each piece.
fn piece_by_piece(folder: &Path) -> Result<()> {
    for path in list(folder)? {
        if is_folder(&path) && !is_link(&path) { piece_by_piece(&path)? } else { remove_file(&path)? }
    }
    remove_empty_folder(folder)
}

/// What the Finder writes into each folder that somebody looks at.
pub const OF_THE_FINDER: &str = ".DS_Store";

/// Removes a folder in which nothing is but what the Finder leaves where somebody has looked. Any other stays; none there is as good.
pub fn remove_if_empty(folder: &Path) -> Result<()> {
    if !is_folder(folder) {
        return Ok(());
    }
    let inside = list(folder)?;
    if inside.iter().any(|path| path.file_name() != Some(OsStr::new(OF_THE_FINDER))) {
        return Ok(());
    }
    inside.iter().try_for_each(|path| remove_file(path))?;
    remove_empty_folder(folder)
}

/// Removes a folder in which nothing is; any other is an error.
fn remove_empty_folder(folder: &Path) -> Result<()> {
    let remove = || stand_in::before(Effect::Remove(folder)).and_then(|()| fs::remove_dir(folder));
    remove().map_err(HostError::file("remove folder", folder))
}

fn refuse_outside(path: &Path, base: &Path) -> Result<()> {
    let refuse = |reason: &str| {
        let source = io::Error::new(io::ErrorKind::PermissionDenied, reason);
        HostError::File { action: "remove folder", path: path.to_owned(), source }
    };
    let Some(name) = path.file_name() else { return Err(refuse("it has no name of its own")) };
    let real = canonicalize(parent(path))?.join(name);
    let base = canonicalize(base)?;
    if real == base || !real.starts_with(&base) {
        return Err(refuse(&format!("it is not below {}", base.display())));
    }
    if system::home().is_some_and(|home| home.canonicalize().unwrap_or(home).starts_with(&real)) {
        return Err(refuse("it holds the user's home"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{PUBLIC_FILE, create_dir, write_atomic, write_keeping_owner_if};
    use super::*;

    #[test]
    fn what_a_killed_run_was_writing_is_swept_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let names = [".fusionlab", ".fusionlab-unfinished", ".fusionlab-a", "disk.vmdk"];
        for name in names.into_iter().chain([".fusionlab-Ab3dE6"]) {
            write_atomic(&folder.path().join(name), b"", PUBLIC_FILE).unwrap();
        }
        let others = folder.path().join(".fusionlab-FoldEr");
        create_dir(&others).unwrap();
        sweep(folder.path()).unwrap();
        let mut kept: Vec<PathBuf> =
            names.iter().map(|name| folder.path().join(name)).chain([others]).collect();
        kept.sort();
        assert_eq!(list(folder.path()).unwrap(), kept);
    }

    #[test]
    fn in_a_folder_of_others_only_what_nobody_writes_any_more_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let [left, written] = [".fusionlab-Ab3dE6", ".fusionlab-Zb3dE6"].map(|name| folder.path().join(name));
        for path in [&left, &written] {
            write_atomic(path, b"", PUBLIC_FILE).unwrap();
        }
        let writer = File::open(&written).unwrap();
        writer.lock().unwrap();
        sweep(folder.path()).unwrap();
        assert_eq!(list(folder.path()).unwrap(), [written]);
        drop(writer);
        sweep(folder.path()).unwrap();
        assert_eq!(list(folder.path()).unwrap(), Vec::<PathBuf>::new());
    }

    #[test]
    fn a_folder_that_somebody_looked_at_in_the_finder_is_empty_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let [empty, looked_at, used] = ["empty", "looked at", "used"].map(|name| folder.path().join(name));
        for path in [&empty, &looked_at, &used] {
            create_dir(path).unwrap();
        }
        for path in [looked_at.join(".DS_Store"), used.join(".DS_Store"), used.join("holiday.jpg")] {
            write_atomic(&path, b"", PUBLIC_FILE).unwrap();
        }
        for path in [&empty, &looked_at, &used, &folder.path().join("none")] {
            remove_if_empty(path).unwrap();
        }
        assert_eq!(list(folder.path()).unwrap(), std::slice::from_ref(&used));
        assert_eq!(list(&used).unwrap().len(), 2, "nothing of it was touched");
    }

    #[test]
    fn what_is_being_written_is_not_swept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        let meanwhile = || {
            sweep(folder.path()).unwrap();
            Ok(true)
        };
        write_keeping_owner_if(&path, b"new", PUBLIC_FILE, meanwhile).unwrap();
        assert_eq!(list(folder.path()).unwrap(), [path]);
    }

    #[test]
    fn a_folder_goes_as_one_thing_and_takes_what_a_crash_left_of_it_along() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("labs");
        let (path, away) = (base.join("one"), base.join(".leaving-one"));
        for part in [path.join("deep"), away.join("deep")] {
            create_dir(&part).unwrap();
            write_atomic(&part.join("file"), b"", PUBLIC_FILE).unwrap();
        }
        remove_by_way_of(&away, &path, &base).unwrap();
        assert_eq!(list(&base).unwrap(), Vec::<PathBuf>::new());
        remove_by_way_of(&away, &path, &base).unwrap();
        remove_by_way_of(&away, folder.path(), &base).unwrap_err();
        assert!(exists(folder.path()));
    }

    #[test]
    fn a_tree_is_removed_only_below_its_base() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().join("labs");
        let other = folder.path().join("other");
        for path in [&base.join("one/deep"), &other] {
            create_dir(path).unwrap();
        }
        remove_tree(&other, &base).unwrap_err();
        remove_tree(&base, &base).unwrap_err();
        remove_tree(&base.join("../other"), &base).unwrap_err();
        remove_tree(Path::new("/"), Path::new("/")).unwrap_err();
        let home = system::home().unwrap();
        remove_tree(&home, Path::new("/")).unwrap_err();

        std::os::unix::fs::symlink(&other, base.join("link")).unwrap();
        remove_tree(&base.join("link"), &base).unwrap();
        assert!(other.is_dir(), "a link is not followed");

        remove_tree(&base.join("one"), &base).unwrap();
        assert!(!exists(&base.join("one")));
        remove_tree(&base.join("one"), &base).unwrap();
    }
}
