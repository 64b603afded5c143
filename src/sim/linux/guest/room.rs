//! What a guest has on this computer while it has power: a folder of the world's, and a control group.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::ground::Ground;
use crate::sim::linux::cgroup;
use crate::sim::seam::Hardware;
use crate::sim::{files, pace};

/// The script that becomes a guest's first process.
const INIT: &str = include_str!("init.sh");
/// What a guest sees in `/proc/swaps`: no swap. The kernel's own heading (mm/swapfile.c).
const NO_SWAP: &str = "Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n";
/// Made by the guest once it is up.
const UP: &str = "shared/up";
/// How long processes may take to die after they were killed: they write nothing any more.
const DYING: Duration = Duration::from_secs(10);
const DYING_POLL: Duration = Duration::from_millis(5);

/// A guest's folder and control group.
pub struct Room {
    pub folder: PathBuf,
    pub cgroup: PathBuf,
}

impl Room {
    /// Lays out what a guest's start needs.
    pub fn make(ground: &Ground, name: &str, hardware: &Hardware) -> io::Result<Self> {
        let room = Self { folder: ground.guests.join(name), cgroup: ground.cgroup.join(name) };
        files::remove(&room.folder)?;
        for folder in ["root", "shared", "classes/dmi/id"] {
            files::make_folder(&room.folder.join(folder))?;
        }
        std::fs::set_permissions(&room.folder, Permissions::from_mode(0o700))?;
        let boot_id = files::read(Path::new("/proc/sys/kernel/random/uuid"))?.unwrap_or_default();
        let uuid = format!("{}\n", hardware.uuid);
        for (name, content) in [
            ("init.sh", INIT),
            ("boot_id", &boot_id),
            ("swaps", NO_SWAP),
            ("sysrq-trigger", ""),
            ("classes/dmi/id/product_uuid", &uuid),
            ("classes/dmi/id/sys_vendor", "VMware, Inc.\n"),
            ("classes/dmi/id/product_name", "VMware20,1\n"),
        ] {
            files::write(&room.folder.join(name), content)?;
        }
        // As in the kernel: a machine's number is nobody's business but root's.
        let uuid = room.folder.join("classes/dmi/id/product_uuid");
        std::fs::set_permissions(uuid, Permissions::from_mode(0o400))?;
        for (name, content) in hardware.seed.iter().flatten() {
            files::write(&room.folder.join("seed").join(name), content)?;
        }
        files::make_folder(&room.cgroup)?;
        Ok(room)
    }

    pub fn init(&self) -> PathBuf {
        self.folder.join("init.sh")
    }

    pub fn shared(&self) -> PathBuf {
        self.folder.join("shared")
    }

    /// Returns the number by which this computer knows the guest's first process, once there is one.
    pub fn process(&self) -> Option<i32> {
        files::read(&self.folder.join("pid")).ok()??.trim().parse().ok()
    }

    /// Says whether the guest has reached what it boots to.
    pub fn is_up(&self) -> bool {
        self.folder.join(UP).exists()
    }

    pub fn freeze(&self, frozen: bool) -> io::Result<()> {
        tell(&self.cgroup.join("cgroup.freeze"), if frozen { "1" } else { "0" })
    }

    /// Kills everything in the guest at once.
    pub fn kill(&self) {
        // Without its control group there is nothing to kill.
        let _ = cgroup::kill(&self.cgroup);
    }

    /// Kills what is left, waits for its end, and takes folder and control group away.
    ///
    /// # Errors
    /// If processes do not die, or something cannot be removed.
    pub async fn clear(&self) -> io::Result<()> {
        self.kill();
        let mut waited = Duration::ZERO;
        while !cgroup::remove(&self.cgroup)? {
            if waited >= DYING {
                let said = format!("{}: its processes do not die", self.cgroup.display());
                return Err(io::Error::new(io::ErrorKind::TimedOut, said));
            }
            pace::wait(DYING_POLL).await;
            waited += DYING_POLL;
        }
        files::remove(&self.folder)
    }
}

/// Writes to a file of the kernel's, which is neither made nor replaced.
fn tell(file: &Path, word: &str) -> io::Result<()> {
    use std::io::Write;

    std::fs::OpenOptions::new().write(true).open(file)?.write_all(word.as_bytes())
}
