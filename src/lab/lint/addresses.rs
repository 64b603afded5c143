//! Checks of addresses and networks.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::{Subject, rules};
use crate::lab::problem::Problem;
use crate::lab::{Lab, Network, Role};

/// An address, whose it is, and the key that sets it.
struct Holder {
    owner: String,
    network: Network,
    address: Ipv4Addr,
    path: String,
}

/// Returns every machine's addresses.
fn machines(lab: &Lab) -> Vec<Holder> {
    let holder = |node: &crate::lab::Node, nic: &crate::lab::Nic| {
        let key = match nic.network {
            Network::Lan => "lan_address",
            Network::Internal => "address",
        };
        let path = format!("nodes.{}.{key}", node.name);
        Holder { owner: node.name.clone(), network: nic.network, address: nic.address, path }
    };
    lab.nodes.iter().flat_map(|node| node.nics.iter().map(move |nic| holder(node, nic))).collect()
}

/// Returns the addresses that are not a machine's but a choice all the same.
fn shared(lab: &Lab) -> Vec<Holder> {
    let holder = |owner: &str, network, address, path: &str| Holder {
        owner: owner.to_owned(),
        network,
        address,
        path: path.to_owned(),
    };
    vec![
        holder("the LAN's router", Network::Lan, lab.lan.router, "lan.router"),
        holder("the LAN's VIP", Network::Lan, lab.lan.vip, "lan.vip"),
        holder("the internal VIP", Network::Internal, lab.internal.vip, "internal.vip"),
    ]
}

fn subnet_path(network: Network) -> &'static str {
    match network {
        Network::Lan => "lan.subnet",
        Network::Internal => "internal.subnet",
    }
}

fn subnet(lab: &Lab, network: Network) -> Ipv4Net {
    match network {
        Network::Lan => lab.lan.subnet,
        Network::Internal => lab.internal.subnet,
    }
}

/// Keeps the holders whose address and subnet are what the user meant.
fn meant<'a>(subject: &'a Subject<'_>, holders: Vec<Holder>) -> impl Iterator<Item = Holder> + 'a {
    holders.into_iter().filter(|holder| subject.known(&[&holder.path, subnet_path(holder.network)]))
}

pub fn outside_subnet(subject: &Subject<'_>) -> Vec<Problem> {
    let all = shared(subject.lab).into_iter().chain(machines(subject.lab)).collect();
    meant(subject, all)
        .filter(|holder| !subnet(subject.lab, holder.network).contains(&holder.address))
        .map(|holder| {
            let subnet = subnet(subject.lab, holder.network);
            let span = subject.span(&[&holder.path, subnet_path(holder.network)]);
            rules::ADDRESS_OUTSIDE_SUBNET
                .problem(span, format!("{} of {} is outside {subnet}", holder.address, holder.owner))
                .help(format!("{} is {subnet}", subnet_path(holder.network)))
        })
        .collect()
}

/// Returns the addresses of a network that nobody may choose, with their owners.
fn fixed(lab: &Lab, network: Network) -> Vec<(Ipv4Addr, String)> {
    let subnet = subnet(lab, network);
    let mut fixed = vec![
        (subnet.network(), format!("the network address of {subnet}")),
        (subnet.broadcast(), format!("the broadcast address of {subnet}")),
    ];
    if network == Network::Internal {
        fixed.push((lab.internal.host, format!("the Mac's own on {}", lab.vmnet_name())));
        fixed.push((lab.internal.nat, format!("Fusion's NAT gateway on {}", lab.vmnet_name())));
    }
    fixed
}

pub fn reserved(subject: &Subject<'_>) -> Vec<Problem> {
    let shared: Vec<_> = meant(subject, shared(subject.lab)).collect();
    let mut found = Vec::new();
    for (index, holder) in shared.iter().enumerate() {
        let earlier = shared[..index].iter().filter(|other| other.network == holder.network);
        let owners = fixed(subject.lab, holder.network)
            .into_iter()
            .chain(earlier.map(|other| (other.address, other.owner.clone())));
        found.extend(taken(subject, holder, owners));
    }
    for holder in meant(subject, machines(subject.lab)) {
        let others = shared.iter().filter(|other| other.network == holder.network);
        let owners = fixed(subject.lab, holder.network)
            .into_iter()
            .chain(others.map(|other| (other.address, other.owner.clone())));
        found.extend(taken(subject, &holder, owners));
    }
    found
}

fn taken(
    subject: &Subject<'_>,
    holder: &Holder,
    mut owners: impl Iterator<Item = (Ipv4Addr, String)>,
) -> Option<Problem> {
    let (address, owner) = owners.find(|(address, _)| *address == holder.address)?;
    let key = shared(subject.lab).into_iter().find(|other| other.owner == owner).map(|other| other.path);
    let span = subject.span(&[&holder.path, key.as_deref().unwrap_or_default(), subnet_path(holder.network)]);
    let problem =
        rules::ADDRESS_IS_RESERVED.problem(span, format!("{address} of {} is {owner}", holder.owner));
    Some(problem.help(format!("set {} to a free address", holder.path)))
}

pub fn used_twice(subject: &Subject<'_>) -> Vec<Problem> {
    let holders: Vec<_> = meant(subject, machines(subject.lab)).collect();
    let mut found = Vec::new();
    for (index, holder) in holders.iter().enumerate() {
        let same = |other: &&Holder| other.network == holder.network && other.address == holder.address;
        let Some(first) = holders[..index].iter().find(same) else { continue };
        // The place is the one that the user typed; of two typed ones the second.
        let (blamed, other) = match subject.origin.span(&holder.path) {
            None if subject.origin.span(&first.path).is_some() => (first, holder),
            _ => (holder, first),
        };
        let span = subject.span(&[&blamed.path, subnet_path(holder.network)]);
        let message = format!("{} of {} is also that of {}", holder.address, blamed.owner, other.owner);
        let help = format!("set {} or {} to a free address", blamed.path, other.path);
        found.push(rules::ADDRESS_USED_TWICE.problem(span, message).help(help));
    }
    found
}

/// Returns the four networks of a lab: name, key, subnet.
fn networks(lab: &Lab) -> [(&'static str, &'static str, Ipv4Net); 4] {
    [
        ("the LAN", "lan.subnet", lab.lan.subnet),
        ("the internal network", "internal.subnet", lab.internal.subnet),
        ("the pods' network", "kubernetes.pods", lab.cluster.pods),
        ("the Services' network", "kubernetes.services", lab.cluster.services),
    ]
}

pub fn networks_overlap(subject: &Subject<'_>) -> Vec<Problem> {
    let networks = networks(subject.lab);
    let mut found = Vec::new();
    for (index, (name, path, subnet)) in networks.iter().enumerate() {
        for (other_name, other_path, other) in &networks[..index] {
            let overlap = subnet.contains(other) || other.contains(subnet);
            if overlap && subject.known(&[path, other_path]) {
                let message = format!("{name}, {subnet}, overlaps {other_name}, {other}");
                let problem = rules::NETWORKS_OVERLAP.problem(subject.span(&[path, other_path]), message);
                found.push(problem.help(format!("move {path} or {other_path}")));
            }
        }
    }
    found
}

/// The longest prefixes that leave room for the router, the VIP and the gateways, or for the whole lab.
const LAN_PREFIX_MAX: u8 = 29;
const INTERNAL_PREFIX_MAX: u8 = 27;
/// The prefix of each node's share of the pods' network.
const POD_PREFIX_OF_NODE: u8 = 24;
/// What the API server takes: at most 20 bits of host part.
const SERVICE_PREFIXES: std::ops::RangeInclusive<u8> = 12..=28;

pub fn subnet_too_small(subject: &Subject<'_>) -> Vec<Problem> {
    let lab = subject.lab;
    let problem =
        |path: &str, message: String| rules::SUBNET_TOO_SMALL.problem(subject.span(&[path]), message);
    let mut found = Vec::new();
    for (path, subnet, most) in [
        ("lan.subnet", lab.lan.subnet, LAN_PREFIX_MAX),
        ("internal.subnet", lab.internal.subnet, INTERNAL_PREFIX_MAX),
    ] {
        if subnet.prefix_len() > most {
            found
                .push(problem(path, format!("{subnet} is too small for a lab: /{most} or larger is needed")));
        }
    }
    let members = lab.members().count();
    let shares =
        POD_PREFIX_OF_NODE.checked_sub(lab.cluster.pods.prefix_len()).map_or(0, |bits| 1_usize << bits);
    if shares < members {
        let message = format!("{} has {shares} networks of /24 for {members} nodes", lab.cluster.pods);
        found.push(problem("kubernetes.pods", message));
    }
    if !SERVICE_PREFIXES.contains(&lab.cluster.services.prefix_len()) {
        let message =
            format!("{} is not between /12 and /28, as the API server wants it", lab.cluster.services);
        found.push(problem("kubernetes.services", message));
    }
    found
}

pub fn in_dhcp_pool(subject: &Subject<'_>) -> Vec<Problem> {
    let lab = subject.lab;
    let (first, last) = lab.internal.dhcp;
    let inside: Vec<_> = meant(subject, machines(lab))
        .filter(|holder| holder.network == Network::Internal && (first..=last).contains(&holder.address))
        .collect();
    let mut found: Vec<_> = vip_in_pool(subject).into_iter().collect();
    let who = match inside.as_slice() {
        [one] => format!("{} ({}) lies", one.owner, one.address),
        // The remedy names each of them.
        [one, .., other] => {
            format!(
                "{} machines ({} at {} to {} at {}) lie",
                inside.len(),
                one.owner,
                one.address,
                other.owner,
                other.address
            )
        }
        [] => return found,
    };
    let message = format!(
        "{who} in the DHCP pool {first} to {last} of {}: a stranger on that network could be given such an address",
        lab.vmnet_name()
    );
    let paths: Vec<_> = inside.iter().map(|holder| holder.path.as_str()).chain(["internal.subnet"]).collect();
    let mut problem = rules::RESERVATION_IN_DHCP_POOL.problem(subject.span(&paths), message);
    let remedy = below_pool(lab, &inside);
    problem.help = Some(match remedy {
        Some(remedy) => {
            format!("keep other VMs off {}, or move them below the pool:\n{remedy}", lab.vmnet_name())
        }
        None => format!("keep other VMs off {}, or choose a larger internal.subnet", lab.vmnet_name()),
    });
    found.push(problem);
    found
}

/// A VIP has no MAC, so that not even a reservation can be made for it.
fn vip_in_pool(subject: &Subject<'_>) -> Option<Problem> {
    let internal = &subject.lab.internal;
    let (first, last) = internal.dhcp;
    let is_inside =
        (first..=last).contains(&internal.vip) && subject.known(&["internal.vip", "internal.subnet"]);
    is_inside.then(|| {
        let message = format!("the internal VIP {} lies in the DHCP pool {first} to {last}", internal.vip);
        let span = subject.span(&["internal.vip", "internal.subnet"]);
        rules::RESERVATION_IN_DHCP_POOL.problem(span, message).help(format!("set internal.vip below {first}"))
    })
}

/// Returns the part of a lab file that moves machines below the DHCP pool: control planes from .31,
/// workers from .41, gateways from .51; none if they do not fit there.
fn below_pool(lab: &Lab, inside: &[Holder]) -> Option<String> {
    let mut remedy = String::from("nodes:");
    for holder in inside {
        let node = lab.node(&holder.owner)?;
        let from: u32 = match node.role {
            Role::ControlPlane => 30,
            Role::Worker => 40,
            Role::Gateway => 50,
        };
        let network = u32::from(lab.internal.subnet.network());
        let address = Ipv4Addr::from(network.checked_add(from + u32::from(node.number))?);
        let taken =
            lab.nodes.iter().any(|other| other.internal().address == address) || address == lab.internal.vip;
        if taken || address >= lab.internal.dhcp.0 {
            return None;
        }
        remedy.push_str(&format!("\n  {}: {{address: {address}}}", node.name));
    }
    Some(remedy)
}

/// Networks that belong to nobody on the internet: RFC 1918, and RFC 6598's shared space.
const PRIVATE: [(Ipv4Addr, u8); 4] = [
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
];

pub fn public_network(subject: &Subject<'_>) -> Vec<Problem> {
    let is_private = |subnet: &Ipv4Net| {
        PRIVATE.iter().any(|(network, prefix)| Ipv4Net::new_assert(*network, *prefix).contains(subnet))
    };
    networks(subject.lab)
        .iter()
        .skip(1) // The LAN is what it is.
        .filter(|(_, _, subnet)| !is_private(subnet))
        .map(|(name, path, subnet)| {
            rules::PUBLIC_NETWORK.problem(subject.span(&[path]), format!("{name}, {subnet}, is not private"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::testing::findings;
    use crate::lab::catalogue::Arch;
    use crate::lab::resolve::resolve;

    #[test]
    fn two_equal_addresses_are_one_finding_at_the_second() {
        let body = "nodes:\n  k8s-worker1: {address: 10.10.0.50}\n  k8s-worker2: {address: 10.10.0.50}\n";
        assert_eq!(findings(body), ["address-used-twice@4"]);
    }

    #[test]
    fn an_address_that_is_anothers_default_is_found_where_it_was_typed() {
        assert_eq!(findings("nodes:\n  gateway1: {address: 10.10.0.141}\n"), ["address-used-twice@3"]);
    }

    #[test]
    fn reserved_addresses_are_refused() {
        for last in ["0", "1", "2", "255", "10"] {
            let body = format!("nodes:\n  k8s-master1:\n    address: 10.10.0.{last}\n");
            assert_eq!(findings(&body), ["address-is-reserved@4"], ".{last}");
        }
        for last in ["1", "200", "255"] {
            let body = format!("nodes:\n  gateway1:\n    lan_address: 192.168.68.{last}\n");
            assert_eq!(findings(&body), ["address-is-reserved@4"], ".{last}");
        }
        assert_eq!(findings("lan: {vip: 192.168.68.1}\n"), ["address-is-reserved@2"]);
        assert_eq!(findings("lan: {vip: 192.168.68.56}\n"), ["address-is-reserved@2"]);
    }

    #[test]
    fn addresses_lie_in_their_subnet() {
        assert_eq!(findings("lan:\n  vip: 192.168.1.200\n"), ["address-outside-subnet@3"]);
        assert_eq!(findings("nodes: {k8s-master1: {address: 10.11.0.5}}\n"), ["address-outside-subnet@2"]);
    }

    #[test]
    fn networks_are_disjoint() {
        assert_eq!(
            findings("kubernetes: {pods: 10.0.0.0/8}\n"),
            ["networks-overlap@2", "networks-overlap@2"]
        );
        assert_eq!(findings("internal: {subnet: 192.168.68.0/24}\n"), ["networks-overlap@2"]);
    }

    #[test]
    fn networks_have_room() {
        assert_eq!(findings("kubernetes: {pods: 10.244.0.0/23}\n"), ["subnet-too-small@2"]);
        assert_eq!(findings("kubernetes: {services: 10.96.0.0/11}\n"), ["subnet-too-small@2"]);
        assert_eq!(findings("internal: {subnet: 10.10.0.0/27}\n"), [""; 0]);
    }

    #[test]
    fn private_networks_are_private() {
        assert_eq!(findings("kubernetes: {pods: 11.0.0.0/16}\n"), ["public-network@2"]);
    }

    #[test]
    fn a_vip_in_the_pool_is_a_warning_of_its_own() {
        let resolved =
            resolve(Some("version: 1\ninternal: {vip: 10.10.0.200}\n"), None, Arch::Arm64).unwrap();
        assert!(resolved.warnings.iter().any(|found| found.message.contains("the internal VIP 10.10.0.200")));
    }

    #[test]
    fn the_documents_addresses_in_the_pool_are_a_warning_whose_remedy_works() {
        let resolved = resolve(None, None, Arch::Arm64).unwrap();
        let [warning] = &resolved.warnings[..] else { panic!("{:?}", resolved.warnings) };
        assert_eq!(warning.rule, "reservation-in-dhcp-pool");
        assert!(warning.message.contains("k8s-master1 at 10.10.0.131"), "{}", warning.message);
        let help = warning.help.as_deref().unwrap();
        let remedy = &help[help.find("nodes:").unwrap()..];
        let mended = resolve(Some(&format!("version: 1\n{remedy}\n")), None, Arch::Arm64).unwrap();
        assert_eq!(mended.warnings, []);
    }
}
