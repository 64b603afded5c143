//! Copying a large file: at once where blocks can be shared, else without its holes.
#![expect(clippy::disallowed_methods, reason = "this is where the program copies files")]

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::files::{PRIVATE_FILE, create_new, exists, open, remove_file, set_mode};
use super::stand_in::{self, Effect};
use super::{HostError, Result, sync};

const READ_BUFFER: usize = 1024 * 1024;

/// How a file was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// At once: both files share their blocks until one is written to.
    Shared,
    /// Byte by byte, so many without the holes.
    Bytes(u64),
}

/// Hears how many bytes of how many a copy has come; an answer of false ends it.
pub type CopyProgress<'a> = &'a mut dyn FnMut(u64, u64) -> bool;

/// Copies a file to a new place, sharing its blocks where the file system can (APFS, Btrfs, XFS), and
/// otherwise leaving holes as holes: a VM's disk is mostly holes. A copy that fails or is ended leaves nothing.
pub fn clone_file(from: &Path, to: &Path, progress: CopyProgress<'_>) -> Result<Copied> {
    if exists(to) {
        let source = io::Error::from(io::ErrorKind::AlreadyExists);
        return Err(HostError::File { action: "copy to", path: to.to_owned(), source });
    }
    if share_blocks(from, to).is_ok() {
        return Ok(Copied::Shared);
    }
    let copied = copy_sparse(from, to, progress).inspect_err(|_| {
        let _ = remove_file(to);
    });
    copied.map(Copied::Bytes)
}

#[cfg(target_os = "macos")]
fn share_blocks(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;

    let text = |path: &Path| std::ffi::CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other);
    let (from, to) = (text(from)?, text(to)?);
    // SAFETY: clonefile reads two C strings that outlive the call.
    match unsafe { libc::clonefile(from.as_ptr(), to.as_ptr(), 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "macos"))]
fn share_blocks(from: &Path, to: &Path) -> io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt;

    let source = File::open(from)?;
    let mode = source.metadata()?.mode() & 0o777;
    let target = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(to)?;
    // SAFETY: FICLONE takes a file descriptor by value; both are open for the whole call.
    let outcome = unsafe { libc::ioctl(target.as_raw_fd(), libc::FICLONE, source.as_raw_fd()) };
    if outcome == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    drop(target);
    std::fs::remove_file(to)?;
    Err(error)
}

/// Copies what is no hole, and returns how many bytes that was.
fn copy_sparse(from: &Path, to: &Path, progress: CopyProgress<'_>) -> Result<u64> {
    let source = open(from)?;
    let facts = source.metadata().map_err(HostError::file("look at", from))?;
    // Writable while it is written; the source's mode comes last.
    let target = create_new(to, PRIVATE_FILE)?;
    target.set_len(facts.len()).map_err(HostError::file("write", to))?;
    let mut buffer = vec![0; READ_BUFFER];
    let (mut position, mut copied) = (0, 0);
    while let Some((start, end)) = next_data(&source, position).map_err(HostError::file("read", from))? {
        position = start;
        while position < end {
            let wanted = usize::try_from(end - position).map_or(READ_BUFFER, |left| left.min(READ_BUFFER));
            let count =
                source.read_at(&mut buffer[..wanted], position).map_err(HostError::file("read", from))?;
            if count == 0 {
                break;
            }
            stand_in::before(Effect::Write(to, count))
                .and_then(|()| target.write_all_at(&buffer[..count], position))
                .map_err(HostError::file("write", to))?;
            position += count as u64;
            copied += count as u64;
            if !progress(position, facts.len()) {
                return Err(HostError::Interrupted);
            }
        }
        position = end;
    }
    let sync = || stand_in::before(Effect::Sync(to)).and_then(|()| sync::to_disk(&target));
    sync().map_err(HostError::file("write", to))?;
    set_mode(to, facts.mode() & 0o777)?;
    Ok(copied)
}

/// What file systems answer that know no holes; on a Mac the question is one to the file system's own driver.
const KNOWS_NO_HOLES: [i32; 3] = [libc::EINVAL, libc::ENOTTY, libc::ENOTSUP];

/// Returns start and end of the first stretch at or after `from` that is not a hole. On a Mac all of a file counts as data: APFS was
/// seen to tell of holes where bytes had been written a moment before (coreutils/coreutils#68, hashicorp/packer#9949).
pub(super) fn next_data(file: &File, from: u64) -> io::Result<Option<(u64, u64)>> {
    let all = || {
        let end = (&*file).seek(SeekFrom::End(0))?;
        Ok((from < end).then_some((from, end)))
    };
    if cfg!(target_os = "macos") {
        return all();
    }
    let seek = |from: u64, whence: libc::c_int| {
        let from = libc::off_t::try_from(from).map_err(io::Error::other)?;
        // SAFETY: lseek takes a descriptor that is open for the whole call, and numbers.
        let found = unsafe { libc::lseek(file.as_raw_fd(), from, whence) };
        u64::try_from(found).map_err(|_| io::Error::last_os_error())
    };
    match seek(from, libc::SEEK_DATA) {
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => Ok(None),
        // A file system without holes: all is data.
        Err(error) if error.raw_os_error().is_some_and(|code| KNOWS_NO_HOLES.contains(&code)) => all(),
        Err(error) => Err(error),
        Ok(start) => Ok(Some((start, seek(start, libc::SEEK_HOLE)?))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::files::{ownership, sha256_file};
    use super::*;

    #[test]
    fn a_copy_has_the_same_bytes_and_holes() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("a"), folder.path().join("b"));
        let file = create_new(&from, 0o640).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"head", 0).unwrap();
        file.write_all_at(b"tail", (64 << 20) - 4).unwrap();
        drop(file);
        set_mode(&from, 0o440).unwrap();

        assert_eq!(copy_sparse(&from, &to, &mut |_, _| true).unwrap().next_multiple_of(1 << 20), 1 << 20);
        assert_eq!(sha256_file(&from).unwrap(), sha256_file(&to).unwrap());
        assert_eq!(ownership(&to).unwrap().mode, 0o440);
        assert!(std::fs::metadata(&to).unwrap().blocks() * 512 < 1 << 20, "holes stay holes");
        assert!(clone_file(&from, &to, &mut |_, _| true).is_err(), "nothing is overwritten");
        clone_file(&from, &folder.path().join("c"), &mut |_, _| true).unwrap();
        let ended = folder.path().join("d");
        assert!(matches!(copy_sparse(&from, &ended, &mut |_, _| false), Err(HostError::Interrupted)));
    }
}
