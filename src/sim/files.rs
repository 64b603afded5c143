//! The few file operations that the simulated programs share.
#![expect(
    clippy::disallowed_methods,
    reason = "the simulated Fusion writes its own files, as the real one does"
)]

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::string::FromUtf8Error;
use std::time::Duration;

use super::pace;

/// How often a lock is asked for that another has.
const LOCK_POLL: Duration = Duration::from_millis(10);

/// Reads a text file; none if it does not exist.
pub fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read(path) {
        Ok(bytes) => {
            let odd = |error: FromUtf8Error| String::from_utf8_lossy(error.as_bytes()).into_owned();
            Ok(Some(String::from_utf8(bytes).unwrap_or_else(odd)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path, error)),
    }
}

pub fn read_bytes(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| at(path, error))
}

/// Replaces a file in one step, so that a reader sees the old or the new one.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    make_folder(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(|error| at(path, error))?;
    file.write_all(content.as_ref())?;
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    file.as_file().set_permissions(mode)?;
    file.persist(path).map_err(|error| at(path, error.error))?;
    Ok(())
}

/// Writes a file unless it exists.
pub fn write_new(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    if path.exists() { Ok(()) } else { write(path, content) }
}

pub fn append(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(path).map_err(|error| at(path, error))?;
    file.write_all(content.as_ref()).map_err(|error| at(path, error))
}

pub fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::copy(from, to).map_err(|error| at(from, error))?;
    // A template's files are read-only; the copy is somebody's own.
    let mode = <fs::Permissions as std::os::unix::fs::PermissionsExt>::from_mode(0o644);
    fs::set_permissions(to, mode).map_err(|error| at(to, error))
}

pub fn make_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path).map_err(|error| at(path, error))
}

/// Removes a file or a folder with all in it; one that is not there is no error.
pub fn remove(path: &Path) -> io::Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path, error)),
        _ => Ok(()),
    }
}

pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to).map_err(|error| at(from, error))
}

/// Returns the entries of a folder in order of their names; none if it does not exist.
pub fn entries(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

/// Opens for reading and, if the file allows it, writing.
pub fn open(path: &Path, write: bool) -> io::Result<File> {
    File::options().read(true).write(write).open(path).map_err(|error| at(path, error))
}

pub fn create(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create_new(true).open(path).map_err(|error| at(path, error))
}

/// Holds a lock file until the returned handle is dropped.
pub fn lock(path: &Path) -> io::Result<File> {
    path.parent().map_or(Ok(()), make_folder)?;
    let file = lock_file(path)?;
    file.lock()?;
    Ok(file)
}

/// Like [`lock`], on a thread that others must be able to go on with meanwhile: whoever holds it may be one of them, and
/// may wait for time that passes only when nothing else runs.
pub async fn lock_aside(path: &Path) -> io::Result<File> {
    path.parent().map_or(Ok(()), make_folder)?;
    let file = lock_file(path)?;
    while file.try_lock().is_err() {
        pace::wait(LOCK_POLL).await;
    }
    Ok(file)
}

/// Takes a lock file if nobody holds it and its folder is there.
pub fn try_lock(path: &Path) -> Option<File> {
    let file = lock_file(path).ok()?;
    file.try_lock().ok().map(|()| file)
}

fn lock_file(path: &Path) -> io::Result<File> {
    File::options().create(true).truncate(false).write(true).open(path).map_err(|error| at(path, error))
}

fn at(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
