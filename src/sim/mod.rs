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

pub mod guest;
pub mod seam;

use std::process::ExitCode;

/// Runs the simulated Fusion's program that this process was started as, if its name is one's.
pub fn run_as_named_program() -> Option<ExitCode> {
    None
}
