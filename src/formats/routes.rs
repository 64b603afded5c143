//! The host's routes, as `netstat -rn -f inet` of macOS prints them.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use serde::Serialize;

/// One IPv4 route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Route {
    /// 0.0.0.0/0 is the default route.
    pub destination: Ipv4Net,
    /// An address, or what stands for a direct link, such as `link#22`.
    pub gateway: String,
    /// Such as `en0`, `utun4`, `bridge100`.
    pub interface: String,
}

/// Reads what `netstat -rn -f inet` prints: rows below a header, whose columns differ between releases of macOS.
/// Rows of IPv6, and rows that are no routes, are passed over.
pub fn parse(text: &str) -> Vec<Route> {
    let mut routes = Vec::new();
    // Where the interface stands in a row, in words; none outside a table of IPv4.
    let mut interface_at = None;
    let mut is_ipv6 = false;
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [family] if family.ends_with(':') => {
                is_ipv6 = family.starts_with("Internet6");
                interface_at = None;
            }
            ["Destination", ..] => {
                let at = words.iter().position(|word| matches!(*word, "Netif" | "Iface"));
                interface_at = at.filter(|_| !is_ipv6);
            }
            [destination, gateway, ..] => {
                if let Some(interface) = interface_at.and_then(|at| words.get(at))
                    && let Some(destination) = network(destination)
                {
                    let (gateway, interface) = (gateway.to_owned(), (*interface).to_owned());
                    routes.push(Route { destination, gateway, interface });
                }
            }
            _ => {}
        }
    }
    routes
}

/// Reads a destination as macOS shortens it: trailing zeros are left out, and so is the length where the written
/// octets say it; four octets without a length are one host.
fn network(text: &str) -> Option<Ipv4Net> {
    const OCTETS: usize = 4;
    if text == "default" {
        return Some(Ipv4Net::default());
    }
    let (address, length) =
        text.split_once('/').map_or((text, None), |(address, length)| (address, Some(length)));
    // An address of one link only may name its interface.
    let address = address.split_once('%').map_or(address, |(address, _)| address);
    let mut octets = [0; OCTETS];
    let mut count = 0;
    for part in address.split('.') {
        *octets.get_mut(count)? = part.parse().ok()?;
        count += 1;
    }
    let length = match length {
        Some(length) => length.parse().ok()?,
        None => u8::try_from(count * 8).ok()?,
    };
    Some(Ipv4Net::new(Ipv4Addr::from(octets), length).ok()?.trunc())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: &str = "Routing tables\n\nInternet:\n\
        Destination        Gateway            Flags               Netif Expire\n\
        default            192.168.68.1       UGScg                 en0       \n\
        default            link#25            UCSIg           bridge100      !\n\
        10                 10.8.0.1           UGSc                utun4       \n\
        10.96/12           10.8.0.1           UGSc                utun4       \n\
        127                127.0.0.1          UCS                   lo0       \n\
        127.0.0.1          127.0.0.1          UH                    lo0       \n\
        169.254            link#22            UCS                   en0      !\n\
        172.16.59/24       link#25            UC              bridge100      !\n\
        192.168.68         link#22            UCS                   en0      !\n\
        192.168.68.1/32    link#22            UCS                   en0      !\n\
        192.168.68.7       a4:83:e7:1:2:3     UHLWIi                en0   1187\n\
        128.0/1            10.8.0.1           UGSc                utun4       \n\
        no-route\n\nInternet6:\n\
        Destination                             Gateway                                 Flags               Netif Expire\n\
        default                                 fe80::%utun0                            UGcIg               utun0       \n\
        ::1                                     ::1                                     UHL                   lo0       \n";

    #[test]
    fn what_macos_shortens_is_understood() {
        let routes = parse(MAC);
        let of = |route: &Route| format!("{} {} {}", route.destination, route.gateway, route.interface);
        assert_eq!(
            routes.iter().map(of).collect::<Vec<_>>(),
            [
                "0.0.0.0/0 192.168.68.1 en0",
                "0.0.0.0/0 link#25 bridge100",
                "10.0.0.0/8 10.8.0.1 utun4",
                "10.96.0.0/12 10.8.0.1 utun4",
                "127.0.0.0/8 127.0.0.1 lo0",
                "127.0.0.1/32 127.0.0.1 lo0",
                "169.254.0.0/16 link#22 en0",
                "172.16.59.0/24 link#25 bridge100",
                "192.168.68.0/24 link#22 en0",
                "192.168.68.1/32 link#22 en0",
                "192.168.68.7/32 a4:83:e7:1:2:3 en0",
                "128.0.0.0/1 10.8.0.1 utun4",
            ]
        );
    }

    #[test]
    fn the_header_says_where_the_interface_stands() {
        let old = "Internet:\nDestination Gateway Flags Refs Use Netif Expire\n10/8 10.8.0.1 UGSc 3 0 utun4\n\
                   10.1/16 10.8.0.1 UGSc\n";
        let routes = parse(old);
        assert_eq!(routes.len(), 1, "a row without an interface is none");
        assert_eq!(routes[0].interface, "utun4");
        assert_eq!(parse("10/8 10.8.0.1 UGSc 3 0 utun4\n"), [], "a table has a header");
        for none in ["10.0.0.0.0", "10/33", "x", "300", "10..1", "", "10/-1"] {
            assert_eq!(network(none), None, "{none}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in "(Internet6?:|Destination|Netif|[ \n./]|10|link#2|\\PC){0,40}") {
            parse(&text);
        }
    }
}
