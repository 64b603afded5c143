//! What real guests need of the computer, and how to get what is missing.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use crate::host::system;
use crate::sim::files;
use crate::sim::settings::Guests;

/// Something that is missing, and how to get it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    pub what: String,
    pub how: String,
}

/// Programs with the Debian package that has each.
const PROGRAMS: &[(&str, &str)] = &[
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("dhcpd", "isc-dhcp-server"),
    ("mount", "mount"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
];
const QEMU_PROGRAMS: &[(&str, &str)] =
    &[("qemu-system-x86_64", "qemu-system-x86"), ("qemu-img", "qemu-utils")];
/// UEFI for QEMU, with its package.
const FIRMWARE: (&str, &str) = ("/usr/share/OVMF/OVMF_CODE_4M.fd", "ovmf");
/// Where programs for root are that no user's PATH names.
const SYSTEM_FOLDERS: &[&str] = &["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"];

/// Finds everything that is missing for guests of a kind. Model guests need nothing.
///
/// # Errors
/// With all that is missing, packages first named by the program that they bring.
pub fn check(guests: Guests) -> Result<(), Vec<Need>> {
    let programs: Vec<(&str, &str)> = match guests {
        Guests::Model => return Ok(()),
        Guests::Linux => PROGRAMS.to_vec(),
        Guests::Qemu => PROGRAMS.iter().chain(QEMU_PROGRAMS).copied().collect(),
    };
    let mut missing = Vec::new();
    if !cfg!(target_os = "linux") {
        missing.push(need("Linux", "real guests run on Linux only; `--sim-guests model` runs anywhere"));
        return Err(missing);
    }
    if !system::is_root() {
        missing.push(need("root", "run as root, or use `--sim-guests model`"));
    }
    missing.extend(programs.iter().filter(|(program, _)| find(program).is_none()).map(package));
    missing.extend(if guests == Guests::Qemu { of_qemu() } else { of_namespaces() });
    if missing.is_empty() { Ok(()) } else { Err(missing) }
}

/// Says in one sentence what is missing and how to get it.
pub fn sentence(missing: &[Need]) -> String {
    let each: Vec<String> = missing.iter().map(|need| format!("{} ({})", need.what, need.how)).collect();
    format!("real guests need what is not here: {}", each.join("; "))
}

/// Names something that is missing.
pub fn need(what: &str, how: &str) -> Need {
    Need { what: what.to_owned(), how: how.to_owned() }
}

/// Returns what is missing where a program is, by the package that brings it.
pub fn package((program, package): &(&str, &str)) -> Need {
    need(program, &format!("apt-get install {package}"))
}

fn of_namespaces() -> Vec<Need> {
    let mut missing = Vec::new();
    if !read("/proc/filesystems").lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay") {
        missing.push(need("overlayfs", "a kernel with it: modprobe overlay"));
    }
    if cgroup2_mount().is_none() {
        missing.push(need("cgroup2", "mount -t cgroup2 none /sys/fs/cgroup/unified"));
    }
    missing
}

fn of_qemu() -> Vec<Need> {
    let mut missing = Vec::new();
    if !Path::new(FIRMWARE.0).is_file() {
        missing.push(package(&FIRMWARE));
    }
    if !Path::new("/dev/net/tun").exists() {
        missing.push(need("/dev/net/tun", "modprobe tun"));
    }
    missing
}

/// Returns where the second version of cgroups is mounted.
pub fn cgroup2_mount() -> Option<PathBuf> {
    let mounts = read("/proc/mounts");
    mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (folder, kind) = (words.nth(1)?, words.next()?);
        (kind == "cgroup2").then(|| PathBuf::from(folder))
    })
}

/// Finds a program by PATH, or where those for root are.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(SYSTEM_FOLDERS.iter().map(PathBuf::from));
    folders.map(|folder| folder.join(OsStr::new(program))).find(|found| found.is_file())
}

fn read(path: &str) -> String {
    files::read(Path::new(path)).ok().flatten().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_need_nothing_and_a_missing_program_names_its_package() {
        assert_eq!(check(Guests::Model), Ok(()));
        let missing = [package(&("dhcpd", "isc-dhcp-server")), need("root", "run as root")];
        assert_eq!(
            sentence(&missing),
            "real guests need what is not here: dhcpd (apt-get install isc-dhcp-server); root (run as root)"
        );
        assert_eq!(find("no-such-program-of-anybody"), None);
    }
}
