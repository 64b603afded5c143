//! What we want of the networking file, and what stands in the way because it is somebody else's.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Vmnet;
use super::model::{ADAPTER, DHCP, FUSIONS_OWN, Model, NAT, NETMASK, SUBNET};
use crate::formats::mac::Mac;

/// What a switched-on answer says.
const YES: &str = "yes";

/// A network with NAT, DHCP and the host on it, and addresses reserved in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub vmnet: u8,
    pub subnet: Ipv4Net,
    pub reservations: Vec<(Mac, Ipv4Addr)>,
}

/// What we made in an earlier run, and so may change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ours {
    /// Whether the wished vmnet was made by us.
    pub vmnet: bool,
    /// The reservations on it that we wrote: these alone are replaced, and taken out if they are no longer
    /// wished. Others belong to somebody else, such as another lab on the same network.
    pub reservations: Vec<(Mac, Ipv4Addr)>,
}

/// Why a wish cannot be fulfilled without taking something from someone.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum Conflict {
    /// The number belongs to another network.
    #[error("vmnet{vmnet} is taken by another network{}", subnet.map(|subnet| format!(" ({subnet})")).unwrap_or_default())]
    VmnetTaken { vmnet: u8, subnet: Option<Ipv4Net>, free_vmnet: Option<u8> },

    /// The number belongs to a bridge.
    #[error("vmnet{vmnet} is taken by the bridge to {interface}")]
    VmnetBridged { vmnet: u8, interface: String, free_vmnet: Option<u8> },

    /// The network is there with the wished subnet and lacks something; somebody else made it, or another lab is on it, too.
    #[error("vmnet{vmnet} is there without {}, and is not this lab's alone to change", missing.join(", "))]
    VmnetLacks { vmnet: u8, missing: Vec<&'static str> },

    /// Two networks would have the same addresses.
    #[error("{wished} overlaps {subnet} of vmnet{vmnet}")]
    SubnetOverlaps { wished: Ipv4Net, vmnet: u8, subnet: Ipv4Net },

    /// Somebody else has reserved the address.
    #[error("{address} on vmnet{vmnet} is reserved for {holder}, not for {mac}")]
    AddressReserved { vmnet: u8, address: Ipv4Addr, mac: Mac, holder: Mac },

    /// Somebody else has given the MAC another address.
    #[error("{mac} on vmnet{vmnet} has {held} reserved, not {address}")]
    MacReserved { vmnet: u8, mac: Mac, address: Ipv4Addr, held: Ipv4Addr },
}

impl Conflict {
    /// Returns a vmnet that could be used instead.
    pub fn free_vmnet(&self) -> Option<u8> {
        match self {
            Self::VmnetTaken { free_vmnet, .. } | Self::VmnetBridged { free_vmnet, .. } => *free_vmnet,
            _ => None,
        }
    }
}

impl Wish {
    /// Returns the answers that make a network what we need (facts/fusion-networking.md §1.4).
    pub(super) fn answers(&self) -> [(&'static str, String); 5] {
        [
            (DHCP, YES.to_owned()),
            (NETMASK, self.subnet.netmask().to_string()),
            (SUBNET, self.subnet.network().to_string()),
            (NAT, YES.to_owned()),
            (ADAPTER, YES.to_owned()),
        ]
    }
}

/// The wished reservations, to be found by MAC and by address. Of two for the same one the later counts.
pub(super) struct Wanted {
    by_mac: BTreeMap<Mac, Ipv4Addr>,
    by_address: BTreeMap<Ipv4Addr, Mac>,
}

impl Wanted {
    pub(super) fn of(wish: &Wish) -> Self {
        let mut wanted = Self { by_mac: BTreeMap::new(), by_address: BTreeMap::new() };
        for &(mac, address) in &wish.reservations {
            if let Some(former) = wanted.by_mac.insert(mac, address) {
                wanted.by_address.remove(&former);
            }
            if let Some(former) = wanted.by_address.insert(address, mac).filter(|former| *former != mac) {
                wanted.by_mac.remove(&former);
            }
        }
        wanted
    }

    pub(super) fn contains(&self, (mac, address): (Mac, Ipv4Addr)) -> bool {
        self.by_mac.get(&mac) == Some(&address)
    }

    /// Says whether a reservation gives a wished MAC another address, or a wished address to another MAC.
    pub(super) fn contradicts(&self, there: (Mac, Ipv4Addr)) -> bool {
        !self.contains(there)
            && (self.by_mac.contains_key(&there.0) || self.by_address.contains_key(&there.1))
    }

    fn conflicts(&self, vmnet: u8, (holder, held): (Mac, Ipv4Addr)) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        if let Some(&address) = self.by_mac.get(&holder).filter(|address| **address != held) {
            conflicts.push(Conflict::MacReserved { vmnet, mac: holder, address, held });
        }
        if let Some(&mac) = self.by_address.get(&held).filter(|mac| **mac != holder) {
            conflicts.push(Conflict::AddressReserved { vmnet, address: held, mac, holder });
        }
        conflicts
    }
}

/// Returns everything that stands in the way of a wish.
pub(super) fn conflicts(model: &Model, wish: &Wish, ours: &Ours) -> Vec<Conflict> {
    let mut conflicts = Vec::new();
    let there = model.vmnet(wish.vmnet);
    conflicts.extend(vmnet_conflict(model, wish, ours, &there));
    for Vmnet { number, subnet, .. } in model.vmnets() {
        if let Some(subnet) = subnet.filter(|subnet| number != wish.vmnet && overlap(subnet, &wish.subnet)) {
            conflicts.push(Conflict::SubnetOverlaps { wished: wish.subnet, vmnet: number, subnet });
        }
    }
    // Reservations in a network that does not exist are nobody's.
    if there.exists || ours.vmnet {
        let wanted = Wanted::of(wish);
        let own: std::collections::BTreeSet<_> = ours.reservations.iter().copied().collect();
        let others = model.reserved(wish.vmnet).filter(|there| !own.contains(there));
        conflicts.extend(others.flat_map(|there| wanted.conflicts(wish.vmnet, there)));
    }
    conflicts
}

fn vmnet_conflict(model: &Model, wish: &Wish, ours: &Ours, there: &Vmnet) -> Option<Conflict> {
    let vmnet = wish.vmnet;
    if let Some(interface) = there.bridged_to.clone() {
        return Some(Conflict::VmnetBridged { vmnet, interface, free_vmnet: model.free_vmnet() });
    }
    if ours.vmnet {
        return None;
    }
    let taken = || Conflict::VmnetTaken { vmnet, subnet: there.subnet, free_vmnet: model.free_vmnet() };
    if !there.exists {
        return FUSIONS_OWN.contains(&vmnet).then(taken);
    }
    if there.subnet != Some(wish.subnet.trunc()) {
        return Some(taken());
    }
    let needs = [(there.nat, "NAT"), (there.dhcp, "DHCP"), (there.adapter, "the host's adapter")];
    let missing: Vec<_> = needs.into_iter().filter(|(there, _)| !there).map(|(_, name)| name).collect();
    (!missing.is_empty()).then_some(Conflict::VmnetLacks { vmnet, missing })
}

/// Says whether two networks have an address in common.
pub fn overlap(one: &Ipv4Net, other: &Ipv4Net) -> bool {
    one.contains(&other.network()) || other.contains(&one.network())
}
