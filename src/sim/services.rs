//! The files of Fusion's DHCP and NAT services as the services themselves read them, and what they do not start with.
//!
//! Readers of the simulation's own: the product's are not to be proven by themselves.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::formats::networking::Protocol;

/// A forwarded port as `nat.conf` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub protocol: Protocol,
    pub host_port: u16,
    /// None where the address is missing, which the NAT service does not start with
    /// (facts/fusion-networking.md §3.2).
    pub guest: Option<Ipv4Addr>,
    pub guest_port: u16,
    /// The whole line, as it stands there.
    pub line: String,
}

/// Returns the forwarded ports of a `nat.conf`.
pub fn forwards(nat_conf: &str) -> Vec<Entry> {
    let mut protocol = None;
    let mut entries = Vec::new();
    for line in nat_conf.lines() {
        let text = line.trim();
        match text {
            "[incomingtcp]" => protocol = Some(Protocol::Tcp),
            "[incomingudp]" => protocol = Some(Protocol::Udp),
            _ if text.starts_with('[') => protocol = None,
            _ => entries.extend(protocol.and_then(|protocol| entry(protocol, text))),
        }
    }
    entries
}

fn entry(protocol: Protocol, line: &str) -> Option<Entry> {
    let said = line.split('#').next()?;
    let (host_port, target) = said.split_once('=')?;
    let (guest, guest_port) = target.trim().split_once(':')?;
    Some(Entry {
        protocol,
        host_port: host_port.trim().parse().ok()?,
        guest: guest.parse().ok(),
        guest_port: guest_port.trim().parse().ok()?,
        line: line.to_owned(),
    })
}

/// Returns why the NAT service does not start; none if it does.
pub fn natd_complaint(nat_conf: &str) -> Option<String> {
    let incomplete = forwards(nat_conf).into_iter().find(|entry| entry.guest.is_none())?;
    Some(format!("no guest address: {}", incomplete.line))
}

/// Returns why the DHCP service does not start on a network; none if it does. It minds what its parser and the
/// interface do: a declaration of the interface's subnet, pools within their subnets, and each host's name once
/// (facts/fusion-networking.md §5).
pub fn dhcpd_complaint(dhcpd_conf: &str, on: Ipv4Net) -> Option<String> {
    let mut subnet = None;
    let mut declares_interface = false;
    let mut hosts = Vec::new();
    for statement in statements(dhcpd_conf) {
        match statement.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["subnet", address, "netmask", mask] => {
                subnet = declared(address, mask);
                declares_interface |= subnet == Some(on);
            }
            ["range", first, last] => {
                let within = |address: &str| Some(subnet?.contains(&address.parse::<Ipv4Addr>().ok()?));
                if within(first) != Some(true) || within(last) != Some(true) {
                    return Some(format!("range {first} {last} not on net {}", shown(subnet)));
                }
            }
            ["host", name] if hosts.contains(&name.to_owned()) => {
                return Some(format!("host {name}: already exists"));
            }
            ["host", name] => hosts.push(name.to_owned()),
            _ => {}
        }
    }
    (!declares_interface).then(|| format!("no subnet declaration for {on}"))
}

fn declared(address: &str, mask: &str) -> Option<Ipv4Net> {
    Ipv4Net::with_netmask(address.parse().ok()?, mask.parse().ok()?).ok()
}

fn shown(subnet: Option<Ipv4Net>) -> String {
    subnet.map_or_else(|| "?".to_owned(), |subnet| subnet.to_string())
}

/// Splits ISC's language into the words of each statement; a block's head is a statement of its own.
fn statements(text: &str) -> Vec<Vec<String>> {
    let bare = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let bare = bare.collect::<Vec<_>>().join("\n");
    let words = |statement: &str| statement.split_whitespace().map(str::to_owned).collect();
    bare.split(['{', '}', ';']).map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "allow unknown-clients; # range 1.1.1.1 2.2.2.2;\nsubnet 10.10.0.0 netmask 255.255.255.0 {\n\
                        \trange 10.10.0.128 10.10.0.254;\n}\nhost a { fixed-address 10.10.0.3; }\nhost b { }\n";

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn a_dhcp_service_minds_its_subnet_its_pool_and_its_hosts_names() {
        assert_eq!(dhcpd_complaint(GOOD, net("10.10.0.0/24")), None);
        for (conf, complaint) in [
            (
                GOOD.replace("10.10.0.254", "10.10.1.254"),
                "range 10.10.0.128 10.10.1.254 not on net 10.10.0.0/24",
            ),
            (
                GOOD.replace("subnet 10.10.0.0", "subnet 10.11.0.0"),
                "range 10.10.0.128 10.10.0.254 not on net 10.11.0.0/24",
            ),
            (GOOD.replace("10.10.0.", "10.11.0."), "no subnet declaration for 10.10.0.0/24"),
            (GOOD.replace("host b", "host a"), "host a: already exists"),
            (String::new(), "no subnet declaration for 10.10.0.0/24"),
        ] {
            assert_eq!(dhcpd_complaint(&conf, net("10.10.0.0/24")).as_deref(), Some(complaint));
        }
    }

    #[test]
    fn a_forward_without_a_guest_is_one_that_nat_does_not_start_with() {
        let good = "[host]\nip = 10.10.0.2\n[incomingtcp]\n# 1 = :2\n2222 = 10.10.0.3:22 # web = 1\n[incomingudp]\n53=10.10.0.3:53\n";
        let found = forwards(good);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].protocol, found[0].host_port, found[0].guest_port), (Protocol::Tcp, 2222, 22));
        assert_eq!((found[1].protocol, found[1].guest), (Protocol::Udp, Some(Ipv4Addr::new(10, 10, 0, 3))));
        assert_eq!(natd_complaint(good), None);
        let bad = good.replace("10.10.0.3:22", ":22");
        assert_eq!(natd_complaint(&bad).as_deref(), Some("no guest address: 2222 = :22 # web = 1"));
    }
}
