//! `netstat -rn -f inet` of macOS: the simulated Mac's routes, in the system's own columns and abbreviations.

use std::io;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Screen;
use super::system_profiler::router;
use crate::sim::control::{self, Reply, Request};
use crate::sim::network::Networks;
use crate::sim::places::Places;
use crate::sim::settings::Settings;

const USAGE: u8 = 64;
/// The Mac's way into its home network.
pub(super) const LAN_INTERFACE: &str = "en0";
/// The kernel's numbers of interfaces, which stand for the gateway of a direct link.
const LAN_LINK: u32 = 14;
const FIRST_OTHER_LINK: u32 = 20;
/// The interface of the first of Fusion's networks that a VM is on; the next ones count up
/// (facts/fusion-networking.md §2.5).
const FIRST_BRIDGE: u32 = 100;
pub(super) const ROUTER_MAC: &str = "38:94:ed:56:6f:8d";
/// Whether an entry ends: never for most, and for links that are up macOS prints this.
const UP: &str = "!";

/// One line of the table.
struct Row {
    destination: String,
    gateway: String,
    flags: &'static str,
    interface: String,
    expire: &'static str,
}

/// Prints the table.
pub async fn run(places: &Places, args: &[String], screen: &mut Screen) -> u8 {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (["-rn" | "-nr", "-f", "inet"] | ["-r", "-n", "-f", "inet"]) = args[..] else {
        screen.error_line("usage: netstat -rn -f inet");
        return USAGE;
    };
    match rows(places).await {
        Ok(rows) => {
            for line in ["Routing tables", "", "Internet:"] {
                screen.line(line);
            }
            screen.line("Destination        Gateway            Flags               Netif Expire");
            for Row { destination, gateway, flags, interface, expire } in rows {
                screen.line(&format!(
                    "{destination:<18.18} {gateway:<18.18} {flags:<10} {interface:>14} {expire:>6}"
                ));
            }
            0
        }
        Err(error) => {
            screen.error_line(&format!("netstat: {error}"));
            1
        }
    }
}

async fn rows(places: &Places) -> io::Result<Vec<Row>> {
    let settings = Settings::load(places)?;
    let router = router(settings.lan);
    let host = |address: Ipv4Addr| address.to_string();
    let row = |destination: String, gateway: String, flags, interface: &str, expire| Row {
        destination,
        gateway,
        flags,
        interface: interface.to_owned(),
        expire,
    };
    let lan = |destination, flags| row(destination, link(LAN_LINK), flags, LAN_INTERFACE, UP);
    let loopback = Ipv4Addr::LOCALHOST;
    let mut rows = vec![
        row("default".to_owned(), host(router), "UGScg", LAN_INTERFACE, ""),
        row("127".to_owned(), host(loopback), "UCS", "lo0", ""),
        row(host(loopback), host(loopback), "UH", "lo0", ""),
        lan("169.254".to_owned(), "UCS"),
        lan(abbreviated(settings.lan), "UCS"),
        row(host(router), ROUTER_MAC.to_owned(), "UHLWIir", LAN_INTERFACE, "1187"),
    ];
    let mut links = FIRST_OTHER_LINK..;
    let mut next_link = || links.next().map(link).unwrap_or_default();
    for (destination, interface) in &settings.routes {
        rows.push(row(abbreviated(*destination), next_link(), "UCS", interface, ""));
    }
    for (number, subnet) in (FIRST_BRIDGE..).zip(bridged_subnets(places).await?) {
        rows.push(row(abbreviated(subnet), next_link(), "UC", &format!("bridge{number}"), UP));
    }
    rows.push(lan("224.0.0/4".to_owned(), "UmCS"));
    rows.push(lan("255.255.255.255/32".to_owned(), "UCS"));
    Ok(rows)
}

/// Returns the networks that the Mac has an interface on: with the host's adapter, and with a VM that has power.
async fn bridged_subnets(places: &Places) -> io::Result<Vec<Ipv4Net>> {
    let Some(Reply::World(world)) = control::ask(places, &Request::Describe).await? else {
        return Ok(Vec::new());
    };
    let networks = Networks::load(places)?;
    let of = |vmnet: &u8| networks.running(*vmnet).filter(|network| network.adapter);
    Ok(world.vmnets.iter().filter_map(of).map(|network| network.subnet).collect())
}

fn link(number: u32) -> String {
    format!("link#{number}")
}

/// Returns a destination as `netname` of Apple's network_cmds prints it: without trailing zero octets, and without the
/// length where that is the one of the address's class.
fn abbreviated(net: Ipv4Net) -> String {
    let octets = net.network().octets();
    let of_class: u8 = match octets[0] {
        0..128 => 8,
        128..192 => 16,
        _ => 24,
    };
    let used = octets.iter().rposition(|octet| *octet != 0).map_or(1, |last| last + 1);
    let shown = used.max(usize::from(of_class / 8)).max(1);
    let short = octets[..shown].iter().map(u8::to_string).collect::<Vec<_>>().join(".");
    match net.prefix_len() {
        0 => "default".to_owned(),
        length if length == of_class => short,
        length => format!("{short}/{length}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn destinations_are_as_short_as_macos_prints_them() {
        for (net, shown) in [
            ("0.0.0.0/0", "default"),
            ("0.0.0.0/1", "0/1"),
            ("128.0.0.0/1", "128.0/1"),
            ("10.0.0.0/8", "10"),
            ("10.10.0.0/24", "10.10/24"),
            ("100.64.0.0/10", "100.64/10"),
            ("172.16.0.0/12", "172.16/12"),
            ("172.16.59.0/24", "172.16.59/24"),
            ("192.168.68.0/24", "192.168.68"),
            ("192.168.0.0/16", "192.168.0/16"),
            ("192.168.1.1/32", "192.168.1.1/32"),
            ("224.0.0.0/4", "224.0.0/4"),
        ] {
            assert_eq!(abbreviated(net.parse().unwrap()), shown, "{net}");
        }
    }
}
