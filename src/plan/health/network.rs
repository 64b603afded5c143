//! Fusion's networks, and what surrounds them on the host: one check for each thing that has gone wrong for somebody.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::super::lan::{self, Place};
use super::super::survey::{NetworkSeen, RootAccess, Survey};
use super::super::wifi;
use super::{Check, PROGRAMS, Remedy, Seen, count, some};
use crate::formats::networking::{Document, PortForward, overlap};
use crate::formats::routes::Route;
use crate::lab::Lab;

/// Permission bits that let others than the owner write.
const OTHERS_WRITE: u32 = 0o022;
/// Permission bits, without the file's kind.
const PERMISSIONS: u32 = 0o777;
const ROOT: u32 = 0;
/// How macOS names the interface of a network of Fusion's: `bridge100` and on.
const BRIDGE: &str = "bridge1";

/// Checks Fusion's networks, and what surrounds them on the host, for a lab.
pub fn network(lab: &Lab, survey: &Survey) -> Vec<Check> {
    let (vmnet, subnet) = (lab.vmnet_name(), lab.internal.subnet);
    vec![
        programs(survey).named("network.programs", PROGRAMS),
        file(survey).named("network.file", "the networking file"),
        remarks(survey).named("network.remarks", "oddities in it"),
        unfinished(survey).named("network.unfinished", "half-done changes of it"),
        window(survey).named("network.window", "Fusion's window"),
        the_vmnet(lab, survey).named("network.vmnet", vmnet),
        reserved(lab, survey).named("network.reserved", "reserved addresses"),
        overlaps(lab, survey).named("network.subnet", format!("{subnet} in Fusion")),
        routes(lab, survey).named("network.routes", format!("routes to {subnet}")),
        pool(lab).named("network.pool", "addresses in the DHCP pool"),
        leases(lab, survey).named("network.leases", "leases"),
        services(lab, survey).named("network.services", "services"),
        fixed(lab, survey).named("network.dhcpd", "reservations in dhcpd.conf"),
        forwards(survey).named("network.forwards", "forwarded ports"),
        cable(lab, survey).named("network.wifi", "the gateways' bridge"),
        root(survey).named("network.root", "who may change the networks"),
    ]
}

/// Checks whether this Mac is in the lab's LAN: `here` are the networks of its interfaces, and `stands` says whether the lab
/// was made already.
pub fn home(lab: &Lab, here: &[(String, Ipv4Net)], stands: bool) -> Check {
    let seen = match lan::place(lab, here) {
        Place::Inside(interface) => Seen::ok(format!("{interface} is in {}", lab.lan.subnet)),
        Place::Unknown => Seen::unknown("this Mac is in no network that it tells of"),
        Place::Beside(detail) | Place::Elsewhere(detail) if stands => Seen::fail(detail, Remedy::OtherLan),
        Place::Beside(detail) | Place::Elsewhere(detail) => Seen::warn(detail, Remedy::Init),
    };
    seen.named("network.lan", "the Mac's own network")
}

fn programs(survey: &Survey) -> Seen {
    match (survey.distrusted.as_slice(), survey.root) {
        ([], _) => Seen::ok("root, and the folders above them as well"),
        // Whoever may change them may run them, too: root has no part in it.
        (_, RootAccess::NotNeeded) if survey.owner.is_none_or(|(user, _)| user != ROOT) => {
            Seen::ok("not asked: they run as you, not as root")
        }
        (reasons, _) => Seen::fail(reasons.join("; "), Remedy::ReinstallFusion),
    }
}

fn file(survey: &Survey) -> Seen {
    let Some(bytes) = &survey.bytes else {
        return Seen::warn("it is not there: Fusion was never started", Remedy::StartFusion);
    };
    if let Err(refusal) = Document::parse(bytes) {
        return Seen::fail(format!("line {}: {}", refusal.line, refusal.reason), Remedy::MendFile);
    }
    let Some((user, mode)) = survey.owner else { return Seen::ok("its owner is not known") };
    let mode = mode & PERMISSIONS;
    if mode & OTHERS_WRITE != 0 {
        return Seen::fail(format!("others than its owner may write it: mode {mode:04o}"), Remedy::OwnFile);
    }
    if user != ROOT && survey.root != RootAccess::NotNeeded {
        return Seen::warn(format!("it belongs to user {user}, not to root"), Remedy::OwnFile);
    }
    let owner = if user == ROOT { "root's".to_owned() } else { format!("user {user}'s") };
    Seen::ok(format!(
        "{}, {owner}, mode {mode:04o}",
        count(bytes.split(|byte| *byte == b'\n').count() - 1, "line")
    ))
}

fn remarks(survey: &Survey) -> Seen {
    let document = survey.bytes.as_deref().and_then(|bytes| Document::parse(bytes).ok());
    let remarks = document.map(|document| document.remarks()).unwrap_or_default();
    let Some(first) = remarks.first() else { return Seen::ok("none") };
    let place = if first.line == 0 { String::new() } else { format!("line {}: ", first.line) };
    let more = if remarks.len() == 1 { String::new() } else { format!("; and {} more", remarks.len() - 1) };
    Seen::warn(format!("{place}{}{more}", first.text), Remedy::SeeRemarks)
}

fn unfinished(survey: &Survey) -> Seen {
    match &survey.unfinished {
        None => Seen::ok("none"),
        Some(change) => Seen::fail(
            format!("one of vmnet{}, begun {}, was cut short", change.vmnet, change.since),
            Remedy::ApplyNetwork,
        ),
    }
}

fn window(survey: &Survey) -> Seen {
    if survey.window_open {
        Seen::warn("it is open, and its Apply button overwrites the networking file", Remedy::QuitFusion)
    } else {
        Seen::ok("closed")
    }
}

fn the_vmnet(lab: &Lab, survey: &Survey) -> Seen {
    let number = lab.internal.vmnet;
    let Some(seen) = survey.network(number) else { return Seen::ok("free") };
    let vmnet = &seen.vmnet;
    let taken = |by: String| {
        let fix = free_vmnet(survey).map_or(Remedy::OtherSubnet, |free| Remedy::OtherVmnet { free });
        Seen::fail(by, fix)
    };
    match (&vmnet.bridged_to, vmnet.subnet) {
        (Some(interface), _) => taken(format!("it is the bridge to {interface}")),
        _ if !vmnet.exists => Seen::ok("free; what a deleted network left is taken over"),
        (None, Some(subnet)) if subnet == lab.internal.subnet => {
            let lacking = [("NAT", vmnet.nat), ("DHCP", vmnet.dhcp)];
            let lacking: Vec<&str> = lacking.iter().filter(|(_, has)| !has).map(|(name, _)| *name).collect();
            if lacking.is_empty() {
                return Seen::ok(format!("{subnet} with NAT and DHCP"));
            }
            let fix = free_vmnet(survey).map(|free| Remedy::OtherVmnet { free });
            let detail = format!("{subnet} without {}", lacking.join(" and "));
            fix.into_iter().fold(Seen::fail(detail, Remedy::ApplyNetwork), Seen::or)
        }
        (None, Some(subnet)) => taken(format!("it is another network, {subnet}")),
        (None, None) => taken("it is a network with an unreadable subnet".to_owned()),
    }
}

fn free_vmnet(survey: &Survey) -> Option<u8> {
    Document::parse(survey.bytes.as_deref()?).ok()?.model().free_vmnet()
}

fn reserved(lab: &Lab, survey: &Survey) -> Seen {
    let Some(seen) = survey.network(lab.internal.vmnet) else { return Seen::ok("none") };
    let foreign: Vec<String> = lab
        .nodes
        .iter()
        .filter_map(|node| {
            let card = node.internal();
            let (mac, address) = seen
                .reservations
                .iter()
                .find(|(mac, address)| *address == card.address && *mac != card.mac)?;
            Some(format!("{address} of {} is reserved for {mac}", node.name))
        })
        .collect();
    if foreign.is_empty() {
        let all = some(seen.reservations.len(), "reservation");
        return Seen::ok(format!("{all} on {}", lab.vmnet_name()));
    }
    let seen = Seen::fail(foreign.join("; "), Remedy::OtherSubnet);
    free_vmnet(survey).map(|free| Remedy::OtherVmnet { free }).into_iter().fold(seen, Seen::or)
}

fn overlaps(lab: &Lab, survey: &Survey) -> Seen {
    let wished = lab.internal.subnet;
    let others = survey.networks.iter().filter(|seen| seen.vmnet.number != lab.internal.vmnet);
    let mut others: Vec<(u8, Ipv4Net)> =
        others.filter_map(|seen| Some((seen.vmnet.number, seen.vmnet.subnet?))).collect();
    let all = others.len();
    others.retain(|(_, subnet)| overlap(subnet, &wished));
    if others.is_empty() {
        return Seen::ok(format!("compared with {}", count(all, "other network")));
    }
    let named: Vec<String> =
        others.iter().map(|(number, subnet)| format!("vmnet{number} is {subnet}")).collect();
    Seen::fail(named.join("; "), Remedy::OtherSubnet)
}

fn routes(lab: &Lab, survey: &Survey) -> Seen {
    let Some(routes) = &survey.routes else {
        return Seen::unknown("the routes could not be read");
    };
    let subnet = lab.internal.subnet;
    let Some(route) = routes.iter().find(|route| leads_elsewhere(route, subnet)) else {
        return Seen::ok(format!("compared with {}", count(routes.len(), "route")));
    };
    let Route { destination, interface, .. } = route;
    let stands = survey.network(lab.internal.vmnet).is_some_and(|seen| seen.vmnet.subnet == Some(subnet));
    let fix = Remedy::EndRoute { interface: interface.clone() };
    // The more precise route wins, and that of a network that runs is.
    if stands && destination.prefix_len() < subnet.prefix_len() {
        let detail = format!(
            "{destination} leads to {interface}; it yields while a machine runs on {}",
            lab.vmnet_name()
        );
        return Seen::warn(detail, fix).or(Remedy::OtherSubnet);
    }
    Seen::fail(format!("{destination} leads to {interface}"), fix).or(Remedy::OtherSubnet)
}

/// Says whether a route takes packets for a subnet: not the default route, which yields to any other, and not the one
/// that the network itself has once a machine runs on it.
fn leads_elsewhere(route: &Route, subnet: Ipv4Net) -> bool {
    let Route { destination, interface, .. } = route;
    let is_host = destination.prefix_len() == destination.max_prefix_len();
    let is_own = interface.starts_with(BRIDGE)
        && (*destination == subnet || is_host && subnet.contains(&destination.addr()));
    destination.prefix_len() > 0 && overlap(destination, &subnet) && !is_own
}

fn pool(lab: &Lab) -> Seen {
    let (first, last) = lab.internal.dhcp;
    let inside = lab.nodes.iter().filter(|node| (first..=last).contains(&node.internal().address)).count();
    if inside == 0 {
        return Seen::ok(format!("the pool is {first} to {last}"));
    }
    let detail =
        format!("{} of {} lie in {first} to {last}: a stranger could be given one", inside, lab.nodes.len());
    // The first addresses are the Mac's and the NAT gateway's.
    let after = |address: Ipv4Addr| Ipv4Addr::from(u32::from(address).wrapping_add(1));
    let before = Ipv4Addr::from(u32::from(first).wrapping_sub(1));
    Seen::warn(detail, Remedy::AddressesBelow { first: after(lab.internal.nat), last: before })
}

fn leases(lab: &Lab, survey: &Survey) -> Seen {
    let valid =
        survey.network(lab.internal.vmnet).map(|seen| seen.valid_leases(survey.now)).unwrap_or_default();
    let taken = lab.nodes.iter().find_map(|node| {
        let card = node.internal();
        let lease = valid.iter().find(|lease| lease.address == card.address && lease.mac != card.mac)?;
        Some((node, lease))
    });
    let Some((node, lease)) = taken else {
        return Seen::ok(format!("{} valid now", some(valid.len(), "lease")));
    };
    let who = lease.hostname.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let detail = format!("{} of {} is leased to {}{who}", lease.address, node.name, lease.mac);
    Seen::fail(detail, Remedy::ReleaseAddress { mac: lease.mac.to_string() })
}

fn services(lab: &Lab, survey: &Survey) -> Seen {
    let all: Vec<_> = survey
        .networks
        .iter()
        .flat_map(|seen| seen.services.iter().map(|(name, runs)| (seen.vmnet.number, *name, *runs)))
        .collect();
    let down: Vec<_> = all.iter().filter(|(.., runs)| !runs).collect();
    let names: Vec<String> =
        down.iter().map(|(number, name, _)| format!("{name} of vmnet{number}")).collect();
    let detail = format!("{} of {} do not run: {}", down.len(), all.len(), names.join(", "));
    match down.iter().any(|(number, ..)| *number == lab.internal.vmnet) {
        _ if down.is_empty() => {
            Seen::ok(format!("{} on {}", count(all.len(), "service"), count(survey.standing(), "network")))
        }
        true => Seen::fail(detail, Remedy::ApplyNetwork),
        false => Seen::warn(detail, Remedy::StartServices),
    }
}

fn fixed(lab: &Lab, survey: &Survey) -> Seen {
    let missing = |seen: &NetworkSeen| {
        let knows = |reservation: &_| {
            seen.fixed.iter().flatten().any(|host| (host.mac, host.address) == *reservation)
        };
        seen.reservations.iter().filter(|reservation| !knows(reservation)).count()
    };
    let on = survey.networks.iter().filter(|seen| seen.vmnet.exists && seen.vmnet.dhcp);
    let all: usize = on.clone().map(|seen| seen.reservations.len()).sum();
    let lacking: Vec<_> = on.map(|seen| (seen, missing(seen))).filter(|(_, missing)| *missing > 0).collect();
    if lacking.is_empty() {
        return Seen::ok(some(all, "reservation"));
    }
    let say = |(seen, missing): &(&NetworkSeen, usize)| {
        let number = seen.vmnet.number;
        match &seen.fixed {
            None => format!("vmnet{number} has no dhcpd.conf"),
            Some(_) => format!("vmnet{number}/dhcpd.conf lacks {missing} of {}", seen.reservations.len()),
        }
    };
    let detail = lacking.iter().map(say).collect::<Vec<_>>().join("; ");
    if lacking.iter().any(|(seen, _)| seen.vmnet.number == lab.internal.vmnet) {
        Seen::fail(detail, Remedy::Reconfigure)
    } else {
        Seen::warn(detail, Remedy::Reconfigure)
    }
}

fn forwards(survey: &Survey) -> Seen {
    // Only the networking file keeps descriptions.
    let same = |one: &PortForward, other: &PortForward| {
        (one.protocol, one.host_port, one.guest, one.guest_port)
            == (other.protocol, other.host_port, other.guest, other.guest_port)
    };
    let mut stale = Vec::new();
    for seen in &survey.networks {
        let is_known = |forward: &&PortForward| !seen.forwards.iter().any(|known| same(known, forward));
        stale.extend(
            seen.nat_forwards.iter().flatten().filter(is_known).map(|forward| (seen.vmnet.number, forward)),
        );
    }
    let Some((first, _)) = stale.first() else {
        let all = survey.networks.iter().map(|seen| seen.forwards.len()).sum();
        return Seen::ok(some(all, "forwarded port"));
    };
    let named: Vec<String> = stale
        .iter()
        .map(|(vmnet, forward)| format!("port {} in vmnet{vmnet}/nat.conf", forward.host_port))
        .collect();
    Seen::warn(
        format!("{}: not in the networking file", named.join(", ")),
        Remedy::DropForwards { vmnet: *first },
    )
}

fn cable(lab: &Lab, survey: &Survey) -> Seen {
    let routes = survey.routes.as_deref().unwrap_or_default();
    match (wifi::warning(lab, routes, &survey.wifi), wifi::bridged(lab, routes)) {
        (Some(problem), _) => Seen::warn(problem.message, Remedy::UseCable),
        (None, Some(interface)) => Seen::ok(format!("{interface} is not Wi-Fi")),
        (None, None) => Seen::unknown("nobody knows which card Fusion chooses"),
    }
}

fn root(survey: &Survey) -> Seen {
    Seen::ok(match survey.root {
        RootAccess::NotNeeded => "sudo is not needed",
        RootAccess::WithoutPassword => "sudo lets fusionlab in without a password",
        RootAccess::WithPassword => {
            "sudo will ask for a password; `fusionlab network sudoers` spares you that"
        }
    })
}
