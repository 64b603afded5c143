//! A pair of pseudo-terminal ends: the world reads one, a guest's console is the other.

use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// What a terminal says of its size. systemd shortens its lines to it.
#[cfg(target_os = "linux")]
const COLUMNS: u16 = 240;
#[cfg(target_os = "linux")]
const ROWS: u16 = 50;

/// Opens a new pseudo-terminal: the master's end and the path of the other.
///
/// # Errors
/// If the system has none left, or none at all.
#[cfg(target_os = "linux")]
pub fn open() -> io::Result<(OwnedFd, PathBuf)> {
    use std::ffi::CStr;
    use std::os::fd::{AsRawFd, FromRawFd};

    // SAFETY: no pointers; a descriptor of at least 0 is new and ours.
    let master = unsafe {
        match libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) {
            -1 => return Err(io::Error::last_os_error()),
            descriptor => OwnedFd::from_raw_fd(descriptor),
        }
    };
    let size = libc::winsize { ws_row: ROWS, ws_col: COLUMNS, ws_xpixel: 0, ws_ypixel: 0 };
    let mut name = [0; 64];
    // SAFETY: the descriptor is open, the name's room is as long as is said, and the size outlives the call.
    let failed = unsafe {
        libc::ioctl(master.as_raw_fd(), libc::TIOCSWINSZ, &raw const size) != 0
            || libc::grantpt(master.as_raw_fd()) != 0
            || libc::unlockpt(master.as_raw_fd()) != 0
            || libc::ptsname_r(master.as_raw_fd(), name.as_mut_ptr().cast(), name.len()) != 0
    };
    if failed {
        return Err(io::Error::last_os_error());
    }
    let name = CStr::from_bytes_until_nul(&name).map_err(io::Error::other)?;
    Ok((master, PathBuf::from(name.to_string_lossy().into_owned())))
}

/// Opens a new pseudo-terminal.
#[cfg(not(target_os = "linux"))]
pub fn open() -> io::Result<(OwnedFd, PathBuf)> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Asks the first process of a system, which must be systemd, to power off: the signal that systemd takes for it.
///
/// # Errors
/// If there is no such process.
#[cfg(target_os = "linux")]
pub fn ask_to_power_off(process: i32) -> io::Result<()> {
    /// systemd(1), "Signals": SIGRTMIN+4 starts poweroff.target.
    const POWER_OFF: i32 = 4;
    // SAFETY: no pointers; a process of that number gets a signal.
    match unsafe { libc::kill(process, libc::SIGRTMIN() + POWER_OFF) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Asks the first process of a system to power off.
#[cfg(not(target_os = "linux"))]
pub fn ask_to_power_off(_: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn what_is_written_at_one_end_is_read_at_the_other() {
        let (master, path) = open().unwrap();
        let slave = std::fs::OpenOptions::new().write(true).custom_flags(libc::O_NOCTTY).open(path);
        writeln!(slave.unwrap(), "hello").unwrap();
        let mut read = [0; 7];
        std::fs::File::from(master).read_exact(&mut read).unwrap();
        assert_eq!(&read, b"hello\r\n");
    }
}
