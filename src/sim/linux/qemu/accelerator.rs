//! What is to run guests' instructions: KVM where it works, else QEMU's own translator.
//!
//! A `/dev/kvm` is no proof: some virtual machines have one that runs a BIOS and stops at UEFI's first floating-point
//! instruction. So the firmware itself is started.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncReadExt;
use tokio::process::Command;

use super::QEMU;
use super::arguments::{Accelerator, FIRMWARE, FIRMWARE_VARIABLES};

/// What UEFI prints when it begins to look for something to boot: under KVM after a second or two.
const ALIVE: &str = "BdsDxe";
/// A KVM that has not come so far by then is of no use.
const LIMIT: Duration = Duration::from_secs(15);

/// Finds out what works here.
pub async fn find() -> Accelerator {
    match tokio::time::timeout(LIMIT, firmware_runs()).await {
        Ok(true) => Accelerator::Kvm,
        Ok(false) | Err(_) => Accelerator::Software,
    }
}

async fn firmware_runs() -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "its output is read while it runs, and it ends with this future"
    )]
    let mut command = Command::new(QEMU);
    command.args([
        "-accel",
        "kvm",
        "-cpu",
        "host",
        "-machine",
        "q35",
        "-m",
        "128",
        "-nodefaults",
        "-no-user-config",
    ]);
    command.args(["-display", "none", "-no-reboot", "-serial", "stdio"]);
    command.arg("-drive").arg(format!("if=pflash,unit=0,format=raw,readonly=on,file={FIRMWARE}"));
    command.arg("-drive").arg(format!("if=pflash,unit=1,format=raw,snapshot=on,file={FIRMWARE_VARIABLES}"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let Ok(mut child) = command.spawn() else { return false };
    let (Some(mut printed), Some(mut complaints)) = (child.stdout.take(), child.stderr.take()) else {
        return false;
    };
    let alive = async {
        let (mut text, mut piece) = (Vec::new(), [0; 512]);
        while let Ok(read @ 1..) = printed.read(&mut piece).await {
            text.extend_from_slice(&piece[..read]);
            if text.windows(ALIVE.len()).any(|window| window == ALIVE.as_bytes()) {
                return true;
            }
        }
        false
    };
    let failed = async {
        let (mut text, mut piece) = (Vec::new(), [0; 512]);
        while let Ok(read @ 1..) = complaints.read(&mut piece).await {
            text.extend_from_slice(&piece[..read]);
            if String::from_utf8_lossy(&text).contains("KVM internal error") {
                return false;
            }
        }
        // It has ended, or closed its output: the other side says what became of it.
        std::future::pending().await
    };
    tokio::select! {
        alive = alive => alive,
        failed = failed => failed,
    }
}
