//! How long each thing of the networks may take, and how it is waited for: the one table, no fixed sleeps.

use std::fmt::Display;
use std::io;
use std::time::Duration;

use crate::host::clock;
use crate::sim::pace;

/// One `ip` or `nft`; milliseconds when the computer is idle.
pub const PROGRAM: Duration = Duration::from_secs(30);
/// One TCP connection, as the product's own `guest_connect`.
pub const CONNECT: Duration = Duration::from_secs(10);
/// A DHCP server's start until it serves.
pub const DHCPD_SERVES: Duration = Duration::from_secs(30);
/// Killed processes leaving their namespaces and control groups.
pub const PROCESSES_GONE: Duration = Duration::from_secs(30);

/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(5);

/// Waits until a condition holds.
///
/// # Errors
/// With the condition's name if it does not in time, or what the probe says.
pub async fn until(
    what: impl Display,
    limit: Duration,
    mut probe: impl FnMut() -> io::Result<bool>,
) -> io::Result<()> {
    let started = clock::monotonic();
    while !probe()? {
        if started.elapsed() > limit {
            let said = format!("{what}: not so after {} s", limit.as_secs());
            return Err(io::Error::new(io::ErrorKind::TimedOut, said));
        }
        pace::wait(LOOK).await;
    }
    Ok(())
}
