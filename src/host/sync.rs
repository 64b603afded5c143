//! What a power cut does not take: bytes and names that are on the disk.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

/// What file systems answer that do not know the full flush which Rust asks for on a Mac (`F_FULLFSYNC`, fcntl(2), which knows
/// HFS, APFS, FAT and UDF): exFAT, and what lies on a server.
const UNKNOWN: [i32; 3] = [libc::ENOTTY, libc::ENOTSUP, libc::EINVAL];

/// Returns when the content and the facts of an open file, or the names in an open folder, are on the disk; where the file system
/// cannot say so, when they are handed to it.
pub fn to_disk(file: &File) -> io::Result<()> {
    match file.sync_all() {
        Err(error) if error.raw_os_error().is_some_and(|code| UNKNOWN.contains(&code)) => hand_over(file),
        done => done,
    }
}

fn hand_over(file: &File) -> io::Result<()> {
    // SAFETY: fsync takes a descriptor that is open for the whole call.
    match unsafe { libc::fsync(file.as_raw_fd()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_handed_over_where_there_is_no_more_and_what_cannot_be_synced_at_all_is_told() {
        let file = tempfile::tempfile().unwrap();
        to_disk(&file).unwrap();
        hand_over(&file).unwrap();
        let device = File::options().write(true).open("/dev/null").unwrap();
        assert_eq!(to_disk(&device).unwrap_err().raw_os_error(), Some(libc::EINVAL));
    }
}
