//! Why Fusion refuses, in the words that vmrun prints after `Error: ` (facts/vmrun-vmrest.md §1.4).

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// What vmrun says, and the cause that only vmware.log tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    #[error("The virtual machine is not powered on: {}", .0.display())]
    NotPoweredOn(PathBuf),
    #[error("The virtual machine should not be powered on. It is already running.")]
    AlreadyRunning,
    #[error("The VMware Tools are not running in the virtual machine: {}", .0.display())]
    NoTools(PathBuf),
    #[error("Unable to get the IP address")]
    NoAddress,
    #[error("Cannot open VM: {}, The virtual machine cannot be found", .0.display())]
    NoVm(PathBuf),
    #[error("Cannot open VM: {}, unknown file suffix", .0.display())]
    NotVmx(PathBuf),
    #[error("Cannot open VM: {}, Cannot read the virtual machine configuration file", .0.display())]
    Unreadable(PathBuf),
    /// A wrapper: the cause is in the VM's vmware.log.
    #[error("The operation was canceled")]
    Canceled,
    #[error("Cannot connect to the virtual machine")]
    CannotConnect,
    /// Said after a line of its own: `Unable to connect to host.`
    #[error("The operation is not supported for the specified parameters")]
    NoHost,
    #[error("The file is already in use")]
    InUse,
    #[error("The file already exists")]
    Exists,
    #[error("The snapshot already exists")]
    SnapshotExists,
    #[error("The snapshot does not exist")]
    NoSnapshot,
    #[error("One of the parameters was invalid")]
    Invalid,
    #[error("The operation is not supported")]
    Unsupported,
    #[error("Insufficient permissions in host operating system")]
    Permissions,
    #[error("There is not enough space in the file system for the selected operation")]
    DiskFull,
    #[error("A file was not found")]
    NoFile,
    #[error("The virtual network cannot be found")]
    NoNetwork,
    /// `checkToolsState` when it cannot tell: no error text, but the exit status of one.
    #[error("unknown")]
    Unsure,
    /// Fusion asks a question that nobody sees: vmrun waits for ever.
    #[error("The operation requires an answer")]
    Asks,
    /// A wrapper, too: the cause is in the VM's vmware.log.
    #[error("Unknown error")]
    Wrapped,
    /// With what only the simulation knows.
    #[error("Unknown error")]
    Unknown(String),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NoFile,
            io::ErrorKind::PermissionDenied => Self::Permissions,
            io::ErrorKind::StorageFull => Self::DiskFull,
            io::ErrorKind::AlreadyExists => Self::Exists,
            _ => Self::Unknown(error.to_string()),
        }
    }
}
