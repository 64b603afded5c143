//! Judges one answer, whoever gave it: the same words refuse what was typed and what an option said. All is pure.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use super::answers::{Given, KeyAnswer, LanAnswer, Seen};
use crate::host::surroundings::LanInterface;
use crate::lab::presets::Preset;
use crate::lab::spec::{AuthorizedKey, DnsName, Fault, Interface, Label, Vmnet, Word};

/// The reason against an answer, as a fragment.
pub type Refused = String;

/// The word for letting no key in.
pub const NONE: &str = "none";
/// As the lab file's rules have them (`lab::lint::addresses`).
const LAN_PREFIX_MAX: u8 = 29;
const INTERNAL_PREFIX_MAX: u8 = 27;
/// The usual networks of pods and Services, which an internal network must keep out of.
pub const CLUSTER: [(&str, Ipv4Net); 2] = [
    ("the pods' network", Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16)),
    ("the Services' network", Ipv4Net::new_assert(Ipv4Addr::new(10, 96, 0, 0), 12)),
];
/// A route to more than this is a way out, not a network that could be in the way.
const WIDEST_ROUTE: u8 = 8;

/// Reads a word as the lab file would.
fn word<T: Word>(text: &str) -> Result<T, Refused> {
    T::parse(text.trim()).map_err(|Fault { message, help }| match help {
        Some(help) => format!("{message}: {help}"),
        None => message,
    })
}

/// Returns the parts of a list that is separated by commas, blanks or both.
fn parts(text: &str) -> Vec<&str> {
    text.split([',', ' ']).filter(|part| !part.is_empty()).collect()
}

/// Judges what was said of the home network; the refusals stand beside the options that they are about.
pub fn lan(given: &Given, seen: &Seen) -> Result<LanAnswer, Vec<(&'static str, Refused)>> {
    let mut refused = Vec::new();
    let mut note = |option: &'static str, reason: Refused| refused.push((option, reason));
    let interface = given.interface.as_deref().map(|text| known_interface(text, seen));
    let subnet = given.lan.as_deref().map(lan_subnet);
    let (interface, subnet) = (
        interface.transpose().map_err(|reason| note("--interface", reason)),
        subnet.transpose().map_err(|reason| note("--lan", reason)),
    );
    let dns = given.dns.as_deref().map(dns).transpose().map_err(|reason| note("--dns", reason));
    let (Ok(interface), Ok(subnet), Ok(dns)) = (interface, subnet, dns) else { return Err(refused) };
    let at = ways_in(seen).find(|way| {
        subnet.is_none_or(|subnet| way.subnet == subnet)
            && interface.as_ref().is_none_or(|name| way.interface == *name)
    });
    let Some(subnet) = subnet.or(at.map(|way| way.subnet)) else {
        let reason = match &interface {
            Some(name) => format!("{name} has no address; say the home network's subnet"),
            None => "no home network was found here; say its subnet".to_owned(),
        };
        return Err(vec![("--lan", reason)]);
    };
    let usual = at.and_then(|way| way.router).or_else(|| subnet.hosts().next()).unwrap_or(subnet.network());
    let router = match given.router.as_deref().map(|text| host_of(text, subnet)).transpose() {
        Ok(router) => router.unwrap_or(usual),
        Err(reason) => return Err(vec![("--router", reason)]),
    };
    let found: Option<Vec<Ipv4Addr>> = at.map(|way| way.dns.clone()).filter(|dns| !dns.is_empty());
    Ok(LanAnswer {
        wifi: at.filter(|way| way.wireless).map(|way| way.interface.clone()),
        own: at.map(|way| way.address),
        dns: dns.or(found).unwrap_or_else(|| vec![router]),
        // What Fusion chooses itself need not be said, and stays right when the cable moves.
        interface: interface
            .or_else(|| at.filter(|way| !is_first(way, seen)).map(|way| way.interface.clone())),
        subnet,
        router,
    })
}

fn is_first(way: &LanInterface, seen: &Seen) -> bool {
    ways_in(seen).next().is_some_and(|first| first.interface == way.interface)
}

/// Returns the ways into home networks that a lab could use.
pub fn ways_in(seen: &Seen) -> impl Iterator<Item = &LanInterface> {
    seen.around.lan.iter().filter(|way| way.subnet.prefix_len() <= LAN_PREFIX_MAX)
}

fn known_interface(text: &str, seen: &Seen) -> Result<String, Refused> {
    let Interface(name) = word(text)?;
    let known: Vec<&str> = seen.around.lan.iter().map(|way| way.interface.as_str()).collect();
    if known.is_empty() || known.contains(&name.as_str()) {
        return Ok(name);
    }
    Err(format!("{name} is not connected; connected: {}", known.join(", ")))
}

/// Judges the subnet of a home network.
pub fn lan_subnet(text: &str) -> Result<Ipv4Net, Refused> {
    let subnet: Ipv4Net = word(text)?;
    if subnet.prefix_len() > LAN_PREFIX_MAX {
        return Err(format!("{subnet} is too small for a lab: /{LAN_PREFIX_MAX} or larger is needed"));
    }
    Ok(subnet)
}

fn dns(text: &str) -> Result<Vec<Ipv4Addr>, Refused> {
    let servers: Vec<Ipv4Addr> = parts(text).into_iter().map(word).collect::<Result<_, _>>()?;
    if servers.is_empty() { Err("no DNS server is named".to_owned()) } else { Ok(servers) }
}

/// Reads an address that a machine of the subnet can have.
fn host_of(text: &str, subnet: Ipv4Net) -> Result<Ipv4Addr, Refused> {
    let address: Ipv4Addr = word(text)?;
    if !subnet.contains(&address) {
        return Err(format!("{address} lies outside the home network {subnet}"));
    }
    if address == subnet.network() || address == subnet.broadcast() {
        let which = if address == subnet.network() { "first" } else { "last" };
        return Err(format!("{address} is the {which} address of {subnet}, which no machine can have"));
    }
    Ok(address)
}

/// Judges a new address on the home network.
fn free_address(text: &str, lan: &LanAnswer, seen: &Seen) -> Result<Ipv4Addr, Refused> {
    let address = host_of(text, lan.subnet)?;
    if address == lan.router {
        return Err(format!("{address} is the router's"));
    }
    if Some(address) == lan.own {
        return Err(format!("{address} is this Mac's own"));
    }
    if lan.dns.contains(&address) {
        return Err(format!("{address} is a DNS server's"));
    }
    if let Some(whose) = seen.ours.get(&address) {
        return Err(format!("{address} is taken: {whose} has it"));
    }
    match seen.asked.get(&address) {
        Some(Some(mac)) => Err(format!("{address} is taken: {mac} answers there")),
        _ => Ok(address),
    }
}

/// Judges the VIP.
pub fn vip(text: &str, lan: &LanAnswer, seen: &Seen) -> Result<Ipv4Addr, Refused> {
    free_address(text, lan, seen)
}

/// Judges the gateways' addresses: as many as the size has gateways.
pub fn gateways(
    text: &str,
    (preset, lan, vip): (Preset, &LanAnswer, Option<Ipv4Addr>),
    seen: &Seen,
) -> Result<Vec<Ipv4Addr>, Refused> {
    let wanted = usize::from(preset.counts().0);
    let mut addresses = Vec::new();
    for part in parts(text) {
        let address = free_address(part, lan, seen)?;
        if Some(address) == vip {
            return Err(format!("{address} is the VIP already"));
        }
        if addresses.contains(&address) {
            return Err(format!("{address} stands twice"));
        }
        addresses.push(address);
    }
    match addresses.len() {
        count if count == wanted => Ok(addresses),
        count => {
            let noun = if wanted == 1 { "address" } else { "addresses" };
            Err(format!("{preset} takes {wanted} {noun}, not {count}"))
        }
    }
}

/// Judges the internal network: `vmnet3`, a subnet, or both; what is left out is as proposed.
pub fn internal(
    text: &str,
    proposed: Option<(u8, Ipv4Net)>,
    lan: &LanAnswer,
    seen: &Seen,
) -> Result<(u8, Ipv4Net), Refused> {
    let (mut number, mut subnet) = (None, None);
    for part in parts(text) {
        if part.contains('.') {
            subnet = Some(word::<Ipv4Net>(part)?);
        } else {
            number = Some(word::<Vmnet>(part.strip_prefix("vmnet").unwrap_or(part))?.0);
        }
    }
    let number = number.or(proposed.map(|(number, _)| number)).ok_or("say a network, such as vmnet2")?;
    let subnet = subnet.or(proposed.map(|(_, subnet)| subnet)).ok_or("say a subnet, such as 10.10.0.0/24")?;
    if subnet.prefix_len() > INTERNAL_PREFIX_MAX {
        return Err(format!("{subnet} is too small for a lab: /{INTERNAL_PREFIX_MAX} or larger is needed"));
    }
    if !subnet.network().is_private() {
        return Err(format!(
            "{subnet} belongs to others on the internet; take one of 10.0.0.0/8 or 192.168.0.0/16"
        ));
    }
    // One that stands as it is said is meant.
    if seen.networks.contains(&(number, Some(subnet))) {
        return Ok((number, subnet));
    }
    if let Some((_, theirs)) = seen.networks.iter().find(|(other, _)| *other == number) {
        let with = theirs.map(|theirs| format!(", with {theirs}")).unwrap_or_default();
        return Err(format!("Fusion has a vmnet{number} already{with}"));
    }
    match in_the_way(subnet, lan, seen) {
        Some(what) => Err(format!("{subnet} overlaps {what}")),
        None => Ok((number, subnet)),
    }
}

/// Returns what a new internal network would overlap.
fn in_the_way(subnet: Ipv4Net, lan: &LanAnswer, seen: &Seen) -> Option<String> {
    let overlaps = |other: &Ipv4Net| subnet.contains(other) || other.contains(&subnet);
    if overlaps(&lan.subnet) {
        return Some(format!("the home network {}", lan.subnet));
    }
    if let Some((name, other)) = CLUSTER.iter().find(|(_, other)| overlaps(other)) {
        return Some(format!("{name} {other}"));
    }
    let vmnet = seen
        .networks
        .iter()
        .find_map(|(number, other)| Some((number, (*other)?)).filter(|(_, it)| overlaps(it)));
    if let Some((number, other)) = vmnet {
        return Some(format!("vmnet{number}, {other}"));
    }
    let is_narrow = |net: &Ipv4Net| net.prefix_len() >= WIDEST_ROUTE;
    let route = seen.routes.iter().find(|(other, _)| is_narrow(other) && overlaps(other));
    route.map(|(other, interface)| format!("the route to {other} by {interface}"))
}

/// Returns the files that were named; none if no key shall be let in.
pub fn key_files(text: &str, home: Option<&Path>) -> Vec<(String, PathBuf)> {
    if text.trim() == NONE {
        return Vec::new();
    }
    let path = |part: &str| match (part.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => PathBuf::from(part),
    };
    text.split(',')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| (part.to_owned(), path(part)))
        .collect()
}

/// Judges one key's file by what is in it.
pub fn key(file: &str, content: Option<&str>) -> Result<KeyAnswer, Refused> {
    let content = content.ok_or_else(|| format!("there is no file {file}"))?;
    let AuthorizedKey(line) = word(content).map_err(|reason| format!("{file}: {reason}"))?;
    Ok(KeyAnswer { file: file.to_owned(), line })
}

/// Judges the domain. What would only be warned of in a lab file is better said before it is written.
pub fn domain(text: &str) -> Result<String, Refused> {
    let DnsName(domain) = word(text)?;
    match domain.strip_suffix(".local") {
        Some(bare) => {
            Err(format!("{domain} ends in .local, for which macOS asks multicast DNS: take {bare}.test"))
        }
        None => Ok(domain),
    }
}

/// Judges the lab's name.
pub fn name(text: &str, seen: &Seen) -> Result<String, Refused> {
    let Label(name) = word(text)?;
    if seen.labs.contains(&name) {
        return Err(format!("there is a lab \"{name}\" already"));
    }
    Ok(name)
}

/// Returns the addresses in an answer at which somebody could be on the home network.
pub fn addresses_in(text: &str, lan: Ipv4Net) -> Vec<Ipv4Addr> {
    parts(text).into_iter().filter_map(|part| host_of(part, lan).ok()).collect()
}
