//! The only side effects: files, processes, Fusion, guests, downloads and the clock.
//!
//! What the engine needs of Fusion and of guests are the small ports below. The real
//! implementations stand beside them; the simulated Fusion offers the same programs, REST, SSH and
//! files instead of other implementations, so there is no second code path to trust.

pub mod clock;
pub mod convert;
pub mod copy;
pub mod dial;
pub mod disk_file;
pub mod download;
pub mod error;
pub mod files;
pub mod fusion;
pub mod http;
pub mod input;
#[cfg(feature = "sim")]
pub mod knife;
pub mod kubeconfig;
pub mod linux;
pub mod lock;
pub mod process;
pub mod resolver;
pub mod ssh;
pub mod stand_in;
pub mod surroundings;
pub mod sync;
pub mod system;
pub mod terminal;
pub mod through;
pub mod tree;
pub mod trust;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::mpsc::Receiver;
use std::time::Duration;

use async_trait::async_trait;

use crate::formats::command::Command;
use crate::formats::mac::Mac;
pub use error::{Aftermath, HostError};

pub type Result<T, E = HostError> = std::result::Result<T, E>;

/// How to stop a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// Ask the guest, through its tools.
    Soft,
    /// Pull the plug.
    Hard,
}

/// How a clone relates to its parent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clone {
    Linked,
    Full,
}

/// Fusion's VMs. Every method has a deadline ([`fusion::verbs`]), and success means the wished state was seen
/// afterwards: Fusion's programs report failure for what worked and success for what did not
/// (facts/vmrun-vmrest.md §1.5).
#[async_trait]
pub trait Hypervisor: Send + Sync {
    /// Returns the VMX paths of the running VMs, resolved.
    async fn running(&self) -> Result<BTreeSet<PathBuf>>;

    /// Starts without a window; ready when the VM is in [`Self::running`]. A running VM is left alone.
    async fn start(&self, vmx: &Path) -> Result<()>;

    /// Stops and waits until the VM is gone from [`Self::running`] and its lock folders are gone.
    async fn stop(&self, vmx: &Path, how: Stop) -> Result<()>;

    /// Takes a snapshot of a stopped VM; one of that name is kept as it is.
    async fn snapshot(&self, vmx: &Path, name: &str) -> Result<()>;

    async fn snapshots(&self, vmx: &Path) -> Result<Vec<String>>;

    /// Clones a stopped VM from its snapshot; the new VMX must not exist.
    async fn clone_vm(&self, from: &Path, to: &Path, how: Clone, snapshot: &str, name: &str) -> Result<()>;

    /// Deletes a stopped VM with its files.
    async fn delete(&self, vmx: &Path) -> Result<()>;

    /// Returns the address of the card with this MAC as Fusion knows it; none if it does not know.
    async fn address(&self, vmx: &Path, mac: Mac) -> Result<Option<Ipv4Addr>>;

    /// Returns what the guest of a running VM said under a name, by `guestinfo.NAME`; none if it said nothing.
    async fn variable(&self, vmx: &Path, name: &str) -> Result<Option<String>>;
}

/// Where to reach a guest's SSH server, and which key it must show.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GuestTarget {
    /// The node's name, for messages.
    pub node: String,
    pub address: Ipv4Addr,
    pub user: String,
    /// The guest's public host key in OpenSSH's one-line form (`ssh-ed25519 AAAA…`).
    pub host_key: String,
    /// Our private key in OpenSSH's PEM form; a path, so that it is read only where it is used.
    pub identity: PathBuf,
}

/// What a guest command left.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// The exit status; none if a signal ended it.
    pub status: Option<i32>,
    /// The signal's name, if one ended it.
    pub signal: Option<String>,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Bytes that came before those of the two streams and were not kept: then neither is a whole answer.
    pub left_out: u64,
}

impl Output {
    pub fn success(&self) -> bool {
        self.status == Some(0) && self.signal.is_none()
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

/// Receives a guest command's output line by line while it runs.
pub type LineSink = Box<dyn Fn(&str) + Send + Sync>;

/// One of a command's two outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pipe {
    Stdout,
    Stderr,
}

/// Receives a guest command's output while it runs, as the bytes come; no bytes are a pipe's end.
pub type ByteSink = Box<dyn Fn(Pipe, &[u8]) + Send + Sync>;

/// What goes into a guest command while it runs, and where its output goes.
pub struct Flow {
    /// Pieces for its standard input, which ends when their sender goes; without it, [`Command::input`] is all.
    pub input: Option<Receiver<Vec<u8>>>,
    pub output: ByteSink,
}

/// Commands in guests.
#[async_trait]
pub trait GuestShell: Send + Sync {
    /// Runs a command to its end. An exit status other than 0 is an [`Output`], not an error;
    /// an error means that the command's end is unknown.
    async fn run(
        &self,
        target: &GuestTarget,
        command: &Command,
        limit: Duration,
        lines: Option<LineSink>,
    ) -> Result<Output>;

    /// Runs a command as [`Self::run`] does, with its input and output on their way while it runs. Who cannot do that
    /// hands the output on in the end.
    async fn attend(
        &self,
        target: &GuestTarget,
        command: &Command,
        limit: Duration,
        flow: Flow,
    ) -> Result<Output> {
        let mut command = command.clone();
        command.input.extend(flow.input.iter().flatten().flatten());
        let output = self.run(target, &command, limit, None).await?;
        for (pipe, bytes) in [(Pipe::Stdout, &output.stdout), (Pipe::Stderr, &output.stderr)] {
            (flow.output)(pipe, bytes);
            (flow.output)(pipe, &[]);
        }
        Ok(output)
    }

    /// Closes what is kept open to a node, before it is stopped.
    fn forget(&self, _node: &str) {}
}
