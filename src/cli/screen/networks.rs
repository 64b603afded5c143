//! Fusion's networks: a table of all, and below it what is on each.

use serde_json::{Value, json};

use super::table::{Cell, Table};
use crate::cli::terminal::{Ink, Pen};
use crate::cli::words;
use crate::formats::dhcp::{Host, Lease};
use crate::formats::mac::Mac;
use crate::formats::networking::{PortForward, Protocol, Vmnet};
use crate::lab::Lab;
use crate::plan::survey::{AddressSource, NetworkSeen, NetworkUser, Survey};

/// Columns before what is on a network.
const INDENT: usize = 2;
/// Columns that are left out where the terminal is narrow, the first one first.
const SPARE: [&str; 3] = ["DHCP", "LEASES", "RESERVED"];

/// Returns the table of these networks, and below it the machines, reservations, leases and forwards of each.
pub fn lines(survey: &Survey, networks: &[&NetworkSeen], lab: &Lab, pen: &Pen) -> Vec<String> {
    let mut lines = table(survey, networks, pen);
    let inner = Pen { width: pen.width.saturating_sub(INDENT), ..*pen };
    for seen in networks {
        let parts = [
            machines(seen, &inner),
            reservations(seen, lab, &inner),
            leases(seen, lab, survey.now, &inner),
            forwards(seen, &inner),
        ];
        if parts.iter().all(Vec::is_empty) {
            continue;
        }
        lines.push(String::new());
        lines.push(pen.paint(Ink::Strong, &name(&seen.vmnet)));
        let parts: Vec<&Vec<String>> = parts.iter().filter(|part| !part.is_empty()).collect();
        for (index, part) in parts.iter().enumerate() {
            lines.extend((index > 0).then(String::new));
            lines.extend(part.iter().map(|line| format!("{}{line}", " ".repeat(INDENT))));
        }
    }
    lines
}

fn table(survey: &Survey, networks: &[&NetworkSeen], pen: &Pen) -> Vec<String> {
    let mut table =
        Table::new(["NETWORK", "SUBNET", "KIND", "DHCP", "SERVICES", ">RESERVED", ">LEASES", ">USERS"])
            .leaving_out(SPARE);
    for seen in networks {
        let vmnet = &seen.vmnet;
        let number =
            |count: usize| Cell::plain(if count == 0 { pen.none().to_owned() } else { count.to_string() });
        table.row([
            Cell::plain(name(vmnet)),
            Cell::plain(vmnet.subnet.map_or_else(|| pen.none().to_owned(), |subnet| subnet.to_string())),
            Cell::plain(kind(vmnet)),
            Cell::plain(match (vmnet.exists, vmnet.dhcp) {
                (false, _) => pen.none(),
                (_, true) => "yes",
                (_, false) => "no",
            }),
            services(seen, pen),
            number(seen.reservations.len()),
            number(strangers(seen, survey.now).len()),
            number(seen.users.len()),
        ]);
    }
    table.lines(pen)
}

fn name(vmnet: &Vmnet) -> String {
    format!("vmnet{}", vmnet.number)
}

fn kind(vmnet: &Vmnet) -> String {
    match &vmnet.bridged_to {
        Some(interface) => format!("bridged to {interface}"),
        None if !vmnet.exists => "left over".to_owned(),
        None if vmnet.nat => "NAT".to_owned(),
        None => "host-only".to_owned(),
    }
}

/// Returns whether the services that the file wants run; those that do not are named.
fn services(seen: &NetworkSeen, pen: &Pen) -> Cell {
    let down: Vec<&str> = seen.services.iter().filter(|(_, runs)| !runs).map(|(name, _)| *name).collect();
    match (seen.services.len(), down.len()) {
        (0, _) => Cell::plain(pen.none()),
        (_, 0) => Cell::inked(Ink::Good, "running"),
        (all, down) if all == down => Cell::inked(Ink::Bad, "stopped"),
        _ => Cell::inked(Ink::Bad, format!("no {}", down.join(", "))),
    }
}

fn machines(seen: &NetworkSeen, pen: &Pen) -> Vec<String> {
    if seen.users.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(["MACHINE", "ADDRESS", "KNOWN BY", "MAC", "STATE", "LAB"])
        .leaving_out(["KNOWN BY", "MAC", "LAB"]);
    for user in &seen.users {
        let NetworkUser { name, mac, running, lab, address, .. } = user;
        let none = || pen.none().to_owned();
        table.row([
            Cell::plain(name),
            Cell::plain(address.map_or_else(none, |(address, _)| address.to_string())),
            Cell::plain(address.map_or_else(none, |(_, source)| known_by(source).to_owned())),
            Cell::plain(mac.map_or_else(none, |mac| mac.to_string())),
            if *running { Cell::inked(Ink::Good, "running") } else { Cell::inked(Ink::Dim, "off") },
            Cell::plain(lab.clone().unwrap_or_else(none)),
        ]);
    }
    table.lines(pen)
}

fn known_by(source: AddressSource) -> &'static str {
    match source {
        AddressSource::Reservation => "reservation",
        AddressSource::Lease => "lease",
        AddressSource::Tools => "tools",
    }
}

fn reservations(seen: &NetworkSeen, lab: &Lab, pen: &Pen) -> Vec<String> {
    if seen.reservations.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(["RESERVED", "FOR", "MACHINE"]);
    let mut all = seen.reservations.clone();
    all.sort_by_key(|(_, address)| *address);
    for (mac, address) in all {
        let machine = holder(seen, mac, lab).unwrap_or(pen.none());
        table.row([Cell::plain(address.to_string()), Cell::plain(mac.to_string()), Cell::plain(machine)]);
    }
    table.lines(pen)
}

/// Returns the name of the machine with this MAC: one that is there, or one that the lab would make.
fn holder<'a>(seen: &'a NetworkSeen, mac: Mac, lab: &'a Lab) -> Option<&'a str> {
    let there = seen.users.iter().find(|user| user.mac == Some(mac)).map(|user| user.name.as_str());
    let planned = || lab.nodes.iter().find(|node| node.internal().mac == mac).map(|node| node.name.as_str());
    there.or_else(planned)
}

fn leases(seen: &NetworkSeen, lab: &Lab, now: u64, pen: &Pen) -> Vec<String> {
    let leases = strangers(seen, now);
    if leases.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(["LEASED", "TO", "NAME", ">FOR ANOTHER"]);
    for lease in leases {
        let name = lease.hostname.as_deref().or_else(|| holder(seen, lease.mac, lab)).unwrap_or(pen.none());
        let rest = match lease.ends {
            u64::MAX => "ever".to_owned(),
            ends => words::duration(std::time::Duration::from_secs(ends - now)),
        };
        table.row([
            Cell::plain(lease.address.to_string()),
            Cell::plain(lease.mac.to_string()),
            Cell::plain(name),
            Cell::plain(rest),
        ]);
    }
    table.lines(pen)
}

/// Returns the leases that are valid now and are nobody's reservation.
fn strangers(seen: &NetworkSeen, now: u64) -> Vec<&Lease> {
    let mut leases = seen.valid_leases(now);
    leases.retain(|lease| !seen.reservations.contains(&(lease.mac, lease.address)));
    leases
}

fn forwards(seen: &NetworkSeen, pen: &Pen) -> Vec<String> {
    if seen.forwards.is_empty() {
        return Vec::new();
    }
    let mut table = Table::new(["FORWARDED", "TO", "DESCRIPTION"]);
    for PortForward { protocol, host_port, guest, guest_port, description } in &seen.forwards {
        table.row([
            Cell::plain(format!("{} {host_port}", spelled(*protocol))),
            Cell::plain(format!("{guest}:{guest_port}")),
            Cell::inked(Ink::Dim, description),
        ]);
    }
    table.lines(pen)
}

fn spelled(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "tcp",
        Protocol::Udp => "udp",
    }
}

/// Returns the JSON form of these networks.
pub fn json(survey: &Survey, networks: &[&NetworkSeen], lab: &Lab) -> Vec<Value> {
    networks.iter().map(|seen| network(seen, lab, survey.now)).collect()
}

fn network(seen: &NetworkSeen, lab: &Lab, now: u64) -> Value {
    let vmnet = &seen.vmnet;
    let reservation = |(mac, address): &(Mac, _)| json!({ "mac": mac.to_string(), "address": address, "machine": holder(seen, *mac, lab) });
    let host =
        |host: &Host| json!({ "name": host.name, "mac": host.mac.to_string(), "address": host.address });
    let valid = seen.valid_leases(now);
    let lease = |lease: &Lease| {
        json!({
            "address": lease.address,
            "mac": lease.mac.to_string(),
            "starts": lease.starts,
            "ends": (lease.ends != u64::MAX).then_some(lease.ends),
            "hostname": lease.hostname,
            "valid": valid.contains(&lease),
        })
    };
    let service = |(name, runs): &(&str, bool)| json!({ "name": name, "running": runs });
    json!({
        "name": name(vmnet),
        "number": vmnet.number,
        "subnet": vmnet.subnet.map(|subnet| subnet.to_string()),
        "exists": vmnet.exists,
        "nat": vmnet.nat,
        "dhcp": vmnet.dhcp,
        "adapter": vmnet.adapter,
        "uuid": vmnet.uuid,
        "left_over": vmnet.husk,
        "bridged_to": vmnet.bridged_to,
        "services": seen.services.iter().map(service).collect::<Vec<_>>(),
        "reservations": seen.reservations.iter().map(reservation).collect::<Vec<_>>(),
        "fixed": seen.fixed.as_ref().map(|fixed| fixed.iter().map(host).collect::<Vec<_>>()),
        "forwards": seen.forwards.iter().map(forward).collect::<Vec<_>>(),
        "nat_forwards": seen.nat_forwards.as_ref().map(|all| all.iter().map(forward).collect::<Vec<_>>()),
        "leases": seen.leases.iter().map(lease).collect::<Vec<_>>(),
        "users": seen.users.iter().map(user).collect::<Vec<_>>(),
    })
}

fn forward(forward: &PortForward) -> Value {
    json!({
        "protocol": spelled(forward.protocol),
        "host_port": forward.host_port,
        "guest": forward.guest,
        "guest_port": forward.guest_port,
        "description": forward.description,
    })
}

fn user(user: &NetworkUser) -> Value {
    json!({
        "name": user.name,
        "vmx": user.vmx,
        "mac": user.mac.map(|mac| mac.to_string()),
        "running": user.running,
        "lab": user.lab,
        "address": user.address.map(|(address, _)| address),
        "known_by": user.address.map(|(_, source)| source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::catalogue::Arch;
    use crate::lab::resolve::resolve;

    const NOW: u64 = 1_785_578_587;

    fn lab() -> Lab {
        resolve(None, None, Arch::Arm64).expect("the built-in lab is sound").lab
    }

    fn survey() -> Survey {
        let mac = |text: &str| text.parse::<Mac>().unwrap();
        let (ours, strange) = (mac("00:50:56:25:21:0b"), mac("00:0c:29:11:22:33"));
        let address = [10, 10, 0, 11].into();
        let vmnet = |number, subnet: &str, nat| Vmnet {
            number,
            exists: true,
            subnet: Some(subnet.parse().unwrap()),
            nat,
            dhcp: true,
            adapter: true,
            ..Vmnet::default()
        };
        let lease = |last, ends| Lease {
            address: [10, 10, 0, last].into(),
            mac: strange,
            starts: NOW - 60,
            ends,
            hostname: Some("web".to_owned()),
        };
        let lab = lab();
        let card = lab.nodes.last().map(crate::lab::Node::internal).expect("it has machines");
        let planned = (card.mac, card.address);
        let user = NetworkUser {
            name: "gateway1".to_owned(),
            vmx: "/vms/lab/gateway1.vmwarevm/gateway1.vmx".into(),
            mac: Some(ours),
            running: true,
            lab: Some("lab".to_owned()),
            address: Some((address, AddressSource::Reservation)),
        };
        let forward = PortForward {
            protocol: Protocol::Tcp,
            host_port: 2222,
            guest: [10, 10, 0, 130].into(),
            guest_port: 22,
            description: "vagrant: /Users/me".to_owned(),
        };
        let bridge = Vmnet { number: 3, bridged_to: Some("en0".to_owned()), ..Vmnet::default() };
        Survey {
            networks: vec![
                NetworkSeen {
                    vmnet: vmnet(1, "192.168.100.0/24", false),
                    services: vec![("DHCP", true)],
                    ..NetworkSeen::default()
                },
                NetworkSeen {
                    vmnet: vmnet(2, "10.10.0.0/24", true),
                    reservations: vec![(ours, address), planned],
                    forwards: vec![forward],
                    leases: vec![lease(200, NOW + 1200), lease(201, NOW - 1), lease(202, u64::MAX)],
                    services: vec![("DHCP", true), ("NAT", false)],
                    users: vec![user],
                    ..NetworkSeen::default()
                },
                NetworkSeen { vmnet: bridge, ..NetworkSeen::default() },
            ],
            now: NOW,
            ..Survey::default()
        }
    }

    fn shown(width: usize) -> Vec<String> {
        let survey = survey();
        lines(&survey, &survey.networks.iter().collect::<Vec<_>>(), &lab(), &Pen::plain(width))
    }

    #[test]
    fn all_networks_are_a_table_and_what_is_on_one_stands_below() {
        assert_eq!(
            shown(100),
            [
                "NETWORK  SUBNET            KIND            DHCP  SERVICES  RESERVED  LEASES  USERS",
                "vmnet1   192.168.100.0/24  host-only       yes   running          –       –      –",
                "vmnet2   10.10.0.0/24      NAT             yes   no NAT           2       2      1",
                "vmnet3   –                 bridged to en0  –     –                –       –      –",
                "",
                "vmnet2",
                "  MACHINE   ADDRESS     KNOWN BY     MAC                STATE    LAB",
                "  gateway1  10.10.0.11  reservation  00:50:56:25:21:0b  running  lab",
                "",
                "  RESERVED     FOR                MACHINE",
                "  10.10.0.11   00:50:56:25:21:0b  gateway1",
                "  10.10.0.142  00:50:56:25:32:00  k8s-worker2",
                "",
                "  LEASED       TO                 NAME  FOR ANOTHER",
                "  10.10.0.200  00:0c:29:11:22:33  web   20 min 00 s",
                "  10.10.0.202  00:0c:29:11:22:33  web          ever",
                "",
                "  FORWARDED  TO              DESCRIPTION",
                "  tcp 2222   10.10.0.130:22  vagrant: /Users/me",
            ]
        );
    }

    #[test]
    fn narrow_terminals_lose_columns_but_not_what_matters() {
        for width in [60, 80] {
            let lines = shown(width);
            assert!(lines.iter().all(|line| console::measure_text_width(line) <= width), "{lines:#?}");
            assert!(lines[1].starts_with("vmnet1   192.168.100.0/24  host-only"), "{lines:#?}");
        }
    }

    #[test]
    fn json_tells_all_that_was_seen() {
        let survey = survey();
        let networks = json(&survey, &survey.networks.iter().collect::<Vec<_>>(), &lab());
        let ours = &networks[1];
        assert_eq!(ours["reservations"][0]["machine"], "gateway1");
        assert_eq!(ours["users"][0]["known_by"], "reservation");
        assert_eq!(ours["services"][1], serde_json::json!({ "name": "NAT", "running": false }));
        let valid: Vec<_> = ours["leases"].as_array().unwrap().iter().map(|lease| &lease["valid"]).collect();
        assert_eq!(valid, [true, false, true]);
        assert!(ours["leases"][2]["ends"].is_null());
        assert_eq!(networks[2]["bridged_to"], "en0");
    }
}
