//! What a Mac's own programs tell of its home network. They are those below Fusion's root, so the simulated Mac's too.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use super::LanInterface;
use crate::formats::mac::Mac;
use crate::formats::network_services::Service;
use crate::formats::{neighbours, network_services, routes};
use crate::host::process::{self, Finished, Options};
use crate::host::{files, system, trust};

const SYSTEM_PROFILER: &str = "usr/sbin/system_profiler";
const NETSTAT: &str = "usr/sbin/netstat";
const PING: &str = "sbin/ping";
const ARP: &str = "usr/sbin/arp";
/// One question, and a second for the answer (ping(8) of macOS). Who keeps silent has told its hardware address all the same.
const ONE_SECOND: [&str; 4] = ["-c", "1", "-t", "1"];

/// Returns the ways into home networks, that of the default route first; none if this is no Mac's root.
pub async fn lan(root: &Path, limit: Duration) -> Option<Vec<LanInterface>> {
    let told = run(root, SYSTEM_PROFILER, &["-xml", "SPNetworkDataType"], limit).await?;
    let mut services = network_services::parse(&told.stdout)?;
    let table = run(root, NETSTAT, &["-rn", "-f", "inet"], limit).await.map(|told| told.text());
    let routes = routes::parse(&table.unwrap_or_default());
    let default = routes.iter().find(|route| route.destination.prefix_len() == 0);
    let is_default = |service: &Service| default.is_some_and(|route| route.interface == service.interface);
    services.sort_by_key(|service| !is_default(service));
    Some(services.into_iter().map(LanInterface::from).collect())
}

impl From<Service> for LanInterface {
    fn from(service: Service) -> Self {
        Self {
            interface: service.interface,
            name: service.name,
            wireless: service.wireless,
            address: service.address,
            subnet: service.subnet,
            router: service.router,
            dns: service.dns,
        }
    }
}

/// Asks for each address, so that the Mac has to find out whose it is, and reads what it found out; none if this is no
/// Mac's root.
pub async fn probe(root: &Path, addresses: &[Ipv4Addr], limit: Duration) -> Option<BTreeMap<Ipv4Addr, Mac>> {
    if !files::exists(&root.join(ARP)) {
        return None;
    }
    let mut asked = tokio::task::JoinSet::new();
    for address in addresses {
        let (root, address) = (root.to_owned(), address.to_string());
        asked.spawn(async move {
            let words: Vec<&str> = ONE_SECOND.into_iter().chain([address.as_str()]).collect();
            run(&root, PING, &words, limit).await;
        });
    }
    asked.join_all().await;
    let table = run(root, ARP, &["-an"], limit).await?;
    let mut found = neighbours::of_mac(&table.text());
    found.retain(|address, _| addresses.contains(address));
    Some(found)
}

/// Runs one of macOS's programs; none if it is not there, or not as root alone has it and we are root.
pub(super) async fn run(root: &Path, program: &str, args: &[&str], limit: Duration) -> Option<Finished> {
    let path = root.join(program);
    if !files::exists(&path) {
        return None;
    }
    let mut options = Options::limit(limit);
    let mut called = path.clone();
    if system::is_root() {
        let trusted = trust::program(&path).ok()?;
        trusted.bind(&mut options);
        called = trusted.call();
    }
    process::run(&called, args, options).await.ok()
}
