//! The machine we run on: processor, memory, user, and what else runs.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{HostError, Result, files};

const MIB: u64 = 1024 * 1024;

/// Returns `arm64` or `amd64`: what guests must be, since Fusion does not emulate. Under Rosetta it is still the
/// Mac's own.
pub fn arch() -> &'static str {
    #[cfg(target_os = "macos")]
    if sysctl_u64("hw.optional.arm64") == Some(1) {
        return "arm64";
    }
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

/// Returns the machine's memory in MiB; 0 if it does not say.
#[cfg(target_os = "macos")]
pub fn memory_mib() -> u64 {
    sysctl_u64("hw.memsize").unwrap_or(0) / MIB
}

/// Returns the machine's memory in MiB; 0 if it does not say.
#[cfg(not(target_os = "macos"))]
pub fn memory_mib() -> u64 {
    let text = files::read_text(Path::new("/proc/meminfo")).unwrap_or_default();
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB"));
    kib.and_then(|kib| kib.trim().parse::<u64>().ok()).unwrap_or(0) * 1024 / MIB
}

/// Returns MiB of memory that programs can have now without pushing others out; none if the machine does not say.
///
/// A Mac keeps little memory free and gives up caches when asked. What Activity Monitor calls cached files can be had, too:
/// pages of files, and those that programs marked as purgeable (`vm_stat`, XNU's `host_statistics64` in
/// `osfmk/kern/host.c`; its free pages hold the speculative ones already). Not `kern.memorystatus_level`, the percentage of
/// `memory_pressure`: XNU reckons it from active + inactive + free + speculative pages (`osfmk/vm/vm_pageout.c`,
/// `AVAILABLE_NON_COMPRESSED_MEMORY`), so what programs use counts as available as long as it is not compressed.
#[cfg(target_os = "macos")]
#[expect(deprecated, reason = "libc has the call, and would have us take another crate for it")]
pub fn free_memory_mib() -> Option<u64> {
    // SAFETY: a vm_statistics64 is numbers alone, for which zeros are valid.
    let mut pages: libc::vm_statistics64 = unsafe { std::mem::zeroed() };
    let mut count = libc::HOST_VM_INFO64_COUNT;
    // SAFETY: the call writes no more than `count` numbers, which is the size of `pages` in these.
    let outcome = unsafe {
        libc::host_statistics64(
            libc::mach_host_self(),
            libc::HOST_VM_INFO64,
            (&raw mut pages).cast(),
            &raw mut count,
        )
    };
    let free = [pages.free_count, pages.external_page_count, pages.purgeable_count].map(u64::from);
    let page = sysctl_u64("hw.pagesize").filter(|_| outcome == libc::KERN_SUCCESS)?;
    Some(free.into_iter().sum::<u64>() * page / MIB)
}

/// Returns MiB of memory that programs can have now without pushing others out; none if the machine does not say.
#[cfg(not(target_os = "macos"))]
pub fn free_memory_mib() -> Option<u64> {
    let text = files::read_text(Path::new("/proc/meminfo")).ok()?;
    let kib = text.lines().find_map(|line| line.strip_prefix("MemAvailable:")?.trim().strip_suffix(" kB"))?;
    Some(kib.trim().parse::<u64>().ok()? * 1024 / MIB)
}

/// Returns how many processors this process may use.
pub fn cpus() -> u32 {
    std::thread::available_parallelism().map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX))
}

/// Returns MiB that may still be written to the volume a path is on; the path need not exist yet.
pub fn free_mib(path: &Path) -> Result<u64> {
    use std::os::unix::ffi::OsStrExt;

    let existing = path.ancestors().find(|path| files::exists(path)).unwrap_or(Path::new("/"));
    let text = std::ffi::CString::new(existing.as_os_str().as_bytes())
        .map_err(|error| HostError::file("look at", existing)(error.into()))?;
    // SAFETY: a statvfs of zeros is valid; the call reads a C string and writes only the statvfs.
    let (outcome, facts) = unsafe {
        let mut facts: libc::statvfs = std::mem::zeroed();
        (libc::statvfs(text.as_ptr(), &raw mut facts), facts)
    };
    if outcome != 0 {
        return Err(HostError::file("look at", existing)(std::io::Error::last_os_error()));
    }
    #[cfg_attr(not(target_os = "macos"), expect(clippy::unnecessary_cast, reason = "narrower on a Mac"))]
    let blocks = facts.f_bavail as u64;
    Ok(blocks * facts.f_frsize / MIB)
}

/// Returns macOS's version, such as `15.1`, as the system under `root` says; none if there is none.
pub fn macos_version(root: &Path) -> Option<String> {
    #[derive(Deserialize)]
    struct SystemVersion {
        #[serde(rename = "ProductVersion")]
        product_version: String,
    }
    let path = root.join("System/Library/CoreServices/SystemVersion.plist");
    let bytes = files::read_if_exists(&path).ok()??;
    plist::from_bytes::<SystemVersion>(&bytes).ok().map(|version| its_own(&version.product_version))
}

/// Returns the version as its owner knows it. macOS 26 says 16 to programs that were built with an older system's headers, also where
/// they read the file (python/cpython#135675); there was no 16.
fn its_own(version: &str) -> String {
    match version.strip_prefix("16") {
        Some(rest) if rest.is_empty() || rest.starts_with('.') => format!("26{rest}"),
        _ => version.to_owned(),
    }
}

/// Returns the home folder: `HOME`, or what the user database says.
pub fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| home.is_absolute())
}

/// Returns the user's login name.
pub fn user_name() -> Option<String> {
    // SAFETY: geteuid has no arguments; getpwuid's record is read before any other call could change it,
    // and its name is a C string if it is not null.
    let name = unsafe {
        let record = libc::getpwuid(libc::geteuid());
        if record.is_null() || (*record).pw_name.is_null() {
            return std::env::var("USER").ok();
        }
        std::ffi::CStr::from_ptr((*record).pw_name).to_owned()
    };
    name.into_string().ok()
}

pub fn is_root() -> bool {
    user_id() == 0
}

/// Returns the number of the user whose rights we have.
pub fn user_id() -> u32 {
    // SAFETY: geteuid has no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// Says whether a process of this number runs, whoever's it is.
pub fn is_process(pid: u32) -> bool {
    let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 0) else { return false };
    // SAFETY: kill takes numbers; the signal 0 is sent to nobody, it only asks.
    let there = unsafe { libc::kill(pid, 0) } == 0;
    there || std::io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

/// Returns when a process began, in the system's own count, which tells it from a later one of its number; none if there
/// is no such process, or it is not ours to look at.
#[cfg(target_os = "macos")]
pub fn start_of(pid: u32) -> Option<String> {
    let pid = libc::pid_t::try_from(pid).ok()?;
    let size = libc::c_int::try_from(size_of::<libc::proc_bsdinfo>()).ok()?;
    // SAFETY: a record of zeros is valid; proc_pidinfo writes no more than the size that is given.
    let (written, facts) = unsafe {
        let mut facts: libc::proc_bsdinfo = std::mem::zeroed();
        let place = (&raw mut facts).cast();
        (libc::proc_pidinfo(pid, libc::PROC_PIDTBSDINFO, 0, place, size), facts)
    };
    (written == size).then(|| format!("{}.{:06}", facts.pbi_start_tvsec, facts.pbi_start_tvusec))
}

/// Returns when a process began, in the system's own count, which tells it from a later one of its number; none if there
/// is no such process, or it is not ours to look at.
#[cfg(not(target_os = "macos"))]
pub fn start_of(pid: u32) -> Option<String> {
    /// Fields after the program's name, which is in parentheses and may hold any character: proc_pid_stat(5).
    const START_AFTER_NAME: usize = 19;
    let text = files::read_text(Path::new(&format!("/proc/{pid}/stat"))).ok()?;
    let (_, after_name) = text.rsplit_once(')')?;
    after_name.split_whitespace().nth(START_AFTER_NAME).map(str::to_owned)
}

/// Returns the path of the program that a process runs; none if there is no such process, or it is not ours to look at.
#[cfg(target_os = "macos")]
pub fn program_of(pid: u32) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;

    let pid = libc::pid_t::try_from(pid).ok()?;
    let mut path = vec![0_u8; libc::PROC_PIDPATHINFO_MAXSIZE as usize];
    // SAFETY: the buffer has the length that is given; proc_pidpath writes no more.
    let length = unsafe { libc::proc_pidpath(pid, path.as_mut_ptr().cast(), path.len() as u32) };
    path.truncate(usize::try_from(length).ok()?);
    (!path.is_empty()).then(|| PathBuf::from(std::ffi::OsString::from_vec(path)))
}

/// Returns the path of the program that a process runs; none if there is no such process, or it is not ours to look at.
#[cfg(not(target_os = "macos"))]
pub fn program_of(pid: u32) -> Option<PathBuf> {
    files::canonicalize(Path::new(&format!("/proc/{pid}/exe"))).ok()
}

/// Says whether whoever started this process keeps a closing terminal from ending it, as `nohup` does.
pub fn ignores_hangup() -> bool {
    // SAFETY: a sigaction of zeros is valid; without a new action the call only writes the one that holds now.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(libc::SIGHUP, std::ptr::null(), &raw mut now) == 0
            && now.sa_sigaction == libc::SIG_IGN
    }
}

/// Lets everybody read what this process and its programs make from now on, whatever mask the user has: for what root makes of the
/// system's own, which sudo lets the user's mask take part in.
pub fn make_for_everybody() {
    const NOBODY_ELSE_WRITES: libc::mode_t = 0o022;
    // SAFETY: umask takes a number and cannot fail.
    unsafe { libc::umask(NOBODY_ELSE_WRITES) };
}

/// Ends a process at once; one that is gone is as good.
pub fn end_process(pid: u32) {
    if let Some(pid) = libc::pid_t::try_from(pid).ok().filter(|pid| *pid > 1) {
        // SAFETY: kill takes numbers.
        unsafe { libc::kill(pid, libc::SIGKILL) };
    }
}

/// Returns the path of the program that this process runs.
pub fn own_program() -> Result<PathBuf> {
    std::env::current_exe().map_err(HostError::file("find", Path::new("our own program")))
}

/// Returns what tells this boot of the machine from any other; empty if it does not say.
#[cfg(target_os = "macos")]
pub fn boot_id() -> String {
    sysctl_text("kern.bootsessionuuid").unwrap_or_default()
}

/// Returns what tells this boot of the machine from any other; empty if it does not say.
#[cfg(not(target_os = "macos"))]
pub fn boot_id() -> String {
    let text = files::read_text(Path::new("/proc/sys/kernel/random/boot_id")).unwrap_or_default();
    text.trim().to_owned()
}

#[cfg(target_os = "macos")]
fn sysctl(name: &str) -> Option<Vec<u8>> {
    let name = std::ffi::CString::new(name).ok()?;
    let mut length: libc::size_t = 0;
    // SAFETY: with a null buffer, sysctlbyname only writes the needed length.
    let outcome = unsafe {
        libc::sysctlbyname(name.as_ptr(), std::ptr::null_mut(), &raw mut length, std::ptr::null_mut(), 0)
    };
    if outcome != 0 {
        return None;
    }
    let mut value = vec![0_u8; length];
    // SAFETY: the buffer has `length` bytes; sysctlbyname writes no more, and the length that it wrote.
    let outcome = unsafe {
        libc::sysctlbyname(name.as_ptr(), value.as_mut_ptr().cast(), &raw mut length, std::ptr::null_mut(), 0)
    };
    value.truncate(length);
    (outcome == 0).then_some(value)
}

#[cfg(target_os = "macos")]
fn sysctl_u64(name: &str) -> Option<u64> {
    let value = sysctl(name)?;
    match value.len() {
        4 => Some(u64::from(u32::from_ne_bytes(value.try_into().ok()?))),
        8 => Some(u64::from_ne_bytes(value.try_into().ok()?)),
        _ => None,
    }
}

#[cfg(target_os = "macos")]
fn sysctl_text(name: &str) -> Option<String> {
    let value = sysctl(name)?;
    Some(String::from_utf8_lossy(&value).trim_end_matches('\0').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machine_describes_itself() {
        assert!(memory_mib() > 0 && cpus() > 0);
        assert!(free_memory_mib().is_some_and(|free| (1..=memory_mib()).contains(&free)));
        assert!(["arm64", "amd64"].contains(&arch()));
        assert!(!boot_id().is_empty());
        assert_eq!(program_of(std::process::id()), Some(own_program().unwrap()));
        assert!(is_process(std::process::id()) && is_process(1) && !is_process(0));
        assert!(start_of(std::process::id()).is_some_and(|start| start.parse::<f64>().is_ok()));
        assert!(user_name().is_some());
        assert!(free_mib(Path::new("/nonexistent/deep")).unwrap() > 0);
    }

    #[test]
    fn the_version_of_macos_is_read_from_its_own_file() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(macos_version(root.path()), None);
        let folder = root.path().join("System/Library/CoreServices");
        files::create_dir(&folder).unwrap();
        let text = r#"<?xml version="1.0" encoding="UTF-8"?>
<plist version="1.0"><dict><key>ProductVersion</key><string>15.1</string><key>ProductBuildVersion</key>
<string>24B83</string></dict></plist>"#;
        files::write_atomic(&folder.join("SystemVersion.plist"), text.as_bytes(), 0o644).unwrap();
        assert_eq!(macos_version(root.path()).as_deref(), Some("15.1"));
        assert_eq!(
            (its_own("16.2"), its_own("26.2"), its_own("15.16")),
            ("26.2".into(), "26.2".into(), "15.16".into())
        );
    }
}
