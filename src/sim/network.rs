//! Fusion's networks as its services run them: what was derived from the database, and what was started of that.

use std::collections::BTreeMap;
use std::io;

use ipnet::Ipv4Net;
use serde::{Deserialize, Serialize};

use super::files;
use super::places::Places;
use super::recent::Recent;
use super::services;
use crate::formats::networking::Document;

/// One network's services, as they were configured or started.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    pub subnet: Ipv4Net,
    pub nat: bool,
    pub dhcp: bool,
    /// Whether the Mac itself is on it.
    pub adapter: bool,
    /// dhcpd.conf as the DHCP service read it when it started: later changes do not touch it.
    #[serde(default)]
    pub dhcpd_conf: String,
}

/// All networks: what `vmnet-cli` last derived and what runs now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Networks {
    pub(super) configured: BTreeMap<u8, Network>,
    running: BTreeMap<u8, Network>,
    /// The database as Fusion's window last read it.
    seen: String,
}

thread_local! {
    static READ: Recent<String, Networks> = const { Recent::new() };
}

impl Networks {
    pub fn load(places: &Places) -> io::Result<Self> {
        match files::read(&places.networks())? {
            // Every connection asks, and hardly one finds another text than the last.
            Some(text) => READ.with(|read| read.answer(text, |text| Ok(serde_json::from_str(text)?))),
            None => Ok(Self::default()),
        }
    }

    pub(super) fn save(&self, places: &Places) -> io::Result<()> {
        files::write(&places.networks(), serde_json::to_string_pretty(self)? + "\n")
    }

    /// Returns a network that runs.
    pub fn running(&self, number: u8) -> Option<&Network> {
        self.running.get(&number)
    }

    pub fn all_running(&self) -> &BTreeMap<u8, Network> {
        &self.running
    }

    pub fn configured(&self) -> &BTreeMap<u8, Network> {
        &self.configured
    }

    /// Returns the database as Fusion's window last saw it.
    pub fn seen(&self) -> &str {
        &self.seen
    }
}

/// Reads the database.
pub fn database(places: &Places) -> io::Result<Document> {
    let text = files::read(&places.networking())?.unwrap_or_default();
    if text.is_empty() {
        return Ok(Document::new());
    }
    Document::parse(text.as_bytes()).map_err(|error| {
        io::Error::new(io::ErrorKind::InvalidData, format!("{}: {error}", places.networking().display()))
    })
}

/// What came of one service at start, stop or status, in the order in which Fusion says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Service {
    pub vmnet: u8,
    pub kind: ServiceKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceKind {
    Nat,
    Adapter,
    Dhcp,
}

/// Lists the services of networks in ascending order; of one network NAT, adapter, DHCP
/// (facts/fusion-networking.md §2.2).
pub fn services(networks: &BTreeMap<u8, Network>) -> Vec<Service> {
    let of = |(vmnet, network): (&u8, &Network)| {
        let wanted = [
            (ServiceKind::Nat, network.nat),
            (ServiceKind::Adapter, network.adapter),
            (ServiceKind::Dhcp, network.dhcp),
        ];
        let vmnet = *vmnet;
        wanted.into_iter().filter(|(_, wanted)| *wanted).map(move |(kind, _)| Service { vmnet, kind })
    };
    networks.iter().flat_map(of).collect()
}

/// Starts every configured network's services, but for a kind that fails and those whose own file is wrong. A DHCP
/// service reads its file now, and no later change.
pub fn start(places: &Places, fails: Option<ServiceKind>) -> io::Result<Networks> {
    let mut networks = Networks::load(places)?;
    networks.running = networks.configured.clone();
    for (number, network) in &mut networks.running {
        network.dhcpd_conf = read_dhcpd_conf(places, *number)?;
        network.nat &= fails != Some(ServiceKind::Nat) && nat_starts(places, *number)?;
        network.dhcp &= fails != Some(ServiceKind::Dhcp) && dhcp_starts(network);
        network.adapter &= fails != Some(ServiceKind::Adapter);
        if network.dhcp {
            files::write_new(&places.leases(*number), "")?;
        }
    }
    networks.seen = files::read(&places.networking())?.unwrap_or_default();
    networks.save(places)?;
    Ok(networks)
}

fn read_dhcpd_conf(places: &Places, number: u8) -> io::Result<String> {
    Ok(files::read(&places.vmnet(number).join("dhcpd.conf"))?.unwrap_or_default())
}

fn dhcp_starts(network: &Network) -> bool {
    services::dhcpd_complaint(&network.dhcpd_conf, network.subnet).is_none()
}

fn nat_starts(places: &Places, number: u8) -> io::Result<bool> {
    let conf = files::read(&places.vmnet(number).join("nat.conf"))?.unwrap_or_default();
    Ok(services::natd_complaint(&conf).is_none())
}

/// Lets Fusion's window read the database, whose view it is from then on.
pub fn show_window(places: &Places) -> io::Result<()> {
    let mut networks = Networks::load(places)?;
    networks.seen = files::read(&places.networking())?.unwrap_or_default();
    networks.save(places)
}

/// Stops everything; returns what ran.
pub fn stop(places: &Places) -> io::Result<Networks> {
    let before = Networks::load(places)?;
    let mut networks = before.clone();
    networks.running.clear();
    networks.save(places)?;
    Ok(before)
}

/// Starts or stops one network's one service, as `vmnet-cfgcli servicestart|servicestop` does; says whether it is as
/// wished then. The network's other service goes on, and so do the guests.
pub fn switch(places: &Places, number: u8, kind: ServiceKind, on: bool) -> io::Result<bool> {
    let mut networks = Networks::load(places)?;
    let Some(configured) = networks.configured.get(&number).cloned() else { return Ok(false) };
    let wanted = match kind {
        ServiceKind::Nat => configured.nat,
        ServiceKind::Adapter => configured.adapter,
        ServiceKind::Dhcp => configured.dhcp,
    };
    if !wanted || (!on && !networks.running.contains_key(&number)) {
        // Nothing to start, and what does not run is stopped.
        return Ok(!on);
    }
    let fresh = Network { nat: false, dhcp: false, ..configured };
    let network = networks.running.entry(number).or_insert(fresh);
    let runs = match kind {
        ServiceKind::Nat => {
            network.nat = on && nat_starts(places, number)?;
            network.nat
        }
        ServiceKind::Adapter => {
            network.adapter = on;
            network.adapter
        }
        ServiceKind::Dhcp => {
            network.dhcpd_conf = read_dhcpd_conf(places, number)?;
            network.dhcp = on && dhcp_starts(network);
            network.dhcp
        }
    };
    if kind == ServiceKind::Dhcp && runs {
        files::write_new(&places.leases(number), "")?;
    }
    networks.save(places)?;
    Ok(runs == on)
}
