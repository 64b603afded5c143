//! A VMware Fusion that does not exist: the same programs, REST, SSH and files, with a deterministic world behind.
//!
//! ```text
//! fusionlab ──runs──▶ vmrun, vmnet-cli, vmrest, vmware-vdiskmanager   (this binary under other names: programs/)
//!                        │ unix socket
//!                        ▼
//!                     vmware-vmx: one process, the world (world.rs)   networks, leases, power, time, faults
//!                        │ seam.rs
//!                        ▼
//!                     guest/: machines of kind `model`                files, systemd units, kubeadm, helm, nginx, …
//!
//! fusionlab ──SOCKS5──▶ dial.rs ──▶ machine's SSH server, or any TCP service of the lab
//! ```
//!
//! Product code knows nothing of this but where Fusion is and how to dial.

pub mod agent;
pub mod control;
pub mod faults;
pub mod guest;
pub mod hazards;
pub mod inside;
pub mod install;
pub mod links;
pub mod linux;
pub mod pace;
pub mod places;
pub mod programs;
pub mod seam;
pub mod settings;
pub mod world;

mod around;
mod cards;
mod command;
mod compaction;
mod configure;
mod dhcp;
mod dial;
mod disk;
mod files;
pub mod image;
mod locks;
mod network;
mod orders;
mod power;
mod reach;
mod recent;
mod refusal;
mod serve;
mod services;
mod shell;
mod snapshots;
mod ssh;
mod stranger;
mod timestamp;
mod vmlog;

#[cfg(test)]
mod tests;

use std::process::ExitCode;
use std::time::UNIX_EPOCH;

use crate::host::stand_in;

/// Runs the simulated Fusion's program that this process was started as, if its name is one's.
pub fn run_as_named_program() -> Option<ExitCode> {
    programs::run_as_called()
}

/// Returns milliseconds since 1970.
#[expect(clippy::disallowed_methods, reason = "the simulated Mac's own clock")]
fn now_ms() -> u64 {
    if let Some(computer) = stand_in::current() {
        return computer.now_ms();
    }
    let now = std::time::SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
