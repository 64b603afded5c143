//! Linux's own words on its networks: `/proc/net/route` and `/etc/resolv.conf`.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

/// One IPv4 route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// 0.0.0.0/0 is the default route.
    pub destination: Ipv4Net,
    /// None for a network that is linked directly.
    pub gateway: Option<Ipv4Addr>,
    pub interface: String,
    /// The least is preferred.
    pub metric: u32,
}

/// Reads `/proc/net/route`: addresses are hexadecimal numbers in the processor's order of bytes, little-endian on every
/// processor that we build for (fib_route_seq_show in net/ipv4/fib_trie.c).
pub fn routes(text: &str) -> Vec<Route> {
    let address = |word: &str| {
        let number = u32::from_str_radix(word, 16).ok()?;
        Some(Ipv4Addr::from(number.swap_bytes()))
    };
    let route = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [interface, destination, gateway, _, _, _, metric, mask, ..] = words[..] else { return None };
        Some(Route {
            destination: Ipv4Net::with_netmask(address(destination)?, address(mask)?).ok()?.trunc(),
            gateway: Some(address(gateway)?).filter(|gateway| !gateway.is_unspecified()),
            interface: interface.to_owned(),
            metric: metric.parse().ok()?,
        })
    };
    text.lines().filter_map(route).collect()
}

/// Returns the name servers of a resolv.conf(5) that other machines can ask, too.
pub fn name_servers(text: &str) -> Vec<Ipv4Addr> {
    let server = |line: &str| line.strip_prefix("nameserver")?.trim().parse().ok();
    text.lines().filter_map(server).filter(|server: &Ipv4Addr| !server.is_loopback()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_table_is_understood() {
        let text = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
                    wlan0\t00000000\t0144A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
                    wlan0\t0044A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0\n\
                    docker0\t000011AC\t00000000\t0001\t0\t0\t0\t0000FFFF\t0\t0\t0\n";
        let shown: Vec<_> = routes(text)
            .iter()
            .map(|route| {
                format!("{} {:?} {} {}", route.destination, route.gateway, route.interface, route.metric)
            })
            .collect();
        assert_eq!(
            shown,
            [
                "0.0.0.0/0 Some(192.168.68.1) wlan0 600",
                "192.168.68.0/24 None wlan0 600",
                "172.17.0.0/16 None docker0 0",
            ]
        );
    }

    #[test]
    fn a_stub_on_the_machine_itself_is_no_server_for_others() {
        let text =
            "# systemd\nnameserver 127.0.0.53\nnameserver 192.168.68.1\nnameserver fe80::1\nsearch home\n";
        assert_eq!(name_servers(text), [Ipv4Addr::new(192, 168, 68, 1)]);
    }
}
