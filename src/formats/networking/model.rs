//! What all lines of the networking file together say: each takes effect in its turn, so the last one wins.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::directive::{Directive, Meaning, Protocol, Row};
use crate::formats::mac::Mac;

pub(super) const SUBNET: &str = "HOSTONLY_SUBNET";
pub(super) const NETMASK: &str = "HOSTONLY_NETMASK";
pub(super) const NAT: &str = "NAT";
pub(super) const DHCP: &str = "DHCP";
pub(super) const ADAPTER: &str = "VIRTUAL_ADAPTER";
/// Given by Fusion to a network that has none.
pub const UUID: &str = "HOSTONLY_UUID";
/// Fusion's digest of the derived dhcpd.conf: it comes anew with every apply and means nothing to us.
pub const HASH: &str = "DHCP_CFG_HASH";
/// The mask of a network whose mask is not said.
const DEFAULT_NETMASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// The numbers that Fusion itself gives away: bridged, host-only and NAT (facts/fusion-networking.md §1.5).
pub const FUSIONS_OWN: [u8; 3] = [0, 1, 8];

/// What the file says of one of Fusion's networks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vmnet {
    pub number: u8,
    /// Whether it has a subnet, which is what makes it a network.
    pub exists: bool,
    /// Its subnet, host bits cleared; none if it has none or one that is not an address.
    pub subnet: Option<Ipv4Net>,
    pub nat: bool,
    pub dhcp: bool,
    /// Whether the Mac itself has an address on it.
    pub adapter: bool,
    /// Given by Fusion; other programs find the network by it.
    pub uuid: Option<String>,
    /// Whether only leavings of a deleted network are there: then the number is free.
    pub husk: bool,
    /// The Mac's interface that it is bridged to.
    pub bridged_to: Option<String>,
}

/// A port of the host that is forwarded into a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortForward {
    pub protocol: Protocol,
    pub host_port: u16,
    pub guest: Ipv4Addr,
    pub guest_port: u16,
    /// Free text, often empty.
    pub description: String,
}

/// What a networking file means, whatever the order and the spelling of its lines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Model {
    /// Only those of which something is said.
    pub(super) networks: BTreeMap<u8, Network>,
    /// The Mac's interface → the vmnet that is bridged to it.
    pub(super) bridges: BTreeMap<String, u8>,
    /// Answers that are not about a vmnet, by key in upper case.
    pub(super) settings: BTreeMap<String, String>,
    /// Lines that are neither blank, nor comments, nor known, in order: they may mean something to somebody.
    pub(super) unknown: Vec<Vec<u8>>,
}

/// What is said of one vmnet, bridge mappings aside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Network {
    /// By key, in upper case and without `VNET_<n>_`.
    pub(super) answers: BTreeMap<String, String>,
    pub(super) reservations: BTreeMap<Mac, Ipv4Addr>,
    pub(super) forwards: BTreeMap<(Protocol, u16), PortForward>,
    pub(super) prefixes: BTreeSet<String>,
}

impl Model {
    /// Returns what these lines say, read from top to bottom.
    pub(super) fn of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Self {
        let mut model = Self::default();
        for row in rows {
            model.read(row);
        }
        model
    }

    /// Lets one more line take effect.
    pub(super) fn read(&mut self, row: &Row) {
        match &row.meaning {
            Meaning::Version | Meaning::Blank | Meaning::Comment => {}
            Meaning::Unknown => self.unknown.push(row.as_ref().to_vec()),
            Meaning::Known(directive) => self.apply(directive.clone()),
        }
    }

    fn apply(&mut self, directive: Directive) {
        match directive {
            Directive::Answer { vmnet, key, value } => {
                self.network(vmnet).answers.insert(key, value);
            }
            Directive::RemoveAnswer { vmnet, key } => self.take(vmnet, |network| {
                network.answers.remove(&key);
            }),
            Directive::Setting { key, value } => {
                self.settings.insert(key, value);
            }
            Directive::RemoveSetting { key } => {
                self.settings.remove(&key);
            }
            Directive::AddForward { vmnet, protocol, host_port, guest, guest_port, description } => {
                let forward = PortForward { protocol, host_port, guest, guest_port, description };
                self.network(vmnet).forwards.insert((protocol, host_port), forward);
            }
            Directive::RemoveForward { vmnet, protocol, host_port } => self.take(vmnet, |network| {
                network.forwards.remove(&(protocol, host_port));
            }),
            Directive::AddReservation { vmnet, mac, address } => {
                self.network(vmnet).reservations.insert(mac, address);
            }
            Directive::RemoveReservation { vmnet, mac } => self.take(vmnet, |network| {
                network.reservations.remove(&mac);
            }),
            Directive::AddBridge { interface, vmnet } => {
                self.bridges.insert(interface, vmnet);
            }
            Directive::RemoveBridge { interface } => {
                self.bridges.remove(&interface);
            }
            Directive::AddNatPrefix { vmnet, length } => {
                self.network(vmnet).prefixes.insert(length);
            }
            Directive::RemoveNatPrefix { vmnet, length } => self.take(vmnet, |network| {
                network.prefixes.remove(&length);
            }),
        }
    }

    fn network(&mut self, vmnet: u8) -> &mut Network {
        self.networks.entry(vmnet).or_default()
    }

    /// Takes something from a network, and the network too once nothing is said of it any more.
    fn take(&mut self, vmnet: u8, what: impl FnOnce(&mut Network)) {
        if let Some(network) = self.networks.get_mut(&vmnet) {
            what(network);
            if *network == Network::default() {
                self.networks.remove(&vmnet);
            }
        }
    }

    /// Returns what is said of one network; a network that is not mentioned does not exist.
    pub fn vmnet(&self, number: u8) -> Vmnet {
        let bridged_to = self.bridges.iter().find(|(_, vmnet)| **vmnet == number);
        self.describe(number, bridged_to.map(|(interface, _)| interface))
    }

    /// Returns every network that is mentioned, by answers, reservations, forwards or bridge mappings, in
    /// order of number.
    pub fn vmnets(&self) -> Vec<Vmnet> {
        let mut bridged: BTreeMap<u8, &String> = BTreeMap::new();
        for (interface, vmnet) in &self.bridges {
            bridged.entry(*vmnet).or_insert(interface);
        }
        let numbers: BTreeSet<u8> = self.networks.keys().chain(bridged.keys()).copied().collect();
        numbers.into_iter().map(|number| self.describe(number, bridged.get(&number).copied())).collect()
    }

    fn describe(&self, number: u8, bridged_to: Option<&String>) -> Vmnet {
        let yes = |key| self.answer(number, key).is_some_and(|value| value.eq_ignore_ascii_case("yes"));
        let exists = self.answer(number, SUBNET).is_some_and(|value| !value.is_empty());
        Vmnet {
            number,
            exists,
            subnet: self.subnet(number),
            nat: yes(NAT),
            dhcp: yes(DHCP),
            adapter: yes(ADAPTER),
            uuid: self.answer(number, UUID).map(str::to_owned),
            husk: !exists && bridged_to.is_none() && self.networks.contains_key(&number),
            bridged_to: bridged_to.cloned(),
        }
    }

    /// Returns a network's reserved addresses, in order of MAC.
    pub fn reservations(&self, vmnet: u8) -> Vec<(Mac, Ipv4Addr)> {
        self.reserved(vmnet).collect()
    }

    /// Returns a network's forwarded ports, in order of protocol and host port.
    pub fn port_forwards(&self, vmnet: u8) -> Vec<PortForward> {
        self.networks.get(&vmnet).into_iter().flat_map(|network| network.forwards.values().cloned()).collect()
    }

    /// Returns a network's answers: the key without `VNET_<n>_`, in upper case, and its value.
    pub fn answers(&self, vmnet: u8) -> BTreeMap<String, String> {
        self.networks.get(&vmnet).map(|network| network.answers.clone()).unwrap_or_default()
    }

    /// Returns the lowest number that no network and no bridge has, and that Fusion does not give away by
    /// itself; leavings of deleted networks are free.
    pub fn free_vmnet(&self) -> Option<u8> {
        let taken: BTreeSet<u8> = self
            .vmnets()
            .iter()
            .filter(|vmnet| vmnet.exists || vmnet.bridged_to.is_some())
            .map(|vmnet| vmnet.number)
            .collect();
        (2..=u8::MAX).find(|number| !FUSIONS_OWN.contains(number) && !taken.contains(number))
    }

    pub(super) fn answer(&self, vmnet: u8, key: &str) -> Option<&str> {
        self.networks.get(&vmnet)?.answers.get(key).map(String::as_str)
    }

    pub(super) fn reserved(&self, vmnet: u8) -> impl Iterator<Item = (Mac, Ipv4Addr)> {
        let network = self.networks.get(&vmnet);
        network.into_iter().flat_map(|network| &network.reservations).map(|(mac, address)| (*mac, *address))
    }

    fn subnet(&self, vmnet: u8) -> Option<Ipv4Net> {
        let address: Ipv4Addr = self.answer(vmnet, SUBNET)?.parse().ok()?;
        let mask = match self.answer(vmnet, NETMASK) {
            Some(mask) => mask.parse().ok()?,
            None => DEFAULT_NETMASK,
        };
        Some(Ipv4Net::with_netmask(address, mask).ok()?.trunc())
    }

    /// Forgets these answers of every network, so that two models can be compared without them.
    pub(super) fn without_answers(mut self, keys: &[&str]) -> Self {
        for network in self.networks.values_mut() {
            network.answers.retain(|key, _| !keys.contains(&key.as_str()));
        }
        self.networks.retain(|_, network| *network != Network::default());
        self
    }

    /// Forgets a network's reservations, so that two models can be compared without them.
    pub(super) fn without_reservations(mut self, vmnet: u8) -> Self {
        self.take(vmnet, |network| network.reservations.clear());
        self
    }
}
