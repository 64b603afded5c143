//! Starting a guest's processes, and what their end means.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use tokio::process::{Child, Command};

use super::ground::Ground;
use super::room::Room;
use crate::host::linux::terminal;
use crate::sim::linux::cgroup;
use crate::sim::linux::layers::Stack;

/// What a guest's root may do: what systemd-nspawn leaves to a container with a network of its own. Without it are the
/// clock, modules, raw devices, the kernel's log: they are this computer's.
const CAPABILITIES: &str = "-all,+chown,+dac_override,+dac_read_search,+fowner,+fsetid,+kill,+setgid,+setuid,+setpcap,\
                            +linux_immutable,+net_bind_service,+net_broadcast,+net_admin,+net_raw,+ipc_owner,\
                            +sys_chroot,+sys_ptrace,+sys_admin,+sys_boot,+sys_nice,+sys_resource,+sys_tty_config,\
                            +mknod,+lease,+audit_write,+audit_control,+setfcap";
/// Where system programs are, whatever the world's PATH says.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// How a guest's first process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    PowerOff,
    Reboot,
    /// It died: no guest does that by itself.
    Died(ExitStatus),
    /// The power went.
    PowerLost,
}

impl From<ExitStatus> for Ended {
    /// reboot(2): the first process of a pid namespace dies by SIGHUP on a restart, by SIGINT on a power-off or halt.
    /// `unshare`, which waits for it, dies by the same signal.
    fn from(status: ExitStatus) -> Self {
        const HANGUP: i32 = libc::SIGHUP;
        const INTERRUPT: i32 = libc::SIGINT;
        match status.signal().or(status.code().map(|code| code - 128)) {
            Some(HANGUP) => Self::Reboot,
            Some(INTERRUPT) => Self::PowerOff,
            _ => Self::Died(status),
        }
    }
}

/// Starts a guest's first process; returns what to wait for, and the world's end of its console.
pub fn start(ground: &Ground, room: &Room, stack: &Stack, namespace: &Path) -> io::Result<(Child, OwnedFd)> {
    let (master, console) = terminal::open()?;
    // Without O_NOCTTY the terminal would become the world's own, and its end the world's hang-up.
    let slave = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&console)?;
    let mut command = command("sh");
    command.args(["-c", cgroup::JOIN]).arg(&room.cgroup);
    let mut net = OsString::from("--net=");
    net.push(namespace);
    command.arg("nsenter").arg(net);
    command.args(["unshare", "--cgroup", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]);
    command.args(["setpriv", "--bounding-set", CAPABILITIES, "sh"]).arg(room.init());
    let lower: Vec<&str> = stack.lower.iter().map(String::as_str).collect();
    let mut folders: Vec<String> = lower.iter().map(|id| format!("{id}/up")).collect();
    folders.push(image_link(&ground.image));
    command
        .env("GUEST", &room.folder)
        .env("LAYERS", ground.layers.folder())
        .env("LOWER", folders.join(":"))
        .env("UPPER", &stack.upper)
        .env("PROGRAM", &ground.program)
        .env("CONSOLE", &console);
    let ends = [slave.try_clone()?, slave.try_clone()?, slave];
    let [input, output, errors] = ends.map(Stdio::from);
    let child = command.stdin(input).stdout(output).stderr(errors).spawn()?;
    Ok((child, master))
}

/// Returns the name of the link to an image among the layers: short, and without letters that overlayfs parts by.
pub fn image_link(key: &str) -> String {
    format!("image-{key}")
}

/// Returns a command that runs in a guest of this first process, with a guest's environment.
pub fn inside(room: &Room, process: i32) -> Command {
    let mut command = command("sh");
    command.args(["-c", cgroup::JOIN]).arg(&room.cgroup);
    command.args([
        "nsenter",
        "-t",
        &process.to_string(),
        "-m",
        "-u",
        "-i",
        "-n",
        "-p",
        "-C",
        "--wdns=/",
        "env",
        "-i",
    ]);
    command.arg(format!("PATH={PATH}"));
    command
}

#[expect(clippy::disallowed_methods, reason = "a guest is a process of the world's, with no deadline")]
fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", PATH);
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guests_end_says_what_it_wanted() {
        for (raw, ended) in [(1, Ended::Reboot), (2, Ended::PowerOff), (130 << 8, Ended::PowerOff)] {
            assert_eq!(Ended::from(ExitStatus::from_raw(raw)), ended);
        }
        assert!(matches!(Ended::from(ExitStatus::from_raw(9)), Ended::Died(_)));
        assert!(matches!(Ended::from(ExitStatus::from_raw(1 << 8)), Ended::Died(_)));
    }
}
