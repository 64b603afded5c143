//! Work inside a network namespace: a thread enters it, does one thing there, and ends.
//!
//! A socket or a child process belongs to the namespace that its maker was in, and stays there when the thread is gone.
//! Threads of the runtime never change their namespace.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;

/// Does something in a namespace, given by a path such as `/run/netns/NAME`, and waits for it.
///
/// # Errors
/// If the namespace cannot be entered, with its path; or with what the work says.
pub fn inside<T: Send>(namespace: &Path, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    let work = || {
        enter(namespace).map_err(|error| {
            io::Error::new(error.kind(), format!("enter {}: {error}", namespace.display()))
        })?;
        work()
    };
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Returns every IPv4 address in a namespace but loopback's, each with its interface.
pub fn addresses(namespace: &Path) -> io::Result<Vec<(String, Ipv4Addr)>> {
    inside(namespace, own_addresses)
}

#[cfg(target_os = "linux")]
fn enter(namespace: &Path) -> io::Result<()> {
    use std::os::fd::AsRawFd;

    let file = std::fs::OpenOptions::new().read(true).open(namespace)?;
    // SAFETY: the descriptor is open; the call changes nothing but the namespace of this thread, which is ours.
    match unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

#[cfg(not(target_os = "linux"))]
fn enter(_namespace: &Path) -> io::Result<()> {
    Err(io::Error::new(io::ErrorKind::Unsupported, "network namespaces are Linux's"))
}

fn own_addresses() -> io::Result<Vec<(String, Ipv4Addr)>> {
    let mut first = std::ptr::null_mut();
    // SAFETY: the call writes a list to the pointer, which is freed below.
    if unsafe { libc::getifaddrs(&raw mut first) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut next = first;
    // SAFETY: entries are valid until the list is freed, and linked until one is null.
    while let Some(entry) = unsafe { next.as_ref() } {
        next = entry.ifa_next;
        let is_elsewhere = entry.ifa_flags & libc::IFF_LOOPBACK as libc::c_uint == 0;
        // SAFETY: an entry's address is null or valid.
        let family = unsafe { entry.ifa_addr.as_ref() }.map(|address| i32::from(address.sa_family));
        if is_elsewhere && family == Some(libc::AF_INET) {
            // SAFETY: an address of this family is of this type; the list aligns its addresses.
            let address = unsafe { entry.ifa_addr.cast::<libc::sockaddr_in>().read_unaligned() };
            // SAFETY: an entry's name is a string.
            let name = unsafe { std::ffi::CStr::from_ptr(entry.ifa_name) };
            let name = name.to_string_lossy().split(':').next().unwrap_or_default().to_owned();
            found.push((name, Ipv4Addr::from(u32::from_be(address.sin_addr.s_addr))));
        }
    }
    // SAFETY: the list is the one from above, and nothing of it is used any more.
    unsafe { libc::freeifaddrs(first) };
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_that_is_not_there_is_named() {
        let error = inside(Path::new("/run/netns/no-such"), || Ok(())).unwrap_err().to_string();
        assert!(error.starts_with("enter /run/netns/no-such: ") || error.contains("Linux"), "{error}");
    }
}
