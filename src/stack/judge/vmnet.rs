//! The lab's network as Fusion's files and services on this Mac have it.

use std::net::Ipv4Addr;

use super::Finding;
use crate::formats::dhcp::{self, Lease, Subnet};
use crate::formats::mac::Mac;
use crate::formats::networking::Vmnet;
use crate::stack::checks::{Expect, VmnetExpect};

/// What this Mac was seen to have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct VmnetSeen {
    /// The networking file's own word.
    pub vmnet: Vmnet,
    /// What that file reserves.
    pub reserved: Vec<(Mac, Ipv4Addr)>,
    /// What the DHCP server's file fixes; none if there is no such file.
    pub fixed: Option<Vec<(Mac, Ipv4Addr)>>,
    /// Where the DHCP server answers, and what it gives to anybody.
    pub subnets: Vec<Subnet>,
    /// All blocks of the leases file, oldest first: an address is whose its last block names.
    pub leases: Vec<Lease>,
    /// Whether NAT and DHCP run; none where Fusion does not say.
    pub services: Vec<(&'static str, Option<bool>)>,
    /// Seconds since 1970.
    pub now: u64,
}

/// Compares what was seen.
pub fn judge(expect: &Expect, seen: &VmnetSeen) -> Finding {
    let Expect::Vmnet(wish) = expect else { return Err("another kind of answer is needed".to_owned()) };
    match wish {
        VmnetExpect::Configured(subnet) => {
            let has =
                [("NAT", seen.vmnet.nat), ("DHCP", seen.vmnet.dhcp), ("this Mac on it", seen.vmnet.adapter)];
            let lacking: Vec<&str> = has.iter().filter(|(_, has)| !has).map(|(name, _)| *name).collect();
            match seen.vmnet.subnet {
                None => Err("the networking file has no such network".to_owned()),
                Some(found) if found != *subnet => Err(format!("{found} instead of {subnet}")),
                Some(found) if !lacking.is_empty() => {
                    Err(format!("{found} without {}", lacking.join(" and ")))
                }
                Some(found) => Ok(format!("{found} with NAT, DHCP and this Mac on it")),
            }
        }
        VmnetExpect::Pool(first, last) => pool((*first, *last), seen),
        VmnetExpect::Reserved(cards) => reserved(cards, seen),
        VmnetExpect::NotLeasedAway(cards) => leased(cards, seen),
        VmnetExpect::Running => running(seen),
    }
}

/// Fusion's status tells nothing on some Macs, which is no sign of a service that does not run.
fn running(seen: &VmnetSeen) -> Finding {
    let all = |wanted| seen.services.iter().filter(move |(_, runs)| *runs == wanted).map(|(name, _)| *name);
    let down: Vec<&str> = all(Some(false)).collect();
    match (seen.services.len(), all(None).count()) {
        _ if !down.is_empty() => Err(format!("{} does not run", down.join(" and "))),
        (0, _) => Err("no service was asked for".to_owned()),
        (_, 0) => Ok(format!("{} run", all(Some(true)).collect::<Vec<_>>().join(" and "))),
        _ => Ok("Fusion does not tell".to_owned()),
    }
}

fn pool(wanted: (Ipv4Addr, Ipv4Addr), seen: &VmnetSeen) -> Finding {
    let pools: Vec<_> = seen.subnets.iter().flat_map(|subnet| subnet.pools.iter()).collect();
    let words = |(first, last): &(Ipv4Addr, Ipv4Addr)| format!("{first} to {last}");
    match pools.as_slice() {
        [] => Err("none: its file has no range".to_owned()),
        [one] if **one == wanted => Ok(words(one)),
        pools => {
            let found: Vec<String> = pools.iter().map(|pool| words(pool)).collect();
            Err(format!("{} instead of {}", found.join(", "), words(&wanted)))
        }
    }
}

fn reserved(cards: &[(String, Mac, Ipv4Addr)], seen: &VmnetSeen) -> Finding {
    let Some(fixed) = &seen.fixed else { return Err("the DHCP server has no file".to_owned()) };
    let lacks = |list: &[(Mac, Ipv4Addr)], place: &str| -> Vec<String> {
        cards
            .iter()
            .filter(|(_, mac, address)| !list.contains(&(*mac, *address)))
            .map(|(name, _, address)| format!("{place} lacks {address} of {name}"))
            .collect()
    };
    let wrong = [lacks(&seen.reserved, "the networking file"), lacks(fixed, "dhcpd.conf")].concat();
    if wrong.is_empty() { Ok(format!("{} of {}", cards.len(), cards.len())) } else { Err(wrong.join(", ")) }
}

fn leased(cards: &[(String, Mac, Ipv4Addr)], seen: &VmnetSeen) -> Finding {
    let valid = dhcp::valid(&seen.leases, seen.now);
    let taken: Vec<String> = cards
        .iter()
        .filter_map(|(name, mac, address)| {
            let lease = valid.iter().find(|lease| lease.address == *address && lease.mac != *mac)?;
            Some(format!("{address} of {name} is leased to {}", lease.mac))
        })
        .collect();
    if taken.is_empty() {
        Ok(format!("{} valid in the leases file", valid.len()))
    } else {
        Err(taken.join(", "))
    }
}
