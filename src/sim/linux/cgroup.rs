//! Control groups: how a process joins one, how everything in one is killed, and how one goes.

use std::io::{self, Write};
use std::path::Path;

use crate::sim::files;

/// A shell's script that joins the group `$0` before anything else, and becomes the rest of its arguments: whoever comes
/// after a killed world finds the process there.
pub const JOIN: &str = r#"echo $$ >"$0/cgroup.procs" && exec "$@""#;

/// Kills everything in a group at once. Where no group is, nothing is to be killed.
pub fn kill(group: &Path) -> io::Result<()> {
    match files::open(&group.join("cgroup.kill"), true) {
        Ok(mut file) => file.write_all(b"1"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

/// Removes a group with those within; says whether they are gone. One goes only when its last process has gone. Its files
/// are the kernel's: only folders are removed.
pub fn remove(group: &Path) -> io::Result<bool> {
    let mut gone = true;
    for entry in files::entries(group).iter().filter(|entry| entry.is_dir()) {
        gone &= remove(entry)?;
    }
    match std::fs::remove_dir(group) {
        Ok(()) => Ok(gone),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound => Ok(gone),
            io::ErrorKind::ResourceBusy | io::ErrorKind::DirectoryNotEmpty => Ok(false),
            _ => Err(io::Error::new(error.kind(), format!("remove {}: {error}", group.display()))),
        },
    }
}
