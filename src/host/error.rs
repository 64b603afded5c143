//! What can go wrong on the host, with all that is known of it. Advice is given in `cli::error`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::fusion::locks::Lock;
use super::lock::Occupant;
use super::trust::Distrust;
use crate::formats::block::BadDisk;
use crate::formats::kubeconfig::Refusal;
use crate::formats::vmx::Problem;

/// A failed side effect. Messages are lower-case fragments that fit after "failed to" or a colon.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file operation; `action` is a verb such as "read".
    #[error("{action} {}: {source}", path.display())]
    File { action: &'static str, path: PathBuf, source: std::io::Error },

    /// A file has content that we cannot use.
    #[error("{}: {reason}", path.display())]
    Content { path: PathBuf, reason: String },

    /// A disk image cannot be read.
    #[error("{}: {bad}", path.display())]
    Image { path: PathBuf, bad: BadDisk },

    /// A disk image's disk does not fit into the wished size, or no VMDK can have that size; both in bytes.
    #[error("{}: a disk of {size} bytes cannot become one of {wished} bytes", path.display())]
    Capacity { path: PathBuf, size: u64, wished: u64 },

    /// Something stands already where something new is to be.
    #[error("{} exists already", path.display())]
    Exists { path: PathBuf },

    /// Another process is writing a file.
    #[error("{} is being written by another process", path.display())]
    BeingWritten { path: PathBuf },

    /// A program could not be started.
    #[error("start {program}: {source}")]
    Spawn { program: PathBuf, source: std::io::Error },

    /// A program said that it failed. `output` is its standard output and error, trimmed.
    #[error("{} failed ({status}){}{output}", program.display(), if output.is_empty() { "" } else { ": " })]
    Program { program: PathBuf, args: Vec<String>, status: String, output: String },

    /// Something took longer than its limit.
    #[error("{what} did not happen within {} s", limit.as_secs())]
    Deadline { what: String, limit: Duration },

    /// Fusion refused an operation on a VM; `cause` is the reason dug out of vmware.log.
    #[error("{operation} {}: {message}", vmx.display())]
    Fusion { operation: &'static str, vmx: PathBuf, message: String, cause: Option<String> },

    /// A VM runs, so its files are not ours to write.
    #[error("{} belongs to a VM that runs", vmx.display())]
    VmRuns { vmx: PathBuf },

    /// Somebody else has a VM's files open, or had and crashed.
    #[error("{} is locked: {lock}", vmx.display())]
    VmLocked { vmx: PathBuf, lock: Box<Lock> },

    /// A VM's file or folder belongs to another user, so that Fusion cannot work on the VM as us.
    #[error("{} belongs to user {user}, and not to us (user {ours})", path.display())]
    VmOfOthers { vmx: PathBuf, path: PathBuf, user: u32, ours: u32 },

    /// A file is not a VMX file that VMware would load.
    #[error("{}: {}", path.display(), .problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "))]
    BadVmx { path: PathBuf, problems: Vec<Problem> },

    /// What others' VMs may need is not removed while some of them cannot be seen; `paths` are where nobody can look.
    #[error("there may be virtual machines where nobody can look now: {}", .paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "))]
    VmsUnseen { paths: Vec<PathBuf> },

    /// VMware Fusion was not found; `searched` lists where.
    #[error("VMware Fusion was not found")]
    NoFusion { searched: Vec<PathBuf> },

    /// A Fusion was found that cannot do what we need.
    #[error("VMware Fusion {version} cannot be used: {reason}")]
    OldFusion { version: String, reason: String },

    /// A TCP connection could not be made.
    #[error("connect to {address}: {source}")]
    Connect { address: SocketAddr, source: std::io::Error },

    /// SSH spoke, but not as wished.
    #[error("ssh to {node}: {reason}")]
    Ssh { node: String, reason: String },

    /// The guest showed another host key than the one we gave it.
    #[error("{node} shows a host key that is not its own")]
    HostKey { node: String, expected: String, found: String },

    /// The guest's SSH server refused our key.
    #[error("{node} does not let {user} in with the lab's key")]
    Login { node: String, user: String },

    /// The connection broke while a guest command ran: whether it did its work is unknown.
    #[error("the connection to {node} broke during `{command}`: {reason}")]
    Lost { node: String, command: String, reason: String },

    /// vmrest answered with an error, or not at all (status 0). `code` is its own number for it, if it gives one.
    #[error(
        "vmrest {method} {path}: {status} {message}{}",
        code.map_or_else(String::new, |code| format!(" (code {code})"))
    )]
    Rest { method: &'static str, path: String, status: u16, code: Option<u64>, message: String },

    /// A download failed.
    #[error("download {url}: {reason}")]
    Download { url: String, reason: String },

    /// A downloaded file is not the one that was asked for.
    #[error("{url} is another file than the one that was asked for")]
    Digest { url: String, expected: String, found: String, kept: PathBuf },

    /// A list of digests that is not certainly the distribution's.
    #[error("the list of digests {list} is not to be believed: {reason}")]
    Unsigned { list: String, reason: String },

    /// A download that would fill the disk.
    #[error("no room in {}: {needed_mib} MiB are needed, {free_mib} MiB are free", folder.display())]
    NoRoom { folder: PathBuf, needed_mib: u64, free_mib: u64 },

    /// Another run holds a lock.
    #[error("{what} is locked by {by}")]
    Locked { what: String, by: Box<Occupant> },

    /// Somebody else has had kubectl's lock on a kubeconfig for longer than we wait.
    #[error("{} is there for {} s: another program is changing the kubeconfig, or was ended at it", lock.display(), age.as_secs())]
    KubeconfigLocked { lock: PathBuf, age: Duration },

    /// A kubeconfig that was left as it is.
    #[error("{}: {refusal}", path.display())]
    Kubeconfig { path: PathBuf, refusal: Refusal },

    /// A file of `/etc/resolver` that is not this lab's, or was changed.
    #[error("{} is there already, and is not this lab's", path.display())]
    ResolverTaken { path: PathBuf },

    /// `sudo` did not let us change a file of `/etc/resolver`, or our own step under it refused to.
    #[error("sudo did not let us change {}", path.display())]
    ResolverDenied { path: PathBuf },

    /// Fusion's networks did not come to the wished state. `output` is what their programs printed meanwhile.
    #[error("{reason}")]
    Network { reason: String, output: String, after: Aftermath },

    /// Root must not run a program or write into a folder, since somebody else could have changed it; `path` is the
    /// first such file or folder on the way to it, `mode` its permission bits.
    #[error("root does not trust {} (user {user}, group {group}, mode {mode:04o}): {reason}", path.display())]
    Untrusted { path: PathBuf, user: u32, group: u32, mode: u32, reason: Distrust },

    /// A sudoers line for our own program would be a way to root for whoever can change `path`, which is the program or
    /// a folder above it.
    #[error(
        "no sudoers line can be given for {}: {} (user {user}, mode {mode:04o}): {reason}",
        program.display(), path.display()
    )]
    ProgramOfOthers { program: PathBuf, path: PathBuf, user: u32, mode: u32, reason: Distrust },

    /// A path that a sudoers line cannot hold.
    #[error("{} cannot stand in a sudoers line: it holds {character:?}", path.display())]
    NotForSudoers { path: PathBuf, character: char },

    /// The user said stop.
    #[error("interrupted")]
    Interrupted,
}

/// What Fusion's networks and their file are like after a change that did not come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aftermath {
    /// It was refused before anything was changed.
    Untouched,
    /// What was begun was taken back, and they are seen to be as before.
    AsBefore,
    /// They are not seen to be as before, or nobody knows; the next change starts them anew.
    Unsettled,
}

impl HostError {
    /// Says whether there was no room for what was to be written.
    pub fn is_out_of_room(&self) -> bool {
        use std::io::ErrorKind;
        match self {
            Self::File { source, .. } => {
                matches!(source.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
            }
            Self::NoRoom { .. } => true,
            _ => false,
        }
    }

    /// Returns a function that adds the path to what is wrong with an image.
    pub fn image(path: &Path) -> impl FnOnce(BadDisk) -> Self {
        let path = path.to_owned();
        move |bad| match bad {
            BadDisk::Io(source) => Self::File { action: "read", path, source },
            bad => Self::Image { path, bad },
        }
    }

    /// Returns a function that adds the action and the path to an I/O error.
    pub fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { action, path, source: without_path(source) }
    }
}

/// Returns an error without the temporary file's path that `tempfile` adds: it is gone by the time that anybody reads it.
fn without_path(error: std::io::Error) -> std::io::Error {
    if error.raw_os_error().is_some() {
        return error;
    }
    let text = error.to_string();
    match text.split_once(" at path \"") {
        Some((reason, _)) => std::io::Error::new(error.kind(), reason.to_owned()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use crate::host::files;

    #[test]
    fn a_file_that_cannot_be_written_is_named_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone/file");
        let error = files::write_atomic(&path, b"text", files::PRIVATE_FILE).unwrap_err();
        let expected = format!("write {}: No such file or directory (os error 2)", path.display());
        assert_eq!(error.to_string(), expected);
    }
}
