//! The machines and their networks: who holds which address, who reaches whom, and vmnet2 on this Mac.

use crate::formats::command::Command;
use crate::lab::{Lab, Node};

use super::ask::{internet, labelled, on_each, ping};
use super::{Check, Expect, Hint, Hop, Probe, VmnetExpect};

/// Greatest difference between two clocks, in milliseconds.
const CLOCKS_WITHIN_MS: u64 = 1000;
/// What systemd-resolved was told to ask, whatever /etc/resolv.conf says of it.
const RESOLVERS: &str = "/run/systemd/resolve/resolv.conf";

pub fn checks(lab: &Lab) -> Vec<Check> {
    [of_machines(lab), of_ways(lab), of_vmnet(lab)].concat()
}

fn check(id: &'static str, title: impl Into<String>, probe: Probe, expect: Expect, hint: Hint) -> Check {
    Check { id, title: title.into(), hop: Hop::Machines, probe, expect, hint }
}

fn of_machines(lab: &Lab) -> Vec<Check> {
    let own = |node: &Node| (node.name.clone(), node.nics.iter().map(|nic| nic.address).collect());
    // A node stands there only if the lab file says so.
    let (wished, members): (Vec<_>, Vec<_>) = lab.members().partition(|node| node.lan().is_some());
    let named = |nodes: Vec<&Node>| nodes.into_iter().map(|node| node.name.clone()).collect::<Vec<_>>();
    let segmentation = match named(wished) {
        wished if wished.is_empty() => "no node stands in the home network".to_owned(),
        wished => format!("no node but {} stands in the home network", wished.join(" and ")),
    };
    vec![
        check(
            "host.access",
            "this Mac reaches every machine by SSH",
            Probe::Facts,
            Expect::Answering(named(lab.nodes.iter().collect())),
            Hint {
                look: "a machine that runs and does not answer says why on its console",
                command: "fusionlab status",
            },
        ),
        check(
            "machine.address",
            "every machine holds its own addresses",
            Probe::Facts,
            Expect::Addresses(lab.nodes.iter().map(own).collect()),
            Hint {
                look: "in the machine, what it asked for and what it was given",
                command: "journalctl -u systemd-networkd -n 30",
            },
        ),
        check(
            "machine.clock",
            "the clocks of all machines agree within a second",
            Probe::Facts,
            Expect::ClocksWithin(CLOCKS_WITHIN_MS),
            Hint {
                look: "in the machine that is off, whom it takes the time from",
                command: "chronyc sources && chronyc tracking",
            },
        ),
        check(
            "machine.segmentation",
            segmentation,
            Probe::Facts,
            Expect::NoneWithin { nodes: named(members), subnet: lab.lan.subnet },
            Hint {
                look: "the machine has a card or an address that the lab file does not give it",
                command: "ip -4 address",
            },
        ),
    ]
}

fn of_ways(lab: &Lab) -> Vec<Check> {
    let nat = lab.internal.nat;
    let route = Command::new(["ip", "-4", "route", "show", "default"]);
    let resolvers = Command::new(["cat", RESOLVERS]);
    vec![
        check(
            "machine.ping",
            "gateways reach every node, control planes every worker",
            Probe::GuestEach { commands: pings(lab) },
            Expect::Success,
            Hint {
                look: "in the machine that is not reached, its card, and whether it is on the right network",
                command: "ip -4 address && ip neighbour",
            },
        ),
        check(
            "machine.route",
            format!("every node's way out is Fusion's NAT at {nat}"),
            on_each(lab.members(), "default", &route),
            Expect::DefaultRoute(nat),
            Hint {
                look: "in the machine, which routes it has and who gave them",
                command: "ip -4 route && networkctl status",
            },
        ),
        check(
            "machine.dns",
            format!("every node asks {nat} for names"),
            on_each(lab.members(), RESOLVERS, &resolvers),
            Expect::Contains(vec![format!("nameserver {nat}")]),
            Hint { look: "in the machine, which name servers each card has", command: "resolvectl status" },
        ),
        check(
            "machine.internet",
            "every node reaches the internet through Fusion's NAT",
            on_each(lab.members(), super::ask::INTERNET, &internet(lab)),
            Expect::AnyHttpStatus,
            Hint {
                look: "whether Fusion's NAT runs, and whether the Mac itself is online",
                command: "fusionlab doctor",
            },
        ),
    ]
}

fn pings(lab: &Lab) -> Vec<super::Labelled> {
    let to = |from: &Node, to: &Node| labelled(&from.name, &to.name, &from.name, ping(to.address()));
    let mut all: Vec<_> =
        lab.gateways().flat_map(|from| lab.members().map(move |member| to(from, member))).collect();
    all.extend(lab.control_planes().flat_map(|from| lab.workers().map(move |worker| to(from, worker))));
    all
}

fn of_vmnet(lab: &Lab) -> Vec<Check> {
    let (vmnet, internal) = (lab.vmnet_name(), &lab.internal);
    let cards: Vec<_> =
        lab.nodes.iter().map(|node| (node.name.clone(), node.internal().mac, node.address())).collect();
    let (first, last) = internal.dhcp;
    let ways: Vec<_> = lab
        .nodes
        .iter()
        .flat_map(|node| {
            [("host", internal.host), ("NAT", internal.nat)]
                .map(|(what, address)| labelled(&node.name, what, &node.name, ping(address)))
        })
        .collect();
    let host = |id, title: String, wish, hint| check(id, title, Probe::Vmnet, Expect::Vmnet(wish), hint);
    vec![
        host(
            "vmnet.config",
            format!("{vmnet} is {} with NAT, DHCP and this Mac on it", internal.subnet),
            VmnetExpect::Configured(internal.subnet),
            Hint {
                look: "what Fusion's networking file says, beside what the lab needs",
                command: "fusionlab network plan",
            },
        ),
        host(
            "vmnet.dhcp",
            format!("the DHCP server gives away {first} to {last}"),
            VmnetExpect::Pool(first, last),
            Hint {
                look: "the DHCP server's own file is not as Fusion derives it",
                command: "fusionlab doctor",
            },
        ),
        host(
            "vmnet.reservations",
            "every machine's address is reserved for its card".to_owned(),
            VmnetExpect::Reserved(cards.clone()),
            Hint {
                look: "which reservations the file lacks, and what puts them back",
                command: "fusionlab network plan",
            },
        ),
        host(
            "vmnet.leases",
            "no machine's address is leased to another card".to_owned(),
            VmnetExpect::NotLeasedAway(cards),
            Hint {
                look: "who holds a lease on the network; that machine must let go of it",
                command: "fusionlab network show",
            },
        ),
        host(
            "vmnet.services",
            format!("{vmnet}'s NAT and DHCP run"),
            VmnetExpect::Running,
            Hint {
                look: "which of Fusion's services does not run, and how to start it",
                command: "fusionlab doctor",
            },
        ),
        check(
            "vmnet.ways",
            format!("every machine reaches this Mac at {} and NAT at {}", internal.host, internal.nat),
            Probe::GuestEach { commands: ways },
            Expect::Success,
            Hint {
                look: "whether this Mac has its address on the network, and NAT runs",
                command: "fusionlab network show",
            },
        ),
    ]
}
