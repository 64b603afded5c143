//! Files and folders of the host, with errors that say what was attempted on which path.
#![expect(clippy::disallowed_methods, reason = "this is where the program touches files")]

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::stand_in::{self, Effect};
use super::{HostError, Result, sync};

mod removal;

pub use removal::{
    OF_THE_FINDER, half_written, remove_by_way_of, remove_file, remove_if_empty, remove_tree, sweep,
};

/// Mode of a file or folder that only its owner may see.
pub const PRIVATE_FILE: u32 = 0o600;
pub const PRIVATE_FOLDER: u32 = 0o700;
/// Mode of a file that anybody may read.
pub const PUBLIC_FILE: u32 = 0o644;

/// What the names of files that are being written begin with; so many letters and digits follow.
pub const TEMPORARY: &str = ".fusionlab-";
const TEMPORARY_LETTERS: usize = 6;

const READ_BUFFER: usize = 1024 * 1024;
const WRITE_BITS: u32 = 0o222;

/// Who owns a file, and what its mode bits allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ownership {
    pub user: u32,
    pub group: u32,
    /// Permission bits only, such as `0o644`.
    pub mode: u32,
}

/// Returns a file's bytes.
pub fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(HostError::file("read", path))
}

/// Returns a file's bytes; none if there is no such file.
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HostError::file("read", path)(error)),
    }
}

/// Returns a part of a file's bytes, from a place and of a length at most.
pub fn read_part(path: &Path, from: u64, length: u64) -> Result<Vec<u8>> {
    let mut file = open(path)?;
    let mut bytes = Vec::new();
    let read = file.seek(SeekFrom::Start(from)).and_then(|_| file.take(length).read_to_end(&mut bytes));
    read.map_err(HostError::file("read", path))?;
    Ok(bytes)
}

/// Returns what tells a file from another that takes its place, and its length; none if there is no such file.
pub fn number_and_size(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|facts| (facts.ino(), facts.len()))
}

/// Returns a file's text, which must be UTF-8.
pub fn read_text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(HostError::file("read", path))
}

/// Opens a file to read and seek in.
pub fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(HostError::file("open", path))
}

/// Creates a new file to write, read and seek in; one that exists is an error.
pub fn create_new(path: &Path, mode: u32) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create_new(true).mode(mode);
    let create = || stand_in::before(Effect::Create(path)).and_then(|()| options.open(path));
    create().map_err(HostError::file("create", path))
}

/// Opens a file to read and write, creating it if it is not there; a link is an error.
pub fn open_or_create(path: &Path, mode: u32) -> Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(mode).custom_flags(libc::O_NOFOLLOW);
    options.open(path).map_err(HostError::file("create", path))
}

/// Empties a file.
pub fn truncate(path: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).truncate(true).custom_flags(libc::O_NOFOLLOW);
    let empty = || stand_in::before(Effect::Write(path, 0)).and_then(|()| options.open(path));
    empty().map(drop).map_err(HostError::file("empty", path))
}

/// Says whether a path leads to this open file, and not to another one that has its name by now.
pub fn is_same(file: &File, path: &Path) -> bool {
    let identity = |facts: fs::Metadata| (facts.dev(), facts.ino());
    match (file.metadata(), fs::symlink_metadata(path)) {
        (Ok(open), Ok(there)) => identity(open) == identity(there),
        _ => false,
    }
}

/// Returns the name of what stands at a path; empty where it has none of its own.
pub fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Says whether something stands at a path, be it a dangling link.
pub fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

pub fn is_folder(path: &Path) -> bool {
    path.is_dir()
}

/// Returns a file's length in bytes.
pub fn size(path: &Path) -> Result<u64> {
    Ok(fs::metadata(path).map_err(HostError::file("look at", path))?.len())
}

/// Returns the room that a file takes on the disk: its holes take none.
pub fn allocated(path: &Path) -> Result<u64> {
    // POSIX counts blocks in this unit, whatever the file system's own is.
    const BLOCK: u64 = 512;
    Ok(fs::symlink_metadata(path).map_err(HostError::file("look at", path))?.blocks() * BLOCK)
}

/// Returns when a file or folder was last changed.
pub fn modified(path: &Path) -> Result<std::time::SystemTime> {
    fs::metadata(path).and_then(|facts| facts.modified()).map_err(HostError::file("look at", path))
}

/// Says whether something stands at a path and is a link.
pub fn is_link(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|facts| facts.is_symlink())
}

/// Returns the paths in a folder, sorted; none if there is no such folder.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(HostError::file("list", folder))?,
    };
    let mut paths = Vec::new();
    for entry in entries {
        paths.push(entry.map_err(HostError::file("list", folder))?.path());
    }
    paths.sort();
    Ok(paths)
}

/// Creates a folder and those above it, durably; one that exists is left alone.
pub fn create_dir(folder: &Path) -> Result<()> {
    create_folders(folder, &fs::DirBuilder::new())
}

/// Creates a folder that only its owner may enter, and makes one that exists so.
pub fn create_private_dir(folder: &Path) -> Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.mode(PRIVATE_FOLDER);
    create_folders(folder, &builder)?;
    set_mode(folder, PRIVATE_FOLDER)
}

fn create_folders(folder: &Path, builder: &fs::DirBuilder) -> Result<()> {
    if is_folder(folder) {
        return Ok(());
    }
    if parent(folder) != folder {
        create_folders(parent(folder), builder)?;
    }
    let create = || stand_in::before(Effect::Create(folder)).and_then(|()| builder.create(folder));
    match create() {
        // Another process was faster.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_folder(folder) => {}
        other => other.map_err(HostError::file("create folder", folder))?,
    }
    sync_names(parent(folder))
}

/// Replaces a file's content such that a reader, or a power cut, sees the old or the new one whole.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let prepared = prepare(parent(path), bytes, mode, None, path);
    prepared.and_then(|file| put_in_place(file, path)).map_err(HostError::file("write", path))
}

/// Writes a file that must not exist yet ([`HostError::Exists`]): it is there whole or not at all.
pub fn write_new_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let write = || {
        let file = prepare(parent(path), bytes, mode, None, path)?;
        file.persist_noclobber(path).map_err(|error| error.error)?;
        sync_folder(parent(path))
    };
    write().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => HostError::Exists { path: path.to_owned() },
        _ => HostError::file("write", path)(error),
    })
}

/// Like [`write_atomic`], but a file that exists keeps its owner and mode; a new one gets `mode`.
pub fn write_keeping_owner(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    write_keeping_owner_if(path, bytes, mode, || Ok(true)).map(drop)
}

/// Like [`write_keeping_owner`], if something is still so in the last moment, when the new content lies on the disk already
/// and has only to take its name. Says whether it was.
pub fn write_keeping_owner_if(
    path: &Path,
    bytes: &[u8],
    mode: u32,
    is_still_so: impl FnOnce() -> Result<bool>,
) -> Result<bool> {
    let before = if exists(path) { Some(ownership(path)?) } else { None };
    let mode = before.map_or(mode, |before| before.mode);
    let file = prepare(parent(path), bytes, mode, before, path).map_err(HostError::file("write", path))?;
    if !is_still_so()? {
        return Ok(false);
    }
    put_in_place(file, path).map_err(HostError::file("write", path))?;
    Ok(true)
}

fn put_in_place(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map_err(|error| error.error)?;
    sync_folder(parent(path))
}

/// Writes a temporary file whole, ready to take the place of `path`.
fn prepare(
    folder: &Path,
    bytes: &[u8],
    mode: u32,
    owner: Option<Ownership>,
    path: &Path,
) -> io::Result<NamedTempFile> {
    stand_in::before(Effect::Create(path))?;
    let mut file = claimed(folder)?;
    let filled = fill(&mut file, bytes, mode, owner)
        .and_then(|()| stand_in::before(Effect::Rename { from: file.path(), to: path }));
    match filled {
        Ok(()) => Ok(file),
        Err(error) => {
            // A process that was killed cleans nothing up.
            if stand_in::is_dead() {
                file.into_temp_path().keep().map_err(|error| error.error)?;
            }
            Err(error)
        }
    }
}

/// Creates a temporary file with a lock on it, so that [`sweep`] tells it from one whose writer was killed.
fn claimed(folder: &Path) -> io::Result<NamedTempFile> {
    let mut name = tempfile::Builder::new();
    name.prefix(TEMPORARY).rand_bytes(TEMPORARY_LETTERS);
    loop {
        let file = name.tempfile_in(folder)?;
        // A sweep may meet it before it has its lock, and takes it away. Some file systems have no locks; there its age tells.
        let is_met = matches!(file.as_file().try_lock(), Err(TryLockError::WouldBlock));
        if !is_met && is_same(file.as_file(), file.path()) {
            return Ok(file);
        }
    }
}

fn fill(file: &mut NamedTempFile, bytes: &[u8], mode: u32, owner: Option<Ownership>) -> io::Result<()> {
    let path = file.path().to_owned();
    stand_in::write(file, &path, bytes)?;
    if let Some(owner) = owner {
        let now = file.as_file().metadata()?;
        if (now.uid(), now.gid()) != (owner.user, owner.group) {
            std::os::unix::fs::fchown(file.as_file(), Some(owner.user), Some(owner.group))?;
        }
    }
    // After the owner: changing that clears bits.
    file.as_file().set_permissions(fs::Permissions::from_mode(mode))?;
    stand_in::before(Effect::Sync(&path))?;
    sync::to_disk(file.as_file())
}

/// Appends to a file, creating it with this mode, and returns when the bytes are on the disk.
pub fn append(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(mode);
    let write = || {
        stand_in::before(Effect::Create(path))?;
        let mut file = options.open(path)?;
        stand_in::write(&mut file, path, bytes)?;
        stand_in::before(Effect::Sync(path))?;
        sync::to_disk(&file)
    };
    write().map_err(HostError::file("append to", path))
}

/// Reads the last bytes of a file, at most so many.
pub fn read_end(path: &Path, most: u64) -> Result<Vec<u8>> {
    read_from(path, size(path)?.saturating_sub(most), most)
}

/// Reads a file from an offset on, at most so many bytes; it may grow meanwhile.
pub fn read_from(path: &Path, offset: u64, most: u64) -> Result<Vec<u8>> {
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    read().map_err(HostError::file("read", path))
}

/// Opens a file to write at its end, creating it if it is not there; a link is an error.
pub fn open_to_append(path: &Path, mode: u32) -> Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(mode).custom_flags(libc::O_NOFOLLOW);
    options.open(path).map_err(HostError::file("open", path))
}

/// Like [`append`], but returns before the bytes are on the disk: a power cut may take them, a kill does not.
pub fn append_unsynced(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(mode);
    let write = || {
        stand_in::before(Effect::Create(path))?;
        stand_in::write(&mut options.open(path)?, path, bytes)
    };
    write().map_err(HostError::file("append to", path))
}

/// Gives a file or folder another name on the same volume, durably.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    let rename = || stand_in::before(Effect::Rename { from, to }).and_then(|()| fs::rename(from, to));
    rename().map_err(HostError::file("rename", from))?;
    sync_folder(parent(to)).map_err(HostError::file("sync", to))
}

/// Takes everybody's right to write, or gives it back to the owner.
pub fn set_read_only(path: &Path, read_only: bool) -> Result<()> {
    let mode = ownership(path)?.mode;
    set_mode(path, if read_only { mode & !WRITE_BITS } else { mode | 0o200 })
}

pub fn set_mode(path: &Path, mode: u32) -> Result<()> {
    let permissions = fs::Permissions::from_mode(mode);
    let set =
        || stand_in::before(Effect::SetMode(path)).and_then(|()| fs::set_permissions(path, permissions));
    set().map_err(HostError::file("set the mode of", path))
}

/// Returns owner and mode; of a link, those of what it points to.
pub fn ownership(path: &Path) -> Result<Ownership> {
    let facts = fs::metadata(path).map_err(HostError::file("look at", path))?;
    Ok(Ownership { user: facts.uid(), group: facts.gid(), mode: facts.mode() & 0o7777 })
}

/// Says whether this process may write to a file or into a folder.
pub fn is_writable(path: &Path) -> bool {
    let Ok(path) = std::ffi::CString::new(path.as_os_str().as_bytes()) else { return false };
    // SAFETY: access reads the path, which is a C string that outlives the call.
    unsafe { libc::access(path.as_ptr(), libc::W_OK) == 0 }
}

/// Returns the path without links and dots; it must exist.
pub fn canonicalize(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(HostError::file("resolve", path))
}

/// Returns the path without links and dots, or as it is if it does not exist (any more).
pub fn resolved(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}

/// Returns the SHA-256 of a file in hexadecimal.
pub fn sha256_file(path: &Path) -> Result<String> {
    let mut file = open(path)?;
    let mut digest = Sha256::new();
    let mut buffer = vec![0; READ_BUFFER];
    loop {
        match file.read(&mut buffer).map_err(HostError::file("read", path))? {
            0 => return Ok(hex::encode(digest.finalize())),
            count => digest.update(&buffer[..count]),
        }
    }
}

/// Returns the folder that a path is in.
pub fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str() != OsStr::new("") => parent,
        _ => Path::new("."),
    }
}

/// Returns when every file in a folder, and each name there, is on the disk, whoever has written it.
pub fn sync_tree(folder: &Path) -> Result<()> {
    for path in list(folder)? {
        if is_link(&path) {
            continue;
        }
        if is_folder(&path) {
            sync_tree(&path)?;
        } else {
            let sync =
                || stand_in::before(Effect::Sync(&path)).and_then(|()| sync::to_disk(&File::open(&path)?));
            sync().map_err(HostError::file("sync", &path))?;
        }
    }
    sync_names(folder)
}

/// Returns when the names in a folder are on the disk.
pub fn sync_names(folder: &Path) -> Result<()> {
    sync_folder(folder).map_err(HostError::file("sync", folder))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    stand_in::before(Effect::SyncFolder(folder))?;
    sync::to_disk(&File::open(folder)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atomic_write_replaces_content_and_mode_and_leaves_nothing_beside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        write_atomic(&path, b"old", 0o644).unwrap();
        write_atomic(&path, b"new", PRIVATE_FILE).unwrap();
        assert_eq!(read(&path).unwrap(), b"new");
        assert_eq!(ownership(&path).unwrap().mode, PRIVATE_FILE);
        assert_eq!(list(folder.path()).unwrap().len(), 1);

        set_mode(&path, 0o640).unwrap();
        write_keeping_owner(&path, b"newer", PUBLIC_FILE).unwrap();
        assert_eq!(ownership(&path).unwrap().mode, 0o640);
    }

    #[test]
    fn an_error_names_action_and_path() {
        let error = read(Path::new("/nonexistent/lab")).unwrap_err().to_string();
        assert_eq!(error, "read /nonexistent/lab: No such file or directory (os error 2)");
        assert!(read_if_exists(Path::new("/nonexistent/lab")).unwrap().is_none());
    }

    #[test]
    fn read_only_is_for_everybody_and_can_be_undone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        write_atomic(&path, b"", 0o664).unwrap();
        set_read_only(&path, true).unwrap();
        assert_eq!(ownership(&path).unwrap().mode, 0o444);
        set_read_only(&path, false).unwrap();
        assert_eq!(ownership(&path).unwrap().mode, 0o644);
    }
}
