//! What Linux tells of its own network in `/proc`: for a Fusion's root without a Mac's programs.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::time::Duration;

use super::LanInterface;
use crate::formats::mac::Mac;
use crate::formats::proc_net::Route;
use crate::formats::{neighbours, proc_net};
use crate::host::files;
use crate::host::process::{self, Options};

const ROUTES: &str = "/proc/net/route";
const NEIGHBOURS: &str = "/proc/net/arp";
const RESOLVER: &str = "/etc/resolv.conf";
/// There for each wireless interface (Documentation/ABI/testing/sysfs-class-net).
const WIRELESS: &str = "wireless";
const PING: &str = "/usr/bin/ping";
/// One question, and a second for the answer (ping(8) of iputils).
const ONE_SECOND: [&str; 4] = ["-c", "1", "-W", "1"];

/// The port of no service; nothing is sent there, the system only chooses a way to it.
const DISCARD: u16 = 9;

/// Returns the way into the home network: the interface of the default route.
pub fn lan() -> Vec<LanInterface> {
    let routes = proc_net::routes(&text(ROUTES));
    let defaults = routes.iter().filter(|route| route.destination.prefix_len() == 0);
    let Some(default) = defaults.min_by_key(|route| route.metric) else { return Vec::new() };
    interface(default, &routes).into_iter().collect()
}

fn interface(default: &Route, routes: &[Route]) -> Option<LanInterface> {
    let router = default.gateway?;
    let is_lan = |route: &&Route| {
        route.interface == default.interface && route.gateway.is_none() && route.destination.contains(&router)
    };
    let name = default.interface.clone();
    Some(LanInterface {
        wireless: files::exists(&Path::new("/sys/class/net").join(&name).join(WIRELESS)),
        subnet: routes.iter().find(is_lan)?.destination,
        address: own_address(router)?,
        router: Some(router),
        dns: proc_net::name_servers(&text(RESOLVER)),
        interface: name.clone(),
        name,
    })
}

/// Asks for each address, so that the kernel has to find out whose it is, and reads what it found out.
pub async fn probe(addresses: &[Ipv4Addr], limit: Duration) -> Option<BTreeMap<Ipv4Addr, Mac>> {
    if !files::exists(Path::new(PING)) {
        return None;
    }
    let mut asked = tokio::task::JoinSet::new();
    for address in addresses {
        let words: Vec<String> =
            ONE_SECOND.into_iter().map(str::to_owned).chain([address.to_string()]).collect();
        asked.spawn(async move { process::run(Path::new(PING), words, Options::limit(limit)).await.is_ok() });
    }
    asked.join_all().await;
    let mut found = neighbours::of_linux(&text(NEIGHBOURS));
    found.retain(|address, _| addresses.contains(address));
    Some(found)
}

fn text(path: &str) -> String {
    files::read_text(Path::new(path)).unwrap_or_default()
}

/// Returns the address that this machine has on the way to another; nothing is sent.
fn own_address(towards: Ipv4Addr) -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((towards, DISCARD)).ok()?;
    match socket.local_addr().ok()? {
        SocketAddr::V4(own) => Some(*own.ip()),
        SocketAddr::V6(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_this_machine_is_from_itself() {
        assert_eq!(own_address(Ipv4Addr::LOCALHOST), Some(Ipv4Addr::LOCALHOST));
    }
}
